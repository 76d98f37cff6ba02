//! Batch lookups as a section of the book, and as figures of their chapter.

use std::fmt::Write as _;

use super::facts;
use crate::batch_lookup::results::BatchResults;

/// Lines of the chapter between which its figures stand.
const PLACE: [&str; 2] = ["<!-- from here on made by report -->\n", "<!-- up to here -->\n"];

impl BatchResults {
    /// Returns the results as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let ms = |x: f64| format!("{x:.3} ms");
        let gigabytes = |bytes: u64| format!("{:.2} GB", bytes as f64 / 1e9);
        let rows = [
            ("values of full batches that were timed", self.timed_values.to_string()),
            ("functions", self.functions.to_string()),
            ("time of cores for a value, packing included", ms(self.core_ms_per_value)),
            ("packing alone, of values that are near in memory", ms(self.packing_core_ms)),
            ("of this, in the system", ms(self.system_core_ms)),
            ("wall time of a value", ms(self.wall_ms_per_value)),
            ("time of cores for a blind rotation of four tables", ms(self.lookup_core_ms)),
            ("its values, in the same run", self.lookups.to_string()),
            ("a blind rotation over a value of a batch", format!("{:.0}", self.ratio_to_lookup)),
            (
                "raw key switch + bootstrap in the same run",
                format!("{:.1} ms", self.raw_seconds * 1e3),
            ),
            ("values judged", self.values.to_string()),
            ("wrong integers", self.wrong_integers.to_string()),
            ("wrong gates", self.wrong_gates.to_string()),
            (
                "farthest reading, in predicted standard deviations",
                format!("{:.2}", self.farthest_reading),
            ),
            ("slots", self.slots.to_string()),
            ("evaluation keys as a message", gigabytes(self.key_bytes)),
            ("to make them", format!("{:.0} s", self.key_seconds)),
            ("to open them", format!("{:.0} s", self.engine_seconds)),
            ("memory of the opened keys", gigabytes(self.engine_bytes)),
            ("largest memory of batches, with the keys", gigabytes(self.batch_memory_bytes)),
            ("largest memory, making the keys included", gigabytes(self.memory_bytes)),
            ("threads", self.threads.to_string()),
            ("parameter set", format!("`{}`", self.parameter_set)),
            ("that of the blind rotation", format!("`{}`", self.lookup_parameter_set)),
            ("seed", self.seed.to_string()),
            ("machine", self.machine.clone()),
            ("command", format!("`{}`", self.command)),
            ("commit", format!("`{}`", self.commit)),
        ];
        let mut text = facts(name, &rows);
        text.push_str(
            "\nNoise is log2 of standard deviations, in fractions of the torus.\n\n\
             | what | numbers | measured | predicted |\n|---|---|---|---|\n",
        );
        for noise in &self.noise {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {:.2} |",
                noise.what, noise.numbers, noise.measured_log2, noise.predicted_log2
            );
        }
        text.push_str(
            "\nEach stage of a batch took this time of cores.\n\n| stage | seconds |\n|---|---|\n",
        );
        for (name, seconds) in &self.stages {
            let _ = writeln!(text, "| {name} | {seconds:.2} |");
        }
        text
    }

    /// Returns the figures of the chapter.
    fn figures(&self) -> String {
        let mut text = format!(
            "\n`cargo run --release --example batch_lookup` measured this on {} threads of this \
             machine:\n{}.\n\
             [Everything that it found](results.md#{}) is on the page of results.\n\n\
             | | batch | blind rotation of four tables, same run |\n|---|---|---|\n",
            self.threads,
            self.machine,
            super::BATCH
        );
        let bits = |x: f64| format!("2^{x:.2}");
        let rows = [
            (
                format!("time of cores for a value, {} functions", self.functions),
                format!("{:.3} ms", self.core_ms_per_value),
                format!("{:.1} ms", self.lookup_core_ms),
            ),
            (
                "wrong integers".into(),
                format!("{} of {}", self.wrong_integers, self.values),
                String::new(),
            ),
            (
                "noise of the reading".into(),
                bits(self.reading_noise_log2),
                bits(self.lookup_reading_noise_log2),
            ),
            ("noise of an integer's top row".into(), bits(self.top_row_noise_log2), String::new()),
            (
                format!("noise of a product, selectors of {} values", self.lookups),
                bits(self.product_noise_log2),
                bits(self.promoted_product_noise_log2),
            ),
            (
                "the part of it that the selector brings".into(),
                bits(self.selector_noise_log2),
                bits(self.promoted_selector_noise_log2),
            ),
        ];
        for (what, batch, one) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {what} | {batch} | {one} |");
        }
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let _ = writeln!(
            text,
            "\nThe time includes packing. Alone, and of values that are near in memory, it takes\n\
             {:.3} ms a value; of a list that fills 1 GB it takes more.\n\
             The evaluation keys took {:.0} s, and have {:.2} GB as a message.\n\
             They hold {:.2} GB of memory when they are open, and {:.2} GB with a batch in work.\n",
            self.packing_core_ms,
            self.key_seconds,
            gigabytes(self.key_bytes),
            gigabytes(self.engine_bytes),
            gigabytes(self.batch_memory_bytes)
        );
        text
    }

    /// Returns a chapter with these figures in place of those that it has; `None` if it has no
    /// place for them.
    #[must_use]
    pub fn chapter(&self, text: &str) -> Option<String> {
        let (before, rest) = text.split_once(PLACE[0])?;
        let (_, after) = rest.split_once(PLACE[1])?;
        Some(format!("{before}{}{}{}{after}", PLACE[0], self.figures(), PLACE[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn figures_stand_between_their_lines_and_nothing_else_changes() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/results");
        let results: BatchResults =
            crate::file::read_json(&docs.join("batch-lookup.json"), "results").unwrap();
        let [from, to] = PLACE;
        let text = format!("before\n{from}former figures\n{to}after\n");
        let chapter = results.chapter(&text).unwrap();
        assert!(chapter.starts_with(&format!("before\n{from}\n`cargo run")), "{chapter}");
        assert!(chapter.ends_with(&format!("\n{to}after\n")) && !chapter.contains("former"));
        assert_eq!(results.chapter(&chapter), Some(chapter));
        assert_eq!(results.chapter(&format!("{to}{from}")), None);
        assert_eq!(results.chapter("nothing"), None);
    }
}
