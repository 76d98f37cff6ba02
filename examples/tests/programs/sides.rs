//! The server needs nothing of the client's, and the client can use what the server made.

use std::fs;
use std::path::Path;

use crate::program::{command, outcome, run};
use crate::run::{copy, empty, untrained};

#[test]
fn the_server_trains_without_the_client() {
    let (alone, whole) = (untrained(), copy(&[]));
    let (client, away) = (alone.path().join("client"), alone.path().join("away"));
    fs::rename(&client, &away).unwrap();
    run("train", alone.path(), &[]).succeeds();
    run("infer", alone.path(), &["decrypt"]).fails(&["client/client.key"]);

    fs::rename(&away, &client).unwrap();
    let (ours, theirs) = (accuracy(alone.path()), accuracy(whole.path()));
    assert!((0.0..=1.0).contains(&ours) && ours == theirs, "{ours}, {theirs}");
}

/// Decrypts a run's model, and returns its accuracy: the first number with a decimal point.
fn accuracy(folder: &Path) -> f64 {
    let said = run("infer", folder, &["decrypt"]).succeeds();
    let mut numbers = said.split_whitespace().filter(|word| word.contains('.'));
    numbers.find_map(|word| word.parse().ok()).unwrap()
}

#[test]
fn the_server_has_no_secret_key() {
    let copy = copy(&[]);
    // The key file ends with the 32 bytes of the seed and a checksum of 32 bytes.
    let key = fs::read(copy.path().join("client/client.key")).unwrap();
    let seed = &key[key.len() - 64..key.len() - 32];
    assert!(holds(&key, seed));
    let mut searched = 0;
    let mut folders = vec![copy.path().join("server")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert!(!holds(&fs::read(&path).unwrap(), seed), "{} leaks", path.display());
                searched += 1;
            }
        }
    }
    assert!(searched >= 5, "keys, data, recipe, model, report");
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window[0] == needle[0] && window == needle)
}

#[test]
fn an_encrypted_image_gets_a_class_and_scores() {
    let copy = copy(&[]);
    run("infer", copy.path(), &["encrypt", "--index", "3"]).succeeds();
    assert!(copy.path().join("server/queries/query.enc").exists());
    // The server needs nothing of the client's.
    let (client, away) = (copy.path().join("client"), copy.path().join("away"));
    fs::rename(&client, &away).unwrap();
    run("infer", copy.path(), &["score"]).succeeds();
    fs::rename(&away, &client).unwrap();
    assert!(copy.path().join("server/scores/scores.enc").exists());
    let said = run("infer", copy.path(), &["read"]).succeeds();
    let mut lines = said.lines();
    let class = lines.next().unwrap();
    let scores: Vec<(f64, &str)> = (lines.skip(1))
        .map(|line| line.trim().split_once("  ").unwrap())
        .map(|(score, class)| (score.parse().unwrap(), class))
        .collect();
    assert_eq!(scores.len(), 10, "{said}");
    assert!(scores.is_sorted_by(|a, b| a.0 >= b.0), "{said}");
    assert_eq!(class, format!("class {}", scores[0].1));
}

#[test]
fn several_samples_are_one_query() {
    let copy = copy(&[]);
    let infer = |arguments: &[&str]| run("infer", copy.path(), arguments);
    // The first score of each sample, which is its largest one.
    let largest = || -> Vec<f64> {
        let said = infer(&["read"]).succeeds();
        let scores = said.split("scores, as logits:\n").skip(1);
        scores.map(|s| s.split_whitespace().next().unwrap().parse().unwrap()).collect()
    };
    let said = infer(&["encrypt", "--index", "2", "--count", "3"]).succeeds();
    assert!(said.starts_with("encrypted 3 samples: "), "{said}");
    let said = infer(&["score"]).succeeds();
    assert!(said.starts_with("scored 3 samples in ") && said.contains(" ms each: "), "{said}");
    let said = infer(&["read"]).succeeds();
    assert!((0..3).all(|i| said.contains(&format!("sample {i}: class "))), "{said}");
    let together = largest();
    assert_eq!(together.len(), 3);
    for (i, index) in ["2", "3", "4"].into_iter().enumerate() {
        infer(&["encrypt", "--index", index]).succeeds();
        infer(&["score"]).succeeds();
        let alone = largest();
        assert!((alone[0] - together[i]).abs() < 0.5, "{index}: {alone:?}, {together:?}");
    }
    infer(&["encrypt", "--index", "30", "--count", "3"])
        .fails(&["--index 30 --count 3: the test set has 32 samples"]);
    infer(&["encrypt", "--count", "0"]).refuses(&["--count", "1.."]);
}

#[test]
fn a_query_lies_where_it_is_told_to() {
    let (copy, folder) = (copy(&[]), empty());
    for step in [
        ["encrypt", "--out", "deep/a.enc"].as_slice(),
        &["score", "--query", "deep/a.enc", "--out", "b.enc"],
        &["read", "--scores", "b.enc"],
    ] {
        let mut command = command("infer", copy.path());
        let said = outcome(command.args(step).current_dir(folder.path())).succeeds();
        assert!(step[0] != "read" || said.starts_with("class "), "{said}");
    }
    assert!(!copy.path().join("server/queries").exists());
}
