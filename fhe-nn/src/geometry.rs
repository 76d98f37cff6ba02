//! Where the numbers of a convolution lie in polynomials: index arithmetic, all of it public.
//!
//! The layout is that of Huang, Lu, Hong, Ding ("Cheetah", USENIX Security 2022, section 4), with
//! several filters to a row. With padded height H, width W and area A = H W:
//!
//! | polynomial | number | at coefficient |
//! |---|---|---|
//! | input, G channels | a(c, y, x) | `c A + y W + x` |
//! | weights, F filters, S = G A | w(f, c, dy, dx) | `f S + (G-1-c) A + (k-1-dy) W + (k-1-dx)` |
//! | their product | z(f, oy, ox) | `f S + (G-1) A + (k-1)(W+1) + p(oy, ox)` |
//! | errors, F filters | e(f, oy, ox) | `f S + P - p(oy, ox)` |
//! | product with the input | dL/dw(f, c, dy, dx) | `f S + P + c A + dy W + dx` |
//! | errors, G' outputs | e(o, oy, ox) | `o A + p(oy, ox)` |
//! | transposed weights, S' = G' A | w(o, f, dy, dx) | `f S' + (G'-1-o) A + dy W + dx` |
//! | their product | dL/da(f, y, x) | `f S' + (G'-1) A + y W + x` |
//! | input channel c of T samples | a(i, y, x) | `i A + y W + x` |
//! | errors of filter f of T samples | e(i, oy, ox) | `(T-1-i) A + P - p(oy, ox)` |
//! | their product | sum over samples of dL/dw(f, c, dy, dx) | `(T-1) A + P + dy W + dx` |
//!
//! with `p(oy, ox) = s (oy W + ox)`, stride s, and P the largest p. A filter has a slot of S
//! coefficients; in the transposed weights an input channel has one of S'. `T = N / A` samples
//! share a polynomial of one channel.
//!
//! Every coefficient that is read is the wanted sum and nothing else, also modulo X^N + 1. The
//! proof is in `docs/src/layers.md`, and a test compares with the definition.

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
        self.channels * self.area()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of positions.
    #[must_use]
    pub fn area(&self) -> usize {
        self.height * self.width
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
    /// Channels of an input polynomial.
    group: usize,
    /// How the gradient of the weights is taken.
    gradient: GradientLayout,
}

/// What a polynomial holds in the gradient of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientLayout {
    /// Channels of one sample. Each sample has its own rows of errors.
    Channels,
    /// One channel of several samples. Rows of errors are few and full where maps are small.
    Samples,
}

/// Channels whose polynomials over samples make a list of selectors.
const CHANNELS: usize = 16;

/// An output channel, an input channel and a place in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Output channel.
    pub output: usize,
    /// Input channel.
    pub channel: usize,
    /// Row of the window.
    pub dy: usize,
    /// Column.
    pub dx: usize,
}

impl Geometry {
    /// A convolution for polynomials of `n` coefficients; an input polynomial holds `group`
    /// channels.
    ///
    /// # Errors
    /// [`Error::Setting`] names the layer and what does not fit.
    pub fn new(
        name: &str,
        n: usize,
        input: Shape,
        outputs: usize,
        window: Window,
        group: usize,
    ) -> Result<Self> {
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
        let area = height * width;
        if group == 0 || group > input.channels || group * area > n {
            let got = format!("of {group} channels of {height}x{width}");
            let most = input.channels.min(n / area);
            let expected = format!("1 to {most} channels in a polynomial of {n} coefficients");
            return fail("its input", got, expected);
        }
        let output = Shape {
            channels: outputs,
            height: (height - kernel) / stride + 1,
            width: (width - kernel) / stride + 1,
        };
        let gradient = GradientLayout::Channels;
        Ok(Self { input, output, kernel, stride, padding, n, group, gradient })
    }

    /// Returns the geometry with another layout of the gradient.
    #[must_use]
    pub fn with_gradient(self, gradient: GradientLayout) -> Self {
        Self { gradient, ..self }
    }

    /// Returns the layout of the gradient.
    #[must_use]
    pub fn gradient(&self) -> GradientLayout {
        self.gradient
    }

    /// A first layer's convolution, whose inputs are encrypted with all channels of a sample in a
    /// polynomial, and of which `samples` samples are trained together: with the layout that makes
    /// the fewest packed lists of their errors.
    ///
    /// # Errors
    /// Those of [`Geometry::new`].
    pub fn first(
        name: &str,
        n: usize,
        (input, outputs): (Shape, usize),
        window: Window,
        samples: usize,
    ) -> Result<Self> {
        let over_channels = Self::new(name, n, input, outputs, window, input.channels)?;
        let over_samples = over_channels.clone().with_gradient(GradientLayout::Samples);
        let lists = outputs + over_samples.gradient_rows().iter().sum::<usize>();
        let is_less = over_channels.output.area() > 1
            && samples <= over_samples.samples_together()
            && lists < samples * over_channels.blocks();
        Ok(if is_less { over_samples } else { over_channels })
    }

    /// A hidden layer's convolution, whose inputs and errors come from lookups, and of which
    /// `samples` samples are trained together: with the layout that makes the fewest packed lists
    /// of them. A promotion costs `levels` lists.
    ///
    /// # Errors
    /// Those of [`Geometry::new`].
    pub fn hidden(
        name: &str,
        n: usize,
        (input, outputs): (Shape, usize),
        window: Window,
        (samples, levels): (usize, usize),
    ) -> Result<Self> {
        let side = |side: usize| side + 2 * window.padding;
        let area = side(input.height) * side(input.width);
        let most = input.channels.min(n / area.max(1)).max(1);
        // Over channels, a sample's errors are a list for each row of filters.
        let lists = |group: usize| {
            let slots = (n / (group * area).max(1)).max(1);
            levels * input.channels.div_ceil(group) + outputs.div_ceil(slots)
        };
        let best = (1..=most).rev().min_by_key(|&group| lists(group)).unwrap_or(1);
        let over_channels = Self::new(name, n, input, outputs, window, best)?;
        let over_samples = Self::new(name, n, input, outputs, window, most)?
            .with_gradient(GradientLayout::Samples);
        let groups = samples.div_ceil(over_samples.samples_together());
        let of_groups = groups * (levels * input.channels + outputs);
        let of_gradient: usize = over_samples.gradient_rows().iter().sum();
        let all = samples * levels * over_samples.groups() + of_groups + of_gradient;
        let is_less = over_channels.output.area() > 1 && all < samples * lists(best);
        Ok(if is_less { over_samples } else { over_channels })
    }

    /// Returns the number of coefficients of a polynomial.
    #[must_use]
    pub fn row_size(&self) -> usize {
        self.n
    }

    fn width(&self) -> usize {
        self.input.width + 2 * self.padding
    }

    fn area(&self) -> usize {
        (self.input.height + 2 * self.padding) * self.width()
    }

    /// Returns the number of polynomials of an input.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.input.channels.div_ceil(self.group)
    }

    fn slot(&self) -> usize {
        self.group * self.area()
    }

    /// Returns the number of filters in a row.
    #[must_use]
    pub fn filters(&self) -> usize {
        self.n / self.slot()
    }

    /// Returns the number of rows that hold the weights of one group.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.output.channels.div_ceil(self.filters())
    }

    /// Returns the number of outputs whose errors share a polynomial for the way back.
    fn error_group(&self) -> usize {
        self.output.channels.min(self.n / self.area())
    }

    /// Returns the number of polynomials of the errors of a sample, for the way back.
    #[must_use]
    pub fn error_groups(&self) -> usize {
        self.output.channels.div_ceil(self.error_group())
    }

    /// Returns the number of input channels whose transposed weights share a row.
    #[must_use]
    pub fn transposed_filters(&self) -> usize {
        self.n / (self.error_group() * self.area())
    }

    /// Returns the number of rows that hold the transposed weights of one error group.
    #[must_use]
    pub fn transposed_blocks(&self) -> usize {
        self.input.channels.div_ceil(self.transposed_filters())
    }

    /// Returns the number of weights of one output.
    #[must_use]
    pub fn window(&self) -> usize {
        self.weights() / self.output.channels
    }

    /// Returns the number of weights.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.output.channels * self.input.channels * self.kernel * self.kernel
    }

    /// Returns all blocks in stretches: each has as many as have at most `weights` weights
    /// together, and one at least.
    ///
    /// ```
    /// use fhe_nn::geometry::Window;
    /// use fhe_nn::{Geometry, Shape};
    ///
    /// # fn main() -> fhe_nn::Result<()> {
    /// let input = Shape { channels: 2, height: 4, width: 4 };
    /// let window = Window { kernel: 3, stride: 1, padding: 0 };
    /// // Two filters a row, of eighteen weights each.
    /// let geometry = Geometry::new("conv", 64, input, 10, window, 2)?;
    /// assert_eq!(geometry.stretches(100), [0..2, 2..4, 4..5]);
    /// assert_eq!(geometry.stretches(0), [0..1, 1..2, 2..3, 3..4, 4..5]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stretches(&self, weights: usize) -> Vec<Range<usize>> {
        let blocks = (weights / (self.filters() * self.window())).max(1);
        let stretch = |first: usize| first..self.blocks().min(first + blocks);
        (0..self.blocks()).step_by(blocks).map(stretch).collect()
    }

    fn position(&self, oy: usize, ox: usize) -> usize {
        self.stride * (oy * self.width() + ox)
    }

    fn last_position(&self) -> usize {
        self.position(self.output.height - 1, self.output.width - 1)
    }

    /// Returns group and coefficient of an input.
    #[must_use]
    pub fn input_at(&self, c: usize, y: usize, x: usize) -> (usize, usize) {
        let inside = (y + self.padding) * self.width() + x + self.padding;
        (c / self.group, c % self.group * self.area() + inside)
    }

    /// Returns the outputs of a block of rows.
    #[must_use]
    pub fn outputs_of(&self, block: usize) -> Range<usize> {
        let first = block * self.filters();
        first..(first + self.filters()).min(self.output.channels)
    }

    /// Returns group and coefficient of a weight, in the block that has its output.
    #[must_use]
    pub fn weight_at(&self, w: Weight) -> (usize, usize) {
        let (area, width, last) = (self.area(), self.width(), self.kernel - 1);
        let window = (last - w.dy) * width + last - w.dx;
        let channel = (self.group - 1 - w.channel % self.group) * area;
        (w.channel / self.group, w.output % self.filters() * self.slot() + channel + window)
    }

    /// Returns the coefficient of a pre-activation, in the row of its block.
    #[must_use]
    pub fn output_at(&self, o: usize, oy: usize, ox: usize) -> usize {
        let first = (self.group - 1) * self.area() + (self.kernel - 1) * (self.width() + 1);
        o % self.filters() * self.slot() + first + self.position(oy, ox)
    }

    /// Returns the coefficient of an error, in the row of its block.
    #[must_use]
    pub fn error_at(&self, o: usize, oy: usize, ox: usize) -> usize {
        o % self.filters() * self.slot() + self.last_position() - self.position(oy, ox)
    }

    /// Returns group and coefficient of a weight's gradient, in the block that has its output.
    #[must_use]
    pub fn gradient_at(&self, w: Weight) -> (usize, usize) {
        let inside = w.channel % self.group * self.area() + w.dy * self.width() + w.dx;
        let slot = w.output % self.filters() * self.slot();
        (w.channel / self.group, slot + self.last_position() + inside)
    }

    /// Returns the number T of samples of which one channel shares a polynomial.
    #[must_use]
    pub fn samples_together(&self) -> usize {
        self.n / self.area()
    }

    /// Returns the channels in stretches whose polynomials over samples make a list.
    pub fn channel_stretches(&self) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let channels = self.input.channels;
        (0..channels).step_by(CHANNELS).map(move |first| first..channels.min(first + CHANNELS))
    }

    /// Returns coefficient of an input of a sample in the polynomial of its channel; samples
    /// `T i` to `T (i + 1)` share the i-th.
    #[must_use]
    pub fn input_over_samples(&self, sample: usize, y: usize, x: usize) -> usize {
        let inside = (y + self.padding) * self.width() + x + self.padding;
        sample % self.samples_together() * self.area() + inside
    }

    /// Returns the coefficient of a sample's error in the polynomial of its filter.
    #[must_use]
    pub fn error_over_samples(&self, sample: usize, oy: usize, ox: usize) -> usize {
        let together = self.samples_together();
        let first = (together - 1 - sample % together) * self.area();
        first + self.last_position() - self.position(oy, ox)
    }

    /// Returns the coefficient of the gradient of a weight of a filter and a channel in the product
    /// of their polynomials.
    #[must_use]
    pub fn gradient_over_samples(&self, w: Weight) -> usize {
        let last = (self.samples_together() - 1) * self.area() + self.last_position();
        last + w.dy * self.width() + w.dx
    }

    /// Returns the number of rows of each list of a gradient.
    #[must_use]
    pub fn gradient_rows(&self) -> Vec<usize> {
        match self.gradient {
            GradientLayout::Channels => vec![self.groups(); self.blocks()],
            GradientLayout::Samples => self
                .channel_stretches()
                .map(|channels| (channels.len() * self.weights_of_channel()).div_ceil(self.n))
                .collect(),
        }
    }

    fn weights_of_channel(&self) -> usize {
        self.output.channels * self.kernel * self.kernel
    }

    /// Returns list, row and coefficient of a weight's gradient.
    #[must_use]
    pub fn summed_gradient_at(&self, w: Weight) -> (usize, usize, usize) {
        match self.gradient {
            GradientLayout::Channels => {
                let (group, coefficient) = self.gradient_at(w);
                (w.output / self.filters(), group, coefficient)
            }
            GradientLayout::Samples => {
                let first = w.channel / CHANNELS * CHANNELS;
                let stretch = CHANNELS.min(self.input.channels - first);
                let pair = w.output * stretch + w.channel - first;
                let at = (pair * self.kernel + w.dy) * self.kernel + w.dx;
                (w.channel / CHANNELS, at / self.n, at % self.n)
            }
        }
    }

    /// Returns group and coefficient of an error for the way back.
    #[must_use]
    pub fn back_error_at(&self, o: usize, oy: usize, ox: usize) -> (usize, usize) {
        let group = self.error_group();
        (o / group, o % group * self.area() + self.position(oy, ox))
    }

    /// Returns error group and coefficient of a transposed weight, in the block that has its
    /// channel.
    #[must_use]
    pub fn transposed_at(&self, w: Weight) -> (usize, usize) {
        let group = self.error_group();
        let slot = w.channel % self.transposed_filters() * group * self.area();
        let inside = w.dy * self.width() + w.dx;
        (w.output / group, slot + (group - 1 - w.output % group) * self.area() + inside)
    }

    /// Returns the coefficient of an input's gradient, in the row of its channel's block.
    #[must_use]
    pub fn input_gradient_at(&self, c: usize, y: usize, x: usize) -> usize {
        let group = self.error_group();
        let slot = c % self.transposed_filters() * group * self.area();
        let inside = (y + self.padding) * self.width() + x + self.padding;
        slot + (group - 1) * self.area() + inside
    }

    /// Returns the weights of an output, channel by channel, row by row of the window.
    pub fn weights_of(&self, output: usize) -> impl Iterator<Item = Weight> {
        let k = self.kernel;
        (0..self.input.channels * k * k).map(move |i| Weight {
            output,
            channel: i / (k * k),
            dy: i / k % k,
            dx: i % k,
        })
    }
}

#[cfg(test)]
mod tests;
