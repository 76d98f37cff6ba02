//! Measures the encoder: a linear head on encoded images, in the clear.
//!
//! One-vs-all logistic regression, one pass, mini-batches of 16: `e = sigmoid(w . x) - y`,
//! `w -= rate * e * x`, the rate falling linearly to zero.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use fhe_data::{Encoded, Encoder, EncoderConfig, Progress, Split, builtin, cifar10};

/// Prints the test accuracy of a linear head on encoded images.
#[derive(Parser)]
struct Args {
    /// Folder or archive of CIFAR-10; the built-in images if left out.
    #[arg(long)]
    data: Option<PathBuf>,
    /// `head`, `small`, `convnet` or `convnet-small`.
    #[arg(long, default_value = "head")]
    preset: String,
    /// Dictionary of the presets `head` and `convnet`.
    #[arg(long, default_value_t = 1600)]
    dictionary: usize,
    /// Changed settings, as JSON, for example `{"threshold":0.5}`.
    #[arg(long, default_value = "{}")]
    set: String,
    /// Training images, from the first.
    #[arg(long, default_value_t = 50_000)]
    train: usize,
    /// Test images, from the first.
    #[arg(long, default_value_t = 10_000)]
    test: usize,
    /// Seed of the built-in images.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// First learning rates, as multiples of 1 / mean squared norm.
    #[arg(long, value_delimiter = ',', default_value = "0.2,0.4,0.8,1.6")]
    rates: Vec<f32>,
    /// Images between two updates.
    #[arg(long, default_value_t = 16)]
    batch: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let split = match &args.data {
        Some(path) => cifar10::read(path).context("reading CIFAR-10")?,
        None => builtin(args.seed, args.train.min(2_000), args.test.min(1_000)),
    };
    let (train, test) = (split.train.head(args.train), split.test.head(args.test));
    let split = Split { train, test, ..split };
    let config = configure(&args)?;
    println!("{}", serde_json::to_string(&config)?);

    let start = Instant::now();
    let encoder = Encoder::fit(config, &split.train, &report())?;
    println!("fitted in {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let train = encoder.encode(split.train.images(), &report())?;
    let test = encoder.encode(split.test.images(), &report())?;
    println!("encoded {} in {:.1} s", train.len() + test.len(), start.elapsed().as_secs_f64());
    let norm = train.mean_square_norm();
    println!("mean squared norm {norm:.0}");
    for rate in &args.rates {
        let weights = fit_head(&train, split.train.labels(), rate / norm as f32, args.batch);
        let accuracy = accuracy(&weights, &test, split.test.labels());
        println!("rate {rate} / {norm:.0}: test accuracy {accuracy:.4}");
    }
    Ok(())
}

/// Returns the preset with the changes applied.
fn configure(args: &Args) -> Result<EncoderConfig> {
    let preset = match args.preset.as_str() {
        "head" => EncoderConfig::head(args.dictionary),
        "small" => EncoderConfig::small(),
        "convnet" => EncoderConfig::convnet(args.dictionary),
        "convnet-small" => EncoderConfig::convnet_small(),
        other => bail!("unknown preset {other}"),
    };
    let mut value = serde_json::to_value(preset)?;
    let changes: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&args.set)?;
    value.as_object_mut().context("settings are an object")?.extend(changes);
    Ok(serde_json::from_value(value)?)
}

/// Prints each stage once, when it ends.
fn report() -> impl Fn(Progress) {
    let start = Instant::now();
    let last = Cell::new(0);
    move |progress| {
        if progress.done == progress.total && last.replace(progress.done) != u64::MAX {
            println!("  {}: {:.1} s", progress.stage, start.elapsed().as_secs_f64());
        }
    }
}

/// Returns the scores of the ten classes.
fn scores(weights: &[f32], x: &[i8]) -> [f32; 10] {
    let mut scores = [0.0; 10];
    for (w, &x) in weights.chunks_exact(10).zip(x) {
        for (score, w) in scores.iter_mut().zip(w) {
            *score += w * f32::from(x);
        }
    }
    scores
}

/// Trains on rows in their order; returns weights, `[width, 10]`.
fn fit_head(data: &Encoded, labels: &[u32], rate: f32, batch: usize) -> Vec<f32> {
    let mut weights = vec![0.0f32; data.width() * 10];
    let samples: Vec<&[i8]> = data.rows().collect();
    for first in (0..data.len()).step_by(batch) {
        let rate = rate * (1.0 - first as f32 / data.len() as f32);
        let rows = first..(first + batch).min(data.len());
        let errors: Vec<[f32; 10]> = rows
            .clone()
            .map(|i| {
                let mut e = scores(&weights, samples[i]).map(|z| 1.0 / (1.0 + (-z).exp()));
                e[labels[i] as usize] -= 1.0;
                e
            })
            .collect();
        for (i, errors) in rows.zip(errors) {
            for (w, &x) in weights.chunks_exact_mut(10).zip(samples[i]) {
                for (w, e) in w.iter_mut().zip(errors) {
                    *w -= rate * e * f32::from(x);
                }
            }
        }
    }
    weights
}

/// Returns the fraction of rows whose label has the highest score.
fn accuracy(weights: &[f32], data: &Encoded, labels: &[u32]) -> f64 {
    let right = data.rows().zip(labels).filter(|(row, label)| {
        let scores = scores(weights, row);
        let best = (0..10).fold(0, |best, k| if scores[k] > scores[best] { k } else { best });
        best == **label as usize
    });
    right.count() as f64 / data.len() as f64
}
