//! Long work on data of the user's own that is asked to stop, and goes on.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use fhe_train::Recipe;

use crate::ends::{interrupted, said};
use crate::own_data::{CSV, setup, within, write_csv};
use crate::program::{command, run, signal};
use crate::run::{copy_of, empty, keyed, model};

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

#[test]
fn a_training_is_stopped_inside_a_step() {
    let (files, folder) = (empty(), empty());
    write_csv(files.path(), 40);
    let mut recipe = Recipe::mlp(5, &[3], 3);
    if let Recipe::Deep(recipe) = &mut recipe {
        recipe.sub_batch = 4;
    }
    fs::write(files.path().join("recipe.toml"), toml::to_string(&recipe).unwrap()).unwrap();
    let options = ["--recipe", "recipe.toml", "--encrypt", "16"];
    setup(folder.path(), files.path(), &[&CSV[..], &options].concat()).succeeds();
    let whole = copy_of(folder.path(), &[]);

    let mut train = command("train", folder.path());
    train.args(["--threads", "1", "--checkpoint-seconds", "3600"]);
    let text = interrupted(&mut train, "training, encrypted: 0/1");
    let at = "stopped after step 0 of 1 and 1 sub-batches of the next; the same command goes on";
    assert!(text.contains(at), "{text}");
    let position = || (model(folder.path()).0, model(folder.path()).1);
    assert_eq!(position(), (0, 1));

    run("train", folder.path(), &[]).succeeds();
    run("train", whole.path(), &[]).succeeds();
    assert_eq!(position(), (1, 0));
    assert!(model(folder.path()) == model(whole.path()), "the resumed model differs");
}
