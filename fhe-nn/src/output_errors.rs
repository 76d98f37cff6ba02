use std::ops::Range;

use fhe_core::{Engine, Params, Result, Slot};

/// The errors `e_ik = dL/dz_ik` of the outputs of a [`crate::Dense`] layer, of each sample i and
/// output k of a mini-batch.
pub enum OutputErrors<E: Engine> {
    /// N to a row, so that an expansion makes a constant row of each: of m samples, `e_ik` is number
    /// `k m + i` of the coefficients ([`OutputErrors::lists`]).
    Rows(E::Rows),
    /// One by one, in the order of [`crate::Dense::forward`], sample after sample.
    Values(E::Values),
}

impl<E: Engine> std::fmt::Debug for OutputErrors<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OutputErrors(hidden)")
    }
}

impl<E: Engine> OutputErrors<E> {
    /// Returns whether errors are in rows under a parameter set: whether it expands.
    #[must_use]
    pub fn are_in_rows(params: &Params) -> bool {
        params.lists.is_some_and(|lists| lists.expand.is_some())
    }

    /// Returns for each row which outputs it has where, by their indices in the order of
    /// [`crate::Dense::forward`].
    #[must_use]
    pub fn lists(params: &Params, samples: usize, outputs: usize) -> Vec<Vec<Slot>> {
        let (n, all) = (params.row_size, samples * outputs);
        let list = |first: usize| {
            let numbers = (first..all.min(first + n)).enumerate();
            let slot = |(coefficient, number): (usize, usize)| {
                let (output, sample) = (number / samples, number % samples);
                Slot { value: sample * outputs + output, coefficient }
            };
            numbers.map(slot).collect()
        };
        (0..all).step_by(n).map(list).collect()
    }

    /// Returns constant rows of the errors with numbers `k samples + i` of a range, which begins
    /// with a row.
    ///
    /// # Cost
    /// An automorphism an error of rows. Others are packed by themselves
    /// ([`Engine::pack_constants`]).
    pub(crate) fn constants(
        &self,
        engine: &E,
        (samples, outputs): (usize, usize),
        range: Range<usize>,
    ) -> Result<E::Rows> {
        let n = engine.params().row_size;
        match self {
            Self::Rows(rows) => {
                let lists: Vec<usize> = (range.start / n..range.end.div_ceil(n)).collect();
                engine.expand(&engine.gather_rows(rows, &lists)?, n)
            }
            Self::Values(x) => {
                let place = |number| number % samples * outputs + number / samples;
                engine.pack_constants(&engine.take(x, range.map(place))?)
            }
        }
    }
}
