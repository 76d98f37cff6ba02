//! Writing that fails is named, leaves no file that looks whole, and can be repeated.

use std::fs;

use crate::program::{run, run_on_full_disk};
use crate::run::{SETUP, copy, empty, finished, model, untrained};

#[test]
fn setup_fails_on_the_file_that_does_not_fit() {
    let folder = empty();
    let path = folder.path();
    // Blocks of 512 bytes, and the first file that needs more.
    let files = [
        (0, "client/setup.json"),
        (1, "client/client.key"),
        (2000, "server/evaluation.keys"),
        (100, "client/encoder.safetensors"),
        (2000, "server/train.data"),
    ];
    for (blocks, file) in files {
        run_on_full_disk("setup", path, &SETUP, blocks).fails(&[file, "File too large"]);
        assert!(!path.join(file).exists(), "{file}");
        if file.ends_with("setup.json") || file.ends_with(".keys") {
            // These two fit from here on, whatever the next limit is.
            fs::hard_link(finished().join(file), path.join(file)).unwrap();
        }
    }
    run("setup", path, &SETUP).succeeds();
    let data = |run| fs::read(std::path::Path::join(run, "server/train.data")).unwrap();
    assert!(data(path) == data(finished()), "the data set differs");
}

#[test]
fn a_checkpoint_that_does_not_fit_leaves_the_former_one() {
    let copy = untrained();
    run("train", copy.path(), &["--stop-after", "1"]).succeeds();
    let checkpoint = copy.path().join("server/model.ckpt");
    let former = fs::read(&checkpoint).unwrap();
    let blocks = former.len() as u32 / 512 / 2;
    // The snapshot comes first.
    let words = ["server/snapshots/step-0000002.ckpt", "File too large"];
    run_on_full_disk("train", copy.path(), &[], blocks).fails(&words);
    assert!(fs::read(&checkpoint).unwrap() == former, "the former checkpoint was touched");
    run("train", copy.path(), &[]).succeeds();
    assert!(model(copy.path()) == model(finished()), "the model differs");
}

#[test]
fn a_query_that_does_not_fit_is_no_file() {
    let (copy, folder) = (copy(&[]), empty());
    let query = folder.path().join("query.enc");
    let arguments = ["encrypt", "--out", query.to_str().unwrap()];
    run_on_full_disk("infer", copy.path(), &arguments, 10).fails(&["query.enc", "File too large"]);
    assert!(!query.exists());
}
