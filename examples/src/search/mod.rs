//! The search for the cheapest lookup: candidates, their measurement, and the table of the book.

pub mod candidate;
pub mod measure;

use std::fmt::Write as _;

use candidate::{Candidate, Need};
use fhe_train::Provenance;
use serde::{Deserialize, Serialize};

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The default set, whose other parameters all candidates share.
    pub parameter_set: String,
    /// Threads.
    pub threads: usize,
    /// Seed of the keys.
    pub seed: u64,
    /// Lookups of a round.
    pub values: u32,
    /// Timed rounds.
    pub rounds: u32,
    /// What the recipe needs.
    pub need_log2_std: Need,
    /// What computed it.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// Number of candidates predicted.
    pub predicted: usize,
    /// How many of them meet the need.
    pub meeting_need: usize,
    /// Those measured.
    pub candidates: Vec<Candidate>,
}

impl Search {
    /// Returns the search as a section of the book.
    #[must_use]
    pub fn section(&self) -> String {
        let mut text = format!(
            "## parameter-search\n\n\
             {} candidates predicted, of which {} meet the head's need (noise of the output at most 2^{}, \
             of the input at most 2^{}). Measured are those that no other one beats in every count of work, and \
             the default set (`{}`) with one to four key bits a step: {} rounds of {} lookups on {} threads, seed \
             {}, `{}`, commit `{}`, {}. Least times, in milliseconds of one core; noise as log2 of the standard \
             deviation.\n\n\
             | n / bits a step | lookup b x l | key switch b x l | output noise, predicted | measured | \
             key in memory, MB | lookup | tfhe's own | ratio |\n|---|---|---|---|---|---|---|---|---|\n",
            self.predicted,
            self.meeting_need,
            self.need_log2_std.output,
            self.need_log2_std.input,
            self.parameter_set,
            self.rounds,
            self.values,
            self.threads,
            self.seed,
            self.provenance.command,
            self.provenance.commit,
            self.provenance.machine,
        );
        for c in &self.candidates {
            let Some(m) = &c.measured else { continue };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {} / {} | {} x {} | {} x {} | {:.2} | {:.2} | {:.0} | {:.1} | {:.1} | {:.2} |",
                c.short_dimension,
                c.lookup_group,
                c.lookup.base_log,
                c.lookup.levels,
                c.key_switch.base_log,
                c.key_switch.levels,
                c.predicted.output_log2_std,
                m.output_log2_std,
                c.predicted.key_bytes_in_memory as f64 / 1e6,
                m.lookup.minimum_ms,
                m.raw.minimum_ms,
                m.ratio_of_minimums,
            );
        }
        text
    }
}
