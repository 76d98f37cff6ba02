//! The mean sum of squares of a sample's integers, for which rates are made.

use std::ops::RangeInclusive;

/// What a recipe may say.
pub(crate) const RANGE: RangeInclusive<f64> = 1.0..=1e9;
/// The same in words.
pub(crate) const RULE: &str = "expected 1 to 1e9";

/// What `EncoderConfig::head` of fhe-data aims at.
pub(crate) fn usual() -> f64 {
    5e3
}

pub(crate) fn is_usual(norm: &f64) -> bool {
    *norm == usual()
}
