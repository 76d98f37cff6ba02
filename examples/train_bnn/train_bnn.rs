//! Trains binarized networks in the clear, for `infer_bnn` to evaluate on encrypted images.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use fhe_examples::bnn::{ModelName, Recipe};
use fhe_examples::program::{self, Common};
use fhe_examples::{output, signals};
use fhe_train_bnn::Job;
use serde_json::json;

/// Trains a binarized network in the clear, by stochastic gradient descent with the
/// straight-through estimator, and writes its integer weights as safetensors.
///
/// Ctrl-C and SIGTERM end it at once, with exit status 130 or 143. The same command goes on after
/// the last whole epoch.
#[derive(Parser)]
#[command(
    name = "train_bnn",
    version,
    after_help = "\
Examples:
  train_bnn --model perceptron --out perceptron.safetensors
  train_bnn --model cnn --epochs 5 --out cnn.safetensors
  train_bnn --model cnn --recipe mine.toml --out cnn.safetensors

After it: infer_bnn."
)]
struct Args {
    /// Which network.
    #[arg(long, value_enum)]
    model: ModelName,
    /// A recipe of your own, TOML, in place of the model's.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// The data set's folder or archive; default: looked for in data, and fetched if it is not
    /// there.
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
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, train)
}

fn train(args: &Args) -> Result<()> {
    let mut recipe = match &args.recipe {
        None => args.model.recipe()?,
        Some(path) => Recipe::read(path)?,
    };
    recipe.training.epochs = args.epochs.unwrap_or(recipe.training.epochs);
    let data = args.model.data(args.data.as_deref())?;
    signals::end_after(|| {
        let text = "stopped; the same command goes on after the last whole epoch";
        // Where nobody hears it, there is nobody to tell.
        let _ = output::result("stopped", text, &json!({}));
    })?;
    let job = Job { recipe, seed: args.seed, from: args.from.clone(), out: args.out.clone() };
    let accuracy = job.run(&data)?;
    let (images, out) = (data.test.len(), job.out.display());
    let text = format!("{accuracy:.4} of {images} test images; {out}");
    let data = json!({ "accuracy": accuracy, "images": images, "weights": out.to_string() });
    Ok(output::result("trained", text, &data)?)
}
