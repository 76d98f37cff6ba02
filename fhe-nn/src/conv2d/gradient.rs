//! The gradient of a convolution's weights.

use std::ops::Range;

use fhe_core::{Engine, List, Slot, Term};

use super::{Conv2d, expect};
use crate::Result;
use crate::geometry::Geometry;

/// Below so many errors of a sample in a row, constant rows are cheaper than a packed list.
pub const CONSTANTS: usize = 16;

/// Errors as the gradient of a layer's weights takes them.
pub enum GradientErrors<E: Engine> {
    /// Rows of the lists of [`Conv2d::gradient_slots`].
    Rows(E::Rows),
    /// Values, for a layer without these lists.
    Values(E::Values),
}

impl<E: Engine> std::fmt::Debug for GradientErrors<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GradientErrors(hidden)")
    }
}

/// The gradient of a loss in the weights: for each block, a row for each group.
pub struct WeightGradient<E: Engine>(Vec<E::Rows>);

impl<E: Engine> std::fmt::Debug for WeightGradient<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeightGradient(hidden)")
    }
}

impl<E: Engine> WeightGradient<E> {
    /// The gradient of a layer whose rows were saved: for each block, a row for each group.
    ///
    /// # Errors
    /// [`Count`](crate::Error::Count) if their numbers are not those of the geometry.
    pub fn from_rows(geometry: &Geometry, rows: Vec<E::Rows>) -> Result<Self> {
        expect("blocks of a gradient", rows.len(), geometry.blocks())?;
        for block in &rows {
            expect("rows of a block", block.len(), geometry.groups())?;
        }
        Ok(Self(rows))
    }

    /// Returns the rows: for each block, a row for each group.
    #[must_use]
    pub fn rows(&self) -> &[E::Rows] {
        &self.0
    }

    /// Adds that of other samples.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if it is of another layer.
    pub fn add(&mut self, engine: &E, other: &Self) -> Result<()> {
        for (x, y) in self.0.iter_mut().zip(&other.0) {
            engine.add_scaled_rows(x, y, 1)?;
        }
        Ok(())
    }
}

impl<E: Engine> Conv2d<E> {
    /// Returns where the errors of `samples` samples go for the gradient of the weights: list
    /// `block samples + s` has those of sample s for a block. None if errors are few beside each
    /// other, as those of dense layers with few filters a row: each then has a constant row.
    #[must_use]
    pub fn gradient_slots(&self, samples: usize) -> Option<Vec<Vec<Slot>>> {
        let g = &self.geometry;
        if g.output.area() == 1 && g.filters() <= CONSTANTS {
            return None;
        }
        let mut lists = vec![Vec::new(); g.blocks() * samples];
        let (channels, height, width) = (g.output.channels, g.output.height, g.output.width);
        for block in 0..g.blocks() {
            for (s, o, y, x) in self.outputs(samples, g.outputs_of(block)) {
                let value = ((s * channels + o) * height + y) * width + x;
                lists[block * samples + s].push(Slot { value, coefficient: g.error_at(o, y, x) });
            }
        }
        Some(lists)
    }

    /// Brings the errors of `samples` samples into the form that the gradient takes.
    ///
    /// # Cost
    /// `samples * blocks` packed lists, or none.
    ///
    /// # Errors
    /// Those of [`Engine::pack`].
    pub fn gradient_errors(
        &self,
        engine: &E,
        errors: E::Values,
        samples: usize,
    ) -> Result<GradientErrors<E>> {
        Ok(match self.gradient_slots(samples) {
            Some(lists) => GradientErrors::Rows(engine.pack(&errors, &lists)?),
            None => GradientErrors::Values(errors),
        })
    }

    /// Returns `dL/dw`, summed over some samples of a list of inputs; the errors are of these only.
    ///
    /// # Cost
    /// No lookup; `samples * groups * blocks` products. For errors as values, `samples * outputs`
    /// packed constants, and a product for each filter and group besides.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer inputs or errors than samples need.
    pub fn weight_gradient(
        &self,
        engine: &E,
        x: &E::Selectors,
        errors: &GradientErrors<E>,
        samples: Range<usize>,
    ) -> Result<WeightGradient<E>> {
        let gradient = |block| match errors {
            GradientErrors::Rows(rows) => self.gradient_from_rows(engine, x, rows, &samples, block),
            GradientErrors::Values(errors) => {
                self.gradient_from_constants(engine, x, errors, &samples, block)
            }
        };
        Ok(WeightGradient((0..self.geometry.blocks()).map(gradient).collect::<Result<_>>()?))
    }

    fn gradient_from_rows(
        &self,
        engine: &E,
        x: &E::Selectors,
        rows: &E::Rows,
        range: &Range<usize>,
        block: usize,
    ) -> Result<E::Rows> {
        let g = &self.geometry;
        let first = block * range.len();
        let terms: Vec<_> =
            (0..g.groups()).map(|group| over_samples(g, range, group, first)).collect();
        Ok(engine.products(x, rows, &terms)?)
    }

    /// The same for a dense layer, whose errors stand alone: a constant row times the input, moved
    /// to the filter's slot.
    fn gradient_from_constants(
        &self,
        engine: &E,
        x: &E::Selectors,
        errors: &E::Values,
        range: &Range<usize>,
        block: usize,
    ) -> Result<E::Rows> {
        let g = &self.geometry;
        let samples = range.len();
        let outputs = g.outputs_of(block);
        let picks =
            outputs.clone().flat_map(|o| (0..samples).map(move |s| s * g.output.channels + o));
        let rows = engine.pack_constants(&engine.take(errors, picks)?)?;
        let terms: Vec<_> = (0..outputs.len())
            .flat_map(|f| (0..g.groups()).map(move |group| (f, group)))
            .map(|(f, group)| over_samples(g, range, group, f * samples))
            .collect();
        let products = engine.products(x, &rows, &terms)?;
        let mut sum = engine.zero_rows(g.groups());
        for (f, o) in outputs.enumerate() {
            let of_filter: Vec<_> = (f * g.groups()..(f + 1) * g.groups()).collect();
            let mut rows = engine.gather_rows(&products, &of_filter)?;
            engine.rotate_rows(&mut rows, g.error_at(o, 0, 0))?;
            engine.add_scaled_rows(&mut sum, &rows, 1)?;
        }
        Ok(sum)
    }
}

/// One term for each sample of a range: its selector of a group, and rows from `first_row` on.
fn over_samples(g: &Geometry, range: &Range<usize>, group: usize, first_row: usize) -> Vec<Term> {
    let selector = |s| s * g.groups() + group;
    range.clone().zip(first_row..).map(|(s, row)| Term { selector: selector(s), row }).collect()
}
