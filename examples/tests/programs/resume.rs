//! Programs that are killed go on, and end as if nothing had happened.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::program::{command, run, signal};
use crate::run::{copy, finished, model, untrained};

/// Kills a program when `ready`; it must not have ended before.
fn kill_when(mut program: Child, ready: impl Fn() -> bool) {
    while !ready() && program.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    program.kill().unwrap();
    let status = program.wait().unwrap();
    assert!(status.signal().is_some(), "it ended before it was killed: {status}");
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

#[test]
fn a_killed_encryption_goes_on() {
    const SETUP: [&str; 5] = ["--count", "400", "--dictionary", "32", "--reproducible-key"];
    // Only what does not depend on the images is taken over.
    let fresh = || {
        let run = copy(&["client", "server/train.data"]);
        fs::remove_file(run.path().join("server/model.ckpt")).unwrap();
        run
    };
    let killed = fresh();
    let data = killed.path().join("server/train.data");
    let part = data.with_extension("data.part");
    let program = command("setup", killed.path())
        .args(SETUP)
        .env("RAYON_NUM_THREADS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    kill_when(program, || length(&part) > 2_000_000);
    assert!(!data.exists(), "an unfinished file must not have its final name");
    let before = length(&part);
    assert!(before > 2_000_000);
    run("train", killed.path(), &[]).fails(&["train.data", "No such file"]);
    run("setup", killed.path(), &SETUP).succeeds();

    let whole = fresh();
    run("setup", whole.path(), &SETUP).succeeds();
    let expected = fs::read(whole.path().join("server/train.data")).unwrap();
    assert!(expected.len() as u64 > before);
    assert!(fs::read(&data).unwrap() == expected, "the resumed file differs");
}

#[test]
fn a_killed_training_goes_on() {
    let copy = untrained();
    let checkpoint = copy.path().join("server/model.ckpt");
    let program = command("train", copy.path())
        .args(["--checkpoint-seconds", "0"])
        .env("RAYON_NUM_THREADS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    kill_when(program, || checkpoint.exists());
    assert_eq!(model(copy.path()).0, 1);
    assert!(!copy.path().join("server/report.json").exists());

    let said = run("train", copy.path(), &[]).succeeds();
    assert!(said.contains("at step 1"), "{said}");
    assert!(model(copy.path()) == model(finished()), "the resumed model differs");
}

#[test]
fn one_run_has_one_trainer() {
    let copy = untrained();
    let mut first =
        command("train", copy.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // It has the lock when it tells where it stands. Stopped, it keeps the lock.
    let mut output = BufReader::new(first.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.contains("at step 0"), "{line}");
    signal(&first, "STOP");
    run("train", copy.path(), &[]).fails(&["server/lock", "another process"]);
    assert!(!copy.path().join("server/model.ckpt").exists());

    first.kill().unwrap();
    first.wait().unwrap();
    let said = run("train", copy.path(), &["--stop-after", "1"]).succeeds();
    assert!(said.contains("the same command goes on"), "{said}");
}
