//! What the server's files say, and that the client does not believe them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fhe_core::client::is_reproducible;
use fhe_core::store::{ChunkReader, Lock};
use fhe_examples::client::ClientFolder;
use fhe_train::Checkpoint;
use serde_json::Value;

use crate::program::{outcome, path, run};
use crate::run::{SETUP, copy, empty, finished, untrained};

/// Reads JSON, and writes it changed in place of a link.
fn change_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::remove_file(path).unwrap();
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

#[test]
fn every_file_of_a_reproducible_key_says_so_and_programs_warn() {
    let copy = copy(&[]);
    let server = copy.path().join("server");
    let encrypted = run("infer", copy.path(), &["encrypt"]);
    assert!(encrypted.err.contains("anyone can derive it"), "{}", encrypted.err);
    encrypted.succeeds();
    let scored = run("infer", copy.path(), &["score"]);
    assert!(scored.err.contains("anyone can derive it"), "{}", scored.err);
    scored.succeeds();
    for (file, kind) in [
        ("evaluation.keys", "evaluation keys"),
        ("train.data", "encrypted data set"),
        ("model.ckpt", "encrypted model"),
        ("queries/query.enc", "encrypted query"),
    ] {
        let header = ChunkReader::open(&server.join(file), kind).unwrap().header().clone();
        assert!(is_reproducible(&header.key_id), "{file}: {}", header.key_id);
        // Nothing of the client's world.
        let text = serde_json::to_string(&header).unwrap();
        let place = copy.path().to_str().unwrap();
        assert!(!text.contains(place) && !text.contains("client"), "{file}: {text}");
    }
}

#[test]
fn the_clients_folder_is_its_owners_and_has_the_order_of_the_samples() {
    let client = finished().join("client");
    assert_eq!(client.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let order: Vec<u32> = fs::read(client.join("train.order"))
        .unwrap()
        .chunks_exact(4)
        .map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..32));
    // The built-in images have classes in turn, and the noted order says where they went.
    let split = fhe_data::builtin(1, 32, 32);
    let labels = ClientFolder::of(finished()).load("train").unwrap().labels;
    let there = split.train.labels();
    assert_ne!(labels, there);
    assert!(order.iter().zip(&labels).all(|(&i, &label)| there[i as usize] == label));
}

#[test]
fn a_run_is_set_up_again_with_the_same_data_only() {
    let copy = untrained();
    let setup = copy.path().join("client/setup.json");
    change_json(&setup, |setup| setup["data"] = "of others".into());
    let before = fs::read(copy.path().join("server/train.data")).unwrap();
    run("setup", copy.path(), &SETUP).fails(&["setup.json", "other data"]);
    assert_eq!(fs::read(copy.path().join("server/train.data")).unwrap(), before);
    // A run of before, which did not note it.
    change_json(&setup, |setup| drop(setup.as_object_mut().unwrap().remove("data")));
    run("setup", copy.path(), &SETUP).succeeds();
}

#[test]
fn the_client_keeps_its_own_recipe() {
    let copy = untrained();
    let recipe = copy.path().join("server/recipe.json");
    change_json(&recipe, |recipe| recipe["passes"] = 3.into());
    run("train", copy.path(), &[]).succeeds();
    let decrypt = |more: &[&str]| run("infer", copy.path(), &[&["decrypt"], more].concat());
    decrypt(&[]).fails(&["another recipe", "\"passes\":3", "\"passes\":1"]);
    decrypt(&["--passes", "3"]).succeeds();
    for use_of in [&["export"][..], &["check", "--count", "1"]] {
        run("infer", copy.path(), use_of).fails(&["another recipe", "\"passes\":3"]);
    }
    run("infer", copy.path(), &["export", "--passes", "3"]).succeeds();
    // Nor does another set-up take what the server says.
    run("setup", copy.path(), &SETUP).fails(&["server/recipe.json", "another recipe"]);
    // A number of steps that the client's own samples do not have.
    let training = copy.path().join("client/training.json");
    change_json(&training, |training| training["batch"] = 4.into());
    decrypt(&["--passes", "3"]).fails(&["6 steps, not 24"]);
}

#[test]
fn the_curve_is_of_the_training_that_is_decrypted() {
    let copy = untrained();
    run("train", copy.path(), &["--passes", "3"]).succeeds();
    fs::remove_file(copy.path().join("server/model.ckpt")).unwrap();
    run("train", copy.path(), &[]).succeeds();
    let results = copy.path().join("results.json");
    let name = results.to_str().unwrap();
    run("infer", copy.path(), &["decrypt", "--results", name]).succeeds();
    let found: Value = serde_json::from_slice(&fs::read(&results).unwrap()).unwrap();
    let images = found["curve"].as_array().unwrap().iter().map(|point| point[0].as_u64().unwrap());
    assert_eq!(images.collect::<Vec<_>>(), [16, 32]);
    assert_eq!(found["reproducible_key"], true);
    // Results are not made of what the server says of another training.
    change_json(&copy.path().join("server/report.json"), |report| report["images"] = 33.into());
    run("infer", copy.path(), &["decrypt", "--results", name])
        .fails(&["report.json", "not of this model"]);
}

#[test]
fn provenance_runs_no_program_of_the_folder() {
    // Where a program is started is not where it comes from.
    let copy = untrained();
    let foreign = empty();
    let mark = foreign.path().join("mark");
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        assert!(command.current_dir(foreign.path()).args(arguments).status().unwrap().success());
    };
    git(&["init", "--quiet"]);
    let hook = format!("touch '{}' #", mark.display());
    git(&["config", "core.fsmonitor", &hook]);
    let mut command = std::process::Command::new(path("train"));
    command.current_dir(foreign.path()).arg("--run").arg(copy.path());
    outcome(&mut command).succeeds();
    assert!(!mark.exists(), "a command of the folder's repository was run");
    let saved = Checkpoint::load_for(
        &copy.path().join("server/model.ckpt"),
        ClientFolder::of(copy.path()).open().unwrap().params(),
        &ClientFolder::of(copy.path()).open().unwrap().key().id(),
    );
    let commit = saved.unwrap().state.parts[0].provenance.commit.clone();
    // The folder's repository has none: it is that of the build, which may be of an archive.
    assert!(commit.len() >= 40 || commit == "unknown", "{commit}");
}

#[test]
fn a_lock_that_is_a_link_is_refused() {
    let copy = untrained();
    let valuable = copy.path().join("valuable");
    fs::write(&valuable, "text").unwrap();
    std::os::unix::fs::symlink(&valuable, copy.path().join("server/lock")).unwrap();
    run("train", copy.path(), &[]).fails(&["server/lock"]);
    assert_eq!(fs::read(&valuable).unwrap(), b"text");
    assert!(Lock::take(&copy.path().join("server/lock")).is_err());
}
