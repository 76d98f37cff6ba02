//! The whole story with the four crates alone, at 128 bits of security: floats in, an encrypted
//! training, a decrypted model and encrypted queries out.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use fhe_core::Params;
use fhe_core::store::{EncryptedQuery, Message};
use fhe_data::Quantizer;
use fhe_train::{
    Checkpoint, Client, EncryptedScores, Encryption, Error, Event, Recipe, Server, accuracy,
    confusion, tune,
};
use ndarray::{Array2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Noisy 8x8 images of three kinds: floats from 0 to 16, as scikit-learn's digits have them.
fn digits(count: usize) -> (Array2<f32>, Vec<u32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let prototypes: Vec<Vec<f32>> =
        (0..3).map(|_| (0..64).map(|_| rng.random_range(0.0..16.0)).collect()).collect();
    let labels: Vec<u32> = (0..count as u32).map(|i| i % 3).collect();
    let images = Array2::from_shape_fn((count, 64), |(i, j)| {
        (prototypes[i % 3][j] + rng.random_range(-9.0..9.0)).clamp(0.0, 16.0)
    });
    (images, labels)
}

fn go_on(_: Event) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_linear_classifier_from_floats_to_an_encrypted_answer() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);

    // The client: integers, rates, keys, encrypted data.
    let (images, labels) = digits(90);
    let quantizer = Quantizer::fit(images.slice(s![..60, ..]), 65).unwrap();
    let x = quantizer.encode(images.view()).unwrap();
    let (train, test) = x.view().split_at(Axis(0), 60);
    let recipe = Recipe::linear(quantizer.width(), 3);
    let (recipe, report) = tune(&recipe, (train, &labels[..60]), 15).unwrap();
    assert!(report.accuracy > 0.9, "{report:?}");
    let client = Client::new(&recipe.params(15).unwrap()).unwrap();
    client.write_evaluation_keys(File::create(at("keys")).unwrap()).unwrap();
    client.encrypt(train, &labels[..60], &recipe, 15, &at("data")).unwrap();

    // The server: evaluation keys and ciphertexts.
    let server = Server::new(File::open(at("keys")).unwrap()).unwrap();
    let mut seen = Vec::new();
    let model = server.train(&at("run"), &at("data"), &recipe, |event| {
        seen.push((event.step, event.steps));
        ControlFlow::Continue(())
    });
    let model = model.unwrap().unwrap();
    assert_eq!((seen.len(), seen[3]), (4, (4, 4)));

    // The client again: decrypts, tests, exports, asks.
    let clear = client.decrypt(&model).unwrap();
    let predicted = clear.predict(test).unwrap();
    let counts = confusion(3, &labels[60..], predicted.as_slice().unwrap()).unwrap();
    assert!(accuracy(&counts) > 0.9, "{counts}");
    clear.save_safetensors(&at("model.safetensors")).unwrap();
    let query = client.query(test.slice(s![..2, ..]), &recipe).unwrap().to_bytes().unwrap();
    let query = EncryptedQuery::from_bytes(&query).unwrap();
    let scores = server.score(&model, &query).unwrap().to_bytes().unwrap();
    let scores = EncryptedScores::from_bytes(&scores).unwrap();
    let logits = client.read(&scores).unwrap();
    let exact = clear.scores(test.slice(s![..2, ..])).unwrap();
    let off = (&logits - &exact).mapv(f64::abs).fold(0.0, |most: f64, &x| most.max(x));
    // An encrypted product adds noise of about 2^-11 of the torus, 1/32 of a logit's unit.
    assert!(off > 0.0 && off < 0.2, "{off}: {logits} {exact}");

    // Weights as they are exported give the same scores.
    let layer = &clear.layers().unwrap()[0];
    let weights = layer.weights.to_shape((3, 65)).unwrap();
    let by_hand = test.mapv(f64::from).dot(&weights.t());
    let clear_scores = clear.scores(test).unwrap();
    let off = (&by_hand - &clear_scores).mapv(f64::abs).fold(0.0, |most: f64, &x| most.max(x));
    assert!(off < 1e-9, "{off}");

    refuses_what_does_not_belong_together(&client, &server, &model, &query, &scores);
}

fn refuses_what_does_not_belong_together(
    client: &Client,
    server: &Server,
    model: &Checkpoint,
    query: &EncryptedQuery,
    scores: &EncryptedScores,
) {
    let stranger = Client::new(client.params()).unwrap();
    let text = |error: Error| error.to_string();
    assert!(text(stranger.read(scores).unwrap_err()).contains("key"));
    assert!(text(stranger.decrypt(model).unwrap_err()).contains("key"));
    let foreign = stranger.query(Array2::zeros((1, 65)).view(), &model.state.recipe).unwrap();
    assert!(text(server.score(model, &foreign).unwrap_err()).contains("key"));

    let mut bytes = query.to_bytes().unwrap();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    assert!(EncryptedQuery::from_bytes(&bytes).unwrap_err().to_string().contains("checksum"));
    let json = serde_json::to_string(scores).unwrap();
    assert_eq!(*scores, serde_json::from_str::<EncryptedScores>(&json).unwrap());
    assert!(serde_json::from_str::<EncryptedQuery>(&json).is_err());
    let wide = Array2::<i8>::zeros((1, 2049));
    assert!(text(client.query(wide.view(), &model.state.recipe).unwrap_err()).contains("2049"));
}

/// Trains a two-layer network on the first 12 samples, stopped at a step and gone on with.
fn network(folder: &Path, stop_at: Option<usize>) -> Checkpoint {
    let at = |name: &str| -> PathBuf { folder.join(name) };
    let (images, labels) = digits(60);
    let quantizer = Quantizer::fit(images.view(), 65).unwrap();
    let x = quantizer.encode(images.view()).unwrap();
    let recipe = Recipe::mlp(65, &[5], 3);
    let (recipe, report) = tune(&recipe, (x.view(), &labels), 12).unwrap();
    assert_eq!((report.trained, report.held_out, report.trials.len()), (48, 12, 7));
    let params = recipe.params(12).unwrap();
    assert_eq!(params.name, Params::secure128_deep_v4().unwrap().name);
    let client = Client::new(&params).unwrap();
    let server = Server::from_keys(&client.key().evaluation_keys());
    let train = (x.view().slice_move(s![..12, ..]), &labels[..12]);
    client.encrypt(train.0, train.1, &recipe, 6, &at("data")).unwrap();
    let quote = server.price(&server.dataset(&at("data")).unwrap(), &recipe).unwrap();
    // Of each of two mini-batches all lanes of five hidden units, forward and backward, and a row
    // of weights of the second layer, in batches. Three scores of each sample one at a time.
    assert_eq!(quote.list.price.batched, 2 * 2048 * (2 * 5 + 1));
    assert_eq!(quote.list.price.lookups, 12 * 3);
    let watch = |event: Event| match stop_at {
        Some(step) if event.step == step => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let first = server.train(&at("run"), &at("data"), &recipe, watch).unwrap();
    let model = match stop_at {
        None => first.unwrap(),
        Some(_) => {
            assert!(first.is_none());
            server.train(&at("run"), &at("data"), &recipe, go_on).unwrap().unwrap()
        }
    };

    let clear = client.decrypt(&model).unwrap();
    let shapes: Vec<Vec<usize>> =
        clear.layers().unwrap().iter().map(|layer| layer.weights.shape().to_vec()).collect();
    assert_eq!(shapes, [[5, 65, 1, 1], [3, 5, 1, 1]]);
    let query = client.query(x.view().slice_move(s![12..13, ..]), &recipe).unwrap();
    let logits = client.read(&server.score(&model, &query).unwrap()).unwrap();
    let exact = clear.scores(x.view().slice_move(s![12..13, ..])).unwrap();
    let off = (&logits - &exact).mapv(f64::abs).fold(0.0, |most: f64, &x| most.max(x));
    assert!(off < 2.0, "{off}: {logits} {exact}");

    model
}

#[test]
fn a_network_of_two_layers_is_stopped_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let model = network(folder.path(), Some(1));
    assert_eq!((model.state.step, model.state.parts.len()), (2, 2));
}

#[test]
fn samples_that_do_not_fit_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let recipe = Recipe::linear(4, 3);
    let client = Client::new(&recipe.params(2).unwrap()).unwrap();
    let x = Array2::<i8>::ones((4, 4));
    let fails = |x: &Array2<i8>, labels: &[u32], batch: usize, part: &str| {
        let error =
            client.encrypt(x.view(), labels, &recipe, batch, &path).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    fails(&x, &[0, 1, 2], 2, "number of labels is 3, expected 4");
    fails(&x, &[0, 1, 2, 3], 2, "label of sample 3 is no class");
    fails(&x, &[0, 1, 2, 0], 0, "mini-batch");
    fails(&Array2::ones((4, 5)), &[0; 4], 2, "number of features is 5");
    fails(&Array2::ones((0, 4)), &[], 2, "number of samples is 0");
    assert!(!path.exists() && !path.with_extension("part").exists());
}

#[test]
fn an_encryption_is_broken_off_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let (path, again) = (folder.path().join("data"), folder.path().join("again"));
    let recipe = Recipe::linear(4, 2);
    let client = Client::new(&recipe.params(2).unwrap()).unwrap();
    let (x, labels) = (Array2::<i8>::ones((4, 4)), [0, 1, 0, 1]);
    let run = |path: &Path, stop: bool, deterministic: bool| {
        let options = Encryption { name: "four".into(), deterministic };
        let watch = |_| if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let data = (x.view(), &labels[..]);
        client.encrypt_watched(data, &recipe, 2, path, &options, watch).unwrap()
    };
    // Deterministic: the same file, whether or not it was interrupted.
    assert!(!run(&path, true, true) && !path.exists());
    assert!(run(&path, false, true) && run(&again, false, true));
    let bytes = |path: &Path| std::fs::read(path).unwrap();
    assert!(bytes(&path) == bytes(&again));
    // Fresh: another file each time.
    let fresh = [folder.path().join("fresh1"), folder.path().join("fresh2")];
    assert!(fresh.iter().all(|path| run(path, false, false)));
    assert!(bytes(&fresh[0]) != bytes(&fresh[1]) && bytes(&fresh[0]) != bytes(&path));
}
