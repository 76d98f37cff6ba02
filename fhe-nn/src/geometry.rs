//! Where the numbers of a convolution lie in polynomials: index arithmetic, all of it public.
//!
//! Samples lie side by side. A polynomial of N coefficients, its lanes, holds one number of each of
//! many samples: that of one channel at one position of a map. So an input is a selector for each
//! channel and position, an output is a row for each filter and position, and a convolution is sums
//! of products of selectors with constant rows, the weights:
//!
//! `z(o, oy, ox) = sum_{c, dy, dx} w(o, c, dy, dx) a(c, s oy + dy, s ox + dx)`
//!
//! where each a and z is a polynomial. Weights are stored densely, N to a row, and expanded to
//! constant rows where they are used ([`Engine::expand`](fhe_core::Engine::expand)).
//!
//! The gradient of a weight is a sum of inner products over lanes, of inputs and errors. An inner
//! product is coefficient 0 of an input times the reflection of an error.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Channels, height and width of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// Returns the number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels.saturating_mul(self.area())
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of positions.
    #[must_use]
    pub fn area(&self) -> usize {
        self.height.saturating_mul(self.width)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} @ {}x{}", self.channels, self.height, self.width)
    }
}

/// The window of a convolution, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows, and columns, of a filter.
    pub kernel: usize,
    /// Distance of two windows.
    pub stride: usize,
    /// Zeros on each side of the input.
    pub padding: usize,
}

/// How a sample's map is cut into cells, each in a lane of its own.
///
/// A network computes on one cell, and its last layer has filters of their own for each cell, whose
/// scores are summed over the cells of a sample. So it is a network on the whole map, whose last
/// layer is dense. Cells overlap where they are larger than their distance.
///
/// # Examples
/// ```
/// use fhe_nn::geometry::{Cells, Shape};
///
/// let cells = Cells { side: 2, stride: 2 };
/// let cell = Shape { channels: 3, height: 4, width: 4 };
/// assert_eq!(cells.map(cell), Shape { channels: 3, height: 6, width: 6 });
/// assert_eq!(cells.count(), 4);
/// // Cell 3 begins at row 2 and column 2.
/// assert_eq!(cells.at(cell, 3, (1, 0, 1)), (6 + 2) * 6 + 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cells {
    /// Rows, and columns, of cells.
    pub side: usize,
    /// Distance of two cells.
    pub stride: usize,
}

impl Default for Cells {
    /// One cell: all of the map.
    fn default() -> Self {
        Self { side: 1, stride: 1 }
    }
}

impl Cells {
    /// Returns the number of cells of a sample.
    #[must_use]
    pub fn count(&self) -> usize {
        self.side.saturating_mul(self.side)
    }

    /// Returns the shape of a sample's map, from that of a cell.
    #[must_use]
    pub fn map(&self, cell: Shape) -> Shape {
        let beyond = self.side.saturating_sub(1).saturating_mul(self.stride);
        let all = |side: usize| side.saturating_add(beyond);
        Shape { height: all(cell.height), width: all(cell.width), ..cell }
    }

    /// Returns where channel, row and column of a cell are in a sample's map.
    #[must_use]
    pub fn at(&self, cell: Shape, index: usize, (c, y, x): (usize, usize, usize)) -> usize {
        let map = self.map(cell);
        let (row, column) = (index / self.side.max(1), index % self.side.max(1));
        (c * map.height + row * self.stride + y) * map.width + column * self.stride + x
    }
}

/// The public numbers of a convolution. A dense layer is one whose maps have one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Shape of the input, without padding.
    pub input: Shape,
    /// Shape of the output.
    pub output: Shape,
    /// Rows, and columns, of a filter.
    pub kernel: usize,
    /// Distance of two windows.
    pub stride: usize,
    /// Zeros on each side of the input.
    pub padding: usize,
    /// Coefficients of a polynomial.
    n: usize,
}

impl Geometry {
    /// A convolution for polynomials of `n` coefficients.
    ///
    /// # Errors
    /// [`Error::Setting`] names the layer and what does not fit.
    pub fn new(name: &str, n: usize, input: Shape, outputs: usize, window: Window) -> Result<Self> {
        let Window { kernel, stride, padding } = window;
        let fail = |what, got: String, expected: String| {
            Err(Error::Setting { layer: name.into(), what, got, expected })
        };
        if input.is_empty() || outputs == 0 {
            let got = format!("of {outputs} outputs and {input} inputs");
            return fail("its shape", got, "at least 1 of each".into());
        }
        let padded = |side: usize| side + 2 * padding;
        let (height, width) = (padded(input.height), padded(input.width));
        if kernel == 0 || stride == 0 || kernel > height.min(width) {
            let got = format!("{kernel}x{kernel} with a stride of {stride} on {height}x{width}");
            let expected = format!("1 to {} and a stride of at least 1", height.min(width));
            return fail("its window", got, expected);
        }
        let output = Shape {
            channels: outputs,
            height: (height - kernel) / stride + 1,
            width: (width - kernel) / stride + 1,
        };
        Ok(Self { input, output, kernel, stride, padding, n })
    }

    /// Returns the number of coefficients of a polynomial.
    #[must_use]
    pub fn row_size(&self) -> usize {
        self.n
    }

    /// Returns the number of weights of one output.
    #[must_use]
    pub fn window(&self) -> usize {
        self.input.channels * self.kernel * self.kernel
    }

    /// Returns the number of weights.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.output.channels * self.window()
    }

    /// Returns the number of outputs whose weights share rows.
    fn filters(&self) -> usize {
        (self.n / self.window()).clamp(1, self.output.channels)
    }

    /// Returns the number of rows of a block.
    #[must_use]
    pub fn rows_of_block(&self) -> usize {
        (self.filters() * self.window()).div_ceil(self.n)
    }

    /// Returns the number of blocks of outputs: those of a block share rows.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.output.channels.div_ceil(self.filters())
    }

    /// Returns the number of rows of all weights.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.blocks() * self.rows_of_block()
    }

    /// Returns the outputs of a block.
    #[must_use]
    pub fn outputs_of(&self, block: usize) -> Range<usize> {
        let first = block * self.filters();
        first..(first + self.filters()).min(self.output.channels)
    }

    /// Returns row and coefficient of each weight, in the order output, channel, row, column of the
    /// window.
    pub fn weights_at(&self) -> impl Iterator<Item = (usize, usize)> {
        let (filters, window, n) = (self.filters(), self.window(), self.n);
        let rows = self.rows_of_block();
        (0..self.output.channels).flat_map(move |o| {
            (0..window).map(move |j| {
                let inside = o % filters * window + j;
                (o / filters * rows + inside / n, inside % n)
            })
        })
    }

    /// Returns for each position of an output map, and there for each weight of a window that does
    /// not lie in the padding, the weight's index and the index of the input.
    #[must_use]
    pub fn windows(&self) -> Vec<Vec<(usize, usize)>> {
        let (k, input) = (self.kernel, self.input);
        let of_position = |p: usize| {
            let (oy, ox) = (p / self.output.width, p % self.output.width);
            let place = |j: usize| {
                let (c, dy, dx) = (j / (k * k), j / k % k, j % k);
                let y = (oy * self.stride + dy).checked_sub(self.padding)?;
                let x = (ox * self.stride + dx).checked_sub(self.padding)?;
                let inside = y < input.height && x < input.width;
                inside.then_some((j, (c * input.height + y) * input.width + x))
            };
            (0..self.window()).filter_map(place).collect()
        };
        (0..self.output.area()).map(of_position).collect()
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(n: usize, outputs: usize) -> Geometry {
        let input = Shape { channels: 2, height: 3, width: 3 };
        let window = Window { kernel: 2, stride: 1, padding: 1 };
        Geometry::new("conv", n, input, outputs, window).unwrap()
    }

    #[test]
    fn weights_of_a_filter_share_rows() {
        // Eight weights a filter, three filters in 24 of 25 coefficients.
        let g = geometry(25, 7);
        assert_eq!((g.blocks(), g.rows(), g.window(), g.weights()), (3, 3, 8, 56));
        assert_eq!((g.outputs_of(1), g.outputs_of(2)), (3..6, 6..7));
        let at: Vec<_> = g.weights_at().collect();
        assert_eq!((at[7], at[8 * 4 + 2], at[55]), ((0, 7), (1, 10), (2, 7)));
        // A filter of two rows.
        let g = geometry(5, 3);
        assert_eq!((g.blocks(), g.rows_of_block(), g.rows()), (3, 2, 6));
        assert_eq!(g.weights_at().nth(8 + 6), Some((3, 1)));
        // Fewer filters than fit.
        assert_eq!(geometry(1000, 3).rows(), 1);
    }

    #[test]
    fn windows_leave_the_padding_out() {
        let g = geometry(64, 1);
        assert_eq!(g.output, Shape { channels: 1, height: 4, width: 4 });
        let windows = g.windows();
        assert_eq!(windows[0], [(3, 0), (7, 9)]);
        assert_eq!(windows[5].len(), 8);
        assert_eq!(windows[5][1], (1, 1));
        assert_eq!(windows[15], [(0, 8), (4, 17)]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let input = Shape { channels: 2, height: 3, width: 3 };
        let refused = |input, outputs, kernel, stride| {
            let window = Window { kernel, stride, padding: 0 };
            Geometry::new("conv", 64, input, outputs, window).unwrap_err().to_string()
        };
        assert!(refused(input, 0, 1, 1).starts_with("layer conv: its shape is of 0 outputs"));
        assert!(refused(Shape { width: 0, ..input }, 1, 1, 1).contains("2 @ 3x0"));
        for (kernel, stride) in [(0, 1), (4, 1), (1, 0)] {
            assert!(refused(input, 1, kernel, stride).starts_with("layer conv: its window is"));
        }
    }
}
