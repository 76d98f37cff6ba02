//! A simulated training of many classes, and its price, as a section of the book.

use std::fmt::Write as _;

use super::facts;
use crate::scale::Scale;

impl Scale {
    /// Returns the results as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let of = |field: &str| self.recipe.get(field).map_or_else(String::new, |x| x.to_string());
        let mut rows = vec![
            ("what", self.what.clone()),
            ("classes", of("classes")),
            ("integers of a sample", of("inputs")),
            ("passes", of("passes")),
            ("training samples, each counted in every pass", self.images.to_string()),
            ("samples of a mini-batch", self.batch.to_string()),
            ("lookups of the encrypted training", self.lookups.to_string()),
            ("machine", self.provenance.machine.clone()),
            ("command", format!("`{}`", self.provenance.command)),
            ("commit", format!("`{}`", self.provenance.commit)),
        ];
        for run in &self.runs {
            let accuracy = format!("{:.4}", run.accuracy);
            rows.push(match run.seed {
                None => ("top-1 of the exact twin on drawn samples", accuracy),
                Some(_) => ("the same with noise", accuracy),
            });
        }
        rows.push(("price", self.price()));
        let mut text = facts(name, &rows);
        if let Some(step) = &self.step {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{}", step.section(&format!("{name}, a true mini-batch")));
        }
        text
    }
}
