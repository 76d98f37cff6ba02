//! Files that are damaged, cut, missing or of another run are refused by name.

use std::fs;

use fhe_core::store::{Header, Message, write_to};
use fhe_train::EncryptedScores;

use crate::program::run;
use crate::run::{SETUP, change, copy, empty, untrained};

/// Flips a bit `at` bytes before the end of a file.
fn flip(path: &std::path::Path, at: usize) {
    change(path, |bytes| {
        let last = bytes.len() - at;
        bytes[last] ^= 1;
    });
}

#[test]
fn a_flipped_bit_is_found_in_its_chunk() {
    let copy = copy(&["server/snapshots"]);
    let server = copy.path().join("server");
    flip(&server.join("model.ckpt"), 1000);
    let words = ["server/model.ckpt", "chunk 0 of 1", "checksum"];
    run("train", copy.path(), &[]).fails(&words);
    run("infer", copy.path(), &["decrypt"]).fails(&words);

    fs::remove_file(server.join("model.ckpt")).unwrap();
    let data = server.join("train.data");
    let half = fs::metadata(&data).unwrap().len() as usize / 2;
    flip(&data, half + 10_000);
    let words = ["server/train.data", "chunk 0 of 2", "checksum"];
    run("train", copy.path(), &[]).fails(&words);
    assert!(!server.join("model.ckpt").exists());

    let keys = server.join("evaluation.keys");
    flip(&keys, 2 << 20);
    let chunks = fs::metadata(&keys).unwrap().len() >> 20;
    let chunk = format!("chunk {} of {}", chunks - 2, chunks + 1);
    run("train", copy.path(), &[]).fails(&["server/evaluation.keys", &chunk, "checksum"]);

    flip(&copy.path().join("client/client.key"), 40);
    let words = ["client/client.key", "chunk 0 of 1", "checksum"];
    run("infer", copy.path(), &["encrypt"]).fails(&words);
    run("setup", copy.path(), &SETUP).fails(&words);
}

#[test]
fn a_flipped_bit_is_found_in_a_header() {
    let copy = copy(&[]);
    for file in ["server/evaluation.keys", "client/client.key"] {
        change(&copy.path().join(file), |bytes| bytes[40] ^= 1);
        let command = if file.starts_with("server") { "train" } else { "setup" };
        run(command, copy.path(), if command == "setup" { &SETUP } else { &[] })
            .fails(&[file, "header", "checksum"]);
    }
}

#[test]
fn the_clients_clear_files_are_checked() {
    let copy = copy(&[]);
    change(&copy.path().join("client/train.labels"), |labels| labels[20] = 10);
    run("setup", copy.path(), &SETUP).fails(&["client/train.labels", "label 5 is 10"]);
    change(&copy.path().join("client/train.labels"), |labels| labels.truncate(127));
    run("setup", copy.path(), &SETUP).fails(&["client/train.labels", "127 bytes for 32 samples"]);
    flip(&copy.path().join("client/train.features"), 100);
    run("setup", copy.path(), &SETUP).fails(&["client/train.features", "checksum"]);
    change(&copy.path().join("client/setup.json"), |text| text.truncate(20));
    run("setup", copy.path(), &SETUP).fails(&["client/setup.json", "holds no set-up"]);
}

#[test]
fn a_file_that_is_cut_is_refused() {
    let copy = untrained();
    let data = copy.path().join("server/train.data");
    change(&data, |bytes| bytes.truncate(bytes.len() - 1));
    run("train", copy.path(), &[]).fails(&["server/train.data", "length", "expected"]);
    change(&data, |bytes| bytes.truncate(100));
    run("train", copy.path(), &[]).fails(&["server/train.data", "too short"]);
}

#[test]
fn a_missing_file_is_named() {
    let copy = untrained();
    for file in ["server/train.data", "server/evaluation.keys", "server/recipe.json"] {
        fs::remove_file(copy.path().join(file)).unwrap();
        run("train", copy.path(), &[]).fails(&[file, "No such file"]);
    }
    let (image, pixel) = (copy.path().join("a.png"), include_bytes!("pixel.png"));
    fs::write(&image, pixel).unwrap();
    let encrypt = ["encrypt", "--image", image.to_str().unwrap()];
    fs::remove_file(copy.path().join("client/encoder.safetensors")).unwrap();
    let words = ["client/encoder.safetensors", "No such file"];
    run("infer", copy.path(), &encrypt).fails(&words);
}

#[test]
fn the_encoder_of_another_run_is_refused() {
    let (copy, other) = (untrained(), empty());
    let arguments = ["--count", "32", "--dictionary", "40", "--reproducible-key"];
    run("setup", other.path(), &arguments).succeeds();
    let encoder = copy.path().join("client/encoder.safetensors");
    fs::remove_file(&encoder).unwrap();
    fs::hard_link(other.path().join("client/encoder.safetensors"), &encoder).unwrap();
    let (image, pixel) = (copy.path().join("a.png"), include_bytes!("pixel.png"));
    fs::write(&image, pixel).unwrap();
    run("infer", copy.path(), &["encrypt", "--image", image.to_str().unwrap()])
        .fails(&["client/encoder.safetensors", "not the encoder of this run"]);
}

#[test]
fn files_of_another_key_are_refused() {
    let other = empty();
    run("setup", other.path(), &[&SETUP[..], &["--seed", "2"]].concat()).succeeds();
    for (file, command) in [("train.data", "train"), ("evaluation.keys", "setup")] {
        let copy = untrained();
        let file = format!("server/{file}");
        fs::remove_file(copy.path().join(&file)).unwrap();
        fs::hard_link(other.path().join(&file), copy.path().join(&file)).unwrap();
        let words = [file.as_str(), "key is", "expected"];
        run("setup", copy.path(), &SETUP).fails(&words);
        if command == "train" {
            run("train", copy.path(), &[]).fails(&words);
        }
    }
}

#[test]
fn scores_of_other_classes_are_refused() {
    let copy = copy(&[]);
    run("infer", copy.path(), &["encrypt"]).succeeds();
    run("infer", copy.path(), &["score"]).succeeds();
    let path = copy.path().join("server/scores/scores.enc");
    let scores = EncryptedScores::load(&path).unwrap();
    assert_eq!((scores.samples(), scores.classes()), (1, 10));
    // The same values as two samples of five classes.
    let mut meta = scores.meta();
    meta["classes"] = 5.into();
    let mut bytes = Vec::new();
    write_to(&mut bytes, Header { meta, ..scores.header() }, &scores.payload()).unwrap();
    fs::write(&path, bytes).unwrap();
    let words = ["server/scores/scores.enc", "scores of 5 classes, expected 10"];
    run("infer", copy.path(), &["read"]).fails(&words);
}
