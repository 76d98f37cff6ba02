//! Renders docs/results/*.json into the book.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use fhe_core::store::Secrecy;
use fhe_examples::bnn::operations::Operations;
use fhe_examples::fast::FastResults;
use fhe_examples::program::{self, Common};
use fhe_examples::results::Results;
use fhe_examples::{file, output, render};
use serde_json::json;

/// Renders docs/results/*.json into docs/src/results.md, docs/src/figures and the figures of
/// docs/src/batch-lookups.md.
#[derive(Parser)]
#[command(
    name = "report",
    version,
    after_help = "\
Examples:
  report                                  after new results are in docs/results
  report --operations target/criterion    after cargo bench -p fhe-benches --bench operations"
)]
struct Args {
    /// Folder of the book.
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
    /// Take the times of the bench `operations` from here first: target/criterion.
    #[arg(long)]
    operations: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, report)
}

fn report(args: &Args) -> Result<()> {
    let docs: &Path = &args.docs;
    let folder = docs.join("results");
    if let Some(criterion) = &args.operations {
        let found = Operations::collect(criterion)?;
        file::write_json(&folder.join(format!("{}.json", render::OPERATIONS)), &found)?;
    }
    let page = docs.join("src/results.md");
    file::write(&page, render::page(&folder)?.as_bytes(), Secrecy::Public)?;
    let chapter = docs.join("src/batch-lookups.md");
    let text = std::fs::read_to_string(&chapter)
        .with_context(|| format!("reading {}", chapter.display()))?;
    file::write(&chapter, render::chapter(&text, &folder)?.as_bytes(), Secrecy::Public)?;
    for name in render::RUNS {
        let run: Results = file::read_json(&folder.join(format!("{name}.json")), "results")?;
        run.draw(&docs.join("src/figures"), name)?;
    }
    let twin: FastResults =
        file::read_json(&folder.join(format!("{}.json", render::TWIN)), "twin")?;
    twin.draw(&docs.join(format!("src/figures/{}-curve.svg", render::TWIN)))?;
    let data = json!({ "page": page.display().to_string() });
    Ok(output::result("rendered", format!("rendered: {}", page.display()), &data)?)
}
