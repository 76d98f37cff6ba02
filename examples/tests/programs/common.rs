//! What is the same on all programs: options, help, events.

use std::fs;

use serde_json::Value;

use crate::program::{PROGRAMS, bare, outcome, run};
use crate::run::{SETUP, copy, empty};

#[test]
fn every_program_says_what_it_does_and_which_it_is() {
    for name in PROGRAMS {
        let help = outcome(bare(name).arg("--help")).succeeds();
        for word in ["Examples:", "--threads", "--json", "--quiet", "--version"] {
            assert!(help.contains(word), "{name} --help has no {word}:\n{help}");
        }
        assert!(help.contains(&format!("  {name}")), "{name} --help has no example:\n{help}");
        let version = outcome(bare(name).arg("--version")).succeeds();
        assert_eq!(version, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
        outcome(bare(name).args(["--threads", "0"])).refuses(&["--threads"]);
    }
}

/// Parses what a program said: an event a line, the first of which tells that it started.
fn events(text: &str, program: &str) -> Vec<Value> {
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&events[0]["event"], &events[0]["program"]), (&"started".into(), &program.into()));
    events
}

fn one<'a>(events: &'a [Value], event: &str) -> &'a Value {
    let mut found = events.iter().filter(|e| e["event"] == event);
    let one = found.next().unwrap();
    assert!(found.next().is_none(), "two of {event} in {events:?}");
    one
}

#[test]
fn events_are_json_a_line_each() {
    let copy = copy(&["server/model.ckpt"]);
    let price = run("train", copy.path(), &["--price", "--json", "--threads", "3"]).succeeds();
    let price = events(&price, "train");
    assert_eq!(price[0]["threads"], 3);
    let result = one(&price, "result");
    assert!(result["name"] == "price" && result["data"]["lookups"] == 320, "{result}");

    let train = run("train", copy.path(), &["--stop-after", "1", "--json"]).succeeds();
    let train = events(&train, "train");
    let progress = train.iter().rfind(|e| e["event"] == "progress").unwrap();
    assert_eq!((&progress["done"], &progress["total"]), (&1.into(), &2.into()));
    assert_eq!(one(&train, "result")["data"]["step"], 1);
    assert!(train.iter().any(|e| e["event"] == "note"));

    run("infer", copy.path(), &["encrypt"]).succeeds();
    run("infer", copy.path(), &["score"]).succeeds();
    let read = run("infer", copy.path(), &["read", "--json"]).succeeds();
    let read = events(&read, "infer");
    let data = &one(&read, "result")["data"];
    assert_eq!(data["scores"].as_array().unwrap().len(), 10);
    assert_eq!(data["scores"][0]["class"], data["class"]);
}

#[test]
fn an_error_is_an_event_too() {
    let folder = empty();
    let mut train = bare("train");
    train.arg("--run").arg(folder.path()).arg("--json");
    let ended = outcome(&mut train);
    let said = events(&ended.out, "train");
    assert!(one(&said, "error")["text"].as_str().unwrap().contains("run setup first"));
    ended.fails(&["run setup first"]);
}

#[test]
fn quiet_programs_say_results_only() {
    let copy = copy(&[]);
    let setup = run("setup", copy.path(), &[&SETUP[..], &["--quiet"]].concat());
    assert_eq!(setup.err, "");
    assert!(setup.succeeds().starts_with("ready: "));
    fs::remove_file(copy.path().join("server/model.ckpt")).unwrap();
    let train = run("train", copy.path(), &["--quiet", "--stop-after", "1"]);
    assert_eq!(train.err, "");
    assert_eq!(train.succeeds().lines().count(), 1);
    let quiet = run("train", copy.path(), &["--quiet", "--json", "--price"]).succeeds();
    assert_eq!(quiet.lines().count(), 1, "{quiet}");
}

#[test]
fn programs_before_setup_say_so() {
    let folder = empty();
    let words = ["run setup first", "--example setup -- --run", folder.path().to_str().unwrap()];
    for (name, arguments) in [
        ("train", ["--price"].as_slice()),
        ("infer", &["decrypt"]),
        ("infer", &["score"]),
        ("audit", &[]),
    ] {
        run(name, folder.path(), arguments).fails(&words);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}
