//! Many encrypted inferences beside the decrypted model.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use fhe_core::store::{EncryptedQuery, Message, Secrecy};
use fhe_examples::client::ClientFolder;
use fhe_examples::program;
use fhe_examples::results::{Inference, Results};
use fhe_examples::server::ServerFolder;
use fhe_examples::signals::Stop;
use fhe_examples::{file, output, progress};
use fhe_nn::argmax;
use fhe_train::{Checkpoint, Client, EncryptedScores, Server};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::checkpoint;

/// How far a check is: what Ctrl-C leaves for the next one, in RUN/client/check.json.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checked {
    /// blake3 hash of the model's file.
    model: String,
    /// Images done.
    images: usize,
    /// Of these, how many got the class of the decrypted model.
    same_class: usize,
    /// Seconds of the server's part, all images.
    seconds: f64,
    /// Seconds of the slowest image.
    slowest: f64,
}

impl Checked {
    /// Reads how far an earlier check of the same model came, if one was stopped.
    fn read(path: &Path, model: &str) -> Result<Self> {
        let new = || Self { model: model.into(), ..Self::default() };
        if !path.exists() {
            return Ok(new());
        }
        let found: Self = file::read_json(path, "stopped check")?;
        Ok(if found.model == model { found } else { new() })
    }
}

/// Classifies so many test images encrypted, and compares with the decrypted model.
pub(crate) fn run(
    client: &ClientFolder,
    folder: &ServerFolder,
    count: usize,
    results: Option<&Path>,
) -> Result<()> {
    let (owner, test, engine) = (client.open()?, client.load("test")?, folder.open()?);
    let saved = checkpoint(&owner, &folder.model())?;
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
    let (first, stop) = (checked.images.min(images) as u64, Stop::listen()?);
    let bar = progress::bar_from("encrypted inference", first, images as u64, "images");
    while checked.images < images && !stop.requested() {
        let i = checked.images;
        let sample = test.sample(i).context("no such test sample")?;
        let (seconds, class) = check_one(&owner, &engine, &saved, sample)?;
        checked.seconds += seconds;
        checked.slowest = checked.slowest.max(seconds);
        checked.same_class += usize::from(class == classes[i] as usize);
        checked.images += 1;
        bar.set_position(checked.images as u64);
    }
    bar.finish();
    if checked.images < images {
        file::write(&state, &serde_json::to_vec_pretty(&checked)?, Secrecy::Secret)?;
        let text = format!(
            "stopped after {} of {images} images; the same command goes on",
            checked.images
        );
        output::result("stopped", text, &json!({ "done": checked.images, "images": images }))?;
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
    let text = format!(
        "{} of {} encrypted inferences agree with the decrypted model (predicted share \
         {predicted_share:.4}); server {:.1} ms each, slowest {:.1} ms",
        found.same_class,
        found.images,
        found.server_seconds * 1e3,
        found.slowest_server_seconds * 1e3
    );
    Ok(output::result("checked", text, &found)?)
}

impl Checked {
    fn found(&self, predicted_share: f64) -> Inference {
        Inference {
            images: self.images,
            same_class: self.same_class,
            predicted_share: Some(predicted_share),
            server_seconds: self.seconds / self.images.max(1) as f64,
            slowest_server_seconds: self.slowest,
        }
    }
}

/// Classifies one sample encrypted: seconds of the server's part, and the class. What is sent and
/// answered goes through bytes, as it does between two machines.
fn check_one(
    owner: &Client,
    server: &Server,
    model: &Checkpoint,
    sample: ArrayView2<'_, i8>,
) -> Result<(f64, usize)> {
    let query = EncryptedQuery::from_bytes(&owner.query(sample, &model.state.recipe)?.to_bytes()?)?;
    let start = Instant::now();
    let scores = server.score(model, &query)?;
    let seconds = start.elapsed().as_secs_f64();
    let scores = EncryptedScores::from_bytes(&scores.to_bytes()?)?;
    Ok((seconds, argmax(owner.read(&scores)?)))
}
