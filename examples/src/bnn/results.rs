//! The results of encrypted inference with public weights, as a file and as a page of the book.

use fhe_train::Provenance;
use serde::{Deserialize, Serialize};

use crate::results::facts;

/// A network in the clear and on encrypted images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BnnResults {
    /// Name of the model.
    pub model: String,
    /// blake3 hash of the file of its weights.
    pub weights: String,
    /// Name of the parameter set.
    pub parameter_set: String,
    /// Seed of the twin's noise; keys are drawn anew by every part of the work.
    pub seed: u64,
    /// Threads.
    pub threads: usize,
    /// Lookups of an image.
    pub lookups: u64,
    /// Lookups that are read with noise.
    pub noisy_lookups: u64,
    /// Bound on the probability that one of the others goes wrong in an image.
    pub failure: f64,
    /// Of each layer with lookups: name, number of them, standard deviation of the reading's noise
    /// in integers.
    pub layers: Vec<(String, u64, f64)>,
    /// Test images in the clear.
    pub test_images: usize,
    /// Share that the exact twin classifies rightly.
    pub exact_accuracy: f64,
    /// Share that the twin with the predicted noise classifies rightly.
    pub noisy_accuracy: f64,
    /// Share for which both decide alike.
    pub predicted_share: f64,
    /// Test images that were evaluated encrypted, one at a time.
    pub images: Vec<EncryptedImage>,
    /// Where the figures come from: the last part of the work.
    pub provenance: Provenance,
}

/// One encrypted inference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptedImage {
    /// Index in the test set.
    pub index: usize,
    /// Its label.
    pub label: usize,
    /// The exact twin's decision.
    pub exact: usize,
    /// The decrypted decision.
    pub encrypted: usize,
    /// Seconds of the server's part.
    pub seconds: f64,
    /// Seconds of one of tfhe's own key switches and bootstraps on each thread, just before.
    pub raw_seconds: f64,
}

impl BnnResults {
    /// Returns the wall time over lookups times raw bootstrapping cost over threads.
    #[must_use]
    pub fn efficiency(&self) -> f64 {
        let wall: f64 = self.images.iter().map(|image| image.seconds).sum();
        let raw: f64 = self.images.iter().map(|image| image.raw_seconds).sum();
        wall * self.threads as f64 / (self.lookups as f64 * raw)
    }

    /// Returns the number of encrypted decisions that are the exact twin's.
    #[must_use]
    pub fn same(&self) -> usize {
        self.images.iter().filter(|image| image.exact == image.encrypted).count()
    }

    /// Returns the results as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let count = self.images.len();
        let seconds = self.images.iter().map(|image| image.seconds);
        let mean = |sum: f64| sum / count.max(1) as f64;
        let raw = mean(self.images.iter().map(|image| image.raw_seconds).sum());
        let right = self.images.iter().filter(|image| image.label == image.encrypted).count();
        let (fastest, slowest) =
            seconds.clone().fold((f64::INFINITY, 0f64), |(a, b), s| (a.min(s), b.max(s)));
        let noise: Vec<String> =
            self.layers.iter().map(|(name, _, noise)| format!("{name} {noise:.2}")).collect();
        let rows = [
            ("top-1 of the exact twin", format!("{:.4}", self.exact_accuracy)),
            ("top-1 of the twin with noise", format!("{:.4}", self.noisy_accuracy)),
            ("test images of the twins", self.test_images.to_string()),
            ("lookups an image", self.lookups.to_string()),
            ("of these, read with noise", self.noisy_lookups.to_string()),
            ("failure of the others, an image", format!("{:.1e}", self.failure)),
            ("noise of readings, in integers", noise.join(", ")),
            ("encrypted images", count.to_string()),
            ("of these, classified rightly", right.to_string()),
            ("of these, decided as the exact twin does", self.same().to_string()),
            ("the same, predicted share", format!("{:.4}", self.predicted_share)),
            ("server's part of an image, mean", format!("{:.2} s", mean(seconds.sum()))),
            ("fastest, slowest", format!("{fastest:.2} s, {slowest:.2} s")),
            ("raw key switch + bootstrap in the same run", format!("{:.1} ms", raw * 1e3)),
            ("efficiency", format!("{:.3}", self.efficiency())),
            ("threads", self.threads.to_string()),
            ("largest memory", format!("{:.2} GB", self.provenance.peak_memory_bytes as f64 / 1e9)),
            ("parameter set", format!("`{}`", self.parameter_set)),
            ("seed", self.seed.to_string()),
            ("machine", self.provenance.machine.clone()),
            ("command", format!("`{}`", self.provenance.command)),
            ("commit", format!("`{}`", self.provenance.commit)),
        ];
        facts(name, &rows)
    }
}
