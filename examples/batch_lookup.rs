//! Batch lookups at 128 bits: their time, memory, integers and noise, beside today's lookups.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, value_parser};
use fhe_core::Params;
use fhe_examples::batch_lookup::blind_rotation::BlindRotation;
use fhe_examples::batch_lookup::clock;
use fhe_examples::batch_lookup::cost::Cost;
use fhe_examples::batch_lookup::functions::Functions;
use fhe_examples::batch_lookup::integers::Integers;
use fhe_examples::batch_lookup::keys::Keys;
use fhe_examples::batch_lookup::prediction;
use fhe_examples::batch_lookup::results::{BatchResults, Measured};
use fhe_examples::program::{self, Common};
use fhe_examples::render::BATCH;
use fhe_examples::signals::Stop;
use fhe_examples::{file, memory, output, progress};

/// Looks values up in full batches, decrypts everything, and compares it with predictions and with
/// today's lookups.
///
/// The functions are a rectifier of four bits and its gate. Today's lookups come first: so many
/// values of the set for deep networks, four tables each. Then the keys with a batch part are made,
/// and two batches are timed. In all other batches every integer is judged: in the same lookup a
/// table gives half of the value, which tells as which slot it was read. All threads work, and
/// memory holds the keys in both forms for a while: let the machine do nothing else.
///
/// Ctrl-C ends the judging after the batch in progress. What was found is then said, and not
/// written.
#[derive(Parser)]
#[command(
    name = "batch_lookup",
    version,
    after_help = "\
Examples:
  batch_lookup --quick --results batch.json    whether it works: one batch of each kind
  batch_lookup                                 the book's table: minutes of an idle machine"
)]
struct Args {
    /// Values whose integers are judged, rounded up to full batches.
    #[arg(long, default_value_t = 1 << 20, value_parser = value_parser!(u64).range(1..=1 << 30))]
    values: u64,
    /// Values of today's lookups, and of a list of selectors.
    #[arg(long, default_value_t = 240, value_parser = value_parser!(u16).range(16..=2048))]
    lookups: u16,
    /// Seed of the keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the results, JSON.
    #[arg(long, default_value = "docs/results/batch-lookup.json")]
    results: PathBuf,
    /// Judge one batch, time one, and look 40 values up one at a time: shows whether it works.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, measure)
}

fn measure(args: &Args) -> Result<()> {
    let mut here = fhe_examples::results::here();
    let (today, params) = (Params::secure128_deep()?, Params::secure128_deep_v3()?);
    let functions = Functions::new(&params)?;
    let (values, lookups, timed) =
        if args.quick { (1, 40, 1) } else { (args.values, usize::from(args.lookups), 2) };
    output::note(prediction::text(&params, &today)?)?;
    memory::ensure_room_for_keys(&params)?;

    output::note(format!("{}: keys, and {lookups} values one at a time", today.name))?;
    let one = BlindRotation::measure(&today, args.seed, lookups)?;
    output::note(format!("{}: keys", params.name))?;
    let keys = Keys::make(&params, args.seed)?;
    output::note(format!("{:.0} s; timing {timed} batches", keys.seconds + keys.engine_seconds))?;
    here.measure_memory();
    let memory_before = std::mem::take(&mut here.peak_memory_bytes);
    clock::forget_peak();
    let cost = Cost::measure(&keys, &functions, timed)?;
    let stages = Cost::stages(&keys.cpu);

    let stop = Stop::listen()?;
    let mut integers = Integers::new(&keys, &functions);
    let (rows, n) = integers.shape();
    let batches = values.div_ceil((rows * n) as u64);
    let bar = progress::bar("batches", batches + 1, "batches");
    bar.tick();
    // The first list has the values that were looked up one at a time.
    let few = integers.selectors((rows, lookups), 0)?;
    bar.inc(1);
    // Those before them were timed.
    let full = integers.batch_and_selectors((rows, n), timed + 1)?;
    bar.inc(1);
    for batch in 1..batches {
        if stop.requested() {
            break;
        }
        integers.batch((rows, n), timed + 1 + batch)?;
        bar.inc(1);
    }
    bar.finish();

    here.measure_memory();
    let seed = args.seed;
    let keys = &keys;
    let measured =
        Measured { seed, one, keys, cost, stages, integers, full, few, memory_before, here };
    let results = BatchResults::new(measured);
    output::result(BATCH, results.section(BATCH), &results)?;
    if stop.requested() {
        return program::stopped(&stop);
    }
    write(&args.results, &results)
}

fn write(path: &Path, results: &BatchResults) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
    }
    file::write_json(path, results)?;
    Ok(output::note(format!("written: {}", path.display()))?)
}
