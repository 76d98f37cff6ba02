//! Many encrypted inferences beside the decrypted model.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use fhe_core::store::{EncryptedQuery, Message};
use fhe_examples::checked::Checked;
use fhe_examples::client::{ClientFolder, Training};
use fhe_examples::program;
use fhe_examples::results::Results;
use fhe_examples::server::ServerFolder;
use fhe_examples::signals::Stop;
use fhe_examples::{file, output, progress};
use fhe_nn::argmax;
use fhe_train::{Checkpoint, Client, EncryptedScores, Server};
use ndarray::{ArrayView2, s};
use serde_json::json;

use crate::checkpoint;

/// Classifies so many test images encrypted, and compares with the decrypted model.
pub(crate) fn run(
    (client, folder): (&ClientFolder, &ServerFolder),
    training: &Training,
    count: usize,
    results: Option<&Path>,
) -> Result<()> {
    let (owner, test, engine) = (client.open()?, client.load("test")?, folder.open()?);
    let saved = checkpoint(&owner, &folder.model())?;
    training.check_recipe(&saved.state)?;
    let model = owner.decrypt(&saved)?;
    let classes = model.predict(test.features.view())?;
    let noisy = model.with_noise(1).predict(test.features.view())?;
    let same = classes.iter().zip(&noisy).filter(|(x, y)| x == y).count();
    let predicted_share = same as f64 / classes.len().max(1) as f64;
    let images = count.min(test.labels.len());

    let state = client.path().join("check.json");
    let bytes = std::fs::read(folder.model())
        .with_context(|| format!("reading {}", folder.model().display()))?;
    let mut checked = Checked::read(&state, blake3::hash(&bytes).to_hex().as_str())?;
    let (first, stop) = (checked.images().min(images) as u64, Stop::listen()?);
    let bar = progress::bar_from("encrypted inference", first, images as u64, "images");
    // A network computes as much for one image as for those that lie side by side.
    let lanes = saved.state.recipe.lanes(owner.params())?;
    let together = lanes.map_or(1, |lanes| lanes.samples());
    while checked.images() < images && !stop.requested() {
        let first = checked.images();
        let several = if first == 0 { 1 } else { together.min(images - first) };
        let samples = test.features.view().slice_move(s![first..first + several, ..]);
        let (seconds, found) = classify(&owner, &engine, &saved, samples)?;
        let expected = classes.iter().skip(first).map(|&class| class as usize);
        let same = found.into_iter().zip(expected).filter(|(x, y)| x == y);
        checked.add(several, same.count(), seconds);
        bar.set_position(checked.images() as u64);
    }
    bar.finish();
    if checked.images() < images {
        checked.write(&state)?;
        let text = format!(
            "stopped after {} of {images} images; the same command goes on",
            checked.images()
        );
        output::result("stopped", text, &json!({ "done": checked.images(), "images": images }))?;
        return program::stopped(&stop);
    }
    let found = checked.found(predicted_share);
    if let Some(path) = results {
        let mut all: Results = file::read_json(path, "results")?;
        all.inference = Some(found.clone());
        file::write_json(path, &all)?;
    }
    if state.exists() {
        std::fs::remove_file(&state).with_context(|| format!("removing {}", state.display()))?;
    }
    Ok(output::result("checked", found.to_string(), &found)?)
}

/// Classifies the samples of a query encrypted: seconds of the server's part, and the classes. What
/// is sent and answered goes through bytes, as it does between two machines.
fn classify(
    owner: &Client,
    server: &Server,
    model: &Checkpoint,
    samples: ArrayView2<'_, i8>,
) -> Result<(f64, Vec<usize>)> {
    let query = owner.query(samples, &model.state.recipe)?.to_bytes()?;
    let query = EncryptedQuery::from_bytes(&query)?;
    let start = Instant::now();
    let scores = server.score(model, &query)?;
    let seconds = start.elapsed().as_secs_f64();
    let scores = owner.read(&EncryptedScores::from_bytes(&scores.to_bytes()?)?)?;
    Ok((seconds, scores.outer_iter().map(argmax).collect()))
}
