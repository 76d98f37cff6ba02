//! Activations with few levels on integers: what a normalisation and a rounding fold into.

use std::collections::BTreeSet;

use fhe_core::{Engine, Table};
use serde::{Deserialize, Serialize};

use super::network::shift;
use crate::{Error, Result};

/// The levels of an activation: `a = first + step * (number of thresholds that s reaches)`.
///
/// A batch norm before it is part of the thresholds: `gamma (s - mean) / std + beta >= c` is `s >= t` with
/// `t = ceil(mean + (c - beta) std / gamma)`, where a filter with negative gamma is negated first (Hubara et al.,
/// "Binarized Neural Networks", NeurIPS 2016; with several thresholds: Umuroglu et al., "FINN", FPGA 2017, section
/// 4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    /// Lowest value.
    pub first: i32,
    /// From one level to the next.
    pub step: i32,
    /// Number of thresholds.
    pub thresholds: usize,
}

impl Levels {
    /// -1 and 1: a binarized activation.
    pub const SIGN: Self = Self { first: -1, step: 2, thresholds: 1 };
    /// 0 to 15: a rectifier of four bits.
    pub const RELU4: Self = Self { first: 0, step: 1, thresholds: 15 };

    /// Returns the lowest and the highest value.
    #[must_use]
    pub fn range(&self) -> (i64, i64) {
        let (first, step) = (i64::from(self.first), i64::from(self.step));
        let last = first + step * self.thresholds as i64;
        (first.min(last), first.max(last))
    }

    /// Returns half the torus over half the width that pre-activations get: 2 if the activation is a sign, which
    /// continues rightly beyond the half torus (a lookup's outputs change their sign there, and both halves have one
    /// level), 1 otherwise.
    #[must_use]
    pub fn halves(&self) -> u32 {
        if self.is_sign() { 2 } else { 1 }
    }

    /// Returns whether these are two levels around zero.
    #[must_use]
    pub fn is_sign(&self) -> bool {
        self.thresholds == 1 && self.step == -2 * self.first
    }
}

/// An activation with thresholds of its own for every channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staircase {
    levels: Levels,
    /// Of each channel, ascending.
    thresholds: Vec<Vec<i64>>,
}

impl Staircase {
    /// An activation.
    ///
    /// # Errors
    /// [`Error::Layer`] if a channel has another number of thresholds, or they do not ascend.
    pub fn new(name: &str, levels: Levels, thresholds: Vec<Vec<i64>>) -> Result<Self> {
        for (channel, t) in thresholds.iter().enumerate() {
            if t.len() != levels.thresholds || t.is_empty() || !t.is_sorted() {
                let problem = format!(
                    "channel {channel} has thresholds {t:?}: expected {} ascending ones",
                    levels.thresholds.max(1)
                );
                return Err(Error::Layer { layer: name.into(), problem });
            }
        }
        Ok(Self { levels, thresholds })
    }

    /// Returns the same thresholds with other values.
    pub(crate) fn with_levels(&self, levels: Levels) -> Self {
        Self { levels, thresholds: self.thresholds.clone() }
    }

    /// Returns the number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.thresholds.len()
    }

    /// Returns the levels.
    #[must_use]
    pub fn levels(&self) -> Levels {
        self.levels
    }

    /// Returns the value of a pre-activation of a channel.
    #[must_use]
    pub fn at(&self, channel: usize, s: i64) -> i32 {
        let reached = self.thresholds[channel].iter().filter(|&&t| s >= t).count();
        self.levels.first + self.levels.step * reached as i32
    }

    /// Returns twice the middle of a channel's thresholds, `t_first + t_last - 1`: half way between the last
    /// pre-activation below and the first one above.
    #[must_use]
    pub fn doubled_centre(&self, channel: usize) -> i64 {
        let t = &self.thresholds[channel];
        t[0] + t[t.len() - 1] - 1
    }

    /// Returns twice the distances of a channel's steps from its centre; channels with the same ones share a table.
    #[must_use]
    pub fn doubled_steps(&self, channel: usize) -> Vec<i64> {
        let centre = self.doubled_centre(channel);
        self.thresholds[channel].iter().map(|&t| 2 * t - 1 - centre).collect()
    }

    /// Looks pre-activations up, whose integers have `unit`, channel after channel; those of the outputs have `next`.
    /// Channels with the same steps share a table.
    pub(crate) fn look_up<E: Engine>(
        &self,
        engine: &E,
        mut s: E::Values,
        unit: f64,
        next: f64,
    ) -> Result<E::Values> {
        let (channels, len) = (self.channels(), engine.values_len(&s));
        shift(engine, &mut s, |i| -0.5 * self.doubled_centre(i % channels) as f64 * unit)?;
        let steps: BTreeSet<Vec<i64>> = (0..channels).map(|c| self.doubled_steps(c)).collect();
        let steps: Vec<Vec<i64>> = steps.into_iter().collect();
        let table_of = |c| steps.binary_search(&self.doubled_steps(c)).unwrap_or_default();
        let of_channel: Vec<usize> = (0..channels).map(table_of).collect();
        let table = |steps: &Vec<i64>| {
            Table::new(engine.params().row_size, |x| {
                let reached = steps.partition_point(|&d| d as f64 <= 2.0 * x / unit);
                f64::from(self.levels.first + self.levels.step * reached as i32) * next
            })
        };
        let tables: Vec<Table> = steps.iter().map(table).collect();
        let of: Vec<usize> = (0..len).map(|i| of_channel[i % channels]).collect();
        Ok(engine.lookup_each(&s, &tables, &of)?)
    }

    /// Moves thresholds that no pre-activation of a channel can be on both sides of to the next one that some can.
    pub(crate) fn clamp(&mut self, bounds: &[(i64, i64)]) {
        for (thresholds, &(low, high)) in self.thresholds.iter_mut().zip(bounds) {
            thresholds.iter_mut().for_each(|t| *t = (*t).clamp(low, high + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_half_way_between_integers() {
        let relu = Levels { first: 0, step: 1, thresholds: 3 };
        let a = Staircase::new("a", relu, vec![vec![2, 4, 8], vec![-1, 1, 5]]).unwrap();
        assert_eq!([1, 2, 7, 8].map(|s| a.at(0, s)), [0, 1, 2, 3]);
        assert_eq!(a.doubled_centre(0), 9);
        assert_eq!(a.doubled_steps(0), [-6, -2, 6]);
        assert_eq!(a.doubled_steps(0), a.doubled_steps(1));
        let error = Staircase::new("a", relu, vec![vec![2, 1, 8]]).unwrap_err().to_string();
        assert!(error.contains("layer a: channel 0"), "{error}");
    }
}
