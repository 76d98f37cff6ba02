//! The recipe of one dense layer.

use fhe_core::to_torus;
use serde::{Deserialize, Serialize};

use crate::loss::UNITS;
use crate::squared_norm;
use crate::{Error, Result};

/// Smallest and largest learning rate, as a part of the logits' range: one and 2^24 units of
/// amplitude.
const RATES: std::ops::RangeInclusive<f64> = 8.0 * UNITS..=1.0 / 16.0;
/// Largest number of classes.
pub(crate) const MOST_CLASSES: usize = 1000;

/// The hyper-parameters of a head, all public.
///
/// The logit of class k is `z_k = <w_k, x> + bias`. A step subtracts `rate * sum_i e_ik x_i` from
/// `w_k`, where `e_ik` is the logistic error of sample i and the sum is over a mini-batch. One
/// sample moves its own logit by `rate * |x|^2 * e`, so what matters is the product of the rate and
/// the squared norm: 2.5 is a good start, and [`crate::tune`] finds better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRecipe {
    /// Number of classes, 2 to 1,000.
    pub classes: usize,
    /// Number of features of a sample, the constant one included. Default: as many as a polynomial
    /// has coefficients. The server sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<usize>,
    /// Passes over the data, 1 to 1,000.
    pub passes: usize,
    /// Learning rate at the first step, for logits: `w -= rate * e * x`, summed over a mini-batch.
    /// It is 2^-28 to 1/16 of the range of the logits: 3e-8 to 0.5 of a range of 8.
    pub learning_rate: f64,
    /// Logits at the end of a lookup's range, `z = +-logit_range` at `+-1/4` of the torus; 1 to 64.
    pub logit_range: f64,
    /// What every logit starts from, and keeps: with K classes the odds of one among many are
    /// `-ln(K - 1)`. It changes no decision, and spares many classes the steps that it takes to
    /// learn that most samples are of other classes. Default: 0. Its size is at most logit_range.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bias: f64,
    /// Mean sum of squares of a sample's integers, for which the rate is made: 1 to 1e9.
    /// Whoever sees the recipe sees it.
    #[serde(default = "squared_norm::usual", skip_serializing_if = "squared_norm::is_usual")]
    pub squared_norm: f64,
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

impl Default for HeadRecipe {
    fn default() -> Self {
        Self {
            classes: 10,
            inputs: None,
            passes: 1,
            learning_rate: 5e-4,
            logit_range: 8.0,
            bias: 0.0,
            squared_norm: squared_norm::usual(),
        }
    }
}

impl HeadRecipe {
    /// Checks the values.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the first field at fault.
    pub fn check(&self) -> Result<()> {
        let fail = |field, got: String, rule| Err(Error::Recipe { field, got, rule });
        if !(2..=MOST_CLASSES).contains(&self.classes) {
            return fail("classes", self.classes.to_string(), "expected 2 to 1000");
        }
        if self.inputs == Some(0) {
            return fail("inputs", "0".into(), "expected at least 1");
        }
        if self.passes == 0 || self.passes > 1000 {
            return fail("passes", self.passes.to_string(), "expected 1 to 1000");
        }
        if !(1.0..=64.0).contains(&self.logit_range) {
            return fail("logit_range", self.logit_range.to_string(), "expected 1 to 64");
        }
        if !RATES.contains(&(self.learning_rate / self.logit_range)) {
            let rule = "expected 2^-28 to 1/16 of logit_range";
            return fail("learning_rate", self.learning_rate.to_string(), rule);
        }
        if self.bias.is_nan() || self.bias.abs() > self.logit_range {
            let rule = "expected a number of a size of at most logit_range";
            return fail("bias", self.bias.to_string(), rule);
        }
        if !squared_norm::RANGE.contains(&self.squared_norm) {
            return fail("squared_norm", self.squared_norm.to_string(), squared_norm::RULE);
        }
        Ok(())
    }

    /// Returns the torus element of the bias.
    #[must_use]
    pub fn bias_phase(&self) -> u64 {
        to_torus(self.bias / (4.0 * self.logit_range))
    }

    /// Returns the error's half amplitude at a step, in units of 2^-31 of the torus.
    ///
    /// The rate falls linearly to zero, which it has after the last step. On the torus a logit is
    /// `1 / (4 range)`, so the error's amplitude is `A = rate / (4 range)`; the label enters as
    /// +-A/2.
    #[must_use]
    pub fn amplitude(&self, step: usize, steps: usize) -> i64 {
        let left = (1.0 - step as f64 / steps.max(1) as f64).max(0.0);
        let amplitude = self.learning_rate * left / (4.0 * self.logit_range);
        (amplitude / 2.0 / UNITS).round() as i64
    }
}
