//! What a training that was stopped goes on with.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::ops::ControlFlow;
use std::path::Path;

use fhe_core::client::ClientKey;
use fhe_core::{Params, Seed};
use fhe_train::{Client, Encryption, Recipe, Server, Trainer, TrainerOptions};
use ndarray::Array2;

/// Expects an error that says a part of a text.
fn refuses<T>(result: fhe_train::Result<T>, part: &str) {
    let error = result.map(drop).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn a_training_goes_on_with_the_data_it_began_with_only() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe::linear(4, 3).with_passes(2);
    let params = Params::toy_insecure_batch().unwrap();
    let client = Client::from_key(ClientKey::new(&params, Seed::from_number(7)));
    let server = Server::from_keys(&client.key().evaluation_keys());
    let go_on = |data: &Path, recipe: &Recipe| {
        let dataset = server.dataset(data).unwrap();
        let options = TrainerOptions { stop_after: Some(1), ..TrainerOptions::default() };
        let trainer = Trainer::open(folder.path(), server.engine(), &dataset, recipe, options)?;
        trainer.run(|_| ControlFlow::Continue(()))
    };
    let x = Array2::<i8>::from_shape_fn((6, 4), |(i, j)| if i % 3 == j { 9 } else { 1 });
    let labels = [0, 1, 2, 0, 1, 2];
    // One number, one label, or the name is another; or mini-batches of another size, of which a
    // pass has as many; then the same encrypted again.
    let encrypt = |file: &str, (x, labels): (&Array2<i8>, &[u32]), batch: usize, name: &str| {
        let path = folder.path().join(file);
        let options = Encryption { name: name.into(), ..Encryption::default() };
        let watch = |_| ControlFlow::Continue(());
        client.encrypt_watched((x.view(), labels), &recipe, batch, &path, &options, watch).unwrap();
        path
    };
    let name = Encryption::default().name;
    let path = encrypt("data", (&x, &labels), 3, &name);
    assert!(go_on(&path, &recipe).unwrap().is_none());
    let mut other = x.clone();
    other[[5, 3]] = 2;
    let numbers = encrypt("numbers", (&other, &labels), 3, &name);
    refuses(go_on(&numbers, &recipe), "made with data ");
    let labelled = encrypt("labels", (&x, &[0, 1, 2, 0, 1, 1]), 3, &name);
    refuses(go_on(&labelled, &recipe), "made with data ");
    let named = encrypt("name", (&x, &labels), 3, "another set");
    refuses(go_on(&named, &recipe), "made with data set ");
    let wider = encrypt("wider", (&x, &labels), 4, &name);
    refuses(go_on(&wider, &recipe), "made with mini-batch 3, this run has 4");
    refuses(go_on(&path, &recipe.clone().with_passes(3)), "recipe");
    let again = encrypt("again", (&x, &labels), 3, &name);
    assert!(go_on(&again, &recipe).unwrap().is_none());
    // The name is a part of the digest.
    let inputs = |path: &Path| server.dataset(path).unwrap().shape().inputs.clone();
    assert_eq!(inputs(&path), inputs(&again));
    assert_ne!(inputs(&path), inputs(&named));
}
