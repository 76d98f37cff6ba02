//! Programs end as their users expect: asked by a signal, with nobody who reads, on a full disk.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

use crate::program::{PROGRAMS, bare, command, outcome, run, signal};
use crate::run::{copy, empty, finished, model, untrained};

/// Commands that say something soon, in text; the last word of each is its own argument.
const SOON: [&[&str]; 6] = [
    &["train", "--price"],
    &["train", "--stop-after", "1"],
    &["infer", "decrypt"],
    &["infer", "encrypt"],
    &["infer", "check", "--count", "1"],
    &["setup", "--count", "32", "--dictionary", "32", "--reproducible-key"],
];

fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// A program and its arguments, with `--json`, which makes every program speak at once.
fn speaking(name: &str, folder: &Path) -> Command {
    let mut command = bare(name);
    command.args(["--json"]).current_dir(folder).env("TMPDIR", folder);
    match name {
        "infer" => command.arg("decrypt"),
        "infer_bnn" => command.args(["--model", "cnn"]),
        "many_classes" => {
            let data = ["--features", "x.npy", "--labels", "y.npy"];
            command.args(data).args(["draw", "--out", "drawn.safetensors"])
        }
        "train_bnn" => command.args(["--model", "cnn", "--out", "w.safetensors"]),
        _ => &mut command,
    };
    command
}

#[test]
fn nobody_reads() {
    let folder = empty();
    for name in PROGRAMS {
        outcome(speaking(name, folder.path()).stdout(closed())).ends_quietly(141);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was begun");
    let copy = copy(&[]);
    for arguments in SOON {
        let (name, arguments) = arguments.split_first().unwrap();
        outcome(command(name, copy.path()).args(arguments).stdout(closed())).ends_quietly(141);
    }
    outcome(bare("quickstart").arg("--help").stdout(closed())).ends_quietly(141);
}

#[test]
fn standard_output_is_full() {
    let folder = empty();
    for name in PROGRAMS {
        outcome(speaking(name, folder.path()).stdout(full())).fails(&["standard output", "space"]);
    }
    let copy = copy(&[]);
    for arguments in SOON {
        let (name, arguments) = arguments.split_first().unwrap();
        outcome(command(name, copy.path()).args(arguments).stdout(full()))
            .fails(&["standard output", "space"]);
    }
    outcome(bare("quickstart").arg("--help").stdout(full())).fails(&["standard output", "space"]);
}

#[test]
fn nobody_hears_the_errors() {
    let copy = untrained();
    let mut train = command("train", copy.path());
    train.args(["--stop-after", "1"]).stdout(closed()).stderr(closed());
    assert_eq!(train.status().unwrap().code(), Some(141));
}

/// Starts a training whose first step is not yet made when this returns.
fn training(folder: &Path, arguments: &[&str]) -> Child {
    let mut program = command("train", folder)
        .args(["--threads", "1", "--checkpoint-seconds", "3600"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if arguments.is_empty() {
        wait_for("training, encrypted: 0/2", program.stderr.take().unwrap());
    }
    program
}

/// Reads lines until one begins with `start`, and goes on reading in the background.
pub(crate) fn wait_for(start: &str, from: impl Read + Send + 'static) {
    let mut lines = BufReader::new(from).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().starts_with(start)), "no line {start}");
    std::thread::spawn(move || lines.for_each(drop));
}

/// Waits for a program's end: its exit status, and what it said on standard output.
pub(crate) fn said(program: &mut Child) -> (Option<i32>, String) {
    let mut text = String::new();
    program.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    (program.wait().unwrap().code(), text)
}

/// Interrupts a program when it has said that a job begins, and returns what it said last.
pub(crate) fn interrupted(program: &mut Command, start: &str) -> String {
    let mut program = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(start, program.stderr.take().unwrap());
    signal(&program, "INT");
    let (ended, text) = said(&mut program);
    assert_eq!(ended, Some(130), "{text}");
    text
}

#[test]
fn a_training_that_is_asked_to_stop_writes_a_checkpoint() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let copy = untrained();
        let mut program = training(copy.path(), &[]);
        signal(&program, name);
        let (ended, text) = said(&mut program);
        assert_eq!(ended, Some(code), "{text}");
        assert!(text.contains("stopped after step 1 of 2; the same command goes on"), "{text}");
        assert_eq!(model(copy.path()).0, 1);
        let text = run("train", copy.path(), &[]).succeeds();
        assert!(text.contains("at step 1"), "{text}");
        assert!(model(copy.path()) == model(finished()), "the resumed model differs");
    }
}

#[test]
fn a_second_signal_ends_a_training_at_once() {
    let copy = untrained();
    let mut program = training(copy.path(), &[]);
    signal(&program, "INT");
    sleep(Duration::from_millis(20));
    signal(&program, "TERM");
    let (ended, text) = said(&mut program);
    assert_eq!(ended, Some(143), "{text}");
    assert!(!text.contains("stopped after"), "{text}");
    assert!(!copy.path().join("server/model.ckpt").exists());
    run("train", copy.path(), &["--stop-after", "1"]).succeeds();
}

#[test]
fn a_training_whose_reader_goes_away_keeps_its_work() {
    let copy = untrained();
    let mut program = training(copy.path(), &["--json"]);
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"progress\"")));
    drop(lines);
    assert_eq!(program.wait().unwrap().code(), Some(141));
    assert!(model(copy.path()).0 >= 1);
}

#[test]
fn a_setup_that_is_asked_to_stop_goes_on() {
    const SETUP: [&str; 5] = ["--count", "100", "--dictionary", "32", "--reproducible-key"];
    let fresh = || {
        let run = copy(&["client", "server/train.data"]);
        fs::remove_file(run.path().join("server/model.ckpt")).unwrap();
        run
    };
    let (stopped, whole) = (fresh(), fresh());
    let data = |run: &TempDir| run.path().join("server/train.data");
    let part = data(&stopped).with_extension("data.part");
    let mut program = command("setup", stopped.path())
        .args(SETUP)
        .args(["--threads", "1", "--quiet"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while fs::metadata(&part).map_or(0, |file| file.len()) < 300_000 {
        assert!(program.try_wait().unwrap().is_none(), "it ended before it was asked to");
        sleep(Duration::from_millis(1));
    }
    signal(&program, "INT");
    let (ended, text) = said(&mut program);
    assert_eq!(ended, Some(130), "{text}");
    assert!(text.contains("the same command goes on"), "{text}");
    assert!(!data(&stopped).exists());
    run("setup", stopped.path(), &SETUP).succeeds();
    run("setup", whole.path(), &SETUP).succeeds();
    assert!(fs::read(data(&stopped)).unwrap() == fs::read(data(&whole)).unwrap());
}

#[test]
fn a_check_that_is_asked_to_stop_goes_on() {
    let copy = copy(&[]);
    let state = copy.path().join("client/check.json");
    let mut check = command("infer", copy.path());
    check.args(["check", "--threads", "1"]);
    let text = interrupted(&mut check, "encrypted inference: 0/32");
    assert!(text.contains("of 32 images; the same command goes on"), "{text}");
    assert!(state.exists());
    let text = run("infer", copy.path(), &["check"]).succeeds();
    assert!(text.contains("of 32 encrypted inferences agree"), "{text}");
    assert!(!state.exists());
    // What another model's check left is of no use.
    let left = r#"{"model":"","images":31,"same_class":0,"alone":31,"alone_seconds":1,"slowest":1,
        "together_seconds":0}"#;
    fs::write(&state, left).unwrap();
    let text = run("infer", copy.path(), &["check", "--count", "2"]).succeeds();
    assert!(text.contains("of 2 encrypted"), "{text}");
}

/// Starts a quickstart, and returns when it has made the folder that is its `count`th.
fn quickstart(temporary: &Path, count: usize) -> Child {
    let mut program = bare("quickstart")
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .stderr(File::create("/dev/null").unwrap())
        .spawn()
        .unwrap();
    while folders(temporary).len() < count {
        assert!(program.try_wait().unwrap().is_none(), "it ended before it was asked to");
        sleep(Duration::from_millis(1));
    }
    sleep(Duration::from_millis(50));
    program
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_quickstart_leaves_nothing_to_the_next_one() {
    let temporary = empty();
    let mut killed = quickstart(temporary.path(), 1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = folders(temporary.path());
    assert_eq!(left.len(), 1, "nobody can clean up after SIGKILL");
    // The next one has a folder of its own, and takes that one away.
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut program = quickstart(temporary.path(), 2);
        signal(&program, name);
        assert_eq!(said(&mut program).0, Some(code));
        assert_eq!(folders(temporary.path()), left);
    }
}

#[test]
fn a_run_may_have_any_name() {
    let copy = untrained();
    let folder = copy.path().join(OsStr::from_bytes(b"donn\xe9es"));
    fs::create_dir(&folder).unwrap();
    for side in ["client", "server"] {
        fs::rename(copy.path().join(side), folder.join(side)).unwrap();
    }
    run("train", &folder, &[]).succeeds();
    assert!(model(&folder) == model(finished()));
    run("infer", &folder, &["--json", "decrypt"]).succeeds();
    for step in ["encrypt", "score", "read"] {
        run("infer", &folder, &[step]).succeeds();
    }
}
