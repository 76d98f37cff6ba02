//! Changes that a tool made to the arithmetic, as a section of the book.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::facts;

/// What `faults/mutants.py` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mutants {
    /// Which part of all mutants, `K/N`: every N-th from K on.
    pub sample: String,
    /// Mutants that a test noticed.
    pub caught: usize,
    /// The tests in the order in which they were run, each on what those before had missed.
    pub caught_by: Vec<Caught>,
    /// Mutants that no test noticed.
    pub missed: Vec<Missed>,
    /// Mutants that are no program.
    pub not_built: usize,
    /// The processor, and how many cores it has.
    pub machine: String,
    /// The commit that was changed.
    pub commit: String,
    /// What was run.
    pub command: String,
}

/// What some tests noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Caught {
    /// The tests.
    pub tests: String,
    /// Mutants that they noticed.
    pub caught: usize,
}

/// A mutant that no test noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Missed {
    /// The change.
    pub mutant: String,
    /// Why it cannot or need not be noticed; none if that is not known.
    pub reason: Option<String>,
}

impl Mutants {
    /// Renders a section of the book.
    #[must_use]
    pub(super) fn section(&self, name: &str) -> String {
        let tried = self.caught + self.missed.len();
        let share = self.caught as f64 / tried.max(1) as f64;
        let mut text = facts(
            name,
            &[
                ("what", "the arithmetic, changed at one place by cargo-mutants".into()),
                ("sample", self.sample.clone()),
                ("changes that are programs", tried.to_string()),
                ("of these, noticed by a test", format!("{} ({share:.3})", self.caught)),
                ("changes that are none", self.not_built.to_string()),
                ("machine", self.machine.clone()),
                ("command", format!("`{}`", self.command)),
                ("commit", format!("`{}`", self.commit)),
            ],
        );
        text.push_str(
            "\nTests are those of the crate that is changed, each on what those before missed.\n\
             Where a commit is named, they were added for it.\n\n\
             | tests | noticed |\n|---|---|\n",
        );
        for Caught { tests, caught } in &self.caught_by {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {tests} | {caught} |");
        }
        if !self.missed.is_empty() {
            text.push_str("\n| not noticed | why |\n|---|---|\n");
        }
        for Missed { mutant, reason } in &self.missed {
            let mutant = mutant.replace('|', "\\|");
            let _ = writeln!(text, "| `{mutant}` | {} |", reason.as_deref().unwrap_or("not known"));
        }
        text
    }
}
