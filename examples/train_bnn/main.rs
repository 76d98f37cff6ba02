//! Trains binarized networks in the clear, for `infer_bnn` to evaluate on encrypted images.

mod model;
mod ops;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use clap::Parser;
use fhe_data::{ImageSet, ImageShape};
use fhe_examples::bnn::{ModelName, Recipe, Training, integers};
use fhe_examples::{failure, progress};
use model::{Model, Moments};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

/// Trains a binarized network in the clear, by stochastic gradient descent with the straight-through estimator, and writes its
/// integer weights as safetensors.
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
    /// Where the weights go.
    #[arg(long)]
    out: PathBuf,
}

/// Standard deviations of a pre-activation that its range holds on each side: beyond them, one in 150,000 lies.
const RANGE: f32 = 4.5;

fn main() -> ExitCode {
    failure::exit_code(run())
}

fn run() -> Result<()> {
    let args = Args::parse();
    let mut recipe = match &args.recipe {
        None => args.model.recipe()?,
        Some(path) => Recipe::read(path)?,
    };
    recipe.training.epochs = args.epochs.unwrap_or(recipe.training.epochs);
    let data = args.model.data(args.data.as_deref())?;
    let (takes, shape) = (recipe.network.input, data.train.shape());
    ensure!(takes.len() == shape.bytes(), "the network takes images of {takes}, these are {shape}");
    let model = Model::new(&recipe.network, args.seed)?;
    let checkpoint = args.out.with_extension("latent.safetensors");
    let first = resume(&model, &checkpoint)?;
    train(&model, &recipe, &data, &args, first, &checkpoint)?;
    let moments = moments_of(&model, &recipe, &data.train)?;
    let right = accuracy(&model, &recipe, &data.test, &moments)?;
    let weights = model.weights(&moments)?;
    let config = model.config(&weights, &moments, RANGE);
    fhe_nn::public::write(&args.out, &config, &weights)?;
    println!("{:.4} of {} test images; {}", right, data.test.len(), args.out.display());
    Ok(())
}

/// Loads the latent weights of an interrupted training; returns the epoch to go on with.
fn resume(model: &Model, path: &Path) -> Result<usize> {
    if !path.exists() {
        return Ok(0);
    }
    let saved = candle_core::safetensors::load(path, &Device::Cpu)?;
    for (name, variable) in model.variables() {
        let tensor = saved.get(&name).with_context(|| format!("{}: no {name}", path.display()))?;
        variable.set(tensor).with_context(|| format!("{}: {name}", path.display()))?;
    }
    let epoch = saved.get("epoch").context("no epoch")?.to_scalar::<u32>()? as usize;
    println!("{}: going on after epoch {epoch}", path.display());
    Ok(epoch)
}

fn save(model: &Model, path: &Path, epoch: usize) -> Result<()> {
    let variables = model.variables().into_iter().map(|(n, v)| (n, v.as_tensor().clone()));
    let mut tensors: std::collections::HashMap<String, Tensor> = variables.collect();
    tensors.insert("epoch".into(), Tensor::new(epoch as u32, &Device::Cpu)?);
    let half = path.with_extension("part");
    candle_core::safetensors::save(&tensors, &half)?;
    Ok(std::fs::rename(half, path)?)
}

fn train(
    model: &Model,
    recipe: &Recipe,
    data: &fhe_data::Split,
    args: &Args,
    first: usize,
    checkpoint: &Path,
) -> Result<()> {
    let training = &recipe.training;
    let images = data.train.len();
    ensure!(
        images >= training.batch,
        "{images} images: expected at least a batch, {}",
        training.batch
    );
    let steps = images / training.batch;
    let all = (steps * training.epochs) as f64;
    let variables = model.variables().into_iter().map(|(_, v)| v).collect();
    let settings = ParamsAdamW { lr: training.rate, weight_decay: 0.0, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(variables, settings)?;
    for epoch in first..training.epochs {
        let mut random = ChaCha8Rng::seed_from_u64(args.seed.wrapping_mul(1000) + epoch as u64);
        let mut order: Vec<usize> = (0..images).collect();
        order.shuffle(&mut random);
        let bar = progress::bar(&format!("epoch {}", epoch + 1), steps as u64, "steps");
        let mut total = 0.0;
        for (step, batch) in order.chunks_exact(training.batch).enumerate() {
            let done = (epoch * steps + step) as f64 / all;
            // A cosine from the rate to zero, after a rise of a fiftieth of the steps.
            let rise = (done * 50.0 + 1.0 / all).min(1.0);
            optimizer.set_learning_rate(
                training.rate * rise * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            );
            let (x, y) = batch_of(recipe, &data.train, batch, Some(&mut random))?;
            let (logits, _) = model.forward(&x, None)?;
            let loss = candle_nn::loss::cross_entropy(&logits, &y)?;
            optimizer.backward_step(&loss)?;
            model.clamp()?;
            total += f64::from(loss.to_scalar::<f32>()?);
            bar.inc(1);
        }
        bar.finish();
        save(model, checkpoint, epoch + 1)?;
        let moments = moments_of(model, recipe, &data.train)?;
        let right = accuracy(model, recipe, &data.test, &moments)?;
        println!("epoch {}: loss {:.4}, test {right:.4}", epoch + 1, total / steps as f64);
    }
    Ok(())
}

/// Returns images as the network takes them, and their labels; changed at random to train on.
fn batch_of(
    recipe: &Recipe,
    images: &ImageSet,
    batch: &[usize],
    mut random: Option<&mut ChaCha8Rng>,
) -> Result<(Tensor, Tensor)> {
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for &i in batch {
        let mut image = images.image(i).to_vec();
        if let Some(random) = random.as_mut() {
            image = changed(&recipe.training, &image, images.shape(), random);
        }
        x.extend(integers(&recipe.network, &image).iter().map(|&x| x as f32));
        y.push(u32::from(images.label(i)));
    }
    let x = Tensor::from_vec(x, (batch.len(), recipe.network.input.len()), &Device::Cpu)?;
    Ok((x, Tensor::new(&y[..], &Device::Cpu)?))
}

/// Returns an image moved and mirrored at random; what comes in from outside is black.
fn changed(
    training: &Training,
    image: &[u8],
    shape: ImageShape,
    random: &mut ChaCha8Rng,
) -> Vec<u8> {
    let most = training.shift as i32;
    let (down, right) = (random.random_range(-most..=most), random.random_range(-most..=most));
    let mirror = training.mirror && random.random();
    let (down, right) = (down as isize, right as isize);
    let (height, width) = (shape.height as isize, shape.width as isize);
    let pixel = |i: isize| {
        let (plane, y, x) = (i / (height * width), i / width % height, i % width);
        let x = if mirror { width - 1 - x } else { x };
        let (y, x) = (y + down, x + right);
        let inside = (0..height).contains(&y) && (0..width).contains(&x);
        if inside { image[((plane * height + y) * width + x) as usize] } else { 0 }
    };
    (0..image.len() as isize).map(pixel).collect()
}

/// Returns the mean of the moments of 40 batches of unchanged images.
fn moments_of(model: &Model, recipe: &Recipe, images: &ImageSet) -> Result<Moments> {
    const BATCHES: usize = 40;
    let size = recipe.training.batch;
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
    let mut mean: Moments = Vec::new();
    let batches = order.chunks_exact(size).take(BATCHES);
    let count = batches.len() as f32;
    for batch in batches {
        let (_, seen) = model.forward(&batch_of(recipe, images, batch, None)?.0, None)?;
        if mean.is_empty() {
            mean = seen.iter().map(|(m, s)| (vec![0.0; m.len()], vec![0.0; s.len()])).collect();
        }
        for ((means, stds), (m, s)) in mean.iter_mut().zip(&seen) {
            means.iter_mut().zip(m).for_each(|(mean, m)| *mean += m / count);
            stds.iter_mut().zip(s).for_each(|(mean, s)| *mean += s / count);
        }
    }
    Ok(mean)
}

/// Returns the share of images that the model classifies rightly.
fn accuracy(model: &Model, recipe: &Recipe, images: &ImageSet, moments: &Moments) -> Result<f64> {
    let order: Vec<usize> = (0..images.len()).collect();
    let mut right = 0;
    for batch in order.chunks(500) {
        let (x, y) = batch_of(recipe, images, batch, None)?;
        let (logits, _) = model.forward(&x, Some(moments))?;
        let found = logits.argmax(1)?.eq(&y)?.to_vec1::<u8>()?;
        right += found.iter().filter(|&&hit| hit == 1).count();
    }
    Ok(right as f64 / images.len() as f64)
}
