//! Tiny runs: two mini-batches of built-in images under a reproducible key at the real parameters.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fhe_core::client::ClientKey;
use fhe_core::engine::cpu::Rows;
use fhe_train::Checkpoint;
use tempfile::TempDir;

use crate::program;

/// Arguments of `setup` for all of these runs.
pub(crate) const SETUP: [&str; 5] = ["--count", "32", "--dictionary", "32", "--reproducible-key"];

/// A program and its arguments.
pub(crate) type Stage = (&'static str, &'static [&'static str]);

/// All that a run is: set-up, training, export. Two mini-batches of four images, so that it is
/// short.
pub(crate) const STAGES: [Stage; 3] = [
    (
        "setup",
        &["--count", "8", "--batch", "4", "--dictionary", "32", "--reproducible-key", "--quiet"],
    ),
    ("train", &["--quiet"]),
    ("infer", &["export", "--quiet"]),
];

/// Where runs lie: one file system, so that files can be linked.
const PLACE: &str = env!("CARGO_TARGET_TMPDIR");

/// The folder of a finished run, made once.
pub(crate) fn finished() -> &'static Path {
    static RUN: OnceLock<(PathBuf, File)> = OnceLock::new();
    let (path, _) = RUN.get_or_init(|| {
        // Another process with these tests waits until this one ends.
        let lock = File::create(Path::new(PLACE).join("programs.lock")).unwrap();
        lock.lock().unwrap();
        let path = Path::new(PLACE).join("programs");
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        program::run("setup", &path, &SETUP).succeeds();
        program::run("train", &path, &[]).succeeds();
        (path, lock)
    });
    path
}

/// An empty folder, removed in the end.
pub(crate) fn empty() -> TempDir {
    tempfile::tempdir_in(PLACE).unwrap()
}

/// A copy of the finished run, less the files and folders in `without`.
///
/// Files are links: programs replace files and never write into them, and so must tests. The lock
/// is left out: a link would be the same lock.
pub(crate) fn copy(without: &[&str]) -> TempDir {
    copy_of(finished(), without)
}

/// A run that is set up and not trained.
pub(crate) fn untrained() -> TempDir {
    copy(&["server/model.ckpt", "server/report.json", "server/snapshots"])
}

fn link(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, from.metadata().unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|e| (e.path(), e.file_name())).unwrap();
        if path.is_dir() {
            link(&path, &to.join(name));
        } else if name != "lock" {
            fs::hard_link(&path, to.join(name)).unwrap();
        }
    }
}

/// Replaces a file of a copied run by a changed one.
pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Reads a run's model: steps made, parts made of the next, and weights.
pub(crate) fn model(run: &Path) -> (usize, usize, Rows) {
    let key = ClientKey::load(&run.join("client/client.key")).unwrap();
    let path = run.join("server/model.ckpt");
    let saved = Checkpoint::load_for(&path, key.params(), &key.id()).unwrap();
    (saved.state.step, saved.state.part, saved.rows)
}

/// A run of which only the keys are there.
pub(crate) fn keyed() -> TempDir {
    let run = empty();
    for file in ["client/client.key", "server/evaluation.keys"] {
        let path = run.path().join(file);
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::hard_link(finished().join(file), path).unwrap();
    }
    run
}

/// As [`copy`], of any run.
pub(crate) fn copy_of(run: &Path, without: &[&str]) -> TempDir {
    let copy = empty();
    for side in ["client", "server"] {
        link(&run.join(side), &copy.path().join(side));
    }
    for name in without {
        let path = copy.path().join(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    copy
}

/// All files below a folder, by their names in it.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let (path, name) = entry.map(|e| (e.path(), e.file_name())).unwrap();
        let name = name.into_string().unwrap();
        if path.is_dir() {
            let below = files(&path).into_iter();
            found.extend(below.map(|(file, path)| (format!("{name}/{file}"), path)));
            found.push((format!("{name}/"), path));
        } else {
            found.push((name, path));
        }
    }
    found
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The mode and the hash of each file below a folder.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, String> {
    let of = |(name, path): (String, PathBuf)| {
        let mode = path.metadata().unwrap().permissions().mode();
        let hash = if path.is_dir() { String::new() } else { hash(&fs::read(path).unwrap()) };
        (name, format!("{mode:o} {hash}"))
    };
    files(folder).into_iter().map(of).collect()
}

/// The mode and the hash of each file of a run that is the same whenever the run is made again: all
/// but locks and the report, which has times. Of a model it is the hash of its weights.
pub(crate) fn made(run: &Path) -> BTreeMap<String, String> {
    let key = ClientKey::load(&run.join("client/client.key")).unwrap();
    let mut made = contents(run);
    made.retain(|name, _| !name.ends_with("lock") && !name.ends_with("report.json"));
    for (name, hashed) in made.iter_mut().filter(|(name, _)| name.ends_with(".ckpt")) {
        let saved = Checkpoint::load_for(&run.join(name), key.params(), &key.id()).unwrap();
        let numbers = saved.rows.elements().iter();
        let bytes: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
        *hashed = format!("step {}, {}", saved.state.step, hash(&bytes));
    }
    made
}
