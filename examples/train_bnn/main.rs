//! Trains binarized networks in the clear, for `infer_bnn` to evaluate on encrypted images.

mod model;
mod ops;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use clap::Parser;
use fhe_core::Params;
use fhe_data::{ImageSet, ImageShape};
use fhe_examples::bnn::{ModelName, Recipe, Training, integers};
use fhe_examples::{failure, progress};
use fhe_nn::public::Network;
use model::Model;
use ops::{Moments, Noise};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

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
    /// A checkpoint of another training to begin with, OUT.latent.safetensors: of a network that may lack some of the
    /// layers, and whose thresholds may not be apart yet.
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
    let (takes, shape) = (recipe.network.input, data.train.shape());
    ensure!(takes.len() == shape.bytes(), "the network takes images of {takes}, these are {shape}");
    let model = Model::new(&recipe.network, args.seed)?;
    let checkpoint = args.out.with_extension("latent.safetensors");
    let first = match &args.from {
        _ if checkpoint.exists() => resume(&model, &checkpoint)?,
        Some(other) => begin_with(&model, other)?,
        None => 0,
    };
    let Evaluation { moments, right, .. } =
        train(&model, &recipe, &data, &args, first, &checkpoint)?;
    let weights = model.weights(&moments)?;
    let config = model.config(&weights, &moments, recipe.training.range);
    fhe_nn::public::write(&args.out, &config, &weights)?;
    println!("{right:.4} of {} test images; {}", data.test.len(), args.out.display());
    Ok(())
}

/// Loads the latent weights of an interrupted training; returns the epoch to go on with.
fn resume(model: &Model, path: &Path) -> Result<usize> {
    let told = || path.display().to_string();
    let saved = candle_core::safetensors::load(path, &Device::Cpu).with_context(told)?;
    model.set(&saved).with_context(told)?;
    let epoch = saved.get("epoch").with_context(told)?.to_scalar::<u32>()? as usize;
    println!("{}: going on after epoch {epoch}", path.display());
    Ok(epoch)
}

/// Loads the latent weights of another training, spread over thresholds that are apart; returns the first epoch.
fn begin_with(model: &Model, path: &Path) -> Result<usize> {
    let told = || path.display().to_string();
    let saved = candle_core::safetensors::load(path, &Device::Cpu).with_context(told)?;
    let (tensors, lacks) = model.spread(&saved).with_context(told)?;
    model.set(&tensors).with_context(told)?;
    if !lacks.is_empty() {
        println!("{}: has no {}, begun anew", path.display(), lacks.join(", "));
    }
    Ok(0)
}

fn save(model: &Model, path: &Path, epoch: usize) -> Result<()> {
    let mut tensors = model.saved()?;
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
) -> Result<Evaluation> {
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
    let mut found = evaluate(model, recipe, data)?;
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
            let changes: Vec<Change> =
                batch.iter().map(|_| Change::draw(training, &mut random)).collect();
            let (x, y) =
                (inputs(recipe, &data.train, batch, &changes)?, labels(&data.train, batch)?);
            let noise = found.noise.as_ref().map(|noise| noise.with_seed(random.random()));
            let (logits, _) = model.forward(&x, None, noise.as_ref())?;
            let loss = candle_nn::loss::cross_entropy(&logits, &y)?;
            optimizer.backward_step(&loss)?;
            model.clamp()?;
            total += f64::from(loss.to_scalar::<f32>()?);
            bar.inc(1);
        }
        bar.finish();
        save(model, checkpoint, epoch + 1)?;
        found = evaluate(model, recipe, data)?;
        println!("epoch {}: loss {:.4}, {found}", epoch + 1, total / steps as f64);
    }
    Ok(found)
}

/// What a model is worth at one point of its training.
struct Evaluation {
    moments: Vec<Moments>,
    /// Share of the test images that it classifies rightly.
    right: f64,
    /// If the recipe trains with it: the noise with which an encrypted inference would read the pre-activations.
    noise: Option<Noise>,
    /// Share of the test images with that noise.
    right_with_noise: Option<f64>,
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "test {:.4}", self.right)?;
        self.right_with_noise.map_or(Ok(()), |right| write!(f, ", with noise {right:.4}"))
    }
}

fn evaluate(model: &Model, recipe: &Recipe, data: &fhe_data::Split) -> Result<Evaluation> {
    let moments = moments_of(model, recipe, &data.train)?;
    let noise = match recipe.training.noise {
        true => Some(noise_of(model, recipe, &moments)?),
        false => None,
    };
    let right = |noise| accuracy(model, recipe, &data.test, &moments, noise);
    let (right, right_with_noise) =
        (right(None)?, noise.as_ref().map(|noise| right(Some(noise))).transpose()?);
    Ok(Evaluation { moments, right, noise, right_with_noise })
}

/// Returns the noise with which an encrypted inference would read the pre-activations.
fn noise_of(model: &Model, recipe: &Recipe, moments: &[Moments]) -> Result<Noise> {
    let weights = model.weights(moments)?;
    let config = model.config(&weights, moments, recipe.training.range);
    let params = Params::secure128_bnn()?;
    let summary = Network::new(&config, weights, params.row_size)?.summary(&params)?;
    let deviations = summary.layers.iter().map(|layer| layer.noise).collect();
    Ok(Noise::new(deviations))
}

/// Returns images as the network takes them, each changed.
fn inputs(
    recipe: &Recipe,
    images: &ImageSet,
    batch: &[usize],
    changes: &[Change],
) -> Result<Tensor> {
    let one = |(&i, change): (&usize, &Change)| {
        let image = change.apply(images.image(i).unwrap_or_default(), images.shape());
        integers(&recipe.network, &image).into_iter().map(|x| x as f32)
    };
    let x: Vec<f32> = batch.par_iter().zip(changes).flat_map_iter(one).collect();
    Ok(Tensor::from_vec(x, (batch.len(), recipe.network.input.len()), &Device::Cpu)?)
}

fn labels(images: &ImageSet, batch: &[usize]) -> Result<Tensor> {
    let labels: Vec<u32> = batch.iter().map(|&i| images.labels()[i]).collect();
    Ok(Tensor::new(&labels[..], &Device::Cpu)?)
}

/// How far an image is moved, and whether it is mirrored; what comes in from outside is black.
#[derive(Clone, Copy, Default)]
struct Change {
    down: isize,
    right: isize,
    mirror: bool,
}

impl Change {
    fn draw(training: &Training, random: &mut ChaCha8Rng) -> Self {
        let most = training.shift as i32;
        let mut distance = || random.random_range(-most..=most) as isize;
        let (down, right) = (distance(), distance());
        Self { down, right, mirror: training.mirror && random.random() }
    }

    fn apply(self, image: &[u8], shape: ImageShape) -> Vec<u8> {
        let (height, width) = (shape.height as isize, shape.width as isize);
        let mut out = vec![0; image.len()];
        let rows = out.chunks_exact_mut(shape.width).zip(0..);
        for (out, row) in rows {
            let (plane, y) = (row / height, row % height + self.down);
            if !(0..height).contains(&y) {
                continue;
            }
            for (out, x) in out.iter_mut().zip(0..) {
                let x = self.right + if self.mirror { width - 1 - x } else { x };
                if (0..width).contains(&x) {
                    *out = image[((plane * height + y) * width + x) as usize];
                }
            }
        }
        out
    }
}

/// Returns the mean of the moments of 40 batches of unchanged images.
fn moments_of(model: &Model, recipe: &Recipe, images: &ImageSet) -> Result<Vec<Moments>> {
    const BATCHES: usize = 40;
    let size = recipe.training.batch;
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
    let mut mean: Vec<Moments> = Vec::new();
    let batches = order.chunks_exact(size).take(BATCHES);
    let count = batches.len() as f32;
    for batch in batches {
        let unchanged = vec![Change::default(); size];
        let (_, seen) = model.forward(&inputs(recipe, images, batch, &unchanged)?, None, None)?;
        if mean.is_empty() {
            let zeros = |m: &Moments| vec![0.0; m.means.len()];
            mean = seen.iter().map(|m| Moments { means: zeros(m), stds: zeros(m) }).collect();
        }
        for (mean, seen) in mean.iter_mut().zip(&seen) {
            mean.means.iter_mut().zip(&seen.means).for_each(|(mean, m)| *mean += m / count);
            mean.stds.iter_mut().zip(&seen.stds).for_each(|(mean, s)| *mean += s / count);
        }
    }
    Ok(mean)
}

/// Returns the share of images that the model classifies rightly, with noise if there is any.
fn accuracy(
    model: &Model,
    recipe: &Recipe,
    images: &ImageSet,
    moments: &[Moments],
    noise: Option<&Noise>,
) -> Result<f64> {
    let order: Vec<usize> = (0..images.len()).collect();
    let mut right = 0;
    let mirrors = if recipe.network.mirrored { &[false, true][..] } else { &[false] };
    for batch in order.chunks(500) {
        let y = labels(images, batch)?;
        let logits = mirrors.iter().map(|&mirror| {
            let changes = vec![Change { mirror, ..Change::default() }; batch.len()];
            let noise =
                noise.map(|noise| noise.with_seed((batch[0] << 1 | usize::from(mirror)) as u64));
            let x = inputs(recipe, images, batch, &changes)?;
            Ok(model.forward(&x, Some(moments), noise.as_ref())?.0)
        });
        let logits = logits.collect::<Result<Vec<Tensor>>>()?;
        let logits = Tensor::stack(&logits, 0)?.sum(0)?;
        let found = logits.argmax(1)?.eq(&y)?.to_vec1::<u8>()?;
        right += found.iter().filter(|&&hit| hit == 1).count();
    }
    Ok(right as f64 / images.len() as f64)
}
