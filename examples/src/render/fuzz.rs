//! What changed files did to readers, as a section of the book.

use std::fmt::Write as _;

use super::facts;
use crate::fuzz::Fuzzed;

impl Fuzzed {
    /// Returns the results as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let readers = self.of_readers();
        let inputs: u64 = readers.iter().map(|found| found.inputs).sum();
        let failures: u64 = readers.iter().map(|found| found.failures).sum();
        let mut text = facts(
            name,
            &[
                ("what", "real files, changed at random, for every reader".into()),
                ("readers", readers.len().to_string()),
                ("inputs", inputs.to_string()),
                ("panics, and inputs beyond their time or memory", failures.to_string()),
                ("machine", self.provenance.machine.clone()),
                ("command", format!("`{}`", self.provenance.command)),
                ("commit", format!("`{}`", self.provenance.commit)),
            ],
        );
        text.push_str(
            "\nInputs that were taken are those that the reader and what uses it found nothing \
             wrong with.\nTime and memory are those of the worst input.\n\n\
             | reader | inputs | taken | failures | slowest, ms | memory, MB |\n\
             |---|---|---|---|---|---|\n",
        );
        for found in &readers {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {:.0} | {:.1} |",
                found.reader,
                found.inputs,
                found.taken,
                found.failures,
                found.slowest_seconds * 1e3,
                found.largest_bytes as f64 / 1e6,
            );
        }
        text
    }
}
