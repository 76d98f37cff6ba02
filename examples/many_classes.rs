//! What a linear classifier of many classes will do, and cost, on a data set that is not at hand.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args as ClapArgs, Parser, Subcommand, value_parser};
use fhe_data::{Quantizer, Selection, read_labels};
use fhe_examples::drawn::{Drawn, Part};
use fhe_examples::own_data::{self, read_numbers};
use fhe_examples::program::{self, Common};
use fhe_examples::scale::{Scale, ScaleRun};
use fhe_examples::step::StepResults;
use fhe_examples::{file, output, preset, progress};
use fhe_train::{FastHead, HeadRecipe, MiniBatches, Recipe};
use ndarray::ArrayView2;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

/// Draws features of many classes with the statistics of features that are there, trains a linear
/// classifier on them in the clear, with the noise that the encrypted training is predicted to
/// have, and says what that costs.
#[derive(Parser)]
#[command(
    name = "many_classes",
    version,
    after_help = "\
Examples:
  many_classes --features x.npy --labels y.npy draw --samples 2000 --out drawn.safetensors
  many_classes --features x.npy --labels y.npy train --samples 1281167

A true mini-batch of what was drawn:
  setup --run runs/many --recipe many.toml --batch 65 --encrypt 130 --features drawn.safetensors \\
      --tensor features --labels drawn.safetensors --label-tensor labels
  audit --run runs/many --results step.json
  many_classes --features x.npy --labels y.npy train --samples 1281167 --step step.json"
)]
struct Args {
    /// A file of features whose statistics are taken, as setup reads it.
    #[arg(long)]
    features: PathBuf,
    /// Their labels.
    #[arg(long)]
    labels: PathBuf,
    /// Classes to draw.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(2..=1000))]
    classes: u64,
    /// Seed of what is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Command {
    /// Writes drawn samples, for setup.
    Draw {
        /// Number of samples.
        #[arg(long, default_value_t = 4000, value_parser = value_parser!(u64).range(2..=100_000))]
        samples: u64,
        /// A safetensors file, with the tensors features and labels.
        #[arg(long)]
        out: PathBuf,
    },
    /// Trains on drawn samples in the clear.
    Train(Train),
}

#[derive(ClapArgs)]
struct Train {
    /// Training samples.
    #[arg(long, value_parser = value_parser!(u64).range(2..=10_000_000))]
    samples: u64,
    /// Test samples.
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=100_000))]
    test: u64,
    /// Samples of a mini-batch; default: what fills a batch of lookups.
    #[arg(long, value_parser = value_parser!(u64).range(1..=65_536))]
    batch: Option<u64>,
    /// A recipe of a linear classifier, TOML; default: that of setup, untuned.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Number of twins with noise, with seeds from 1 on.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=10))]
    noisy: u64,
    /// What `audit` found of a mini-batch, for the price.
    #[arg(long)]
    step: Option<PathBuf>,
    /// Where to write the results, JSON.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Samples that the quantizer is fitted to.
const FITTED: usize = 20_000;

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, run)
}

fn run(args: &Args) -> Result<()> {
    let real = read_numbers(&args.features, &Selection::default())?.values;
    let labels = read_labels(&args.labels, &Selection::default())?.labels;
    let drawn = Drawn::like(real.view(), &labels, args.classes as usize, args.seed)
        .with_context(|| args.features.display().to_string())?;
    match &args.command {
        Command::Draw { samples, out } => draw(&drawn, *samples as usize, out),
        Command::Train(train) => simulate(args, train, &drawn),
    }
}

fn draw(drawn: &Drawn, samples: usize, out: &Path) -> Result<()> {
    let (x, labels) = drawn.samples(Part::Train, 0..samples);
    let shape = vec![x.nrows(), x.ncols()];
    let x: Vec<u8> = x.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect();
    let y: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    let tensors = [
        ("features", TensorView::new(Dtype::F32, shape, &x)?),
        ("labels", TensorView::new(Dtype::U32, vec![samples], &y)?),
    ];
    let bytes = safetensors::serialize(tensors, None)?;
    file::write(out, &bytes, fhe_core::store::Secrecy::Public)?;
    let text = format!("{samples} samples: {}", out.display());
    Ok(output::result("drawn", text, &json!({ "samples": samples }))?)
}

fn simulate(args: &Args, train: &Train, drawn: &Drawn) -> Result<()> {
    let (samples, classes) = (train.samples as usize, args.classes as usize);
    let fitted = drawn.samples(Part::Train, 0..FITTED.min(samples)).0;
    let width = fitted.ncols() + 1;
    let quantizer = Quantizer::fit(fitted.view(), width)?;
    let batch = train.batch.map_or_else(|| own_data::batch(samples, classes), |b| b as usize);
    let linear = || Ok(Recipe::linear(width, classes).for_squared_norm(quantizer.squared_norm()));
    let recipe = train.recipe.as_deref().map_or_else(linear, preset::read_recipe)?;
    let params = recipe.params(batch)?;
    let Recipe::Head(head) = &recipe else {
        anyhow::bail!("the recipe of a network: expected one of a linear classifier");
    };
    ensure!(head.classes == classes, "the recipe has {} classes, not {classes}", head.classes);
    let (x, labels) = drawn.samples(Part::Test, 0..train.test as usize);
    let test = quantizer.encode(x.view())?;
    let seeds = std::iter::once(None).chain((1..=train.noisy).map(Some));
    let mut runs = Vec::new();
    for seed in seeds {
        let twin = train_one(&params, head, drawn, &quantizer, (samples, batch), seed)?;
        let accuracy = share_right(&twin, test.view(), &labels)?;
        let name = seed.map_or_else(|| "exact".into(), |seed| format!("noise {seed}"));
        let text = format!("{name}: {accuracy:.4} on {} drawn samples", labels.len());
        output::result("twin", text, &json!({ "seed": seed, "accuracy": accuracy }))?;
        runs.push(ScaleRun { seed, accuracy });
    }
    let step = train.step.as_deref().map(|path| file::read_json::<StepResults>(path, "step"));
    let image_steps = (samples * head.passes) as u64;
    let found = Scale::new(
        &recipe,
        batch,
        image_steps,
        runs,
        step.transpose()?,
        fhe_examples::results::here(),
    )?;
    if let Some(path) = &train.results {
        file::write_json(path, &found)?;
    }
    Ok(output::result("price", found.price(), &found)?)
}

/// Trains one twin; samples are drawn where they are needed.
fn train_one(
    params: &fhe_core::Params,
    recipe: &HeadRecipe,
    drawn: &Drawn,
    quantizer: &Quantizer,
    (samples, batch): (usize, usize),
    seed: Option<u64>,
) -> Result<FastHead> {
    let data = MiniBatches { batches: samples.div_ceil(batch), batch };
    let mut twin = FastHead::new(params, recipe, data, quantizer.width(), seed)?;
    let steps = data.batches * recipe.passes;
    let bar = progress::bar("twin", steps as u64, "steps");
    for step in 0..steps {
        let first = step % data.batches * batch;
        let (x, labels) = drawn.samples(Part::Train, first..(first + batch).min(samples));
        twin.train_step(quantizer.encode(x.view())?.view(), &labels)?;
        bar.inc(1);
    }
    bar.finish();
    Ok(twin)
}

fn share_right(twin: &FastHead, x: ArrayView2<'_, i8>, labels: &[u32]) -> Result<f64> {
    let classes = twin.classify(x)?;
    let right = classes.iter().zip(labels).filter(|(got, want)| got == want).count();
    Ok(right as f64 / labels.len().max(1) as f64)
}
