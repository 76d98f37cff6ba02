//! Long work on data of the user's own that is asked to stop, and goes on.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::ends::said;
use crate::own_data::{CSV, setup, within, write_csv};
use crate::program::{command, signal};
use crate::run::{empty, keyed};

#[test]
fn an_interrupted_setup_keeps_the_rates_it_found() {
    let (files, folder) = (empty(), keyed());
    write_csv(files.path(), 600);
    let server = folder.path().join("server");
    let mut program: Child = command("setup", folder.path())
        .args(within(files.path(), &CSV))
        .args(["--threads", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let part = server.join("train.data.part");
    while fs::metadata(&part).map_or(0, |file| file.len()) < 300_000 {
        assert!(program.try_wait().unwrap().is_none(), "it ended before it was asked to");
        sleep(Duration::from_millis(1));
    }
    signal(&program, "INT");
    let (ended, text) = said(&mut program);
    assert_eq!(ended, Some(130), "{text}");
    assert!(text.contains("tuning the rates") && text.contains("the same command goes on"));
    let recipe = || fs::read(server.join("recipe.json")).unwrap();
    let found = recipe();
    let text = setup(folder.path(), files.path(), &CSV).succeeds();
    assert!(!text.contains("tuning") && text.contains("ready"), "{text}");
    assert!(recipe() == found && server.join("train.data").exists());
}
