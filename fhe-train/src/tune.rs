//! Rates that suit the data, found by the client with clear twins.

use fhe_core::Params;
use ndarray::{ArrayView2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::metrics::share_right;
use crate::samples::Samples;
use crate::{ClearModel, DeepRecipe, Error, FastTwin, MiniBatches, Recipe, Result};

/// Factors by which rates are multiplied, one trial each.
const FACTORS: [f64; 7] = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
/// Factors of a quick check.
const CHECKED: [f64; 3] = [0.125, 1.0, 8.0];
/// Samples of a quick check, at most.
const CHECKED_SAMPLES: usize = 2_000;
/// Samples that are held out: one of so many.
const HELD_OUT: usize = 5;
/// Seed of the public shuffle and of the twins' noise.
const SEED: u64 = 1;

/// What the twins found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwinReport {
    /// Mean sum of squares of a sample's integers.
    pub squared_norm: f64,
    /// Samples that the twins were trained on.
    pub trained: usize,
    /// Samples that they were tested on: others.
    pub held_out: usize,
    /// One trial a factor, in ascending order.
    pub trials: Vec<Trial>,
    /// The share of held-out samples that the best trial classifies rightly. It was chosen by that
    /// share, which is therefore a little too high an estimate.
    pub accuracy: f64,
}

/// One twin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What all rates of the recipe were multiplied by, after it was fitted to the squared norm.
    pub factor: f64,
    /// Share of the held-out samples classified rightly.
    pub accuracy: f64,
}

/// A rate that does not suit the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateWarning {
    /// Share of held-out samples that a twin with the recipe's rates classifies rightly.
    pub accuracy: f64,
    /// The better trial.
    pub better: Trial,
}

impl std::fmt::Display for RateWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the rates may not suit the data: a clear twin classifies {:.1} % of held-out samples \
             rightly, and {:.1} % with {} times the rates",
            100.0 * self.accuracy,
            100.0 * self.better.accuracy,
            self.better.factor
        )
    }
}

/// Fits a recipe's rates to samples: first to their squared norm, then by trials.
///
/// A clear twin of the training, with the predicted noise, is trained on four fifths of the samples
/// for each of seven factors from 1/8 to 8, and tested on the last fifth. The factor that classifies
/// most rightly wins; of equal ones, that nearest to 1.
///
/// The samples never leave the client. The recipe does, and with it the rates that were found: the
/// server sees which factor won, and the mean squared norm.
///
/// # Cost
/// Seven trainings in the clear: seconds for a linear classifier of some thousand samples, a minute
/// for a network.
///
/// # Errors
/// [`Error::Data`] if there are fewer than ten samples, or they do not fit the recipe;
/// [`Error::Label`], [`Error::Recipe`], [`Error::Network`].
///
/// # Examples
/// ```
/// use fhe_train::{Recipe, tune};
/// use ndarray::Array2;
///
/// # fn main() -> Result<(), fhe_train::Error> {
/// // Two classes that differ in the sign of every feature, and a constant.
/// let x = Array2::from_shape_fn((40, 4), |(i, j)| match (i % 2, j) {
///     (_, 3) => 7,
///     (0, _) => 3 + (i % 3) as i8,
///     _ => -3 - (i % 3) as i8,
/// });
/// let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
/// let (recipe, report) = tune(&Recipe::linear(4, 2), (x.view(), &labels), 8)?;
/// assert_eq!((report.accuracy, report.held_out), (1.0, 8));
/// assert!(recipe.check(&recipe.params()?).is_ok());
/// # Ok(())
/// # }
/// ```
pub fn tune(
    recipe: &Recipe,
    (x, labels): (ArrayView2<'_, i8>, &[u32]),
    batch: usize,
) -> Result<(Recipe, TwinReport)> {
    let params = recipe.params()?;
    let data = Samples::new("tune", recipe, params.row_size, x, labels)?;
    let squared_norm = data.squared_norm();
    let recipe = recipe.clone().for_squared_norm(squared_norm.max(1.0));
    let split = Split::new(&recipe, &data, usize::MAX)?;
    let trials = trials(&params, &recipe, &split, batch, &FACTORS)?;
    let Some(best) = best(&trials) else { return Err(no_rate(&recipe)) };
    let report = TwinReport {
        squared_norm,
        trained: split.train.1.len(),
        held_out: split.test.1.len(),
        trials,
        accuracy: best.accuracy,
    };
    Ok((recipe.with_rates_times(best.factor), report))
}

/// Compares a recipe's rates with an eighth of them and with eight times them on at most 2,000
/// samples, as [`tune`] does; warns if one of those is clearly better.
///
/// Clearly is by more than two standard deviations of the difference, as if trials were independent.
///
/// # Errors
/// As [`tune`].
pub fn check_rates(
    params: &Params,
    recipe: &Recipe,
    (x, labels): (ArrayView2<'_, i8>, &[u32]),
    batch: usize,
) -> Result<Option<RateWarning>> {
    let data = Samples::new("check_rates", recipe, params.row_size, x, labels)?;
    let split = Split::new(recipe, &data, CHECKED_SAMPLES)?;
    let trials = trials(params, recipe, &split, batch, &CHECKED)?;
    let given = trials.iter().find(|trial| trial.factor == 1.0);
    let (Some(given), Some(better)) = (given, best(&trials)) else { return Ok(None) };
    let variance = |p: f64| p * (1.0 - p) / split.test.1.len() as f64;
    let deviation = (variance(given.accuracy) + variance(better.accuracy)).sqrt();
    let clearly = better.accuracy - given.accuracy > (2.0 * deviation).max(0.01);
    Ok(clearly.then_some(RateWarning { accuracy: given.accuracy, better }))
}

fn no_rate(recipe: &Recipe) -> Error {
    let rule = "no multiple of it from 1/8 to 8 is within the range of a recipe";
    let got = match recipe {
        Recipe::Head(recipe) => recipe.learning_rate.to_string(),
        Recipe::Deep(recipe) => recipe.training.first().map_or(0.0, |layer| layer.rate).to_string(),
    };
    Error::Recipe { field: "rate", got, rule }
}

/// The best trial; of equal ones, that whose factor is nearest to 1.
fn best(trials: &[Trial]) -> Option<Trial> {
    let far = |trial: &Trial| trial.factor.log2().abs();
    let order =
        |a: &&Trial, b: &&Trial| a.accuracy.total_cmp(&b.accuracy).then(far(b).total_cmp(&far(a)));
    trials.iter().max_by(order).copied()
}

/// Rows to train on and rows to test on, owned, with their labels.
struct Split {
    train: (ndarray::Array2<i8>, Vec<u32>),
    test: (ndarray::Array2<i8>, Vec<u32>),
}

impl Split {
    /// Shuffles by a public seed, and takes at most so many of the first copy.
    fn new(recipe: &Recipe, data: &Samples<'_>, most: usize) -> Result<Self> {
        let mut order: Vec<usize> = (0..data.len() / recipe.copies()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(SEED));
        order.truncate(most);
        if order.len() < 2 * HELD_OUT {
            let (op, what) = ("tune", "the number of samples");
            let expected = format!("at least {}", 2 * HELD_OUT);
            return Err(Error::Data { op, what, got: order.len(), expected });
        }
        let (test, train) = order.split_at(order.len() / HELD_OUT);
        let take = |rows: &[usize]| {
            let labels = rows.iter().map(|&i| data.labels[i]).collect();
            (data.x.select(Axis(0), rows), labels)
        };
        Ok(Self { train: take(train), test: take(test) })
    }
}

/// Trains a twin for each factor with which the recipe passes its check.
fn trials(
    params: &Params,
    recipe: &Recipe,
    split: &Split,
    batch: usize,
    factors: &[f64],
) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for &factor in factors {
        let recipe = recipe.clone().with_rates_times(factor);
        if factor != 1.0 && recipe.check(params).is_err() {
            continue;
        }
        let predicted = predict(params, &recipe, split, batch)?;
        trials.push(Trial { factor, accuracy: share_right(&split.test.1, &predicted) });
    }
    Ok(trials)
}

fn predict(params: &Params, recipe: &Recipe, split: &Split, batch: usize) -> Result<Vec<u32>> {
    let train = (split.train.0.view(), &split.train.1[..]);
    match recipe {
        Recipe::Head(_) => {
            let twin = ClearModel::twin(params, recipe, train, batch, Some(SEED), |_, _| ())?;
            Ok(twin.predict(split.test.0.view())?.to_vec())
        }
        Recipe::Deep(recipe) => {
            // Held-out samples have no mirror images.
            let recipe = DeepRecipe { mirrored: false, ..recipe.clone() };
            fast(params, &recipe, split, batch)
        }
    }
}

fn fast(params: &Params, recipe: &DeepRecipe, split: &Split, batch: usize) -> Result<Vec<u32>> {
    let (x, labels) = &split.train;
    let rows = |x: &ndarray::Array2<i8>| -> Vec<Vec<i8>> {
        x.outer_iter().map(|row| row.to_vec()).collect()
    };
    let train = rows(x);
    let batch = batch.max(1);
    let plan = MiniBatches { batches: train.len().div_ceil(batch), batch };
    let mut twin = FastTwin::new(params, recipe, plan, Some(SEED))?;
    for step in 0..plan.batches * recipe.passes {
        let first = step % plan.batches * batch;
        let range = first..(first + batch).min(train.len());
        let samples: Vec<&[i8]> = train[range.clone()].iter().map(Vec::as_slice).collect();
        twin.train_step(&samples, &labels[range])?;
    }
    let test = rows(&split.test.0);
    twin.classify(&test.iter().map(Vec::as_slice).collect::<Vec<_>>())
}
