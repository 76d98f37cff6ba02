//! The search for the cheapest lookup as a table of the book.

use std::fmt::Write as _;

use crate::search::Search;

impl Search {
    /// Returns the search as a section of the book.
    #[must_use]
    pub fn section(&self) -> String {
        let mut text = format!(
            "## parameter-search\n\n\
             {} candidates were predicted, and {} of them meet the head's need:\n\
             the noise of the output is at most 2^{}, and that of the input at most 2^{}.\n\
             Those were measured that no other one beats in every count of work.\n\
             The default set (`{}`) was measured too, with one to four key bits a step.\n\
             A measurement had {} rounds of {} lookups on {} threads, with the seed {}.\n\
             The command was `{}`.\n\
             The commit was `{}`.\n\
             The machine was this: {}.\n\
             Times are the least ones, in milliseconds of one core.\n\
             Noise is log2 of the standard deviation.\n\n\
             | n / bits a step | lookup b x l | key switch b x l | output noise, predicted \
             | measured | key in memory, MB | lookup | tfhe's own | ratio |\n\
             |---|---|---|---|---|---|---|---|---|\n",
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
