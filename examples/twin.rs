//! A preset's training in the clear: what the encrypted one should give, before it is paid for.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, value_parser};
use fhe_examples::client::{self, ClearModel, Labelled};
use fhe_examples::preset::Preset;
use fhe_examples::{failure, progress};

/// Trains a preset's model in the clear, exactly and with the noise that the encrypted training is predicted
/// to have, and tests both. No key, no file.
#[derive(Parser)]
struct Args {
    /// Data set, encoder, parameter set and recipe.
    #[arg(long, value_enum, default_value = "builtin")]
    preset: Preset,
    /// The data set's folder or archive; default: looked for in data, and fetched if it is not there.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Number of training images; default: the preset's.
    #[arg(long, value_parser = value_parser!(u64).range(2..=1_000_000))]
    images: Option<u64>,
    /// Seed of built-in images.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of noisy twins, with seeds from 1 on.
    #[arg(long, default_value_t = 1)]
    noisy: u64,
}

fn main() -> ExitCode {
    failure::exit_code(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let count = args.images.map(|count| count as usize);
    let images = args.preset.images(args.data.as_deref(), args.seed, count)?;
    let encoder = args.preset.encoder(None).fit(&images.train, &progress::stages(""))?;
    let train = Labelled::encode(&encoder, &images.train)?;
    let test = Labelled::encode(&encoder, &images.test)?;
    let (params, recipe) = (args.preset.params()?, args.preset.recipe()?);
    for noise in std::iter::once(None).chain((1..=args.noisy).map(Some)) {
        let start = Instant::now();
        let twin = ClearModel::twin(&params, &recipe, &train, args.preset.batch(), noise)?;
        let trained = start.elapsed().as_secs_f64();
        let accuracy = client::accuracy(&twin.confusion(&test)?);
        let name = noise.map_or_else(|| "exact".into(), |seed| format!("noise {seed}"));
        println!("{name}: {accuracy:.4} on {} test images, {trained:.1} s", test.labels.len());
    }
    Ok(())
}
