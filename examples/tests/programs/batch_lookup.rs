//! The measurement of batch lookups, as far as it is cheap: its keys take a minute and gigabytes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::program::{bare, outcome, signal};
use crate::run::empty;

#[test]
fn numbers_of_values_are_checked() {
    for (option, value, expected) in [
        ("--values", "0", "1..=1073741824"),
        ("--lookups", "15", "16..=2048"),
        ("--lookups", "2049", "16..=2048"),
        ("--seed", "-1", "unexpected argument"),
    ] {
        outcome(bare("batch_lookup").args([option, value])).refuses(&[expected]);
    }
}

#[test]
fn predictions_come_first_and_a_signal_leaves_nothing() {
    let folder = empty();
    let mut program = bare("batch_lookup")
        .args(["--quick", "--threads", "1", "--json"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let said = |line: Option<Result<String, std::io::Error>>| -> serde_json::Value {
        serde_json::from_str(&line.unwrap().unwrap()).unwrap()
    };
    assert_eq!(said(lines.next())["event"], "started");
    let note = said(lines.next());
    let text = note["text"].as_str().unwrap();
    for word in ["reading of a batch", "top row", "keys as a message", "values in batches"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    signal(&program, "TERM");
    assert!(!program.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
