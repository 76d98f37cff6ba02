//! The results of a run as a file.

use std::fmt;

use anyhow::{Context, Result};
use fhe_core::client::is_reproducible;
use fhe_train::{Provenance, Report, Stretch};
use serde::{Deserialize, Serialize};

/// Classes up to which it is told, and drawn, which ones are taken for which.
pub const MOST_CONFUSED: usize = 30;

/// The commit that this program was built from, as [`Provenance`] has it.
pub const COMMIT: &str = env!("FHE_COMMIT");

/// Where a figure of this process comes from.
#[must_use]
pub fn here() -> Provenance {
    Provenance::here(COMMIT)
}

/// Rounds what was found with the secret key to three digits before it is published: an exact
/// figure would tell more about decryptions than anyone needs.
#[must_use]
pub fn published(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let unit = 10f64.powi(2 - x.abs().log10().floor() as i32);
    (x * unit).round() / unit
}

/// Rounds counts of decrypted decisions to hundredths of a row's sum, for the same reason.
#[must_use]
pub fn published_counts(row: &[u32]) -> Vec<u32> {
    let unit = row.iter().sum::<u32>().div_ceil(100).max(1);
    row.iter().map(|count| (count + unit / 2) / unit * unit).collect()
}

/// A finished training, as the client sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Share of test images that the decrypted model classifies rightly.
    pub accuracy: f64,
    /// The same of the exact clear twin: same data, order, recipe and tables, no noise.
    pub twin_accuracy: f64,
    /// The same of a clear twin with the predicted noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noisy_twin_accuracy: Option<f64>,
    /// Training images, each counted in every pass.
    pub images: u64,
    /// Lookups.
    pub lookups: u64,
    /// Seconds of training, all parts.
    pub wall_seconds: f64,
    /// Threads.
    pub threads: usize,
    /// Wall time over lookups times raw bootstrapping cost over threads.
    pub efficiency: f64,
    /// Name of the parameter set.
    pub parameter_set: String,
    /// Seed of the set-up.
    pub seed: u64,
    /// Whether anyone can derive the secret key; older files do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproducible_key: Option<bool>,
    /// Command of the training.
    pub command: String,
    /// Commit of its last part.
    pub commit: String,
    /// Machine of its last part.
    pub machine: String,
    /// Largest resident memory of all parts.
    pub peak_memory_bytes: u64,
    /// Name of the data set.
    pub dataset: String,
    /// Test images.
    pub test_images: usize,
    /// The public recipe, as it was then.
    pub recipe: serde_json::Value,
    /// The stretches of work.
    pub parts: Vec<Stretch>,
    /// Images seen and test accuracy, of each decrypted snapshot.
    pub curve: Vec<(u64, f64)>,
    /// Class names.
    pub classes: Vec<String>,
    /// Test images of each class (row) taken for each class (column); nothing of more classes than
    /// [`MOST_CONFUSED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confusion: Vec<Vec<u32>>,
    /// Encrypted inference, if it was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference: Option<Inference>,
}

/// Encrypted inferences beside the decrypted model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inference {
    /// Number of images.
    pub images: usize,
    /// Of these, how many got the class that the decrypted model gives.
    pub same_class: usize,
    /// Share of all test images for which the decrypted model gives the same class with the
    /// predicted noise of an encrypted inference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_share: Option<f64>,
    /// Mean seconds of the server's part for an image that has a query of its own.
    pub server_seconds: f64,
    /// Longest of these.
    pub slowest_server_seconds: f64,
    /// The images that had no query of their own, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub together: Option<Together>,
}

/// Encrypted inferences of many images at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Together {
    /// Number of images.
    pub images: usize,
    /// Seconds of the server's part for all of them.
    pub seconds: f64,
}

impl fmt::Display for Inference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, same_class, .. } = self;
        write!(
            f,
            "{same_class} of {images} encrypted inferences agree with the decrypted model{}; {}",
            self.predicted_share.map_or_else(String::new, |x| format!(" (predicted share {x:.4})")),
            self.times()
        )
    }
}

impl Inference {
    /// Says what the server's part takes.
    #[must_use]
    pub fn times(&self) -> String {
        let mut text = format!(
            "an image by itself {:.1} ms, slowest {:.1} ms",
            self.server_seconds * 1e3,
            self.slowest_server_seconds * 1e3
        );
        if let Some(Together { images, seconds }) = &self.together {
            text.push_str(&format!(
                "; {images} together {seconds:.1} s, {:.1} ms an image",
                seconds / *images as f64 * 1e3
            ));
        }
        text
    }
}

impl Results {
    /// Puts the server's report and the client's findings together.
    ///
    /// # Errors
    /// If the report has no part.
    pub fn new(
        report: &Report,
        key_id: &str,
        seed: u64,
        accuracy: f64,
        twin_accuracy: f64,
    ) -> Result<Self> {
        let last = report.state.parts.last().context("the training's report has no part")?;
        let memory = report.state.parts.iter().map(|part| part.provenance.peak_memory_bytes);
        Ok(Self {
            accuracy: published(accuracy),
            twin_accuracy,
            noisy_twin_accuracy: None,
            images: report.state.images,
            lookups: report.state.lookups,
            wall_seconds: report.wall_seconds,
            threads: report.threads,
            efficiency: report.efficiency,
            parameter_set: report.parameter_set.clone(),
            seed,
            reproducible_key: Some(is_reproducible(key_id)),
            command: last.provenance.command.clone(),
            commit: last.provenance.commit.clone(),
            machine: last.provenance.machine.clone(),
            peak_memory_bytes: memory.max().unwrap_or(0),
            dataset: report.state.dataset.clone(),
            test_images: 0,
            recipe: serde_json::json!(report.state.recipe),
            parts: report.state.parts.clone(),
            curve: Vec::new(),
            classes: Vec::new(),
            confusion: Vec::new(),
            inference: None,
        })
    }
}
