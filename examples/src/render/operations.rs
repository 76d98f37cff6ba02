//! The operations of binarized inference as a table of the book.

use std::fmt::Write as _;

use crate::bnn::operations::Operations;

impl Operations {
    /// Returns the operations as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let mut text = format!(
            "## {name}\n\n\
             The command was `{}`.\n\
             It ran on {} threads of this machine: {}.\n\
             The commit was `{}`.\n\n\
             | operation | time |\n|---|---|\n",
            self.provenance.command, self.threads, self.provenance.machine, self.provenance.commit
        );
        for (group, name, seconds) in &self.operations {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {group}: {name} | {:.1} ms |", seconds * 1e3);
        }
        text
    }
}
