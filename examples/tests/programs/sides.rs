//! The server needs nothing of the client's, and the client can use what the server made.

use std::fs;

use crate::program::{command, outcome, run};
use crate::run::{copy, untrained};

#[test]
fn the_server_trains_without_the_client() {
    let copy = untrained();
    let (client, away) = (copy.path().join("client"), copy.path().join("away"));
    fs::rename(&client, &away).unwrap();
    run("train", copy.path(), &[]).succeeds();
    run("infer", copy.path(), &["decrypt"]).complains(&["client/client.key"]);

    fs::rename(&away, &client).unwrap();
    let said = run("infer", copy.path(), &["decrypt"]).succeeds();
    // The first number with a decimal point is the accuracy on the test set; guessing gives 0.1.
    let mut numbers = said.split_whitespace().filter(|word| word.contains('.'));
    let accuracy: f64 = numbers.find_map(|word| word.parse().ok()).unwrap();
    assert!((0.15..=1.0).contains(&accuracy), "{said}");
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
fn an_encrypted_image_gets_a_class() {
    let (copy, folder) = (copy(&[]), crate::run::empty());
    for step in [["encrypt", "--index", "3"].as_slice(), &["score"], &["read"]] {
        let mut command = command("infer", copy.path());
        let said = outcome(command.args(step).current_dir(folder.path())).succeeds();
        assert!(step != ["read"] || said.starts_with("class "), "{said}");
    }
}
