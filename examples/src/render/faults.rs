//! Planted faults and the tests that notice them, as a section of the book.

use serde::{Deserialize, Serialize};

use super::facts;

/// What `faults/plant.py` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// How many faults were noticed.
    pub noticed: usize,
    /// Each fault.
    pub faults: Vec<Fault>,
    /// Processor and cores.
    pub machine: String,
    /// Commit in which they were planted.
    pub commit: String,
    /// Command.
    pub command: String,
}

/// A fault that was planted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What is wrong.
    pub fault: String,
    /// Where it was planted.
    pub file: String,
    /// `noticed` or `missed`.
    pub outcome: String,
    /// The tests that failed.
    pub by: Vec<String>,
    /// The command of the tests.
    pub test: String,
}

impl Faults {
    /// Returns the results as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let rows = [
            ("noticed", format!("{} of {}", self.noticed, self.faults.len())),
            ("machine", self.machine.clone()),
            ("command", format!("`{}`", self.command)),
            ("commit", format!("`{}`", self.commit)),
        ];
        let mut text = facts(name, &rows);
        text.push_str("\n| fault | planted in | outcome | by |\n|---|---|---|---|\n");
        for Fault { fault, file, outcome, by, .. } in &self.faults {
            let by: Vec<String> = by.iter().map(|test| format!("`{test}`")).collect();
            text.push_str(&format!("| {fault} | `{file}` | {outcome} | {} |\n", by.join(", ")));
        }
        text
    }
}
