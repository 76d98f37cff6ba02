//! Searches the short key, the group and the gadgets with the cheapest lookup.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, value_parser};
use fhe_core::Params;
use fhe_core::store::Secrecy;
use fhe_examples::program::{self, Common};
use fhe_examples::search::Search;
use fhe_examples::search::candidate::{self, Candidate, NEED};
use fhe_examples::search::measure::{Measurement, ROUNDS, SEED};
use fhe_examples::{file, output, progress};

/// Predicts noise and work of many kinds of lookup, and measures the promising ones.
///
/// A candidate is a short key (dimension and noise as tfhe-rs publishes them), a number of key bits
/// a step, and the gadgets of the lookup and of the key switch. Measured are those that meet the
/// noise need and that no other such candidate beats in transforms, products and key switch alike;
/// beside them, the default set with every group. All threads work: let the machine do nothing
/// else.
#[derive(Parser)]
#[command(
    name = "parameter_search",
    version,
    after_help = "\
Examples:
  parameter_search --quick --results search.json    whether it works
  parameter_search                                  the book's table: an hour of an idle machine"
)]
struct Args {
    /// Lookups of one round of a measurement.
    #[arg(long, default_value_t = 40, value_parser = value_parser!(u32).range(1..))]
    values: u32,
    /// Where to write the results, JSON.
    #[arg(long, default_value = "docs/results/parameter-search.json")]
    results: PathBuf,
    /// Measure two candidates with 8 lookups a round: shows that the program works, nothing more.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, search)
}

fn search(args: &Args) -> Result<()> {
    let values = if args.quick { 8 } else { args.values };
    let mut provenance = fhe_examples::results::here();
    let default = Params::secure128()?;
    let mut candidates = candidate::all(&default)?;
    let mut chosen = candidate::promising(&candidates, &default);
    output::note(format!("{} candidates, {} of them promising", candidates.len(), chosen.len()))?;
    if args.quick {
        chosen.truncate(2);
    }
    for &i in &chosen {
        let candidate = &mut candidates[i];
        let bar = progress::bar(&candidate.name(), ROUNDS.into(), "rounds");
        // Shown at once: the keys come first and take seconds.
        bar.set_position(0);
        let params = candidate.params(&default)?;
        candidate.measured = Some(Measurement::make(&params, values, || bar.inc(1))?);
        bar.finish();
    }
    let (predicted, meeting_need) =
        (candidates.len(), candidates.iter().filter(|c| c.meets_need).count());
    candidates.retain(|c| c.measured.is_some());
    provenance.measure_memory();
    let results = Search {
        parameter_set: default.name.clone(),
        threads: rayon::current_num_threads(),
        seed: SEED,
        values,
        rounds: ROUNDS,
        need_log2_std: NEED,
        provenance,
        predicted,
        meeting_need,
        candidates,
    };
    write(&args.results, &results)?;
    let path = args.results.display();
    output::result("measured", table(&results.candidates), &results)?;
    Ok(output::note(format!("written: {path}"))?)
}

/// Returns what was measured as a table, the cheapest lookup first.
fn table(candidates: &[Candidate]) -> String {
    let mut rows: Vec<_> =
        candidates.iter().filter_map(|c| c.measured.as_ref().map(|m| (c, m))).collect();
    rows.sort_by(|(_, a), (_, b)| a.lookup.minimum_ms.total_cmp(&b.lookup.minimum_ms));
    let mut text = format!(
        "noise: log2 of std, predicted and measured; key: MB on disk and in memory;\n\
         lookup and tfhe's own: ms of one core, minimum and mean; ratio of the minimums\n\
         {:<25} {:>7} {:>15} {:>12} {:>15} {:>15} {:>6}",
        "bits/step, lookup, switch", "input", "output", "key", "lookup", "tfhe's own", "ratio"
    );
    for (c, m) in rows {
        let p = &c.predicted;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n{:<25} {:>7.2} {:>7.2} {:>7.2} {:>6.0} {:>5.0}",
            c.name(),
            p.input_log2_std,
            p.output_log2_std,
            m.output_log2_std,
            p.key_bytes_on_disk as f64 / 1e6,
            p.key_bytes_in_memory as f64 / 1e6
        );
        let _ = write!(
            text,
            " {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>6.3}{}",
            m.lookup.minimum_ms,
            m.lookup.mean_ms,
            m.raw.minimum_ms,
            m.raw.mean_ms,
            m.ratio_of_minimums,
            if c.meets_need { "" } else { " too noisy" }
        );
    }
    text
}

fn write(path: &Path, results: &Search) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
    }
    file::write(path, &serde_json::to_vec_pretty(results)?, Secrecy::Public)
}
