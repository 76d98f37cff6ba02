//! A training as a section of the book and as figures.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::{facts, figure};
use crate::results::Results;

impl Results {
    /// Draws the learning curve and, of few classes, the confusion matrix into a folder, as
    /// NAME-curve.svg and NAME-confusion.svg.
    ///
    /// # Errors
    /// Those of the files.
    pub fn draw(&self, folder: &Path, name: &str) -> Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        let path = |what: &str| folder.join(format!("{name}-{what}.svg"));
        let what = "encrypted training, decrypted";
        figure::learning_curve(&path("curve"), &self.curve, what, self.twin_accuracy)?;
        if !self.confusion.is_empty() {
            figure::confusion(&path("confusion"), &self.confusion, &self.classes)?;
        }
        Ok(())
    }

    /// Returns the results as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let raw = self.parts.iter().map(|p| p.raw_seconds * p.lookups as f64).sum::<f64>()
            / self.lookups.max(1) as f64;
        let per_lookup = self.wall_seconds * self.threads as f64 / self.lookups.max(1) as f64;
        let mut rows = vec![
            ("top-1 of the decrypted model", format!("{:.4}", self.accuracy)),
            ("top-1 of the exact clear twin", format!("{:.4}", self.twin_accuracy)),
            ("test images", self.test_images.to_string()),
            ("encrypted training images", self.images.to_string()),
            ("lookups", self.lookups.to_string()),
            ("training, wall time", format!("{:.0} s", self.wall_seconds)),
            ("threads", self.threads.to_string()),
            ("core-hours", format!("{:.1}", self.wall_seconds * self.threads as f64 / 3600.0)),
            ("wall time x threads / lookups", format!("{:.1} ms", per_lookup * 1e3)),
            ("raw key switch + bootstrap in the same run", format!("{:.1} ms", raw * 1e3)),
            ("efficiency", format!("{:.3}", self.efficiency)),
            ("largest memory", format!("{:.2} GB", self.peak_memory_bytes as f64 / 1e9)),
            ("parts", self.parts.len().to_string()),
            ("parameter set", format!("`{}`", self.parameter_set)),
            ("seed", self.seed.to_string()),
            ("machine", self.machine.clone()),
            ("command", format!("`{}`", self.command)),
            ("commit", format!("`{}`", self.commit)),
        ];
        if let Some(accuracy) = self.noisy_twin_accuracy {
            rows.insert(2, ("top-1 of the clear twin with noise", format!("{accuracy:.4}")));
        }
        if let Some(i) = &self.inference {
            let share = format!("{} of {}", i.same_class, i.images);
            rows.push(("encrypted inferences that agree with the decrypted model", share));
            if let Some(share) = i.predicted_share {
                rows.push(("the same, predicted", format!("{share:.4}")));
            }
            rows.push(("server's part of an encrypted inference", i.times()));
        }
        let mut text = facts(name, &rows);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n![learning curve](figures/{name}-curve.svg)");
        if !self.confusion.is_empty() {
            let _ = writeln!(text, "\n![confusion matrix](figures/{name}-confusion.svg)");
        }
        text
    }
}
