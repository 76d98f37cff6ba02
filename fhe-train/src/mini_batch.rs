//! A mini-batch, as a step takes it.

use std::ops::Range;

use fhe_core::store::ValueLayout;
use fhe_core::{Engine, List};

use crate::{Error, Result};

/// A mini-batch: its features as selectors, and a label value for each class.
pub struct MiniBatch<E: Engine> {
    /// Number of samples.
    pub samples: usize,
    /// Labels of a sample.
    pub classes: usize,
    /// Features: a sample each, or the polynomials of [`crate::Lanes`].
    pub x: E::Selectors,
    /// Labels, in rows as [`ValueLayout`] says.
    pub labels: E::Rows,
}

impl<E: Engine> std::fmt::Debug for MiniBatch<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MiniBatch").field("samples", &self.samples).finish_non_exhaustive()
    }
}

impl<E: Engine> MiniBatch<E> {
    fn layout(&self, engine: &E) -> ValueLayout {
        ValueLayout::new(engine.params(), self.samples, self.classes)
    }

    /// Refuses another number of classes, none at all, and labels that are not as many.
    ///
    /// # Errors
    /// [`Error::Data`].
    pub(crate) fn check(&self, engine: &E, classes: usize) -> Result<()> {
        let op = "training";
        let fail = |what, got, expected: usize| {
            Err(Error::Data { op, what, got, expected: expected.to_string() })
        };
        if self.classes != classes || classes == 0 {
            return fail("the number of labels of a sample", self.classes, classes.max(1));
        }
        let (got, expected) = (self.labels.len(), self.layout(engine).rows());
        if got != expected {
            return fail("the number of rows of labels", got, expected);
        }
        Ok(())
    }

    /// Returns the labels of a range of samples as values, one a class, sample after sample.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer.
    pub(crate) fn label_values(&self, engine: &E, range: Range<usize>) -> Result<E::Values> {
        let layout = self.layout(engine);
        let places = range.flat_map(|i| (0..self.classes).map(move |k| layout.place(i, k)));
        Ok(engine.extract(&self.labels, &places.collect::<Vec<_>>())?)
    }

    /// Returns the labels of the unit of samples that begins with one, as rows.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer.
    pub(crate) fn label_rows(&self, engine: &E, first: usize) -> Result<E::Rows> {
        let rows = self.layout(engine).rows_from(first);
        Ok(engine.gather_rows(&self.labels, &rows.collect::<Vec<_>>())?)
    }
}
