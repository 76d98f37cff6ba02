//! Faults that were planted by hand, as a section of the book.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::facts;

/// What `faults/plant.py` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Faults {
    /// Faults that a test noticed.
    pub noticed: usize,
    /// Each fault.
    pub faults: Vec<Fault>,
    /// The processor, and how many cores it has.
    pub machine: String,
    /// What was run.
    pub command: String,
}

/// A fault, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    /// What is wrong then.
    pub fault: String,
    /// The file that it was planted in.
    pub file: String,
    /// `noticed` or `missed`.
    pub outcome: String,
    /// Tests that failed with it.
    pub by: Vec<String>,
    /// The commit that it was planted in.
    pub commit: String,
    /// The tests that were run.
    pub test: String,
}

impl Faults {
    /// Renders a section of the book.
    #[must_use]
    pub(super) fn section(&self, name: &str) -> String {
        let mut text = facts(
            name,
            &[
                ("faults planted", self.faults.len().to_string()),
                ("of these, noticed by a test", self.noticed.to_string()),
                ("machine", self.machine.clone()),
                ("command", format!("`{}`", self.command)),
            ],
        );
        text.push_str(
            "\n| fault | planted in | commit | outcome | tests that failed |\n\
             |---|---|---|---|---|\n",
        );
        for Fault { fault, file, outcome, by, commit, .. } in &self.faults {
            let by: Vec<String> = by.iter().map(|test| format!("`{test}`")).collect();
            // Writing to a string cannot fail.
            let (short, by) = (commit.get(..8).unwrap_or(commit), by.join(", "));
            let _ = writeln!(text, "| {fault} | `{file}` | `{short}` | {outcome} | {by} |");
        }
        text
    }
}
