//! Samples side by side: the polynomials of a mini-batch for a network.

use fhe_core::store;
use fhe_core::store::DatasetShape;
use fhe_nn::{Cells, NetworkPlan, Shape};

use crate::training_plan::TrainingPlan;
use crate::{Error, Result};

/// How the samples of a mini-batch are laid out in polynomials.
///
/// A mini-batch comes in parts of [`Lanes::samples`] samples. For each part there is a polynomial
/// for each channel, row and column of a cell: coefficient `s cells + i` is that number of cell i
/// of sample s. A sample is a map, channel by channel and row by row.
///
/// # Examples
/// ```
/// use fhe_train::Recipe;
///
/// # fn main() -> fhe_train::Result<()> {
/// // A linear classifier takes each sample as a polynomial.
/// let recipe = Recipe::linear(64, 10);
/// assert!(recipe.lanes(&recipe.params(16)?)?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lanes {
    cell: Shape,
    cells: Cells,
    n: usize,
}

impl Lanes {
    /// Those of a network.
    pub(crate) fn new(plan: &NetworkPlan) -> Self {
        let n = plan.geometries()[0].row_size();
        Self { cell: plan.config().input, cells: plan.cells(), n }
    }

    /// Those of a plan.
    pub(crate) fn of(plan: &TrainingPlan) -> Self {
        Self::new(plan.network())
    }

    /// Returns the number of samples of a part, N over the cells of one.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.n / self.cells.count()
    }

    /// Returns the number of polynomials of a part.
    #[must_use]
    pub fn polynomials_of_part(&self) -> usize {
        self.cell.len()
    }

    /// Returns what a data set says of it.
    #[must_use]
    pub fn stored(&self) -> store::Lanes {
        store::Lanes { samples: self.samples(), selectors: self.polynomials_of_part() }
    }

    /// Refuses a data set that is laid out otherwise.
    pub(crate) fn fit(&self, shape: &DatasetShape) -> Result<()> {
        if shape.lanes == Some(self.stored()) {
            return Ok(());
        }
        let (op, what) = ("a data set's lanes", "the number of selectors of a part");
        let got = shape.lanes.map_or(0, |lanes| lanes.selectors);
        let expected =
            format!("{} for each {} samples", self.polynomials_of_part(), self.samples());
        Err(Error::Data { op, what, got, expected })
    }

    /// Returns the polynomials of the samples of a mini-batch; numbers that a sample does not have
    /// count as 0.
    ///
    /// # Shapes
    /// N integers each; for each part [`Lanes::polynomials_of_part`] of them.
    #[must_use]
    pub fn polynomials(&self, samples: &[impl AsRef<[i32]>]) -> Vec<Vec<i32>> {
        let (area, width) = (self.cell.area(), self.cell.width);
        let cells = self.cells.count();
        let polynomial = |part: &[_], at: usize| {
            let place = (at / area, at % area / width, at % width);
            let places: Vec<usize> =
                (0..cells).map(|cell| self.cells.at(self.cell, cell, place)).collect();
            let mut out = vec![0; self.n];
            for (sample, out) in part.iter().zip(out.chunks_exact_mut(cells)) {
                let sample: &[i32] = AsRef::as_ref(sample);
                for (out, &place) in out.iter_mut().zip(&places) {
                    *out = *sample.get(place).unwrap_or(&0);
                }
            }
            out
        };
        let parts = samples.chunks(self.samples());
        parts.flat_map(|part| (0..self.cell.len()).map(move |at| polynomial(part, at))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn samples_are_found_in_their_polynomials(
            (channels, height, width) in (1..4usize, 1..4usize, 1..4usize),
            (side, stride) in (1..5usize, 1..4usize),
            (log_n, samples) in (4..8u32, 0..20usize),
        ) {
            let (cell, cells) = (Shape { channels, height, width }, Cells { side, stride });
            let lanes = Lanes { cell, cells, n: 1 << log_n };
            let map = cells.map(cell);
            // Every number is another, and none is 0.
            let all: Vec<Vec<i32>> = (0..samples)
                .map(|i| (1..).skip(i * map.len()).take(map.len()).collect())
                .collect();
            let packed = lanes.polynomials(&all);
            let parts = samples.div_ceil(lanes.samples());
            prop_assert_eq!(packed.len(), parts * lanes.polynomials_of_part());
            prop_assert_eq!(packed.len(), lanes.stored().count(samples));
            prop_assert!(packed.iter().all(|polynomial| polynomial.len() == lanes.n));
            let mut found = 0;
            for (i, sample) in all.iter().enumerate() {
                let (part, lane) = (i / lanes.samples(), i % lanes.samples());
                for index in 0..cells.count() {
                    for (at, polynomial) in
                        packed[part * cell.len()..][..cell.len()].iter().enumerate()
                    {
                        let (area, width) = (cell.area(), cell.width);
                        let place = (at / area, at % area / width, at % width);
                        let number = polynomial[lane * cells.count() + index];
                        prop_assert_eq!(number, sample[cells.at(cell, index, place)]);
                        found += 1;
                    }
                }
            }
            let others = packed.iter().flatten().filter(|&&number| number != 0).count();
            prop_assert_eq!(found, others);
        }
    }

    #[test]
    fn cells_of_a_sample_lie_side_by_side() {
        let lanes = Lanes {
            cell: Shape { channels: 2, height: 2, width: 1 },
            cells: Cells { side: 2, stride: 1 },
            n: 8,
        };
        // Two channels of 3 x 2: rows 0 1, 2 3, 4 5 and 6 7, 8 9, 10 11.
        let sample = |first: i32| (first..first + 12).collect::<Vec<i32>>();
        let all = lanes.polynomials(&[sample(0), sample(100), sample(200)]);
        assert_eq!((lanes.samples(), lanes.polynomials_of_part(), all.len()), (2, 4, 8));
        // Channel 0, row 0: cells begin at rows 0 and 1, and columns 0 and 1.
        assert_eq!(all[0], [0, 1, 2, 3, 100, 101, 102, 103]);
        // Channel 1, row 1.
        assert_eq!(all[3], [8, 9, 10, 11, 108, 109, 110, 111]);
        assert_eq!(all[4], [200, 201, 202, 203, 0, 0, 0, 0]);
    }
}
