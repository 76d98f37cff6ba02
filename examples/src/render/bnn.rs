//! Encrypted inference with public weights as a section of the book.

use super::facts;
use crate::bnn::results::BnnResults;

impl BnnResults {
    /// Returns the results as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let count = self.images.len();
        let seconds = self.images.iter().map(|image| image.seconds);
        let mean = |sum: f64| sum / count.max(1) as f64;
        let raw = mean(self.images.iter().map(|image| image.raw_seconds).sum());
        let right = self.images.iter().filter(|image| image.label == image.encrypted).count();
        let (fastest, slowest) =
            seconds.clone().fold((f64::INFINITY, 0f64), |(a, b), s| (a.min(s), b.max(s)));
        let noise: Vec<String> =
            self.layers.iter().map(|(name, _, noise)| format!("{name} {noise:.2}")).collect();
        let mut rows = vec![
            ("top-1 of the exact twin", format!("{:.4}", self.exact_accuracy)),
            ("top-1 of the twin with noise", format!("{:.4}", self.noisy_accuracy)),
            ("test images of the twins", self.test_images.to_string()),
            ("lookups an image", self.lookups.to_string()),
            ("of these, read with noise", self.noisy_lookups.to_string()),
            ("failure of the others, an image", format!("{:.1e}", self.failure)),
            ("noise of readings, in integers", noise.join(", ")),
            ("encrypted images", count.to_string()),
            ("of these, classified rightly", right.to_string()),
            ("of these, decided as the exact twin does", self.same().to_string()),
            ("the same, predicted share", format!("{:.4}", self.predicted_share)),
            ("server's part of an image, mean", format!("{:.2} s", mean(seconds.sum()))),
            ("fastest, slowest", format!("{fastest:.2} s, {slowest:.2} s")),
            ("raw key switch + bootstrap in the same run", format!("{:.1} ms", raw * 1e3)),
            ("efficiency", format!("{:.3}", self.efficiency())),
            ("threads", self.threads.to_string()),
            ("largest memory", format!("{:.2} GB", self.provenance.peak_memory_bytes as f64 / 1e9)),
            ("parameter set", format!("`{}`", self.parameter_set)),
            ("seed", self.seed.to_string()),
            ("machine", self.provenance.machine.clone()),
            ("command", format!("`{}`", self.provenance.command)),
            ("commit", format!("`{}`", self.provenance.commit)),
        ];
        if self.batch > 1 {
            let together = format!("{}, of them {} together", self.batch, self.together);
            rows.insert(11, ("images of a query", together));
        }
        facts(name, &rows)
    }
}
