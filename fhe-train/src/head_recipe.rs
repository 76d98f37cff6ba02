//! The recipe of one dense layer.

use serde::{Deserialize, Serialize};

use crate::loss::UNITS;
use crate::{Error, Result};

/// The hyper-parameters of a head, all public.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRecipe {
    /// Number of classes.
    pub classes: usize,
    /// Passes over the data.
    pub passes: usize,
    /// Learning rate at the first step, for logits: `w -= rate * e * x`, summed over a mini-batch.
    pub learning_rate: f64,
    /// Logits at the end of a lookup's range, `z = +-logit_range` at `+-1/4` of the torus.
    pub logit_range: f64,
}

impl Default for HeadRecipe {
    fn default() -> Self {
        Self { classes: 10, passes: 1, learning_rate: 5e-4, logit_range: 8.0 }
    }
}

impl HeadRecipe {
    /// Checks the values.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the first field at fault.
    pub fn check(&self) -> Result<()> {
        let fail = |field, got: String, rule| Err(Error::Recipe { field, got, rule });
        if self.classes == 0 || self.classes > 1000 {
            return fail("classes", self.classes.to_string(), "expected 1 to 1000");
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
