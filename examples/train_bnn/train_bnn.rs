//! Trains binarized networks in the clear, for `infer_bnn` to evaluate on encrypted images.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use fhe_examples::bnn::{ModelName, Recipe};
use fhe_examples::failure;
use fhe_train_bnn::Job;

/// Trains a binarized network in the clear, by stochastic gradient descent with the
/// straight-through estimator, and writes its integer weights as safetensors.
#[derive(Parser)]
struct Args {
    /// Which network.
    #[arg(long, value_enum)]
    model: ModelName,
    /// A recipe of your own, TOML, in place of the model's.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// The data set's folder or archive; default: looked for in data, and fetched if it is not there.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Passes over the training images; default: the recipe's.
    #[arg(long)]
    epochs: Option<usize>,
    /// Seed of the first weights, of the order of the images and of their changes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A checkpoint of another training to begin with, OUT.latent.safetensors: of a network that
    /// may lack some of the layers, and whose thresholds may not be apart yet.
    #[arg(long)]
    from: Option<PathBuf>,
    /// Where the weights go.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    failure::exit_code(run())
}

fn run() -> Result<()> {
    let args = Args::parse();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let mut recipe = match &args.recipe {
        None => args.model.recipe()?,
        Some(path) => Recipe::read(path)?,
    };
    recipe.training.epochs = args.epochs.unwrap_or(recipe.training.epochs);
    let data = args.model.data(args.data.as_deref())?;
    let Args { seed, from, out, .. } = args;
    let job = Job { recipe, seed, from, out };
    let right = job.run(&data)?;
    println!("{right:.4} of {} test images; {}", data.test.len(), job.out.display());
    Ok(())
}
