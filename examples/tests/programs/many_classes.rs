//! Features of many classes, drawn, and the training that is simulated on them.

use std::fs;

use fhe_data::{Selection, read_features, read_labels};

use crate::own_data::write_arrays;
use crate::program::{Outcome, bare, outcome};
use crate::run::empty;

#[test]
fn drawn_features_are_written_and_a_training_on_them_is_simulated() {
    let folder = empty();
    write_arrays(folder.path(), 90);
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (x, y, drawn) = (at("x.npy"), at("y.npy"), at("drawn.safetensors"));
    let ask = |classes: &str, more: &[&str]| -> Outcome {
        let given = ["--features", &x, "--labels", &y, "--classes", classes];
        outcome(bare("many_classes").args(given).args(more))
    };
    ask("5", &["draw", "--samples", "12", "--out", &drawn]).succeeds();
    let of = |tensor: &str| Selection { tensor: Some(tensor.into()), ..Selection::default() };
    let features = read_features(drawn.as_ref(), &of("features")).unwrap().values;
    let labels = read_labels(drawn.as_ref(), &of("labels")).unwrap();
    assert_eq!((features.dim(), labels.class_names.len()), ((12, 4), 5));
    assert_eq!(labels.labels[..6], [0, 1, 2, 3, 4, 0]);

    let results = at("results.json");
    let train = ["train", "--samples", "2000", "--test", "500", "--results", &results];
    let said = ask("3", &train).succeeds();
    assert!(said.contains("exact: ") && said.contains("2000 image-steps, 6000 lookups"), "{said}");
    let found: fhe_examples::scale::Scale =
        fhe_examples::file::read_json(results.as_ref(), "price").unwrap();
    // Three kinds of flowers, of four features: a third would be right by chance, and noise weighs
    // much with so few.
    let [exact, noisy] = [0, 1].map(|i| found.runs[i].accuracy);
    assert!(exact > 0.6 && noisy > 0.4, "{:?}", found.runs);
    assert_eq!(found.runs.iter().map(|run| run.seed).collect::<Vec<_>>(), [None, Some(1)]);

    ask("1", &["draw", "--out", &drawn]).refuses(&["2..=1000"]);
    fs::write(at("recipe.toml"), "kind = \"head\"\nclasses = 4\npasses = 1\n").unwrap();
    ask("3", &["train", "--samples", "99", "--recipe", &at("recipe.toml")])
        .fails(&["recipe.toml", "learning_rate"]);
    fs::write(&y, [0; 8]).unwrap();
    ask("3", &["draw", "--out", &drawn]).fails(&["y.npy"]);
}
