//! The gradient of a convolution's weights.

use std::ops::Range;

use fhe_core::{Engine, List, Slot, Term};

use super::{Conv2d, GradientInput, expect, plane, positions};
use crate::Result;
use crate::geometry::{Geometry, GradientLayout, Weight};

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

/// The gradient of a loss in the weights, in lists of rows:
/// [`Geometry::summed_gradient_at`](crate::Geometry::summed_gradient_at).
pub struct WeightGradient<E: Engine>(Vec<E::Rows>);

impl<E: Engine> std::fmt::Debug for WeightGradient<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeightGradient(hidden)")
    }
}

impl<E: Engine> WeightGradient<E> {
    /// The gradient of a layer whose rows were saved.
    ///
    /// # Errors
    /// [`Count`](crate::Error::Count) if their numbers are not those of
    /// [`Geometry::gradient_rows`](crate::Geometry::gradient_rows).
    pub fn from_rows(geometry: &Geometry, rows: Vec<E::Rows>) -> Result<Self> {
        let expected = geometry.gradient_rows();
        expect("lists of a gradient", rows.len(), expected.len())?;
        for (rows, expected) in rows.iter().zip(expected) {
            expect("rows of a list of a gradient", rows.len(), expected)?;
        }
        Ok(Self(rows))
    }

    /// Returns the lists of rows.
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
        if g.gradient() == GradientLayout::Samples {
            return Some(self.filter_slots(samples));
        }
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

    /// Returns where the errors of `samples` samples go, a list for each filter: list `i outputs +
    /// o` has those of filter o of the i-th samples that share a polynomial.
    fn filter_slots(&self, samples: usize) -> Vec<Vec<Slot>> {
        let g = &self.geometry;
        let (together, outputs) = (g.samples_together(), g.output.channels);
        let mut lists = vec![Vec::new(); samples.div_ceil(together) * outputs];
        for (value, (s, o, y, x)) in positions(samples, g.output).enumerate() {
            let coefficient = g.error_over_samples(s, y, x);
            lists[s / together * outputs + o].push(Slot { value, coefficient });
        }
        lists
    }

    /// Returns where the inputs of `samples` samples go for the gradient of the weights, for each
    /// stretch of channels: list `i channels + c` has those of channel c of the i-th samples that
    /// share a polynomial. Empty if the gradient takes the inputs of samples.
    #[must_use]
    pub fn channel_slots(&self, samples: usize) -> Vec<Vec<Vec<Slot>>> {
        let g = &self.geometry;
        if g.gradient() == GradientLayout::Channels {
            return Vec::new();
        }
        let together = g.samples_together();
        let of_list = |i: usize, c: usize| -> Vec<Slot> {
            let of_samples = i * together..samples.min((i + 1) * together);
            let slot = |(s, (y, x)): (usize, (usize, usize))| Slot {
                value: ((s * g.input.channels + c) * g.input.height + y) * g.input.width + x,
                coefficient: g.input_over_samples(s, y, x),
            };
            let plane = || plane(g.input.height, g.input.width);
            of_samples.flat_map(|s| plane().map(move |at| (s, at))).map(slot).collect()
        };
        let of_stretch = |channels: Range<usize>| {
            let groups = 0..samples.div_ceil(together);
            groups
                .flat_map(|i| channels.clone().map(move |c| (i, c)))
                .map(|(i, c)| of_list(i, c))
                .collect()
        };
        g.channel_stretches().map(of_stretch).collect()
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
    /// Polynomials over samples are those of exactly these samples.
    ///
    /// # Cost
    /// No lookup; `samples * groups * blocks` products. For errors as values, `samples * outputs`
    /// packed constants, and a product for each filter and group besides. Over samples,
    /// `samples / T * outputs * channels` products, and a packed list for each row of the gradient.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer inputs or errors than samples need.
    pub fn weight_gradient(
        &self,
        engine: &E,
        x: GradientInput<'_, E>,
        errors: &GradientErrors<E>,
    ) -> Result<WeightGradient<E>> {
        let g = &self.geometry;
        let lists = match (x, errors) {
            (GradientInput::Channels(x, samples), GradientErrors::Rows(rows)) => {
                expect("stretches of channels", x.len(), g.channel_stretches().len())?;
                let stretches = g.channel_stretches().zip(x);
                stretches
                    .map(|(channels, x)| {
                        self.gradient_over_samples(engine, x, rows, (samples, channels))
                    })
                    .collect()
            }
            (GradientInput::Samples(x, samples), GradientErrors::Rows(rows)) => (0..g.blocks())
                .map(|block| self.gradient_from_rows(engine, x, rows, &samples, block))
                .collect::<Result<_>>(),
            (GradientInput::Samples(x, samples), GradientErrors::Values(errors)) => (0..g.blocks())
                .map(|block| self.gradient_from_constants(engine, x, errors, &samples, block))
                .collect(),
            (GradientInput::Channels(..), GradientErrors::Values(_)) => {
                expect("rows of errors", 0, g.output.channels).map(|()| Vec::new())
            }
        };
        WeightGradient::from_rows(g, lists?)
    }

    /// The gradient of the weights of a stretch of channels, weight after weight.
    fn gradient_over_samples(
        &self,
        engine: &E,
        (x, first): (&E::Selectors, usize),
        rows: &E::Rows,
        (samples, channels): (usize, Range<usize>),
    ) -> Result<E::Rows> {
        let g = &self.geometry;
        let groups = samples.div_ceil(g.samples_together());
        let outputs = g.output.channels;
        let term = |i: usize, o: usize, c: usize| Term {
            selector: first + i * channels.len() + c,
            row: i * outputs + o,
        };
        let pairs = (0..outputs).flat_map(|o| (0..channels.len()).map(move |c| (o, c)));
        let terms: Vec<Vec<Term>> =
            pairs.map(|(o, c)| (0..groups).map(|i| term(i, o, c)).collect()).collect();
        let products = engine.products(x, rows, &terms)?;
        let window = plane(g.kernel, g.kernel);
        let window: Vec<usize> = window
            .map(|(dy, dx)| g.gradient_over_samples(Weight { output: 0, channel: 0, dy, dx }))
            .collect();
        let at: Vec<_> =
            (0..terms.len()).flat_map(|pair| window.iter().map(move |&at| (pair, at))).collect();
        let values = engine.extract(&products, &at)?;
        drop(products);
        let n = g.row_size();
        let slot = |value| Slot { value, coefficient: value % n };
        let list = |first| (first..at.len().min(first + n)).map(slot).collect();
        let lists: Vec<Vec<Slot>> = (0..at.len()).step_by(n).map(list).collect();
        Ok(engine.pack(&values, &lists)?)
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
