//! Activations with few levels on integers: what a normalisation and a rounding fold into.

use std::collections::BTreeSet;

use fhe_core::{Engine, List, Table, TestPolynomial, to_torus};

use super::levels::{Counting, Levels};
use super::{PublicError, Result};

/// The furthest threshold from zero: integers of this size are exact as floats.
const FURTHEST: i64 = 1 << 53;

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
    /// [`PublicError::Layer`] if the levels are out of bounds, or if a channel has another number
    /// of thresholds, one that is out of bounds, or thresholds that do not ascend. Thresholds that
    /// are apart may come in any order.
    pub fn new(name: &str, levels: Levels, thresholds: Vec<Vec<i64>>) -> Result<Self> {
        levels.check(name)?;
        for (channel, t) in thresholds.iter().enumerate() {
            let fail = |what, got: &dyn std::fmt::Display, expected: String| {
                Err(PublicError::layer(name, what, format!("{got} in channel {channel}"), expected))
            };
            if t.len() != levels.thresholds {
                return fail("number of thresholds", &t.len(), levels.thresholds.to_string());
            }
            if let Some(far) = t.iter().find(|t| t.unsigned_abs() > FURTHEST.unsigned_abs()) {
                return fail("threshold", far, format!("-{FURTHEST} to {FURTHEST}"));
            }
            let descent = t.windows(2).find(|pair| pair[0] > pair[1]);
            if let (Counting::Joint, Some(pair)) = (levels.counting, descent) {
                let got = format!("{} after {}", pair[1], pair[0]);
                return fail("threshold", &got, "ascending ones".into());
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

    /// Returns the activations of a pre-activation of a channel: one, or one for each threshold
    /// that is apart; none for a channel that is not there.
    pub fn at(&self, channel: usize, s: i64) -> impl Iterator<Item = i64> {
        let thresholds = self.thresholds.get(channel).map_or(&[][..], Vec::as_slice);
        thresholds.chunks(self.levels.counted()).map(move |thresholds| {
            self.levels.level(thresholds.iter().filter(|&&t| s >= t).count())
        })
    }

    /// Returns twice the middle of a channel's thresholds, `t_first + t_last - 1`: half way between
    /// the last pre-activation below and the first one above. Of thresholds apart, that of the
    /// highest.
    pub(crate) fn doubled_centre(&self, channel: usize) -> i64 {
        let t = &self.thresholds[channel];
        match self.levels.counting {
            Counting::Apart => 2 * t.iter().max().unwrap_or(&0) - 1,
            Counting::Joint => t[0] + t[t.len() - 1] - 1,
        }
    }

    /// Returns twice the distances of a channel's steps from its centre. Channels with the same
    /// ones share a table.
    pub(crate) fn doubled_steps(&self, channel: usize) -> Vec<i64> {
        let centre = self.doubled_centre(channel);
        self.thresholds[channel].iter().map(|&t| 2 * t - 1 - centre).collect()
    }

    /// Returns how far a pre-activation from `low` to `high` can be from the centre of a channel,
    /// or from any of its thresholds that are apart. Half an integer counts as one.
    pub(crate) fn furthest(&self, channel: usize, (low, high): (i64, i64)) -> i64 {
        let centre = self.doubled_centre(channel);
        let centres = match self.levels.counting {
            Counting::Joint => vec![centre],
            Counting::Apart => {
                self.doubled_steps(channel).iter().map(|step| centre + step).collect()
            }
        };
        let far = |c: &i64| ((2 * low - c).abs().max((2 * high - c).abs()) + 1) / 2;
        centres.iter().map(far).max().unwrap_or(0)
    }

    /// Looks pre-activations up, whose integers have `unit`, channel after channel. Those of the
    /// outputs have `next`.
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
        let (functions, of) = self.functions(engine.params().row_size, len, (unit, next))?;
        Ok(engine.lookup_each(&s, &functions, &of)?)
    }

    /// Returns the steps that channels have, each once.
    pub(crate) fn steps(&self) -> BTreeSet<Vec<i64>> {
        (0..self.channels()).map(|c| self.doubled_steps(c)).collect()
    }

    /// Returns the functions that `len` pre-activations are looked up by, with units of theirs and
    /// of the outputs, and which of them each has. Channels with the same steps share a function.
    ///
    /// Signs fill the whole torus, and are read beyond the half torus by the negacyclic rule. All
    /// other pre-activations stay in the half torus by the choice of their unit.
    pub(crate) fn functions(
        &self,
        slots: usize,
        len: usize,
        (unit, next): (f64, f64),
    ) -> Result<(Vec<TestPolynomial>, Vec<usize>)> {
        let channels = self.channels();
        let steps: Vec<Vec<i64>> = self.steps().into_iter().collect();
        let table_of = |c| steps.binary_search(&self.doubled_steps(c)).unwrap_or_default();
        let of_channel: Vec<usize> = (0..channels).map(table_of).collect();
        let table = |steps: &[i64]| {
            let table = Table::new(slots, |x| {
                let reached = steps.partition_point(|&d| d as f64 <= 2.0 * x / unit);
                self.levels.level(reached) as f64 * next
            })?;
            Ok::<_, fhe_core::Error>(match self.levels.halves() {
                1 => table.within_half_torus(),
                _ => table,
            })
        };
        let function = |steps: &Vec<i64>| {
            if self.levels.counting == Counting::Joint {
                return Ok(TestPolynomial::new(table(steps)?));
            }
            // The highest threshold is at the value itself. Lower ones are reached earlier, by as
            // much as they are lower.
            let beyond = |step: &i64| (-step) as f64 * unit * slots as f64;
            let at = steps.iter().map(|step| (beyond(step).round() as usize).min(slots - 1));
            TestPolynomial::at_offsets(table(&[0])?, at.collect())
        };
        let functions: Vec<_> = steps.iter().map(function).collect::<fhe_core::Result<_>>()?;
        Ok((functions, (0..len).map(|i| of_channel[i % channels]).collect()))
    }

    /// Moves thresholds that every pre-activation of a channel reaches, or none does, to the
    /// nearest end of `bounds`. The function stays the same, and the channel's centre comes nearer.
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
        let relu = Levels { first: 0, step: 1, thresholds: 3, counting: Counting::Joint };
        let a = Staircase::new("a", relu, vec![vec![2, 4, 8], vec![-1, 1, 5]]).unwrap();
        assert_eq!([1, 2, 7, 8].map(|s| a.at(0, s).next()), [0, 1, 2, 3].map(Some));
        assert_eq!(a.doubled_centre(0), 9);
        assert_eq!(a.doubled_steps(0), [-6, -2, 6]);
        assert_eq!(a.doubled_steps(0), a.doubled_steps(1));
        let error = Staircase::new("a", relu, vec![vec![2, 1, 8]]).unwrap_err().to_string();
        assert_eq!(error, "layer a: threshold is 1 after 2 in channel 0, expected ascending ones");
    }
}
