//! Results as Markdown and SVG: the page of the book. Nothing here is computed or measured.

pub mod figure;

mod batch;
mod bnn;
mod faults;
mod fuzz;
mod operations;
pub mod ranks;
mod scale;
mod search;
mod step;
mod training;
mod twin;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use faults::Faults;
use ranks::RankRuns;
pub use twin::line;

use crate::batch_lookup::results::BatchResults;
use crate::bnn::operations::Operations;
use crate::bnn::results::BnnResults;
use crate::fast::FastResults;
use crate::file;
use crate::fuzz::Fuzzed;
use crate::results::Results;
use crate::scale::Scale;
use crate::search::Search;
use crate::step::StepResults;

/// Returns the head of a section of the book: a table of facts.
fn facts(name: &str, rows: &[(&str, String)]) -> String {
    let rows: String = rows.iter().map(|(what, value)| format!("| {what} | {value} |\n")).collect();
    format!("## {name}\n\n| | |\n|---|---|\n{rows}")
}

/// The trainings of the book.
pub const RUNS: [&str; 6] = [
    "head-cifar10",
    "head-cifar10-lite2",
    "head-tiny-imagenet",
    "deep-mnist",
    "deep-builtin",
    "deep-builtin-2048",
];
/// The simulated training of a thousand classes of the book.
pub const SCALE: &str = "head-imagenet";
/// The training by several processes of the book.
pub const RANKS: &str = "mpi";
/// The single step of the book.
pub const STEP: &str = "deep-step-cifar10";
/// The simulated training of the book.
pub const TWIN: &str = "deep-twin-cifar10";
/// The encrypted inferences with public weights of the book.
pub const BNN: [&str; 6] = [
    "bnn-mnist",
    "bnn-mnist-batch",
    "bnn-mnist-perceptron",
    "bnn-cifar10",
    "bnn-cifar10-batch",
    "bnn-cifar10-4bit",
];
/// The operations of the book.
pub const OPERATIONS: &str = "bnn-operations";
/// The batch lookups of the book.
pub const BATCH: &str = "batch-lookup";
/// The changed files of the book.
pub const FUZZ: &str = "fuzz";
/// The planted faults of the book.
pub const FAULTS: &str = "faults";

/// Returns what the simulated training would take encrypted, from the time of the measured step.
fn price(step: &StepResults, twin: &FastResults) -> String {
    let hours = twin.images as f64 * step.core_seconds_per_image / 3600.0;
    let days = |cores: f64| match hours / cores {
        hours if hours < 48.0 => format!("{hours:.1} hours"),
        hours => format!("{:.1} days", hours / 24.0),
    };
    let of_another = match twin.recipe.get("network") == step.recipe.get("network") {
        true => "",
        false => "\nIt is of an earlier network than the step.",
    };
    format!(
        "## Price of the whole encrypted training\n\n\
         The training of {TWIN} makes {} image-steps.{of_another}\n\
         In {STEP} an image-step took {:.2} core-seconds,\n\
         in a mini-batch of {} images and with its updates.\n\
         So as many of these would take {hours:.0} core-hours. They were not run.\n\n\
         | on | time |\n|---|---|\n\
         | {} cores of that machine | {} |\n\
         | 192 such cores, if all keep that pace | {} |\n",
        twin.images,
        step.core_seconds_per_image,
        step.images,
        step.threads,
        days(step.threads as f64),
        days(192.0),
    )
}

/// Renders the book's page from the files of a folder.
///
/// # Errors
/// If a file is absent or says something else.
pub fn page(folder: &Path) -> Result<String> {
    let mut text = String::from(
        "# Results\n\n\
         This page and its figures are made from `docs/results/*.json` by this command:\n\n    \
         cargo run --release --example report\n",
    );
    let search: Search = file::read_json(&folder.join("parameter-search.json"), "search")?;
    for name in RUNS {
        let run: Results = file::read_json(&folder.join(format!("{name}.json")), "results")?;
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}", run.section(name));
    }
    let scale: Scale = file::read_json(&folder.join(format!("{SCALE}.json")), "simulation")?;
    let _ = write!(text, "\n{}", scale.section(SCALE));
    let ranks: RankRuns = file::read_json(&folder.join(format!("{RANKS}.json")), "ranks")?;
    let _ = write!(text, "\n{}", ranks.section(RANKS));
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
    let _ = write!(text, "\n{}", batch(folder)?.section(BATCH));
    let _ = write!(text, "\n{}", search.section());
    let fuzzed: Fuzzed = file::read_json(&folder.join(format!("{FUZZ}.json")), "readers")?;
    let _ = write!(text, "\n{}", fuzzed.section(FUZZ));
    let faults: Faults = file::read_json(&folder.join(format!("{FAULTS}.json")), "faults")?;
    let _ = write!(text, "\n{}", faults.section(FAULTS));
    Ok(text)
}

fn batch(folder: &Path) -> Result<BatchResults> {
    file::read_json(&folder.join(format!("{BATCH}.json")), "batch lookups")
}

/// Renders the chapter on batch lookups: what `text` has, with the figures of a folder.
///
/// # Errors
/// If the file is absent or says something else, or the chapter has no place for figures.
pub fn chapter(text: &str, folder: &Path) -> Result<String> {
    batch(folder)?.chapter(text).context("the chapter has no lines between which figures stand")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_pages_are_what_the_files_say() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let committed = std::fs::read_to_string(docs.join("src/results.md")).unwrap();
        let hint = "run `cargo run --release --example report`";
        assert!(page(&docs.join("results")).unwrap() == committed, "{hint}");
        let committed = std::fs::read_to_string(docs.join("src/batch-lookups.md")).unwrap();
        assert!(chapter(&committed, &docs.join("results")).unwrap() == committed, "{hint}");
    }
}
