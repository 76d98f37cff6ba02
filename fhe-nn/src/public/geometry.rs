//! Where the inputs of a convolution lie among single values.

use super::{PublicError, Result};
use crate::Shape;
use crate::geometry::Window;

/// The most values of a map. So many encrypted values of 2,048 coefficients take 64 GiB.
const VALUES: usize = 1 << 22;
/// The most weights that all positions of a layer meet. Their places take 1 GiB.
const PLACES: usize = 1 << 26;

/// The public numbers of a convolution on maps whose channels lie together: value
/// `((s H + y) W + x) C + c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicGeometry {
    input: Shape,
    output: Shape,
    filter: Window,
}

/// Returns the number of values of a map, if there are any and not too many.
pub(super) fn values_of(shape: Shape) -> Option<usize> {
    let values = shape.channels.checked_mul(shape.height)?.checked_mul(shape.width)?;
    (1..=VALUES).contains(&values).then_some(values)
}

/// What [`values_of`] accepts, in words.
pub(super) fn values_expected() -> String {
    format!("1 to {VALUES} values")
}

impl PublicGeometry {
    /// A convolution.
    ///
    /// # Errors
    /// [`PublicError::Layer`] names the layer and what does not fit.
    pub fn new(name: &str, input: Shape, outputs: usize, filter: Window) -> Result<Self> {
        let Window { kernel, stride, padding } = filter;
        let fail = |what, got: String, expected: String| {
            Err(PublicError::layer(name, what, got, expected))
        };
        if values_of(input).is_none() {
            return fail("input", input.to_string(), values_expected());
        }
        // No side is longer than a map has values, so nothing below overflows.
        if kernel == 0 || kernel > 2 * VALUES {
            return fail("kernel", kernel.to_string(), format!("1 to {}", 2 * VALUES));
        }
        if padding >= kernel {
            return fail("padding", padding.to_string(), format!("0 to {}", kernel - 1));
        }
        let (height, width) = (input.height + 2 * padding, input.width + 2 * padding);
        if kernel > height.min(width) {
            return fail("kernel", kernel.to_string(), format!("1 to {}", height.min(width)));
        }
        if stride == 0 {
            return fail("stride", stride.to_string(), "at least 1".into());
        }
        let output = Shape {
            channels: outputs,
            height: (height - kernel) / stride + 1,
            width: (width - kernel) / stride + 1,
        };
        if values_of(output).is_none() {
            return fail("output", output.to_string(), values_expected());
        }
        let len = kernel.checked_pow(2).and_then(|area| area.checked_mul(input.channels));
        let places = len.and_then(|len| len.checked_mul(output.height * output.width));
        if places.is_none_or(|places| places > PLACES) {
            let got = format!("{kernel}x{kernel} on {input}");
            return fail("kernel", got, format!("at most {PLACES} weights at all positions"));
        }
        Ok(Self { input, output, filter })
    }

    /// Returns the shape of the input, without padding.
    #[must_use]
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Returns the shape of the output.
    #[must_use]
    pub fn output(&self) -> Shape {
        self.output
    }

    /// Returns the size of a filter and how it moves.
    #[must_use]
    pub fn filter(&self) -> Window {
        self.filter
    }

    /// Returns the number of weights of one output.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.input.channels * self.filter.kernel * self.filter.kernel
    }

    /// Returns, for every position of `samples` maps, the values that a filter's weights meet, in
    /// the order channel, row, column. There is nothing in the padding.
    #[must_use]
    pub fn places(&self, samples: usize) -> Vec<Vec<Option<usize>>> {
        let (input, output) = (self.input, self.output);
        let Window { kernel: k, stride, padding } = self.filter;
        let place = |s: usize, oy: usize, ox: usize, j: usize| {
            let (c, dy, dx) = (j / (k * k), j / k % k, j % k);
            let y = (oy * stride + dy).checked_sub(padding).filter(|&y| y < input.height)?;
            let x = (ox * stride + dx).checked_sub(padding).filter(|&x| x < input.width)?;
            Some(((s * input.height + y) * input.width + x) * input.channels + c)
        };
        let positions = (0..samples).flat_map(|s| {
            (0..output.height).flat_map(move |oy| (0..output.width).map(move |ox| (s, oy, ox)))
        });
        positions
            .map(|(s, oy, ox)| (0..self.weights()).map(|j| place(s, oy, ox, j)).collect())
            .collect()
    }
}
