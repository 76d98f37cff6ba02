//! Features of any kind as small integers.
//!
//! Every feature is standardised, `z_j = (x_j - mean_j) / std_dev_j`, where mean and standard
//! deviation are those of the rows that the quantizer was fitted to. One scale `s` for all features
//! then makes integers of them, `q_j = round(s z_j)`, clipped to `-7..=7`.

use std::path::Path;

use ndarray::{ArrayView1, ArrayView2, Axis};
use num_traits::AsPrimitive;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::encoder::LIMIT;
use crate::encoder::store::Tensors;
use crate::{Encoded, Error, Result};

/// Identifies a stored quantizer.
const KIND: &str = "fhe-data quantizer";
/// Mean squared norm that the learning rates of the recipes are for.
const TARGET: f64 = 5000.0;
/// Standard deviations that become the largest integer where the scale is largest: about one value
/// in a hundred of a normal distribution is beyond them and is clipped.
const LEAST_REACH: f64 = 2.5;
/// Halvings of the range of the scale; the last one decides a millionth of it.
const HALVINGS: usize = 20;
/// The constant of linear models, as the image encoders have it.
const BIAS: i8 = 4;
/// Integers at most of an encoded sample.
const LARGEST_WIDTH: usize = 1 << 20;
/// Features of this size can be squared and added.
const LARGEST: f64 = 1e100;

/// Turns features of any number type into integers of four bits: standardised by column, with one
/// common scale, fitted without labels.
///
/// # Formula
/// `q_j = clip(round(s (x_j - mean_j) / std_dev_j), -7, 7)`. A feature that was the same in all
/// rows becomes 0. The scale `s` brings the mean squared norm of an encoded sample to 5,000, for
/// which the recipes' learning rates are made, or as near as `s <= 7 / 2.5` permits: then `q_j = 7`
/// stands for 2.5 standard deviations. With fewer than about 640 features the norm stays below
/// 5,000; [`Quantizer::squared_norm`] says what is reached, and rates are to be raised in
/// proportion.
///
/// # Shapes
/// `[n, features] -> [n, width]`, with 1 to `width - 1` features: the integers of the features,
/// then zeros, then one constant, the bias of a linear model (4, or what [`Quantizer::with_bias`]
/// says).
///
/// # Values
/// Input: numbers of any type, of size at most 1e100. Output: `-7..=7`.
///
/// # Cost
/// Two passes over the rows to fit, and up to 21 more in parallel for the scale; one to encode. The
/// result does not depend on the number of threads.
///
/// ```
/// use fhe_data::Quantizer;
/// use ndarray::array;
///
/// let petals = array![[1.4f32, 0.2], [4.7, 1.4], [6.0, 2.5], [5.1, 1.8]];
/// let quantizer = Quantizer::fit(petals.view(), 8)?;
/// let encoded = quantizer.encode(petals.view())?;
/// assert_eq!(encoded.row(0), Some(&[-5, -4, 0, 0, 0, 0, 0, 4][..]));
/// assert!((encoded.mean_square_norm() - quantizer.squared_norm()).abs() < 1e-9);
/// # Ok::<(), fhe_data::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Quantizer {
    parts: Parts,
    /// Integers to a unit of each feature; 0 for a feature that does not vary.
    gains: Vec<f64>,
}

/// What is stored.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    width: usize,
    bias: i8,
    mean: Vec<f64>,
    std_dev: Vec<f64>,
    scale: f64,
    /// Without the constant.
    feature_norm: f64,
}

/// The parts that are no tensor of a file.
#[derive(Deserialize, Serialize)]
struct Settings {
    width: usize,
    features: usize,
    bias: i8,
}

impl Quantizer {
    /// Fits means, standard deviations and the scale to the rows of a matrix.
    ///
    /// `width` is the number of integers of an encoded sample: 2048 for the shipped parameters.
    ///
    /// # Errors
    /// [`Error::TooFewRows`] for less than two rows; [`Error::TooManyFeatures`] for none, or more
    /// than `width - 1`; [`Error::Feature`], with row and column, for a value that is not finite or
    /// above 1e100; [`Error::NoVariation`] if all rows are the same; [`Error::Config`] for a width
    /// above 1,048,576.
    pub fn fit<T>(rows: ArrayView2<'_, T>, width: usize) -> Result<Self>
    where
        T: AsPrimitive<f64> + Sync,
    {
        let op = "Quantizer::fit";
        let (count, features) = rows.dim();
        if count < 2 {
            return Err(Error::TooFewRows { op, got: count, wanted: 2 });
        }
        let most = width.saturating_sub(1);
        if features == 0 || features > most {
            return Err(Error::TooManyFeatures { op, got: features, most });
        }
        check_features(op, rows)?;
        let (mean, std_dev) = moments(rows);
        if std_dev.iter().all(|&s| s == 0.0) {
            return Err(Error::NoVariation { op, features });
        }
        let norm = |scale: f64| squared_norm(rows, &mean, &gains(&std_dev, scale));
        let (scale, feature_norm) = fit_scale(f64::from(LIMIT) / LEAST_REACH, norm);
        Self::try_from(Parts { width, bias: BIAS, mean, std_dev, scale, feature_norm })
    }

    /// Returns the quantizer with another constant at the end of each sample.
    ///
    /// A network whose input is smaller than the width takes 0.
    ///
    /// # Errors
    /// [`Error::Config`] for a constant outside `-7..=7`.
    pub fn with_bias(self, bias: i8) -> Result<Self> {
        Self::try_from(Parts { bias, ..self.parts })
    }

    /// Encodes the rows of a matrix.
    ///
    /// # Shapes
    /// `[n, features] -> [n, width]`; `n` may be 0.
    ///
    /// # Errors
    /// [`Error::FeatureCount`] for another number of columns than the quantizer was fitted to;
    /// [`Error::Feature`], with row and column, for a value that is not finite or above 1e100.
    pub fn encode<T>(&self, rows: ArrayView2<'_, T>) -> Result<Encoded>
    where
        T: AsPrimitive<f64> + Sync,
    {
        let op = "Quantizer::encode";
        let (got, wanted) = (rows.ncols(), self.features());
        if got != wanted {
            return Err(Error::FeatureCount { op, got, wanted });
        }
        check_features(op, rows)?;
        let (width, mean, gains) = (self.width(), &self.parts.mean, &self.gains);
        let mut values = vec![0; rows.nrows() * width];
        values.par_chunks_exact_mut(width).zip(rows.axis_iter(Axis(0))).for_each(|(out, row)| {
            out.iter_mut().zip(quantize(row, mean, gains)).for_each(|(out, q)| *out = q);
            if let Some(last) = out.last_mut() {
                *last = self.parts.bias;
            }
        });
        Encoded::new(width, values)
    }

    /// Returns the number of integers of an encoded sample.
    #[must_use]
    pub fn width(&self) -> usize {
        self.parts.width
    }

    /// Returns the number of features of a sample.
    #[must_use]
    pub fn features(&self) -> usize {
        self.parts.mean.len()
    }

    /// Returns the constant at the end of each encoded sample.
    #[must_use]
    pub fn bias(&self) -> i8 {
        self.parts.bias
    }

    /// Returns the mean of each feature, `[features]`, in the feature's own unit.
    #[must_use]
    pub fn mean(&self) -> ArrayView1<'_, f64> {
        ArrayView1::from(&self.parts.mean)
    }

    /// Returns the standard deviation of each feature, `[features]`, in the feature's own unit; 0
    /// for a feature that was the same in all rows.
    #[must_use]
    pub fn std_dev(&self) -> ArrayView1<'_, f64> {
        ArrayView1::from(&self.parts.std_dev)
    }

    /// Returns how many integers a standard deviation is: at most 7 / 2.5.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.parts.scale
    }

    /// Returns the features that were the same in all rows, and that are encoded as 0.
    pub fn constant_features(&self) -> impl Iterator<Item = usize> {
        self.parts.std_dev.iter().enumerate().filter(|(_, s)| **s == 0.0).map(|(j, _)| j)
    }

    /// Returns the mean squared norm of the encoded samples that the quantizer was fitted to: that
    /// of all integers, with the constant.
    #[must_use]
    pub fn squared_norm(&self) -> f64 {
        self.parts.feature_norm + f64::from(self.parts.bias).powi(2)
    }

    /// Writes the quantizer to a file that only its owner can read.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let Parts { width, bias, mean, std_dev, scale, feature_norm } = &self.parts;
        let features = mean.len();
        let mut tensors = Tensors::default();
        tensors.push_f64("mean", [1, features], mean);
        tensors.push_f64("std_dev", [1, features], std_dev);
        tensors.push_f64("scale", [1, 1], &[*scale]);
        tensors.push_f64("feature_norm", [1, 1], &[*feature_norm]);
        tensors.save(path, KIND, &Settings { width: *width, features, bias: *bias })
    }

    /// Reads a quantizer that [`Quantizer::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`], [`Error::Version`] or [`Error::Checksum`] for a file
    /// that is unreadable, truncated, of another version or changed; [`Error::Config`] for numbers
    /// out of range.
    pub fn load(path: &Path) -> Result<Self> {
        let (tensors, settings): (_, Settings) = Tensors::load(path, KIND)?;
        let Settings { width, features, bias } = settings;
        let single = |name| Ok(tensors.f64(path, name, [1, 1])?[0]);
        Self::try_from(Parts {
            width,
            bias,
            mean: tensors.f64(path, "mean", [1, features])?,
            std_dev: tensors.f64(path, "std_dev", [1, features])?,
            scale: single("scale")?,
            feature_norm: single("feature_norm")?,
        })
    }
}

impl TryFrom<Parts> for Quantizer {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let config = |field, got, wanted| Err(Error::Config { field, got, wanted });
        let features = parts.mean.len();
        if features == 0 || features >= parts.width {
            return config("width", parts.width as f64, "more than the number of features");
        }
        if parts.width > LARGEST_WIDTH {
            return config("width", parts.width as f64, "at most 1,048,576");
        }
        if !(-LIMIT..=LIMIT).contains(&parts.bias) {
            return config("bias", f64::from(parts.bias), "-7 to 7");
        }
        if parts.std_dev.len() != features {
            return config("std_dev", parts.std_dev.len() as f64, "one number a feature");
        }
        if let Some(&got) = parts.mean.iter().find(|m| !(0.0..=LARGEST).contains(&m.abs())) {
            return config("mean", got, "numbers of size at most 1e100");
        }
        if let Some(&got) = parts.std_dev.iter().find(|s| !(0.0..=2.0 * LARGEST).contains(*s)) {
            return config("std_dev", got, "numbers of 0 to 2e100");
        }
        let most = f64::from(LIMIT) / LEAST_REACH;
        if !(parts.scale > 0.0 && parts.scale <= most) {
            return config("scale", parts.scale, "above 0, at most 2.8");
        }
        let most = features as f64 * f64::from(LIMIT).powi(2);
        if !(0.0..=most).contains(&parts.feature_norm) {
            return config("feature_norm", parts.feature_norm, "0 to 49 a feature");
        }
        let gains = gains(&parts.std_dev, parts.scale);
        Ok(Self { parts, gains })
    }
}

impl From<Quantizer> for Parts {
    fn from(quantizer: Quantizer) -> Self {
        quantizer.parts
    }
}

/// Finds the first value that cannot be worked with.
fn check_features<T>(op: &'static str, rows: ArrayView2<'_, T>) -> Result<()>
where
    T: AsPrimitive<f64>,
{
    let bad = rows.indexed_iter().find_map(|((row, column), x)| {
        let got = x.as_();
        (!(0.0..=LARGEST).contains(&got.abs())).then_some(Error::Feature { op, row, column, got })
    });
    bad.map_or(Ok(()), Err)
}

/// Returns mean and standard deviation of each column.
///
/// Sums are taken of differences from the first row, so that a column that does not vary has a
/// standard deviation of exactly 0.
fn moments<T>(rows: ArrayView2<'_, T>) -> (Vec<f64>, Vec<f64>)
where
    T: AsPrimitive<f64>,
{
    let count = rows.nrows() as f64;
    let first: Vec<f64> = rows.row(0).iter().map(|x| x.as_()).collect();
    let mut mean = vec![0.0; first.len()];
    for row in rows.rows() {
        for ((sum, x), first) in mean.iter_mut().zip(row).zip(&first) {
            *sum += x.as_() - first;
        }
    }
    mean.iter_mut().zip(&first).for_each(|(sum, first)| *sum = first + *sum / count);
    let mut squares = vec![0.0; first.len()];
    for row in rows.rows() {
        for ((sum, x), mean) in squares.iter_mut().zip(row).zip(&mean) {
            *sum += (x.as_() - mean).powi(2);
        }
    }
    squares.iter_mut().for_each(|sum| *sum = (*sum / count).sqrt());
    (mean, squares)
}

/// Returns how many integers a unit of each feature is.
fn gains(std_dev: &[f64], scale: f64) -> Vec<f64> {
    std_dev.iter().map(|&s| if s > 0.0 { scale / s } else { 0.0 }).collect()
}

/// Returns the integers of one row's features.
#[expect(clippy::cast_possible_truncation, reason = "clamped to the range of 4 bits before")]
fn quantize<'a, T>(
    row: ArrayView1<'a, T>,
    mean: &'a [f64],
    gains: &'a [f64],
) -> impl Iterator<Item = i8> + use<'a, T>
where
    T: AsPrimitive<f64>,
{
    let limit = f64::from(LIMIT);
    row.into_iter()
        .zip(mean)
        .zip(gains)
        .map(move |((x, mean), gain)| ((x.as_() - mean) * gain).round().clamp(-limit, limit) as i8)
}

/// Returns the mean over rows of the sum of squares of their integers.
fn squared_norm<T>(rows: ArrayView2<'_, T>, mean: &[f64], gains: &[f64]) -> f64
where
    T: AsPrimitive<f64> + Sync,
{
    // A sum of integers: the same in any order.
    let sum: u64 = rows
        .axis_iter(Axis(0))
        .into_par_iter()
        .map(|row| {
            quantize(row, mean, gains).map(|q| u64::from(q.unsigned_abs()).pow(2)).sum::<u64>()
        })
        .sum();
    sum as f64 / rows.nrows() as f64
}

/// Returns the scale of at most `most` that brings the norm nearest to the target from below, and
/// the norm.
fn fit_scale(most: f64, norm: impl Fn(f64) -> f64) -> (f64, f64) {
    let reached = norm(most);
    if reached <= TARGET {
        return (most, reached);
    }
    // The norm grows with the scale, and is 0 at 0.
    let (mut low, mut high) = ((0.0, 0.0), most);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low.0, high);
        let reached = norm(middle);
        if reached <= TARGET {
            low = (middle, reached);
        } else {
            high = middle;
        }
    }
    low
}
