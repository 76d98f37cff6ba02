//! Results as Markdown and SVG: the page of the book. Nothing here is computed or measured.

pub mod figure;

mod batch;
mod bnn;
mod faults;
mod fuzz;
mod mutants;
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
use mutants::Mutants;
use ranks::RankRuns;
use serde_json::json;
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
pub const RUNS: [&str; 7] = [
    "head-cifar10",
    "head-cifar10-lite2",
    "head-tiny-imagenet",
    DEEP,
    "deep-mnist",
    "deep-builtin",
    "deep-builtin-2048",
];
/// The training of a convolutional network on CIFAR-10 of the book.
const DEEP: &str = "deep-cifar10";
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
/// The mutants of the book.
pub const MUTANTS: &str = "mutants";

/// Returns what a whole training takes at the pace of the measured step.
fn price(step: &StepResults, run: &Results) -> String {
    let (each, steps) = (step.core_seconds_per_image, run.images);
    let hours = steps as f64 * each / 3600.0;
    let took = run.wall_seconds * run.threads as f64 / 3600.0;
    let of_another = match step.recipe.get("network") == Some(&json!(run.recipe)["network"]) {
        true => "",
        false => "\nIt is of another network than the step.",
    };
    format!(
        "## Price of the training on CIFAR-10\n\n\
         In {STEP} an image-step took {each:.2} core-seconds,\n\
         in a mini-batch of {} images and with its updates.\n\
         The training of {DEEP} makes {steps} image-steps: at that pace {hours:.1} core-hours.\n\
         It took {took:.1} core-hours, beside other work of the machine.{of_another}\n\n\
         | on | time |\n|---|---|\n\
         | {} cores of that machine | {:.1} hours |\n\
         | 192 such cores, if all keep that pace | {:.1} minutes |\n",
        step.images,
        step.threads,
        hours / step.threads as f64,
        60.0 * hours / 192.0,
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
    let read = |name: &str| -> Result<Results> {
        file::read_json(&folder.join(format!("{name}.json")), "results")
    };
    for name in RUNS {
        let run = read(name)?;
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
    let _ = write!(text, "\n{step_section}\n{twin_section}\n{}", price(&step, &read(DEEP)?));
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
    let mutants: Mutants = file::read_json(&folder.join(format!("{MUTANTS}.json")), "mutants")?;
    let _ = write!(text, "\n{}", mutants.section(MUTANTS));
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
