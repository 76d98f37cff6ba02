//! Activations with few levels on integers: what a normalisation and a rounding fold into.

use std::collections::BTreeSet;

use fhe_core::{Engine, List, Table, TestPolynomial, to_torus};
use serde::{Deserialize, Serialize};

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
    /// Whether each threshold has an activation of its own, in place of one that counts them: several binary activations
    /// of a pre-activation (Lin et al., "Towards Accurate Binary Convolutional Neural Network", NeurIPS 2017, equation
    /// 10), for signs alone. A pre-activation's follow each other, and take one lookup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
}

impl Levels {
    /// -1 and 1: a binarized activation.
    pub const SIGN: Self = Self { first: -1, step: 2, thresholds: 1, apart: false };
    /// 0 to 15: a rectifier of four bits.
    pub const RELU4: Self = Self { first: 0, step: 1, thresholds: 15, apart: false };

    /// Returns the lowest and the highest value.
    #[must_use]
    pub fn range(&self) -> (i64, i64) {
        let (first, step) = (i64::from(self.first), i64::from(self.step));
        let last = first + step * if self.apart { 1 } else { self.thresholds as i64 };
        (first.min(last), first.max(last))
    }

    /// Returns how many halves of the torus hold pre-activations: 2 if the activation is a sign, which continues
    /// rightly beyond a lookup's half torus, as outputs change their sign there; 1 otherwise.
    #[must_use]
    pub fn halves(&self) -> u32 {
        if self.is_sign() { 2 } else { 1 }
    }

    /// Returns whether these are two levels around zero, for each threshold that is apart.
    #[must_use]
    pub fn is_sign(&self) -> bool {
        (self.thresholds == 1 || self.apart) && self.step == -2 * self.first
    }

    /// Returns the number of activations of a pre-activation.
    #[must_use]
    pub fn copies(&self) -> usize {
        if self.apart { self.thresholds } else { 1 }
    }
}

/// An activation with thresholds of its own for every channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staircase {
    levels: Levels,
    /// Of each channel; ascending, if they are not apart.
    thresholds: Vec<Vec<i64>>,
}

impl Staircase {
    /// An activation.
    ///
    /// # Errors
    /// [`Error::Layer`] if a channel has another number of thresholds, they do not ascend, or they are apart though the
    /// levels are no signs.
    pub fn new(name: &str, levels: Levels, thresholds: Vec<Vec<i64>>) -> Result<Self> {
        if levels.apart && !levels.is_sign() {
            let problem = format!("levels {levels:?}: expected signs, as thresholds are apart");
            return Err(Error::Layer { layer: name.into(), problem });
        }
        for (channel, t) in thresholds.iter().enumerate() {
            let ascend = levels.apart || t.is_sorted();
            if t.len() != levels.thresholds || t.is_empty() || !ascend {
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

    /// Returns the activations of a pre-activation of a channel: one, or one for each threshold that is apart.
    pub fn at(&self, channel: usize, s: i64) -> impl Iterator<Item = i64> {
        let thresholds = &self.thresholds[channel];
        let each = if self.levels.apart { 1 } else { thresholds.len() };
        thresholds.chunks(each).map(move |thresholds| {
            let reached = thresholds.iter().filter(|&&t| s >= t).count();
            i64::from(self.levels.first) + i64::from(self.levels.step) * reached as i64
        })
    }

    /// Returns twice the middle of a channel's thresholds, `t_first + t_last - 1`: half way between the last
    /// pre-activation below and the first one above. Of thresholds apart, that of the highest.
    #[must_use]
    pub fn doubled_centre(&self, channel: usize) -> i64 {
        let t = &self.thresholds[channel];
        match self.levels.apart {
            true => 2 * t.iter().max().unwrap_or(&0) - 1,
            false => t[0] + t[t.len() - 1] - 1,
        }
    }

    /// Returns twice the distances of a channel's steps from its centre; channels with the same ones share a table.
    #[must_use]
    pub fn doubled_steps(&self, channel: usize) -> Vec<i64> {
        let centre = self.doubled_centre(channel);
        self.thresholds[channel].iter().map(|&t| 2 * t - 1 - centre).collect()
    }

    /// Returns how far a pre-activation from `low` to `high` can be from the centre of a channel, or from any of its
    /// thresholds that are apart; half an integer is one.
    pub(crate) fn furthest(&self, channel: usize, (low, high): (i64, i64)) -> i64 {
        let centre = self.doubled_centre(channel);
        let steps = self.doubled_steps(channel);
        let centres =
            steps.iter().map(|step| if self.levels.apart { centre + step } else { centre });
        let far = centres.map(|c| ((2 * low - c).abs().max((2 * high - c).abs()) + 1) / 2);
        far.max().unwrap_or(0)
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
        let (channels, len) = (self.channels(), s.len());
        let centre = |i: usize| -0.5 * self.doubled_centre(i % channels) as f64 * unit;
        engine.shift_values(&mut s, |i| to_torus(centre(i)));
        let steps: BTreeSet<Vec<i64>> = (0..channels).map(|c| self.doubled_steps(c)).collect();
        let steps: Vec<Vec<i64>> = steps.into_iter().collect();
        let table_of = |c| steps.binary_search(&self.doubled_steps(c)).unwrap_or_default();
        let of_channel: Vec<usize> = (0..channels).map(table_of).collect();
        let slots = engine.params().row_size;
        let table = |steps: &[i64]| {
            Table::new(slots, |x| {
                let reached = steps.partition_point(|&d| d as f64 <= 2.0 * x / unit);
                f64::from(self.levels.first + self.levels.step * reached as i32) * next
            })
        };
        let function = |steps: &Vec<i64>| {
            if !self.levels.apart {
                return Ok(TestPolynomial::new(table(steps)?));
            }
            // The highest threshold is at the value itself, lower ones are reached that much earlier.
            let beyond = |step: &i64| (-step) as f64 * unit * slots as f64;
            let at = steps.iter().map(|step| (beyond(step).round() as usize).min(slots - 1));
            TestPolynomial::at_offsets(table(&[0])?, at.collect())
        };
        let functions: Vec<_> = steps.iter().map(function).collect::<fhe_core::Result<_>>()?;
        let of: Vec<usize> = (0..len).map(|i| of_channel[i % channels]).collect();
        Ok(engine.lookup_each(&s, &functions, &of)?)
    }

    /// Moves thresholds that every pre-activation of a channel reaches, or none does, to the nearest end of `bounds`: the
    /// function stays the same, and the channel's centre comes nearer.
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
        let relu = Levels { first: 0, step: 1, thresholds: 3, apart: false };
        let a = Staircase::new("a", relu, vec![vec![2, 4, 8], vec![-1, 1, 5]]).unwrap();
        assert_eq!([1, 2, 7, 8].map(|s| a.at(0, s).next()), [0, 1, 2, 3].map(Some));
        assert_eq!(a.doubled_centre(0), 9);
        assert_eq!(a.doubled_steps(0), [-6, -2, 6]);
        assert_eq!(a.doubled_steps(0), a.doubled_steps(1));
        let error = Staircase::new("a", relu, vec![vec![2, 1, 8]]).unwrap_err().to_string();
        assert!(error.contains("layer a: channel 0"), "{error}");
    }
}
