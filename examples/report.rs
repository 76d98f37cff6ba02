//! Renders docs/results/*.json into the book.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use fhe_core::store::Secrecy;
use fhe_examples::fast::FastResults;
use fhe_examples::results::{self, Results};
use fhe_examples::{failure, file};

/// Renders docs/results/*.json into docs/src/results.md and docs/src/figures.
#[derive(Parser)]
struct Args {
    /// Folder of the book.
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
}

fn main() -> ExitCode {
    failure::exit_code(report(&Args::parse().docs))
}

fn report(docs: &Path) -> Result<()> {
    let folder = docs.join("results");
    let page = docs.join("src/results.md");
    file::write(&page, results::page(&folder)?.as_bytes(), Secrecy::Public)?;
    for name in results::RUNS {
        let run: Results = file::read_json(&folder.join(format!("{name}.json")), "results")?;
        run.draw(&docs.join("src/figures"), name)?;
    }
    let twin: FastResults =
        file::read_json(&folder.join(format!("{}.json", results::TWIN)), "twin")?;
    twin.draw(&docs.join(format!("src/figures/{}-curve.svg", results::TWIN)))?;
    println!("rendered: {}", page.display());
    Ok(())
}
