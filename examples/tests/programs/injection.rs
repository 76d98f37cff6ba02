//! Every call that changes a file of a run fails once: the program says so, and the same command
//! then ends with the same files as if nothing had happened.
//!
//! `inject.c` lets the calls fail and lists them. It stops programs at their system calls, and
//! knows the registers of one kind of processor.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use fhe_examples::{file, results};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{self, Outcome, outcome};
use crate::run::{STAGES, Stage, contents, copy_of, empty, made};

/// A call that changes a file, as `inject.c` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    kind: String,
    path: PathBuf,
    /// The new name of what is renamed.
    to: Option<PathBuf>,
}

fn call(kind: &str, path: &str, to: Option<&str>) -> Call {
    Call { kind: kind.into(), path: path.into(), to: to.map(PathBuf::from) }
}

fn injector() -> &'static Path {
    static PROGRAM: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROGRAM.get_or_init(|| {
        let folder = empty();
        let path = folder.path().join("inject");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/inject.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&path).arg(source);
        assert!(compiler.status().unwrap().success(), "{compiler:?}");
        (folder, path)
    });
    path
}

/// Runs a program on the run in a folder. The call of this number fails; none does of 0.
fn disturbed(folder: &Path, stage: Stage, number: usize) -> (Outcome, Vec<Call>) {
    let (list, (name, arguments)) = (empty(), stage);
    let list = list.path().join("calls");
    let mut command = Command::new(injector());
    command.arg(folder).arg(&list).arg(number.to_string()).arg(program::path(name));
    let ended = outcome(command.arg("--run").arg(folder.join("run")).args(arguments));
    let calls = fs::read_to_string(list).unwrap();
    let parsed = calls.lines().map(|line| {
        let words: Vec<&str> = line.split('\t').collect();
        call(words[0], words[1], words.get(2).copied())
    });
    (ended, parsed.collect())
}

fn plain(folder: &Path, (name, arguments): Stage) {
    program::run(name, &folder.join("run"), arguments).succeeds();
}

/// Returns which names would be lost, or hold too little, if the machine failed when all calls were
/// made.
fn unflushed(calls: &[Call]) -> Vec<String> {
    let is_flush = |call: &Call, of: &Path| call.kind == "flush" && call.path == of;
    let mut found = Vec::new();
    for (i, call) in calls.iter().enumerate() {
        let name = call.to.as_ref().unwrap_or(&call.path);
        if ["rename", "link", "folder"].contains(&call.kind.as_str()) {
            let folder = name.parent().unwrap();
            if !calls[i..].iter().any(|later| is_flush(later, folder)) {
                found.push(format!("the name {}", name.display()));
            }
        }
        if call.to.is_some() {
            let wrote = |c: &Call| c.path == call.path && ["write", "cut"].contains(&&c.kind[..]);
            let last = calls[..i].iter().rposition(wrote).unwrap_or(0);
            if !calls[last..i].iter().any(|c| is_flush(c, &call.path)) {
                found.push(format!("what is in {}", name.display()));
            }
        }
    }
    found
}

/// Returns the file that a call is for, by its final name.
fn meant(calls: &[Call], of: usize) -> &Path {
    let Call { path, to, .. } = &calls[of];
    let renamed = calls[of..].iter().find(|later| later.path == *path && later.to.is_some());
    to.as_ref().or(renamed.and_then(|later| later.to.as_ref())).unwrap_or(path)
}

/// A run that nothing disturbed: for each program its calls, and the files that are there after it.
struct Undisturbed {
    folder: TempDir,
    calls: Vec<Vec<Call>>,
    made: Vec<BTreeMap<String, String>>,
}

impl Undisturbed {
    fn new() -> Self {
        let folder = empty();
        let programs = STAGES.iter().map(|&stage| {
            let (ended, calls) = disturbed(folder.path(), stage, 0);
            ended.succeeds();
            (calls, made(&folder.path().join("run")))
        });
        let (calls, made) = programs.collect();
        Self { folder, calls, made }
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// A folder as it is before one of the programs.
    fn before(&self, stage: usize) -> TempDir {
        let folder = empty();
        let trained = ["server/model.ckpt", "server/report.json", "server/snapshots"];
        let exported = ["client/model.safetensors"];
        let without = match stage {
            0 => return folder,
            1 => [&trained[..], &exported].concat(),
            _ => exported.to_vec(),
        };
        let copy = copy_of(&self.run(), &without);
        fs::rename(copy.keep(), folder.path().join("run")).unwrap();
        folder
    }

    /// Calls of a program, one of each kind on each file, as numbers from 1 on.
    fn distinct(&self, stage: usize) -> Vec<usize> {
        let calls = &self.calls[stage];
        let mut seen = BTreeSet::new();
        let kind = |i: &usize| (calls[*i].kind.clone(), meant(calls, *i).to_owned());
        (0..calls.len()).filter(|i| seen.insert(kind(i))).map(|i| i + 1).collect()
    }

    /// Lets calls of a program fail, each in a run of its own, and returns what came of each kind
    /// of call. Where two failures leave the same files, what follows is the same too: it is
    /// looked at once. So is what follows on a set-up whose files are those of the undisturbed one,
    /// byte for byte: a training of those.
    fn fail(&self, stage: usize, numbers: &[usize]) -> Value {
        let mut followed = BTreeSet::new();
        let mut kinds: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
        for &number in numbers {
            let (folder, calls) = (self.before(stage), &self.calls[stage]);
            let (ended, made_calls) = disturbed(folder.path(), STAGES[stage], number);
            let (failed, kind) = (&made_calls[number - 1], calls[number - 1].kind.as_str());
            assert_eq!(failed.kind, kind, "call {number} differs: {failed:?}");
            let meant = meant(calls, number - 1).strip_prefix(self.folder.path()).unwrap();
            let survived = ended.is_success();
            if !survived {
                // The folder of the run may itself be meant.
                let named = folder.path().join(meant);
                ended.fails(&[named.to_str().unwrap().trim_end_matches('/'), "os error"]);
            }
            kinds.entry(kind).or_default()[usize::from(survived)] += 1;
            if followed.insert(contents(folder.path())) {
                plain(folder.path(), STAGES[stage]);
                let after = made(&folder.path().join("run"));
                assert_eq!(after, self.made[stage], "after {kind} of {meant:?}");
            }
        }
        let kinds = kinds.into_iter().map(|(kind, [refused, survived])| {
            let count = json!({ "error": refused, "done": survived });
            (kind.to_owned(), count)
        });
        let command = [&[STAGES[stage].0], STAGES[stage].1].concat().join(" ");
        let kinds: serde_json::Map<_, _> = kinds.collect();
        json!({
            "program": command,
            "failures": numbers.len(),
            "by_call": kinds,
            "different_folders_gone_on_from": followed.len(),
        })
    }
}

fn undisturbed() -> &'static Undisturbed {
    static RUN: OnceLock<Undisturbed> = OnceLock::new();
    RUN.get_or_init(Undisturbed::new)
}

#[test]
fn every_name_is_flushed_to_the_disk_after_its_content() {
    let run = undisturbed();
    for (calls, stage) in run.calls.iter().zip(STAGES) {
        assert!(calls.iter().any(|call| call.to.is_some()), "{stage:?} gives no name");
        assert_eq!(unflushed(calls), [""; 0], "{stage:?}");
    }
}

#[test]
fn a_flush_that_is_missing_is_found() {
    let (write, flush) = (call("write", "/r/.a", None), call("flush", "/r/.a", None));
    let (rename, folder) = (call("rename", "/r/.a", Some("/r/a")), call("flush", "/r", None));
    let whole = [&write, &flush, &rename, &folder].map(Clone::clone);
    assert_eq!(unflushed(&whole), [""; 0]);
    assert_eq!(unflushed(&whole[..3]), ["the name /r/a"]);
    let late = [flush, write, rename, folder];
    assert_eq!(unflushed(&late), ["what is in /r/a"]);
    assert_eq!(unflushed(&[call("folder", "/r/b", None)]), ["the name /r/b"]);
}

#[test]
fn calls_that_fail_once_change_no_model() {
    let run = undisturbed();
    // One call of each kind on each file would be some 70, and take minutes.
    for (stage, every) in [(0, 7), (1, 7), (2, 2)] {
        let numbers = run.distinct(stage);
        let mut some: Vec<usize> = numbers.into_iter().skip(1).step_by(every).collect();
        assert!(!some.is_empty());
        // And the last write of what a program goes on with.
        let goes_on = ["train.data", "model.ckpt"].map(OsStr::new);
        let calls = &run.calls[stage];
        let is_of = |i: &usize| goes_on.map(Some).contains(&meant(calls, *i).file_name());
        let last = (0..calls.len()).rfind(|i| calls[*i].kind == "write" && is_of(i));
        some.extend(last.map(|i| i + 1));
        run.fail(stage, &some);
    }
}

#[test]
#[ignore = "takes half an hour, and writes docs/results/fault-injection.json"]
fn every_call_that_fails_once_changes_no_model() {
    let (run, start) = (undisturbed(), Instant::now());
    let programs = (0..STAGES.len()).map(|stage| {
        let numbers: Vec<usize> = (1..=run.calls[stage].len()).collect();
        run.fail(stage, &numbers)
    });
    let programs: Vec<Value> = programs.collect();
    let here = results::here();
    let found = json!({
        "what": "every call that creates, writes, cuts, flushes, renames or links a file of a run \
                 fails once, each in a run of its own; the same command then goes on, and all \
                 files are those of an undisturbed run: a model's weights, and every byte of the \
                 others but the report of times",
        "command": here.command,
        "commit": here.commit,
        "machine": here.machine,
        "wall_seconds": start.elapsed().as_secs_f64(),
        "same": true,
        "programs": programs,
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/results");
    file::write_json(&folder.join("fault-injection.json"), &found).unwrap();
}
