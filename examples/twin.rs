//! A preset's training in the clear: what the encrypted one should give, before it is paid for.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::{Parser, value_parser};
use fhe_core::Params;
use fhe_data::Split;
use fhe_examples::client::{self, Labelled};
use fhe_examples::fast::{self, Data, FastResults};
use fhe_examples::preset::{self, Preset};
use fhe_examples::program::{self, Common};
use fhe_examples::{file, output, progress, render};
use fhe_train::Recipe;
use serde_json::json;

/// Trains a preset's model in the clear, exactly and with the noise that the encrypted training is
/// predicted to have, and tests both. No key, no file.
#[derive(Parser)]
#[command(
    name = "twin",
    version,
    after_help = "\
Examples:
  twin --preset builtin                        seconds
  twin --preset mnist-deep --fast --noisy 3    three twins with noise, in floating point
  twin --preset mnist-deep --fast --params secure128-deep-v4
                                               the same with another parameter set
  twin --recipe mine.toml                      a recipe of your own, before it is paid for
  twin --preset cifar10-deep --fast --recipe mine.toml --held-out 5000
                                               the same, to choose: no test image is looked at"
)]
struct Args {
    /// Data set, encoder, parameter set and recipe.
    #[arg(long, value_enum, default_value = "builtin")]
    preset: Preset,
    /// The data set's folder or archive; default: looked for in data, and fetched if it is not
    /// there.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Number of training images; default: the preset's.
    #[arg(long, value_parser = value_parser!(u64).range(2..=1_000_000))]
    count: Option<u64>,
    /// Hold back so many of the last training images, and test on these in place of the test
    /// images: to choose a recipe.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=1_000_000))]
    held_out: Option<u64>,
    /// Seed of built-in images.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of noisy twins, with seeds from 1 on.
    #[arg(long, default_value_t = 1)]
    noisy: u64,
    /// Simulate in floating point, a thousand times as fast; for networks.
    #[arg(long)]
    fast: bool,
    /// Leave the exact twin out.
    #[arg(long)]
    no_exact: bool,
    /// Name of a parameter set to take in place of the preset's.
    #[arg(long, value_name = "NAME")]
    params: Option<String>,
    /// A recipe to take in place of the preset's, as TOML.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Images of a mini-batch; default: the preset's.
    #[arg(long, value_parser = value_parser!(u64).range(1..=65_536))]
    batch: Option<u64>,
    /// With --fast: where to write the results as JSON, and the learning curve beside it as SVG.
    #[arg(long, requires = "fast")]
    results: Option<PathBuf>,
    /// With --fast: tests during the training, for the learning curve.
    #[arg(long, default_value_t = 12)]
    tests: usize,
    /// A folder of encoded images, to try recipes without encoding each time.
    #[arg(long, hide = true, requires = "fast", conflicts_with_all = ["count", "held_out"])]
    encoded: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, run)
}

fn run(args: &Args) -> Result<()> {
    if args.fast { run_fast(args) } else { run_clear(args) }
}

fn recipe(args: &Args) -> Result<Recipe> {
    args.recipe.as_deref().map_or_else(|| args.preset.recipe(), preset::read_recipe)
}

fn params(args: &Args) -> Result<Params> {
    args.params.as_deref().map_or_else(|| args.preset.params(), |name| Ok(Params::named(name)?))
}

fn batch(args: &Args) -> usize {
    args.batch.map_or_else(|| args.preset.batch(), |batch| batch as usize)
}

/// No noise, and seeds from 1 on.
fn seeds(args: &Args) -> impl Iterator<Item = Option<u64>> {
    let exact = (!args.no_exact).then_some(None);
    exact.into_iter().chain((1..=args.noisy).map(Some))
}

fn run_clear(args: &Args) -> Result<()> {
    let images = images(args)?;
    let encoder = args.preset.encoder(None).fit(&images.train, &progress::stages(""))?;
    let (params, recipe) = (params(args)?, recipe(args)?);
    let train = Labelled::for_training(&encoder, &images.train, Some(&recipe))?;
    let test = Labelled::encode(&encoder, &images.test)?;
    for noise in seeds(args) {
        let start = Instant::now();
        let twin = client::twin(&params, &recipe, &train, batch(args), noise)?;
        let trained = start.elapsed().as_secs_f64();
        let accuracy = fhe_train::accuracy(&client::confusion(&twin, &test)?);
        let name = noise.map_or_else(|| "exact".into(), |seed| format!("noise {seed}"));
        let tests = test.labels.len();
        let text = format!("{name}: {accuracy:.4}, tested on {tests} images, {trained:.1} s");
        let data = json!({ "seed": noise, "accuracy": accuracy, "seconds": trained });
        output::result("twin", text, &data)?;
    }
    Ok(())
}

fn run_fast(args: &Args) -> Result<()> {
    let recipe = recipe(args)?;
    let Recipe::Deep(deep) = &recipe else {
        bail!("--fast is for networks: the recipe is a head's, whose twin is fast as it is");
    };
    let params = params(args)?;
    output::note(format!("the network, at its first weights:\n{}", deep.summary(&params)?))?;
    let (data, dataset) = match &args.encoded {
        Some(folder) => {
            let data = Data::read(folder, deep.network.map().len(), deep.mirrored)?;
            (data, "encoded images".to_owned())
        }
        None => encode(args, &recipe)?,
    };
    let (mut runs, tests) = (Vec::new(), data.test.labels.len());
    for seed in seeds(args) {
        let run = fast::train(&params, deep, batch(args), &data, seed, args.tests)?;
        let data = json!({ "seed": seed, "accuracy": run.accuracy, "seconds": run.wall_seconds });
        output::result("twin", render::line(seed, &run, tests), &data)?;
        runs.push((seed, run));
    }
    if let Some(path) = &args.results {
        let found = FastResults::new(&runs, &params, deep, batch(args), &data, &dataset)?;
        file::write_json(path, &found)?;
        found.draw(&path.with_extension("svg"))?;
    }
    Ok(())
}

/// Reads the preset's images.
fn images(args: &Args) -> Result<Split> {
    let count = args.count.map(|count| count as usize);
    let images = args.preset.images(args.data.as_deref(), args.seed, count)?;
    let Some(held_out) = args.held_out.map(|held_out| held_out as usize) else {
        return Ok(images);
    };
    let all = images.train.len();
    ensure!(held_out < all, "--held-out {held_out}: there are {all} training images");
    let (train, test) = (images.train.head(all - held_out), images.train.tail(held_out));
    Ok(Split { train, test, ..images })
}

/// Reads and encodes the preset's images.
fn encode(args: &Args, recipe: &Recipe) -> Result<(Data, String)> {
    let images = images(args)?;
    let encoder = args.preset.encoder(None).fit(&images.train, &progress::stages(""))?;
    let data = Data {
        train: Labelled::for_training(&encoder, &images.train, Some(recipe))?,
        test: Labelled::encode(&encoder, &images.test)?,
    };
    let name = images.train.name();
    let dataset = match args.held_out {
        Some(held_out) => format!("{name}, tested on {held_out} training images held out"),
        None => name.to_owned(),
    };
    Ok((data, dataset))
}
