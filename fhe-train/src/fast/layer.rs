//! A convolution as matrix products.
//!
//! Maps of S samples are stored channel by channel, `[c][s][y][x]`; pre-activations and errors
//! likewise, `[o][s][oy][ox]`. Windows are the rows `(c, dy, dx)` and columns `(s, oy, ox)` of a
//! matrix X; with the weights as a matrix W of rows o,
//!
//! `z = W X + b`, `dL/dX = W^T e`, `dL/dW = e X^T`.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use fhe_nn::Geometry;

use crate::initial::InitialLayer;

/// Weights and biases of a layer, as torus fractions.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) geometry: Geometry,
    /// In the order output, channel, row, column of the window.
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Layer {
    pub(super) fn new(geometry: Geometry, initial: &InitialLayer) -> Self {
        let floats = |x: &[f64]| x.iter().map(|&x| x as f32).collect();
        Self { geometry, weights: floats(&initial.weights), bias: floats(&initial.bias) }
    }

    /// Returns the positions of an output channel.
    pub(super) fn area(&self) -> usize {
        self.geometry.output.height * self.geometry.output.width
    }

    /// Returns the rows of the matrix of windows.
    fn window(&self) -> usize {
        self.geometry.window()
    }

    /// Calls `f` with the place of the first element of each stretch in the matrix of windows, its
    /// place in the map, its length, and the distance of its elements in the map.
    fn stretches(&self, samples: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
        let g = &self.geometry;
        let (input, output) = (g.input, g.output);
        let columns = samples * self.area();
        for row in 0..self.window() {
            let (c, dy, dx) =
                (row / (g.kernel * g.kernel), row / g.kernel % g.kernel, row % g.kernel);
            // Columns of the output whose window reaches into the map, not into its padding.
            let inside = |o: usize, d: usize, side: usize| {
                (g.padding..side + g.padding).contains(&(o * g.stride + d))
            };
            let xs = (0..output.width).filter(|&ox| inside(ox, dx, input.width));
            let (Some(first), count) = (xs.clone().next(), xs.count()) else { continue };
            for s in 0..samples {
                for oy in (0..output.height).filter(|&oy| inside(oy, dy, input.height)) {
                    let y = oy * g.stride + dy - g.padding;
                    let x = first * g.stride + dx - g.padding;
                    let at = ((c * samples + s) * input.height + y) * input.width + x;
                    let to = row * columns + (s * output.height + oy) * output.width + first;
                    f(to, at, count, g.stride);
                }
            }
        }
    }

    /// Returns the matrix of windows of a map.
    pub(super) fn windows(&self, map: &[f32], samples: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.window() * samples * self.area()];
        self.stretches(samples, |to, at, count, stride| {
            for i in 0..count {
                out[to + i] = map[at + i * stride];
            }
        });
        out
    }

    /// Adds each element of a matrix of windows to where it came from.
    fn fold(&self, windows: &[f32], samples: usize) -> Vec<f32> {
        let mut map = vec![0.0; self.geometry.input.len() * samples];
        self.stretches(samples, |from, at, count, stride| {
            for i in 0..count {
                map[at + i * stride] += windows[from + i];
            }
        });
        map
    }

    /// Returns the pre-activations.
    pub(super) fn forward(&self, windows: &[f32], samples: usize) -> Vec<f32> {
        let columns = samples * self.area();
        let mut z: Vec<f32> =
            self.bias.iter().flat_map(|&b| std::iter::repeat_n(b, columns)).collect();
        let (outputs, rows) = (self.bias.len(), self.window());
        let weights = MatRef::from_row_major_slice(&self.weights, outputs, rows);
        add_product(&mut z, weights, MatRef::from_row_major_slice(windows, rows, columns));
        z
    }

    /// Returns the errors of the input, with given weights.
    pub(super) fn input_gradient(
        &self,
        weights: &[f32],
        errors: &[f32],
        samples: usize,
    ) -> Vec<f32> {
        let columns = samples * self.area();
        let (outputs, rows) = (self.bias.len(), self.window());
        let mut windows = vec![0.0; rows * columns];
        let weights = MatRef::from_row_major_slice(weights, outputs, rows).transpose();
        add_product(&mut windows, weights, MatRef::from_row_major_slice(errors, outputs, columns));
        self.fold(&windows, samples)
    }

    /// Returns the gradient of the weights.
    pub(super) fn weight_gradient(
        &self,
        windows: &[f32],
        errors: &[f32],
        samples: usize,
    ) -> Vec<f32> {
        let columns = samples * self.area();
        let (outputs, rows) = (self.bias.len(), self.window());
        let mut gradient = vec![0.0; outputs * rows];
        let windows = MatRef::from_row_major_slice(windows, rows, columns).transpose();
        add_product(&mut gradient, MatRef::from_row_major_slice(errors, outputs, columns), windows);
        gradient
    }
}

/// Adds a product of matrices to one that is stored row by row.
pub(super) fn add_product(out: &mut [f32], x: MatRef<'_, f32>, y: MatRef<'_, f32>) {
    let out = MatMut::from_row_major_slice_mut(out, x.nrows(), y.ncols());
    matmul(out, Accum::Add, x, y, 1.0, Par::Seq);
}
