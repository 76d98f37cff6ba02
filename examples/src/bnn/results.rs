//! The results of encrypted inference with public weights, as a file.

use fhe_train::Provenance;
use serde::{Deserialize, Serialize};

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
    /// blake3 hash of the test images and their labels; older files do not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub test_set: String,
    /// Test images in the clear.
    pub test_images: usize,
    /// Share that the exact twin classifies rightly.
    pub exact_accuracy: f64,
    /// Share that the twin with the predicted noise classifies rightly.
    pub noisy_accuracy: f64,
    /// Share for which both decide alike.
    pub predicted_share: f64,
    /// Images of a query.
    #[serde(default = "one")]
    pub batch: usize,
    /// How many of these are evaluated together.
    #[serde(default = "one")]
    pub together: usize,
    /// Test images that were evaluated encrypted.
    pub images: Vec<EncryptedImage>,
    /// Mean of the seconds of the server's part.
    #[serde(default)]
    pub seconds_per_image: f64,
    /// Where the figures come from: the last part of the work.
    pub provenance: Provenance,
}

/// Older files are of queries of one image.
fn one() -> usize {
    1
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
    /// Seconds of the server's part: an equal share of those of the query.
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

    /// Adds the images of a query, and computes the mean of the seconds anew.
    pub fn add(&mut self, images: Vec<EncryptedImage>) {
        self.images.extend(images);
        let all: f64 = self.images.iter().map(|image| image.seconds).sum();
        self.seconds_per_image = all / self.images.len().max(1) as f64;
    }

    /// Returns the number of encrypted decisions that are the exact twin's.
    #[must_use]
    pub fn same(&self) -> usize {
        self.images.iter().filter(|image| image.exact == image.encrypted).count()
    }
}
