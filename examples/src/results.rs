//! The results of a run as a file, and as a page of the book.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use fhe_train::{Recipe, Report, Stretch};
use serde::{Deserialize, Serialize};

use crate::bnn::operations::Operations;
use crate::bnn::results::BnnResults;
use crate::fast::FastResults;
use crate::search::Search;
use crate::step::StepResults;
use crate::{figure, file};

/// A finished training, as the client sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Share of test images that the decrypted model classifies rightly.
    pub accuracy: f64,
    /// The same of the exact clear twin: same data, order, recipe and tables, no noise.
    pub twin_accuracy: f64,
    /// The same of a clear twin with the predicted noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noisy_twin_accuracy: Option<f64>,
    /// Training images, each counted in every pass.
    pub images: u64,
    /// Lookups.
    pub lookups: u64,
    /// Seconds of training, all parts.
    pub wall_seconds: f64,
    /// Threads.
    pub threads: usize,
    /// Wall time over lookups times raw bootstrapping cost over threads.
    pub efficiency: f64,
    /// Name of the parameter set.
    pub parameter_set: String,
    /// Seed of the set-up.
    pub seed: u64,
    /// Command of the training.
    pub command: String,
    /// Commit of its last part.
    pub commit: String,
    /// Machine of its last part.
    pub machine: String,
    /// Largest resident memory of all parts.
    pub peak_memory_bytes: u64,
    /// Name of the data set.
    pub dataset: String,
    /// Test images.
    pub test_images: usize,
    /// The public recipe.
    pub recipe: Recipe,
    /// The stretches of work.
    pub parts: Vec<Stretch>,
    /// Images seen and test accuracy, of each decrypted snapshot.
    pub curve: Vec<(u64, f64)>,
    /// Class names.
    pub classes: Vec<String>,
    /// Test images of each class (row) taken for each class (column).
    pub confusion: Vec<Vec<u32>>,
    /// Encrypted inference, if it was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference: Option<Inference>,
}

/// Encrypted inferences beside the decrypted model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inference {
    /// Number of images.
    pub images: usize,
    /// Of these, how many got the class that the decrypted model gives.
    pub same_class: usize,
    /// Share of all test images for which the decrypted model gives the same class with the predicted
    /// noise of an encrypted inference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_share: Option<f64>,
    /// Mean seconds of the server's part.
    pub server_seconds: f64,
    /// Longest.
    pub slowest_server_seconds: f64,
}

impl Results {
    /// Puts the server's report and the client's findings together.
    ///
    /// # Errors
    /// If the report has no part.
    pub fn new(report: &Report, seed: u64, accuracy: f64, twin_accuracy: f64) -> Result<Self> {
        let last = report.state.parts.last().context("the training's report has no part")?;
        let memory = report.state.parts.iter().map(|part| part.provenance.peak_memory_bytes);
        Ok(Self {
            accuracy,
            twin_accuracy,
            noisy_twin_accuracy: None,
            images: report.state.images,
            lookups: report.state.lookups,
            wall_seconds: report.wall_seconds,
            threads: report.threads,
            efficiency: report.efficiency,
            parameter_set: report.parameter_set.clone(),
            seed,
            command: last.provenance.command.clone(),
            commit: last.provenance.commit.clone(),
            machine: last.provenance.machine.clone(),
            peak_memory_bytes: memory.max().unwrap_or(0),
            dataset: report.state.dataset.clone(),
            test_images: 0,
            recipe: report.state.recipe.clone(),
            parts: report.state.parts.clone(),
            curve: Vec::new(),
            classes: Vec::new(),
            confusion: Vec::new(),
            inference: None,
        })
    }

    /// Draws the learning curve and the confusion matrix into a folder, as NAME-curve.svg and
    /// NAME-confusion.svg.
    ///
    /// # Errors
    /// Those of the files.
    pub fn draw(&self, folder: &Path, name: &str) -> Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        let path = |what: &str| folder.join(format!("{name}-{what}.svg"));
        let what = "encrypted training, decrypted";
        figure::learning_curve(&path("curve"), &self.curve, what, self.twin_accuracy)?;
        figure::confusion(&path("confusion"), &self.confusion, &self.classes)
    }

    /// Returns the results as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let raw = self.parts.iter().map(|p| p.raw_seconds * p.lookups as f64).sum::<f64>()
            / self.lookups.max(1) as f64;
        let per_lookup = self.wall_seconds * self.threads as f64 / self.lookups.max(1) as f64;
        let mut rows = vec![
            ("top-1 of the decrypted model", format!("{:.4}", self.accuracy)),
            ("top-1 of the exact clear twin", format!("{:.4}", self.twin_accuracy)),
            ("test images", self.test_images.to_string()),
            ("encrypted training images", self.images.to_string()),
            ("lookups", self.lookups.to_string()),
            ("training, wall time", format!("{:.0} s", self.wall_seconds)),
            ("threads", self.threads.to_string()),
            ("wall time x threads / lookups", format!("{:.1} ms", per_lookup * 1e3)),
            ("raw key switch + bootstrap in the same run", format!("{:.1} ms", raw * 1e3)),
            ("efficiency", format!("{:.3}", self.efficiency)),
            ("largest memory", format!("{:.2} GB", self.peak_memory_bytes as f64 / 1e9)),
            ("parts", self.parts.len().to_string()),
            ("parameter set", format!("`{}`", self.parameter_set)),
            ("seed", self.seed.to_string()),
            ("machine", self.machine.clone()),
            ("command", format!("`{}`", self.command)),
            ("commit", format!("`{}`", self.commit)),
        ];
        if let Some(accuracy) = self.noisy_twin_accuracy {
            rows.insert(2, ("top-1 of the clear twin with noise", format!("{accuracy:.4}")));
        }
        if let Some(i) = &self.inference {
            let share = format!("{} of {}", i.same_class, i.images);
            rows.push(("encrypted inferences that agree with the decrypted model", share));
            if let Some(share) = i.predicted_share {
                rows.push(("the same, predicted", format!("{share:.4}")));
            }
            let seconds = format!(
                "{:.1} ms, slowest {:.1} ms",
                i.server_seconds * 1e3,
                i.slowest_server_seconds * 1e3
            );
            rows.push(("server's part of an encrypted inference", seconds));
        }
        let mut text = facts(name, &rows);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\n![learning curve](figures/{name}-curve.svg)\n\n![confusion matrix](figures/{name}-confusion.svg)"
        );
        text
    }
}

/// Returns the head of a section of the book: a table of facts.
pub(crate) fn facts(name: &str, rows: &[(&str, String)]) -> String {
    let rows: String = rows.iter().map(|(what, value)| format!("| {what} | {value} |\n")).collect();
    format!("## {name}\n\n| | |\n|---|---|\n{rows}")
}

/// The trainings of the book.
pub const RUNS: [&str; 3] = ["head-cifar10", "deep-mnist", "deep-builtin"];
/// The single step of the book.
pub const STEP: &str = "deep-step-cifar10";
/// The simulated training of the book.
pub const TWIN: &str = "deep-twin-cifar10";
/// The encrypted inferences with public weights of the book.
pub const BNN: [&str; 4] = ["bnn-mnist", "bnn-mnist-perceptron", "bnn-cifar10", "bnn-cifar10-4bit"];
/// The operations of the book.
pub const OPERATIONS: &str = "bnn-operations";
/// Bootstraps a second of one H100, derived from published tables: see the book's page.
const GPU_LOOKUPS: f64 = 13_400.0;

/// Returns what the simulated training would take encrypted, from the time of the measured step.
fn price(step: &StepResults, twin: &FastResults) -> String {
    let core_seconds = step.wall_seconds * step.threads as f64 / step.lookups.max(1) as f64;
    let hours = twin.lookups as f64 * core_seconds / 3600.0;
    let days = |hours: f64| format!("{:.1} days", hours / 24.0);
    let gpu = twin.lookups as f64 / GPU_LOOKUPS / 3600.0;
    format!(
        "## Price of the whole encrypted training\n\n\
         {} lookups of {TWIN} at {:.1} core-milliseconds each, all other moves included, as {STEP} took: {hours:.0} core-hours. \
         All times are computed from that step, which ran beside other jobs; none was measured.\n\n\
         | on | time |\n|---|---|\n\
         | {} cores of that machine | {} |\n\
         | 192 such cores, if all keep that pace | {} |\n\
         | one H100, if it makes {GPU_LOOKUPS:.0} lookups a second | {}; up to four times that, as our lookups have four levels for its one |\n\n\
         The rate of the GPU is derived from the published throughput of tfhe-rs on eight H100 (1,670 bitwise operations a second on \
         128 bits, 64 bootstraps each), for another parameter set.\n",
        twin.lookups,
        core_seconds * 1e3,
        step.threads,
        days(hours / step.threads as f64),
        days(hours / 192.0),
        days(gpu),
    )
}

/// Renders the book's page from the files of a folder.
///
/// # Errors
/// If a file is absent or says something else.
pub fn page(folder: &Path) -> Result<String> {
    let mut text = String::from(
        "# Results\n\nThis page and its figures are made from `docs/results/*.json` by `cargo run --release --example report`.\n",
    );
    let search: Search = file::read_json(&folder.join("parameter-search.json"), "search")?;
    for name in RUNS {
        let run: Results = file::read_json(&folder.join(format!("{name}.json")), "results")?;
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}", run.section(name));
    }
    let step: StepResults = file::read_json(&folder.join(format!("{STEP}.json")), "step")?;
    let twin: FastResults = file::read_json(&folder.join(format!("{TWIN}.json")), "twin")?;
    let (step_section, twin_section) = (step.section(STEP), twin.section(TWIN));
    let _ = write!(text, "\n{step_section}\n{twin_section}\n{}", price(&step, &twin));
    for name in BNN {
        let found: BnnResults = file::read_json(&folder.join(format!("{name}.json")), "results")?;
        let _ = write!(text, "\n{}", found.section(name));
    }
    let operations: Operations =
        file::read_json(&folder.join(format!("{OPERATIONS}.json")), "operations")?;
    let _ = write!(text, "\n{}", operations.section(OPERATIONS));
    let _ = write!(text, "\n{}", search.section());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_what_the_files_say() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let committed = std::fs::read_to_string(docs.join("src/results.md")).unwrap();
        let hint = "run `cargo run --release --example report`";
        assert!(page(&docs.join("results")).unwrap() == committed, "{hint}");
    }
}
