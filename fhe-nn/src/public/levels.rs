//! The levels of an activation.

use serde::{Deserialize, Serialize};

use super::{PublicError, Result};

/// The levels of an activation: `a = first + step * (number of thresholds that s reaches)`.
///
/// A batch norm before it is part of the thresholds: `gamma (s - mean) / std + beta >= c` is
/// `s >= t` with `t = ceil(mean + (c - beta) std / gamma)`. A filter with negative gamma is negated
/// first (Hubara et al., "Binarized Neural Networks", NeurIPS 2016; with several thresholds:
/// Umuroglu et al., "FINN", FPGA 2017, section 4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    /// Lowest value.
    pub first: i32,
    /// From one level to the next.
    pub step: i32,
    /// Number of thresholds.
    pub thresholds: usize,
    /// Whether one activation counts the thresholds, or each has one of its own. In a file this is
    /// `"apart": true` or `false`, the default.
    #[serde(default, rename = "apart", skip_serializing_if = "Counting::is_joint")]
    pub counting: Counting,
}

/// How many activations the thresholds of a pre-activation make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum Counting {
    /// One activation, which counts the thresholds that are reached.
    #[default]
    Joint,
    /// One activation for each threshold, for signs alone (Lin et al., "Towards Accurate Binary
    /// Convolutional Neural Network", NeurIPS 2017, equation 10). Those of a pre-activation follow
    /// each other, and take one lookup.
    Apart,
}

impl Counting {
    fn is_joint(&self) -> bool {
        *self == Self::Joint
    }
}

impl From<bool> for Counting {
    fn from(apart: bool) -> Self {
        if apart { Self::Apart } else { Self::Joint }
    }
}

impl From<Counting> for bool {
    fn from(counting: Counting) -> Self {
        counting == Counting::Apart
    }
}

/// The largest distance from zero of the lowest value and of a step: levels of sixteen bits.
const FURTHEST: i32 = 1 << 15;
/// The largest number of thresholds: more than a lookup tells apart.
const THRESHOLDS: usize = 1 << 12;

impl Levels {
    /// -1 and 1: a binarized activation.
    pub const SIGN: Self = Self { first: -1, step: 2, thresholds: 1, counting: Counting::Joint };
    /// 0 to 15: a rectifier of four bits.
    pub const RELU4: Self = Self { first: 0, step: 1, thresholds: 15, counting: Counting::Joint };

    /// Checks that the levels are numbers that a lookup can give.
    ///
    /// # Errors
    /// [`PublicError::Layer`] names `layer` and the number that is out of bounds.
    pub fn check(&self, layer: &str) -> Result<()> {
        let fail =
            |what, got: i64, expected: String| Err(PublicError::layer(layer, what, got, expected));
        let within = |x: i32| (-FURTHEST..=FURTHEST).contains(&x);
        if !within(self.first) {
            let expected = format!("-{FURTHEST} to {FURTHEST}");
            return fail("first level", self.first.into(), expected);
        }
        if !within(self.step) || self.step == 0 {
            let expected = format!("-{FURTHEST} to {FURTHEST}, and not 0");
            return fail("step of the levels", self.step.into(), expected);
        }
        if !(1..=THRESHOLDS).contains(&self.thresholds) {
            let got = i64::try_from(self.thresholds).unwrap_or(i64::MAX);
            return fail("number of thresholds", got, format!("1 to {THRESHOLDS}"));
        }
        if self.counting == Counting::Apart && !self.is_sign() {
            let expected = format!("{}, as thresholds are apart", -2 * i64::from(self.first));
            return fail("step of the levels", self.step.into(), expected);
        }
        Ok(())
    }

    /// Returns the number of thresholds that an activation counts.
    #[must_use]
    pub fn counted(&self) -> usize {
        match self.counting {
            Counting::Joint => self.thresholds,
            Counting::Apart => 1,
        }
    }

    /// Returns the number of activations of a pre-activation.
    #[must_use]
    pub fn copies(&self) -> usize {
        match self.counting {
            Counting::Joint => 1,
            Counting::Apart => self.thresholds,
        }
    }

    /// Returns the lowest and the highest value.
    #[must_use]
    pub fn range(&self) -> (i64, i64) {
        let first = i64::from(self.first);
        let last = first.saturating_add(i64::from(self.step).saturating_mul(self.counted() as i64));
        (first.min(last), first.max(last))
    }

    /// Returns the value of an activation that reaches so many thresholds.
    pub(super) fn level(&self, reached: usize) -> i64 {
        i64::from(self.first) + i64::from(self.step) * reached as i64
    }

    /// Returns how many halves of the torus hold pre-activations. They are 2 if the activation is a
    /// sign: it continues rightly beyond a lookup's half torus, as outputs change their sign there.
    /// They are 1 otherwise.
    #[must_use]
    pub fn halves(&self) -> u32 {
        if self.is_sign() { 2 } else { 1 }
    }

    /// Returns whether an activation has two levels around zero.
    #[must_use]
    pub fn is_sign(&self) -> bool {
        self.counted() == 1 && i64::from(self.step) == -2 * i64::from(self.first)
    }
}
