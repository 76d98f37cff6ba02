//! Noise that was measured, beside its prediction.

use fhe_core::from_torus;
use serde::{Deserialize, Serialize};

/// Sum of the squares of some errors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Squares {
    /// Number of errors.
    pub numbers: u64,
    sum: f64,
}

impl Squares {
    /// Adds an error, a fraction of the torus.
    pub fn add(&mut self, error: f64) {
        self.numbers += 1;
        self.sum += error * error;
    }

    /// Adds how far torus elements are from others.
    pub fn add_all(&mut self, got: &[u64], want: &[u64]) {
        got.iter().zip(want).for_each(|(x, want)| self.add(from_torus(x.wrapping_sub(*want))));
    }

    /// Returns the mean; 0 of nothing.
    #[must_use]
    pub fn variance(&self) -> f64 {
        self.sum / self.numbers.max(1) as f64
    }
}

/// Noise of one kind, as log2 of standard deviations in fractions of the torus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// What has the noise.
    pub what: String,
    /// Numbers that were measured.
    pub numbers: u64,
    /// What was found.
    pub measured_log2: f64,
    /// What the formulas say.
    pub predicted_log2: f64,
}

impl Compared {
    /// Compares variances.
    #[must_use]
    pub fn new(what: impl Into<String>, measured: Squares, predicted: f64) -> Self {
        Self::of(what, measured.numbers, measured.variance(), predicted)
    }

    /// The same of a variance of so many numbers.
    #[must_use]
    pub fn of(what: impl Into<String>, numbers: u64, measured: f64, predicted: f64) -> Self {
        Self {
            what: what.into(),
            numbers,
            measured_log2: log2_std(measured),
            predicted_log2: log2_std(predicted),
        }
    }
}

/// Returns log2 of the standard deviation of a variance. Below `2^-64`, which is a step of the
/// torus, it is -64.
#[must_use]
pub fn log2_std(variance: f64) -> f64 {
    (variance.log2() / 2.0).max(-64.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhe_core::to_torus;

    #[test]
    fn errors_are_measured_around_the_torus() {
        let mut squares = Squares::default();
        squares.add_all(&[to_torus(0.5), to_torus(0.25)], &[to_torus(-0.375), to_torus(0.375)]);
        assert_eq!((squares.numbers, squares.variance()), (2, 1.0 / 64.0));
        let compared = Compared::new("x", squares, 1.0 / 256.0);
        assert_eq!((compared.measured_log2, compared.predicted_log2), (-3.0, -4.0));
        assert_eq!(log2_std(Squares::default().variance()), -64.0);
    }
}
