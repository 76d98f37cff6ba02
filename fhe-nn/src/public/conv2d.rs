//! A convolution with public integer weights, over single values.

use fhe_core::Engine;

use crate::{Error, Result, Shape};

/// The public numbers of a convolution on maps whose channels lie together: value `((s H + y) W + x) C + c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicGeometry {
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
}

impl PublicGeometry {
    /// A convolution.
    ///
    /// # Errors
    /// [`Error::Layer`] names the layer and what does not fit.
    pub fn new(
        name: &str,
        input: Shape,
        outputs: usize,
        (kernel, stride, padding): (usize, usize, usize),
    ) -> Result<Self> {
        let (height, width) = (input.height + 2 * padding, input.width + 2 * padding);
        let largest = height.min(width);
        if input.is_empty() || outputs == 0 || kernel == 0 || stride == 0 || kernel > largest {
            let problem = format!(
                "{outputs} outputs of {input} with windows of {kernel}x{kernel}, stride {stride}: expected at least 1 of each, and windows up to {largest}"
            );
            return Err(Error::Layer { layer: name.into(), problem });
        }
        let output = Shape {
            channels: outputs,
            height: (height - kernel) / stride + 1,
            width: (width - kernel) / stride + 1,
        };
        Ok(Self { input, output, kernel, stride, padding })
    }

    /// Returns the weights of one output.
    #[must_use]
    pub fn len(&self) -> usize {
        self.input.channels * self.kernel * self.kernel
    }

    /// Returns whether there are none, which [`PublicGeometry::new`] excludes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns, for every position of `samples` maps, the values that a filter's weights meet, in the order channel,
    /// row, column; nothing in the padding.
    #[must_use]
    pub fn places(&self, samples: usize) -> Vec<Vec<Option<usize>>> {
        let (k, input, output) = (self.kernel, self.input, self.output);
        let place = |s: usize, oy: usize, ox: usize, j: usize| {
            let (c, dy, dx) = (j / (k * k), j / k % k, j % k);
            let y =
                (oy * self.stride + dy).checked_sub(self.padding).filter(|&y| y < input.height)?;
            let x =
                (ox * self.stride + dx).checked_sub(self.padding).filter(|&x| x < input.width)?;
            Some(((s * input.height + y) * input.width + x) * input.channels + c)
        };
        let positions = (0..samples).flat_map(|s| {
            (0..output.height).flat_map(move |oy| (0..output.width).map(move |ox| (s, oy, ox)))
        });
        positions
            .map(|(s, oy, ox)| (0..self.len()).map(|j| place(s, oy, ox, j)).collect())
            .collect()
    }
}

/// A convolution with public integer weights; a dense layer is one whose window is the whole map.
///
/// `z(oy, ox, o) = sum_{c, dy, dx} w(o, c, dy, dx) a(s oy + dy, s ox + dx, c)`.
///
/// Inputs are single values, not polynomials: a lookup's outputs are, and sums of them need no packing, which would
/// cost time and noise.
///
/// # Examples
/// ```
/// use fhe_core::{Clear, Engine, Params};
/// use fhe_nn::Shape;
/// use fhe_nn::public::{PublicConv2d, PublicGeometry};
///
/// # fn main() -> fhe_nn::Result<()> {
/// let engine = Clear::exact(&Params::secure128()?);
/// let input = Shape { channels: 1, height: 2, width: 2 };
/// let layer = PublicConv2d::new("conv", PublicGeometry::new("conv", input, 1, (2, 1, 0))?, vec![vec![1, -1, 1, 1]])?;
/// assert_eq!(layer.forward(&engine, &vec![10, 20, 30, 40], 1)?, [60]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicConv2d {
    window: PublicGeometry,
    /// Of each output, in the order channel, row, column.
    weights: Vec<Vec<i32>>,
}

impl PublicConv2d {
    /// A layer with given weights.
    ///
    /// # Errors
    /// [`Error::Layer`] if their number is another.
    pub fn new(name: &str, window: PublicGeometry, weights: Vec<Vec<i32>>) -> Result<Self> {
        let (outputs, len) = (window.output.channels, window.len());
        if weights.len() == outputs && weights.iter().all(|w| w.len() == len) {
            return Ok(Self { window, weights });
        }
        let got = (weights.len(), weights.first().map_or(0, Vec::len));
        let problem = format!("weights of {} x {}, expected {outputs} x {len}", got.0, got.1);
        Err(Error::Layer { layer: name.into(), problem })
    }

    /// Checks that the weights are integers from minus `largest` to `largest`, and -1 or 1 if that is 1.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first weight that is not.
    pub fn check_weights(&self, name: &str, largest: i32) -> Result<()> {
        let fits = |w: i32| w.abs() <= largest && (largest > 1 || w != 0);
        for (output, weights) in self.weights.iter().enumerate() {
            if let Some(j) = weights.iter().position(|&w| !fits(w)) {
                let expected = match largest {
                    1 => "-1 or 1".into(),
                    largest => format!("{} to {largest}", -largest),
                };
                let problem =
                    format!("weight {j} of output {output} is {}, expected {expected}", weights[j]);
                return Err(Error::Layer { layer: name.into(), problem });
            }
        }
        Ok(())
    }

    /// Returns the public numbers.
    #[must_use]
    pub fn window(&self) -> &PublicGeometry {
        &self.window
    }

    /// Returns the weights of each output.
    #[must_use]
    pub fn weights(&self) -> &[Vec<i32>] {
        &self.weights
    }

    /// Returns the pre-activations of `samples` maps.
    ///
    /// # Cost
    /// No lookup; a weighted term for each weight at each position.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer values than the maps need.
    pub fn forward<E: Engine>(
        &self,
        engine: &E,
        x: &E::Values,
        samples: usize,
    ) -> Result<E::Values> {
        Ok(engine.weighted_sums(x, &self.window.places(samples), &self.weights)?)
    }

    /// Returns the smallest and largest pre-activation of each output, for inputs from `low` to `high`. Padding is
    /// zero, which counts too if `low` and `high` leave it out.
    #[must_use]
    pub fn bounds(&self, (low, high): (i64, i64)) -> Vec<(i64, i64)> {
        let (low, high) =
            if self.window.padding > 0 { (low.min(0), high.max(0)) } else { (low, high) };
        let of_filter = |weights: &Vec<i32>| {
            weights.iter().fold((0, 0), |(least, most), &w| {
                let (x, y) = (i64::from(w) * low, i64::from(w) * high);
                (least + x.min(y), most + x.max(y))
            })
        };
        self.weights.iter().map(of_filter).collect()
    }
}
