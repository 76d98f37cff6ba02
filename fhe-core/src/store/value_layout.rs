//! Where the values of a mini-batch stand in rows.

use std::ops::Range;

use crate::Params;

/// Where the values of a mini-batch's samples stand in rows.
///
/// Samples are taken in units, of as many as have the values of one batch of lookups; the values of
/// a unit begin a row. Value v of sample i of the m samples of a unit is number `v m + i` of the
/// coefficients of its rows. If a parameter set has no batches, a mini-batch is one unit.
///
/// ```
/// use fhe_core::{Params, store::ValueLayout};
/// // A batch is 32 rows of 2048 values: those of 65 samples with a thousand values each.
/// let layout = ValueLayout::new(&Params::secure128_head_v3()?, 70, 1000);
/// assert_eq!((layout.unit(), layout.rows()), (65, 32 + 3));
/// // Value 3 of the first sample of the second unit, which has 5 samples.
/// assert_eq!(layout.place(65, 3), (32, 15));
/// # Ok::<_, fhe_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueLayout {
    samples: usize,
    values: usize,
    unit: usize,
    row_size: usize,
}

impl ValueLayout {
    /// Of so many samples with so many values each.
    #[must_use]
    pub fn new(params: &Params, samples: usize, values: usize) -> Self {
        let row_size = params.row_size;
        let of_batch = params.batch.map(|batch| batch.rows * row_size / values.max(1));
        let unit = of_batch.unwrap_or(samples).max(1);
        Self { samples, values, unit, row_size }
    }

    /// Returns the samples of a unit; the last one may have fewer.
    #[must_use]
    pub fn unit(&self) -> usize {
        self.unit
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        let whole = (self.samples / self.unit).saturating_mul(self.rows_of(self.unit));
        whole.saturating_add(self.rows_of(self.samples % self.unit))
    }

    /// Returns row and coefficient of a value of a sample, both of which are there.
    #[must_use]
    pub fn place(&self, sample: usize, value: usize) -> (usize, usize) {
        let unit = self.unit_of(sample);
        let number = value * unit.len() + sample - unit.start;
        (self.first_row(unit.start) + number / self.row_size, number % self.row_size)
    }

    /// Returns the rows of the unit that begins with a sample.
    #[must_use]
    pub fn rows_from(&self, sample: usize) -> Range<usize> {
        let (first, unit) = (self.first_row(sample), self.unit_of(sample));
        first..first + self.rows_of(unit.len())
    }

    fn unit_of(&self, sample: usize) -> Range<usize> {
        let start = sample / self.unit * self.unit;
        start..self.samples.min(start.saturating_add(self.unit))
    }

    fn first_row(&self, sample: usize) -> usize {
        sample / self.unit * self.rows_of(self.unit)
    }

    fn rows_of(&self, samples: usize) -> usize {
        samples.saturating_mul(self.values).div_ceil(self.row_size)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_value_has_a_place_of_its_own_within_the_rows() {
        for params in [Params::toy_insecure().unwrap(), Params::toy_insecure_batch().unwrap()] {
            for (samples, values) in [(0, 3), (1, 1), (700, 10), (5, 600), (3, 3000), (9, 0)] {
                let layout = ValueLayout::new(&params, samples, values);
                let places: HashSet<_> = (0..samples)
                    .flat_map(|i| (0..values).map(move |v| layout.place(i, v)))
                    .collect();
                assert_eq!(places.len(), samples * values);
                assert!(places.iter().all(|&(row, c)| row < layout.rows() && c < 512));
                let of_units = (0..samples).step_by(layout.unit()).map(|i| layout.rows_from(i));
                assert!(of_units.flatten().eq(0..layout.rows()));
            }
        }
    }
}
