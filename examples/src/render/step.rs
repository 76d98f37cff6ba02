//! One training step as a section of the book.

use std::fmt::Write as _;

use super::facts;
use crate::step::StepResults;

impl StepResults {
    /// Returns the results as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let per_lookup = self.wall_seconds * self.threads as f64 / self.lookups.max(1) as f64;
        let rows = [
            ("encrypted images", self.images.to_string()),
            ("parameters, all updated", self.parameters.to_string()),
            ("lookups", self.lookups.to_string()),
            ("server's moves, wall time", format!("{:.0} s", self.wall_seconds)),
            ("the same, predicted", format!("{:.0} s", self.predicted_seconds)),
            ("time of cores for an image", format!("{:.2} s", self.core_seconds_per_image)),
            (
                "a parameter",
                format!("{:.2} ms", 1e3 * self.wall_seconds / self.parameters.max(1) as f64),
            ),
            ("threads", self.threads.to_string()),
            ("wall time x threads / lookups", format!("{:.2} ms", per_lookup * 1e3)),
            (
                "raw key switch + bootstrap in the same run",
                format!("{:.1} ms", self.raw_seconds * 1e3),
            ),
            ("efficiency", format!("{:.3}", self.efficiency)),
            ("largest memory", format!("{:.2} GB", self.peak_memory_bytes as f64 / 1e9)),
            ("parameter set", format!("`{}`", self.parameter_set)),
            ("seed", self.seed.to_string()),
            ("machine", self.machine.clone()),
            ("command", format!("`{}`", self.command)),
            ("commit", format!("`{}`", self.commit)),
        ];
        let mut text = facts(name, &rows);
        self.push_updates(&mut text);
        self.push_noise(&mut text);
        self.push_seconds(&mut text);
        text
    }

    fn push_updates(&self, text: &mut String) {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\nThis is the update of every layer, and its noise.\n\
             Both are log2 of root mean squares, in fractions of the torus.\n\
             What is predicted is the mean of {} twins with noise.\n\n\
             | layer | weights | update | its noise | predicted | correlation with the exact twin \
             | predicted |\n\
             |---|---|---|---|---|---|---|\n",
            self.twins
        );
        for l in &self.layers {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {:.4} | {:.4} |",
                l.name,
                l.weights,
                bits(l.update),
                bits(l.measured_noise),
                bits(l.predicted_noise),
                l.correlation,
                l.predicted_correlation
            );
        }
    }

    fn push_noise(&self, text: &mut String) {
        let _ = write!(
            text,
            "\nEvery move was decrypted, and compared with the same move in the clear on the \
             decrypted inputs.\n\
             The differences are log2 of root mean squares, in fractions of the torus.\n\n\
             | move | numbers | measured | predicted |\n|---|---|---|---|\n"
        );
        for (name, noise) in &self.findings.noise {
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} |",
                noise.numbers,
                bits(noise.measured),
                bits(noise.predicted)
            );
        }
    }

    fn push_seconds(&self, text: &mut String) {
        text.push_str(
            "\nThese moves took the server's time.\n\n| move | seconds | share |\n|---|---|---|\n",
        );
        for (name, seconds) in &self.findings.seconds {
            let share = 100.0 * seconds / self.wall_seconds;
            let _ = writeln!(text, "| {name} | {seconds:.0} | {share:.1} % |");
        }
    }
}

/// Returns the logarithm of a root mean square.
fn bits(x: f64) -> String {
    if x > 0.0 { format!("{:.2}", x.log2()) } else { "none".into() }
}
