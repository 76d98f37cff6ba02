use std::ops::Range;

mod gradient;
mod input;
mod update;

pub use gradient::{CONSTANTS, GradientErrors, WeightGradient};
pub use input::{GradientInput, LayerInput};

use fhe_core::{Engine, List, Slot, Term};

use crate::geometry::{Geometry, Weight};
use crate::{Error, Result};

/// A convolution with secret weights and biases; a dense layer is one on maps of one position.
///
/// `z(o, oy, ox) = b(o) + sum_{c, dy, dx} w(o, c, dy, dx) a(c, s oy + dy, s ox + dx)`, a being zero
/// in the padding. Inputs are selectors, small integers; weights are rows in the layout of
/// [`Geometry`].
///
/// # Shapes
/// Inputs: [`Geometry::groups`] selectors a sample, from [`Conv2d::input_slots`]. Pre-activations
/// and errors: values in the order sample, channel, row, column.
///
/// # Examples
/// ```
/// use fhe_core::{Clear, Engine, Params, from_torus, to_torus};
/// use fhe_nn::geometry::Window;
/// use fhe_nn::{Conv2d, Geometry, Shape};
///
/// # fn main() -> fhe_nn::Result<()> {
/// let params = Params::secure128_deep()?;
/// let engine = Clear::exact(&params);
/// let input = Shape { channels: 1, height: 2, width: 2 };
/// // One filter of 2x2, weights 1/64, 2/64, 3/64, 4/64 and no bias.
/// let window = Window { kernel: 2, stride: 1, padding: 0 };
/// let geometry = Geometry::new("conv", params.row_size, input, 1, window, 1)?;
/// let weights: Vec<u64> = (1..=4).map(|w| to_torus(f64::from(w) / 64.0)).collect();
/// let layer = Conv2d::new(&engine, geometry, &weights, &[0])?;
/// let mut a = vec![0; params.row_size];
/// a[..4].copy_from_slice(&[1, 0, -1, 2]);
/// let z = layer.forward(&engine, &engine.selectors(vec![a]), 0..1)?;
/// assert_eq!(from_torus(z[0]), (1.0 - 3.0 + 8.0) / 64.0);
/// # Ok(())
/// # }
/// ```
pub struct Conv2d<E: Engine> {
    geometry: Geometry,
    /// For each block of outputs, a row for each group of input channels.
    weights: Vec<E::Rows>,
    bias: E::Values,
}

impl<E: Engine> std::fmt::Debug for Conv2d<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conv2d").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

/// The weights as the way back needs them: for each block of input channels, a row for each group
/// of outputs.
pub struct Transposed<E: Engine>(Vec<E::Rows>);

impl<E: Engine> std::fmt::Debug for Transposed<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transposed(hidden)")
    }
}

impl<E: Engine> Conv2d<E> {
    /// A layer with public weights, torus elements in the order output, channel, row, column of the
    /// window, and public biases.
    ///
    /// # Errors
    /// [`Error::Count`] if their number is another, or the geometry is for polynomials of another
    /// size.
    pub fn new(engine: &E, geometry: Geometry, weights: &[u64], bias: &[u64]) -> Result<Self> {
        let n = engine.params().row_size;
        expect("coefficients of a polynomial", geometry.row_size(), n)?;
        expect("weights", weights.len(), geometry.weights())?;
        expect("biases", bias.len(), geometry.output.channels)?;
        let per_output = geometry.window();
        let rows = (0..geometry.blocks())
            .map(|block| {
                let mut rows = vec![0; n * geometry.groups()];
                for o in geometry.outputs_of(block) {
                    for (w, &x) in geometry.weights_of(o).zip(&weights[o * per_output..]) {
                        let (group, coefficient) = geometry.weight_at(w);
                        rows[group * n + coefficient] = x;
                    }
                }
                engine.public_rows(&rows)
            })
            .collect::<fhe_core::Result<_>>()?;
        let bias = engine.public_values(bias);
        Ok(Self { geometry, weights: rows, bias })
    }

    /// A layer with the parts that another one had.
    ///
    /// # Errors
    /// [`Error::Count`] if their sizes are others.
    pub fn from_parts(geometry: Geometry, weights: Vec<E::Rows>, bias: E::Values) -> Result<Self> {
        expect("blocks of weights", weights.len(), geometry.blocks())?;
        for rows in &weights {
            expect("rows of a block", rows.len(), geometry.groups())?;
        }
        expect("biases", bias.len(), geometry.output.channels)?;
        Ok(Self { geometry, weights, bias })
    }

    /// Returns the geometry.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Returns the weights: for each block of outputs, a row for each group of input channels.
    #[must_use]
    pub fn weights(&self) -> &[E::Rows] {
        &self.weights
    }

    /// Returns the biases.
    #[must_use]
    pub fn bias(&self) -> &E::Values {
        &self.bias
    }

    /// Returns where the inputs of `samples` samples go, for [`Engine::promote`].
    #[must_use]
    pub fn input_slots(&self, samples: usize) -> Vec<Vec<Slot>> {
        let g = &self.geometry;
        let mut lists = vec![Vec::new(); samples * g.groups()];
        for (value, (s, c, y, x)) in positions(samples, g.input).enumerate() {
            let (group, coefficient) = g.input_at(c, y, x);
            lists[s * g.groups() + group].push(Slot { value, coefficient });
        }
        lists
    }

    /// Returns where the errors of `samples` samples go for the way back, for [`Engine::promote`].
    #[must_use]
    pub fn error_slots(&self, samples: usize) -> Vec<Vec<Slot>> {
        let g = &self.geometry;
        let mut lists = vec![Vec::new(); samples * g.error_groups()];
        for (value, (s, o, y, x)) in positions(samples, g.output).enumerate() {
            let (group, coefficient) = g.back_error_at(o, y, x);
            lists[s * g.error_groups() + group].push(Slot { value, coefficient });
        }
        lists
    }

    /// Returns the pre-activations of some samples of a list.
    ///
    /// # Cost
    /// No lookup; `samples * groups * blocks` products.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer selectors than samples need.
    pub fn forward(
        &self,
        engine: &E,
        x: &E::Selectors,
        samples: Range<usize>,
    ) -> Result<E::Values> {
        let g = &self.geometry;
        let terms: Vec<Vec<Term>> = samples.clone().map(|s| terms(s, g.groups())).collect();
        let samples = samples.len();
        let mut blocks = Vec::with_capacity(g.blocks());
        for (block, rows) in self.weights.iter().enumerate() {
            let z = engine.products(x, rows, &terms)?;
            let read: Vec<_> = self
                .outputs(samples, g.outputs_of(block))
                .map(|(s, o, y, x)| (s, g.output_at(o, y, x)))
                .collect();
            blocks.push(engine.extract(&z, &read)?);
        }
        let area = g.output.len() / g.output.channels;
        let picks: Vec<_> = positions(samples, g.output)
            .map(|(s, o, y, x)| {
                let (block, range) = (o / g.filters(), g.outputs_of(o / g.filters()));
                let inside = (s * range.len() + o - range.start) * area + y * g.output.width + x;
                (block, inside)
            })
            .collect();
        let mut z = engine.gather(&blocks.iter().collect::<Vec<_>>(), &picks)?;
        drop(blocks);
        let biases = positions(samples, g.output).map(|(_, o, ..)| o);
        engine.add_scaled_values(&mut z, &engine.take(&self.bias, biases)?, 1)?;
        Ok(z)
    }

    /// Returns the weights for the way back.
    ///
    /// # Cost
    /// No lookup; `transposed_blocks * error_groups` packed lists.
    ///
    /// # Errors
    /// Those of [`Engine::pack`].
    pub fn transpose(&self, engine: &E) -> Result<Transposed<E>> {
        let g = &self.geometry;
        let rows = (0..g.transposed_blocks())
            .map(|block| {
                let first = block * g.transposed_filters();
                let channels = first..(first + g.transposed_filters()).min(g.input.channels);
                let mut values = Vec::with_capacity(g.blocks());
                let mut picks = Vec::new();
                let mut lists = vec![Vec::new(); g.error_groups()];
                for (b, rows) in self.weights.iter().enumerate() {
                    let of_block: Vec<Weight> = g
                        .outputs_of(b)
                        .flat_map(|o| g.weights_of(o))
                        .filter(|w| channels.contains(&w.channel))
                        .collect();
                    for (i, w) in of_block.iter().enumerate() {
                        let (group, coefficient) = g.transposed_at(*w);
                        lists[group].push(Slot { value: picks.len(), coefficient });
                        picks.push((b, i));
                    }
                    let at: Vec<_> = of_block.iter().map(|w| g.weight_at(*w)).collect();
                    values.push(engine.extract(rows, &at)?);
                }
                let values = engine.gather(&values.iter().collect::<Vec<_>>(), &picks)?;
                Ok(engine.pack(&values, &lists)?)
            })
            .collect::<Result<_>>()?;
        Ok(Transposed(rows))
    }

    /// Returns `dL/da(c, y, x)` from selectors of the errors, [`Conv2d::error_slots`], in the order
    /// of the inputs.
    ///
    /// # Cost
    /// No lookup; `samples * error_groups * transposed_blocks` products.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer selectors than samples need.
    pub fn input_gradient(
        &self,
        engine: &E,
        transposed: &Transposed<E>,
        errors: &E::Selectors,
        samples: usize,
    ) -> Result<E::Values> {
        let g = &self.geometry;
        let terms: Vec<Vec<Term>> = (0..samples).map(|s| terms(s, g.error_groups())).collect();
        let filters = g.transposed_filters();
        let channels = |b: usize| b * filters..((b + 1) * filters).min(g.input.channels);
        let mut blocks = Vec::with_capacity(transposed.0.len());
        for (block, rows) in transposed.0.iter().enumerate() {
            let sums = engine.products(errors, rows, &terms)?;
            let shape = g.input;
            let read: Vec<_> = (0..samples)
                .flat_map(|s| {
                    channels(block).flat_map(move |c| {
                        plane(shape.height, shape.width)
                            .map(move |(y, x)| (s, g.input_gradient_at(c, y, x)))
                    })
                })
                .collect();
            blocks.push(engine.extract(&sums, &read)?);
        }
        let area = g.input.height * g.input.width;
        let picks: Vec<_> = positions(samples, g.input)
            .map(|(s, c, y, x)| {
                let (block, range) = (c / filters, channels(c / filters));
                let inside = (s * range.len() + c - range.start) * area + y * g.input.width + x;
                (block, inside)
            })
            .collect();
        Ok(engine.gather(&blocks.iter().collect::<Vec<_>>(), &picks)?)
    }

    /// Sample, channel, row and column of some outputs, in the order of values.
    fn outputs(
        &self,
        samples: usize,
        outputs: Range<usize>,
    ) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let (height, width) = (self.geometry.output.height, self.geometry.output.width);
        (0..samples).flat_map(move |s| {
            outputs.clone().flat_map(move |o| plane(height, width).map(move |(y, x)| (s, o, y, x)))
        })
    }
}

/// Checks a number; a convolution does not know its layer's name.
fn expect(what: &'static str, got: usize, expected: usize) -> Result<()> {
    let layer = || "convolution".into();
    if got == expected { Ok(()) } else { Err(Error::Count { layer: layer(), what, got, expected }) }
}

/// One term for each group of a sample, with row `group`.
fn terms(sample: usize, groups: usize) -> Vec<Term> {
    (0..groups).map(|group| Term { selector: sample * groups + group, row: group }).collect()
}

fn plane(height: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..height).flat_map(move |y| (0..width).map(move |x| (y, x)))
}

/// Sample, channel, row and column of all values of a map.
fn positions(
    samples: usize,
    shape: crate::Shape,
) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..samples).flat_map(move |s| {
        (0..shape.channels)
            .flat_map(move |c| plane(shape.height, shape.width).map(move |(y, x)| (s, c, y, x)))
    })
}
