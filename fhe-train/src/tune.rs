//! Rates that suit the data, found by the client with clear twins.

use fhe_core::Params;
use ndarray::{ArrayView2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::metrics::share_right;
use crate::samples::Samples;
use crate::squared_norm;
use crate::{DeepRecipe, Error, FastHead, FastTwin, Recipe, Result};

/// Factors by which rates are multiplied, one trial each.
const FACTORS: [f64; 7] = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
/// Factors of a quick check.
const CHECKED: [f64; 3] = [0.125, 1.0, 8.0];
/// Samples of a quick check, at most.
const CHECKED_SAMPLES: usize = 2_000;
/// Samples that are held out: one of so many.
const HELD_OUT: usize = 5;
/// A trial fails that classifies a part of the samples wrongly that the best one does not.
const FAILED: f64 = 0.03;
/// One is nearly as good as the best if that part is smaller.
const NEARLY: f64 = 0.01;
/// Samples that [`tune`] and [`check_rates`] want at least: fewer say nothing about rates.
pub const LEAST_SAMPLES: usize = 2 * HELD_OUT;
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
/// for each of seven factors from 1/8 to 8, and tested on the last fifth. Samples are drawn by a
/// public seed. The factor with the most right classes wins; of equal ones, the middle one. If
/// twice its rates lose three points, half of them are taken that lose less than one: rates a
/// little too large fail altogether.
///
/// The samples never leave the client. The recipe does, and with it the rates that were found: the
/// server sees which factor won, and the mean squared norm.
///
/// Of a recipe with mirror images, `x` has all images and then all mirror images, as
/// [`crate::Client::encrypt`] takes them. The twins see the images alone, so that no mirror image
/// of a held-out sample is trained on.
///
/// # Cost
/// Seven trainings in the clear: seconds for a linear classifier of some thousand samples, a minute
/// for a network.
///
/// # Errors
/// [`Error::Data`] if there are fewer than ten samples, if they do not fit the recipe or are nearly
/// all zero; [`Error::Label`], [`Error::Recipe`], [`Error::Network`].
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
/// assert!(recipe.check(&recipe.params(8)?).is_ok());
/// # Ok(())
/// # }
/// ```
pub fn tune(
    recipe: &Recipe,
    (x, labels): (ArrayView2<'_, i8>, &[u32]),
    batch: usize,
) -> Result<(Recipe, TwinReport)> {
    let params = recipe.params(batch)?;
    let data = Samples::new("tune", recipe, params.row_size, x, labels)?;
    data.check_batches(recipe, batch)?;
    let squared_norm = data.squared_norm();
    if !squared_norm::RANGE.contains(&squared_norm) {
        let (op, what) = ("tune", "the mean squared norm, rounded down");
        let (got, expected) = (squared_norm as usize, "1 to 1e9".into());
        return Err(Error::Data { op, what, got, expected });
    }
    let recipe = recipe.clone().for_squared_norm(squared_norm);
    let split = Split::new(&recipe, &data, usize::MAX)?;
    let trials = trials(&params, &recipe, &split, batch, &FACTORS)?;
    let Some(best) = safest(&trials) else { return Err(no_rate(&recipe)) };
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
/// Clearly is by more than one in a hundred, and by more than two standard deviations of the
/// difference as if trials were independent.
///
/// # Errors
/// As [`tune`]; also if the recipe does not pass its check for the parameter set.
pub fn check_rates(
    params: &Params,
    recipe: &Recipe,
    (x, labels): (ArrayView2<'_, i8>, &[u32]),
    batch: usize,
) -> Result<Option<RateWarning>> {
    recipe.check(params)?;
    let data = Samples::new("check_rates", recipe, params.row_size, x, labels)?;
    data.check_batches(recipe, batch)?;
    let split = Split::new(recipe, &data, CHECKED_SAMPLES)?;
    let trials = trials(params, recipe, &split, batch, &CHECKED)?;
    let given = trials.iter().find(|trial| trial.factor == 1.0);
    let (Some(given), Some(better)) = (given, best(&trials)) else { return Ok(None) };
    let clearly = is_clearly_better(better.accuracy, given.accuracy, split.test.1.len());
    Ok(clearly.then_some(RateWarning { accuracy: given.accuracy, better }))
}

/// Returns whether one share of so many samples is above another by more than chance.
///
/// With one success and one failure more in each, so that shares of few samples, or of none or all,
/// do not pass for certain: Agresti and Caffo, "Simple and effective confidence intervals for
/// proportions", The American Statistician, 2000.
fn is_clearly_better(better: f64, given: f64, samples: usize) -> bool {
    let count = samples as f64 + 2.0;
    let share = |accuracy: f64| (accuracy * samples as f64 + 1.0) / count;
    let variance = |accuracy: f64| share(accuracy) * (1.0 - share(accuracy)) / count;
    let deviation = (variance(better) + variance(given)).sqrt();
    better - given > 0.01 && share(better) - share(given) > 2.0 * deviation
}

fn no_rate(recipe: &Recipe) -> Error {
    let rule = "no multiple of it from 1/8 to 8 is within the range of a recipe";
    let got = match recipe {
        Recipe::Head(recipe) => recipe.learning_rate.to_string(),
        Recipe::Deep(recipe) => recipe.training.first().map_or(0.0, |layer| layer.rate).to_string(),
    };
    Error::Recipe { field: "rate", got, rule }
}

/// The best trial with a margin: rates a little too large fail altogether, with noise sooner than
/// without. If twice its rates fail, half of them are taken where they are nearly as good.
fn safest(trials: &[Trial]) -> Option<Trial> {
    let best = best(trials)?;
    let of = |factor: f64| trials.iter().find(|trial| trial.factor == factor).copied();
    let fails = of(2.0 * best.factor).is_some_and(|trial| best.accuracy - trial.accuracy > FAILED);
    let half = of(best.factor / 2.0).filter(|trial| best.accuracy - trial.accuracy < NEARLY);
    Some(half.filter(|_| fails).unwrap_or(best))
}

/// The best trial; of equal ones, the middle one.
fn best(trials: &[Trial]) -> Option<Trial> {
    let most = trials.iter().map(|trial| trial.accuracy).max_by(f64::total_cmp)?;
    let mut equal: Vec<Trial> =
        trials.iter().filter(|trial| trial.accuracy >= most).copied().collect();
    equal.sort_by(|a, b| a.factor.total_cmp(&b.factor));
    equal.get(equal.len().saturating_sub(1) / 2).copied()
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
        if order.len() < LEAST_SAMPLES {
            let (op, what) = ("tune", "the number of samples");
            let expected = format!("at least {LEAST_SAMPLES}");
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
        if recipe.check(params).is_err() {
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
        Recipe::Head(recipe) => {
            let twin = FastHead::run(params, recipe, train, batch, Some(SEED), |_, _| Ok(()))?;
            twin.classify(split.test.0.view())
        }
        Recipe::Deep(recipe) => {
            // Held-out samples have no mirror images.
            let recipe = DeepRecipe { mirrored: false, ..recipe.clone() };
            let twin = FastTwin::run(params, &recipe, train, batch, Some(SEED), |_, _| Ok(()))?;
            let test = &split.test.0.as_standard_layout();
            twin.classify(&test.outer_iter().filter_map(|row| row.to_slice()).collect::<Vec<_>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_trials_the_middle_one_wins() {
        let of = |trials: &[(f64, f64)]| {
            let trials: Vec<Trial> =
                trials.iter().map(|&(factor, accuracy)| Trial { factor, accuracy }).collect();
            best(&trials).map(|trial| trial.factor)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(0.5, 0.8), (1.0, 0.7), (2.0, 0.9)]), Some(2.0));
        assert_eq!(of(&[(0.125, 0.9), (0.5, 0.9), (1.0, 0.7), (8.0, 0.9)]), Some(0.5));
        assert_eq!(of(&[(0.5, 0.9), (1.0, 0.9), (2.0, 0.9)]), Some(1.0));
    }

    #[test]
    fn rates_keep_away_from_those_that_fail() {
        let of = |accuracies: [f64; 3]| {
            let trials = [0.5, 1.0, 2.0].into_iter().zip(accuracies);
            let trials: Vec<Trial> =
                trials.map(|(factor, accuracy)| Trial { factor, accuracy }).collect();
            safest(&trials).map(|trial| trial.factor)
        };
        assert_eq!(of([0.911, 0.914, 0.80]), Some(0.5));
        assert_eq!(of([0.911, 0.914, 0.90]), Some(1.0), "twice the rates are well");
        assert_eq!(of([0.90, 0.914, 0.80]), Some(1.0), "half of them are much worse");
        assert_eq!(of([0.911, 0.912, 0.914]), Some(2.0), "nobody tried more");
    }

    #[test]
    fn better_by_chance_is_not_clearly_better() {
        let cases = [
            // All of two samples, and none of them.
            (1.0, 0.0, 2, false),
            (1.0, 0.0, 10, true),
            (0.909, 0.90, 100_000, false),
            (0.92, 0.90, 100_000, true),
            (0.92, 0.90, 400, false),
            (0.80, 0.90, 400, false),
            (0.50, 0.50, 0, false),
        ];
        for (better, given, samples, clearly) in cases {
            assert_eq!(is_clearly_better(better, given, samples), clearly, "{better} {given}");
        }
    }

    #[test]
    fn a_split_holds_no_mirror_image_and_no_sample_twice() {
        let Recipe::Deep(recipe) = Recipe::mlp(2, &[2], 2).with_passes(2) else { return };
        let recipe = Recipe::Deep(DeepRecipe { mirrored: true, ..recipe });
        // Twenty images, numbered, then their mirror images.
        let x = ndarray::Array2::from_shape_fn((40, 2), |(i, j)| match j {
            0 => (i % 20) as i8,
            _ => (i / 20) as i8,
        });
        let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
        let data = Samples { x: x.view(), labels: &labels };
        let split = Split::new(&recipe, &data, usize::MAX).unwrap();
        assert_eq!((split.train.1.len(), split.test.1.len()), (16, 4));
        let rows = split.train.0.outer_iter().chain(split.test.0.outer_iter());
        let mut seen: Vec<(i8, i8)> = rows.map(|row| (row[0], row[1])).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..20).map(|i| (i, 0)).collect::<Vec<_>>());
        assert!(
            split.train.0.outer_iter().zip(&split.train.1).all(|(row, y)| row[0] as u32 % 2 == *y)
        );
    }
}
