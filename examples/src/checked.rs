//! How far a check of encrypted inferences has come.

use std::path::Path;

use anyhow::{Result, ensure};
use fhe_core::store::Secrecy;
use serde::{Deserialize, Serialize};

use crate::file;
use crate::results::{Inference, Together};

/// The encrypted inferences that were compared with the decrypted model, as a check that is stopped
/// leaves them for the next one, in `RUN/client/check.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// blake3 hash of the model's file.
    model: String,
    /// Images done.
    images: usize,
    /// Of these, how many got the class of the decrypted model.
    same_class: usize,
    /// Images that had a query of their own.
    alone: usize,
    /// Seconds of the server's part for these.
    alone_seconds: f64,
    /// Seconds of the slowest of these.
    slowest: f64,
    /// Seconds of the server's part for the others, several in a query.
    together_seconds: f64,
}

impl Checked {
    /// Begins with the model whose file has this hash.
    #[must_use]
    pub fn begin(model: &str) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Reads how far an earlier check of the same model came, or begins if there is none.
    ///
    /// # Errors
    /// If the file says something else, or what no check can have found.
    pub fn read(path: &Path, model: &str) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::begin(model));
        }
        let found: Self = file::read_json(path, "stopped check")?;
        let counts = found.same_class.max(found.alone) <= found.images;
        let seconds = [found.alone_seconds, found.slowest, found.together_seconds];
        ensure!(
            counts && seconds.iter().all(|&seconds| (0.0..f64::INFINITY).contains(&seconds)),
            "{}: more images than there are, or no times; remove it to begin the check anew",
            path.display()
        );
        Ok(if found.model == model { found } else { Self::begin(model) })
    }

    /// Writes it, for the client alone.
    ///
    /// # Errors
    /// Those of the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        file::write(path, &serde_json::to_vec_pretty(self)?, Secrecy::Secret)
    }

    /// Returns how many images are done.
    #[must_use]
    pub fn images(&self) -> usize {
        self.images
    }

    /// Counts the images of a query.
    pub fn add(&mut self, images: usize, same: usize, seconds: f64) {
        self.images += images;
        self.same_class += same;
        if images == 1 {
            self.alone += 1;
            self.alone_seconds += seconds;
            self.slowest = self.slowest.max(seconds);
        } else {
            self.together_seconds += seconds;
        }
    }

    /// Returns what was found, beside the share that noise alone would leave the same.
    #[must_use]
    pub fn found(&self, predicted_share: f64) -> Inference {
        let together = self.images - self.alone;
        let seconds = self.together_seconds;
        Inference {
            images: self.images,
            same_class: self.same_class,
            predicted_share: Some(predicted_share),
            server_seconds: self.alone_seconds / self.alone.max(1) as f64,
            slowest_server_seconds: self.slowest,
            together: (together > 0).then_some(Together { images: together, seconds }),
        }
    }
}
