//! The fast twin as a section of the book, as a figure and as a line.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::{facts, figure};
use crate::fast::{FastResults, Outcome};

impl FastResults {
    /// Draws the learning curve as SVG.
    ///
    /// # Errors
    /// Those of the file.
    pub fn draw(&self, path: &Path) -> Result<()> {
        let exact = self.repeats.iter().find(|run| run.0.is_none());
        let exact = exact.map_or(self.accuracy, |run| run.1);
        figure::learning_curve(path, &self.curve, "noisy twin, in the clear", exact)
    }

    /// Returns the results as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let repeats = self.repeats.iter().map(|(seed, accuracy)| {
            let what = seed.map_or_else(|| "exact".to_owned(), |seed| format!("seed {seed}"));
            format!("{accuracy:.4} ({what})")
        });
        let numbers = |x: &[u64]| x.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let rows = [
            ("what", self.what.clone()),
            ("top-1", repeats.collect::<Vec<_>>().join(", ")),
            ("test images", self.test_images.to_string()),
            ("training images", self.images.to_string()),
            ("lookups of the encrypted training", self.lookups.to_string()),
            ("mini-batch", self.batch.to_string()),
            ("pre-activations that wrap, by layer", numbers(&self.wraps)),
            ("errors beyond their range, by layer", numbers(&self.lost_errors)),
            ("simulation, wall time of the first seed", format!("{:.0} s", self.wall_seconds)),
            ("threads", self.threads.to_string()),
            ("parameter set", format!("`{}`", self.parameter_set)),
            ("data set", self.dataset.clone()),
            ("machine", self.machine.clone()),
            ("command", format!("`{}`", self.command)),
            ("commit", format!("`{}`", self.commit)),
        ];
        let mut text = facts(name, &rows);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n![learning curve](figures/{name}-curve.svg)");
        text
    }
}

/// One line about a run.
#[must_use]
pub fn line(seed: Option<u64>, run: &Outcome, tested: usize) -> String {
    let mut line = seed.map_or_else(|| "exact".into(), |seed| format!("noise {seed}"));
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        ": {:.4}, tested on {tested} images; trained on {}, {} lookups, {:.1} s; \
         wraps {:?}, lost errors {:?}",
        run.accuracy,
        run.images,
        run.lookups,
        run.wall_seconds,
        run.wraps.pre_activations,
        run.wraps.errors
    );
    line
}
