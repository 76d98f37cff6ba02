//! A preset's training with the fast twin, and what is written down about it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use fhe_core::Params;
use fhe_data::Encoded;
use fhe_train::{DeepRecipe, FastTwin, Wraps};
use serde::{Deserialize, Serialize};

use crate::client::Labelled;
use crate::progress;

/// What a deep network is trained on and tested on.
#[derive(Clone, Debug)]
pub struct Data {
    /// Training samples, with their mirror images after them if the recipe wants these.
    pub train: Labelled,
    /// Test samples.
    pub test: Labelled,
}

/// A finished training.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Share of test samples classified rightly.
    pub accuracy: f64,
    /// Training samples, counted in every pass.
    pub images: u64,
    /// Lookups that the encrypted training makes.
    pub lookups: u64,
    /// Seconds, tests for the curve included.
    pub wall_seconds: f64,
    /// Samples seen and accuracy.
    pub curve: Vec<(u64, f64)>,
    /// What did not fit its range.
    pub wraps: Wraps,
}

impl Data {
    /// Reads `train.i8`, `train-mirrored.i8`, `test.i8` (rows of `width` bytes) and `train.u8`,
    /// `test.u8` (labels) of a folder.
    ///
    /// # Errors
    /// Those of the files.
    pub fn read(folder: &Path, width: usize, mirrored: bool) -> Result<Self> {
        let bytes = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
        };
        let features = |name: &str| -> Result<Encoded> {
            let values = bytes(name)?.into_iter().map(|x| x as i8).collect();
            Ok(Encoded::new(width, values)?)
        };
        let labels = |name: &str| -> Result<Vec<u32>> {
            Ok(bytes(name)?.into_iter().map(u32::from).collect())
        };
        let mut train = Labelled { features: features("train.i8")?, labels: labels("train.u8")? };
        let test = Labelled { features: features("test.i8")?, labels: labels("test.u8")? };
        ensure!(
            train.features.len() == train.labels.len() && test.features.len() == test.labels.len(),
            "{}: another number of rows than of labels",
            folder.display()
        );
        if mirrored {
            train.features.append(&features("train-mirrored.i8")?)?;
            train.labels.extend_from_within(..);
            ensure!(
                train.features.len() == train.labels.len(),
                "{}: another number of mirror images than of images",
                folder.display()
            );
        }
        Ok(Self { train, test })
    }
}

/// Trains the fast twin, and tests it `tests` times on the way.
///
/// # Errors
/// Those of the recipe; data of another size.
pub fn train(
    params: &Params,
    recipe: &DeepRecipe,
    batch: usize,
    data: &Data,
    noise: Option<u64>,
    tests: usize,
) -> Result<Outcome> {
    let start = Instant::now();
    let copies = 1 + usize::from(recipe.mirrored);
    let batches = data.train.labels.len().div_ceil(batch.max(1)) / copies;
    let steps = batches * recipe.passes;
    let every = steps.div_ceil(tests.max(1)).max(1);
    let (mut step, mut images, mut lookups, mut curve) = (0, 0, 0, Vec::new());
    let bar = progress::bar("fast twin", steps as u64, "steps");
    let train = (data.train.features.view(), &data.train.labels[..]);
    let twin = FastTwin::run(params, recipe, train, batch, noise, |twin, work| {
        step += 1;
        images += work.samples as u64;
        lookups += work.lookups as u64;
        if step % every == 0 && step < steps {
            curve.push((images, accuracy(twin, &data.test)?));
            bar.set_message(curve.last().map_or_else(String::new, |c| format!("{:.4}", c.1)));
        }
        bar.inc(1);
        Ok(())
    })?;
    bar.finish();
    let accuracy = accuracy(&twin, &data.test)?;
    curve.push((images, accuracy));
    let wall_seconds = start.elapsed().as_secs_f64();
    Ok(Outcome { accuracy, images, lookups, wall_seconds, curve, wraps: twin.wraps().clone() })
}

fn accuracy(twin: &FastTwin, test: &Labelled) -> fhe_train::Result<f64> {
    let x: Vec<&[i8]> = test.features.rows().collect();
    let classes = twin.classify(&x)?;
    let right = classes.iter().zip(&test.labels).filter(|(c, l)| c == l).count();
    Ok(right as f64 / x.len().max(1) as f64)
}

/// The fast twin's results as a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FastResults {
    /// What this is: a simulation in the clear, not an encrypted training.
    pub what: String,
    /// Share of test images that the model of the first seed classifies rightly.
    pub accuracy: f64,
    /// Training images, each counted in every pass.
    pub images: u64,
    /// Lookups that the encrypted training makes.
    pub lookups: u64,
    /// Seconds of the simulation.
    pub wall_seconds: f64,
    /// Threads.
    pub threads: usize,
    /// Name of the parameter set whose noise is simulated.
    pub parameter_set: String,
    /// Seed of the noise; none for an exact twin.
    pub seed: Option<u64>,
    /// Seed and accuracy of every run, the first and the exact one included.
    pub repeats: Vec<(Option<u64>, f64)>,
    /// Command.
    pub command: String,
    /// Commit.
    pub commit: String,
    /// Machine.
    pub machine: String,
    /// Name of the data set.
    pub dataset: String,
    /// Test images.
    pub test_images: usize,
    /// Training images of a mini-batch.
    pub batch: usize,
    /// The public recipe, as it was then.
    pub recipe: serde_json::Value,
    /// Images seen and test accuracy of the first seed.
    pub curve: Vec<(u64, f64)>,
    /// Of each layer, pre-activations that were read outside their range.
    pub wraps: Vec<u64>,
    /// Of each layer but the last, errors that did not fit their range.
    pub lost_errors: Vec<u64>,
}

impl FastResults {
    /// Puts the first run with noise (else the first run) and the accuracies of all together.
    ///
    /// # Errors
    /// If there is no run.
    pub fn new(
        runs: &[(Option<u64>, Outcome)],
        params: &Params,
        recipe: &DeepRecipe,
        batch: usize,
        data: &Data,
        dataset: &str,
    ) -> Result<Self> {
        let first = runs.iter().find(|run| run.0.is_some()).or(runs.first());
        let (seed, run) = first.context("no run")?;
        let here = crate::results::here();
        Ok(Self {
            what: "fast twin: simulation in the clear with the predicted noise".into(),
            accuracy: run.accuracy,
            images: run.images,
            lookups: run.lookups,
            wall_seconds: run.wall_seconds,
            threads: rayon::current_num_threads(),
            parameter_set: params.name.clone(),
            seed: *seed,
            repeats: runs.iter().map(|(seed, run)| (*seed, run.accuracy)).collect(),
            command: here.command,
            commit: here.commit,
            machine: here.machine,
            dataset: dataset.into(),
            test_images: data.test.labels.len(),
            batch,
            recipe: serde_json::json!(recipe),
            curve: run.curve.clone(),
            wraps: run.wraps.pre_activations.clone(),
            lost_errors: run.wraps.errors.clone(),
        })
    }
}
