//! The recipe of one dense layer.

use serde::{Deserialize, Serialize};

use crate::loss::UNITS;
use crate::{Error, Result};

/// Largest number of classes.
pub(crate) const MOST_CLASSES: usize = 1000;

/// The hyper-parameters of a head, all public.
///
/// The logit of class k is `z_k = <w_k, x>`. A step subtracts `rate * sum_i e_ik x_i` from `w_k`,
/// where `e_ik` is the logistic error of sample i and the sum is over a mini-batch. One sample
/// moves its own logit by `rate * |x|^2 * e`, so what matters is the product of the rate and the
/// squared norm: 2.5 is a good start, and [`crate::tune`] finds better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRecipe {
    /// Number of classes, 2 to 1,000.
    pub classes: usize,
    /// Number of features of a sample, the constant one included. Default: as many as a polynomial
    /// has coefficients. The server sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<usize>,
    /// Passes over the data.
    pub passes: usize,
    /// Learning rate at the first step, for logits: `w -= rate * e * x`, summed over a mini-batch.
    pub learning_rate: f64,
    /// Logits at the end of a lookup's range, `z = +-logit_range` at `+-1/4` of the torus.
    pub logit_range: f64,
}

impl Default for HeadRecipe {
    fn default() -> Self {
        Self { classes: 10, inputs: None, passes: 1, learning_rate: 5e-4, logit_range: 8.0 }
    }
}

impl HeadRecipe {
    /// Checks the values.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the first field at fault.
    pub fn check(&self) -> Result<()> {
        let fail = |field, got: String, rule| Err(Error::Recipe { field, got, rule });
        if !(1..=MOST_CLASSES).contains(&self.classes) {
            return fail("classes", self.classes.to_string(), "expected 1 to 1000");
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
        let first = self.amplitude(0, 1);
        if !(1..=1 << 24).contains(&first) {
            return fail("learning_rate", self.learning_rate.to_string(), "expected 1e-8 to 0.1");
        }
        Ok(())
    }

    /// Returns the error's half amplitude at a step, in units of 2^-31 of the torus.
    ///
    /// The rate falls linearly to zero (exclusive). On the torus a logit is `1 / (4 range)`, so the
    /// error's amplitude is `A = rate / (4 range)`; the label enters as +-A/2.
    #[must_use]
    pub fn amplitude(&self, step: usize, steps: usize) -> i64 {
        let left = 1.0 - step as f64 / steps as f64;
        let amplitude = self.learning_rate * left / (4.0 * self.logit_range);
        (amplitude / 2.0 / UNITS).round() as i64
    }
}
