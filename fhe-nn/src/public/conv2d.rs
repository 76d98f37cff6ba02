//! A convolution with public integer weights, over single values.

use fhe_core::Engine;

use super::geometry::PublicGeometry;
use super::{PublicError, Result};

/// A convolution with public integer weights. A dense layer is one whose window is the whole map.
///
/// `z(oy, ox, o) = sum_{c, dy, dx} w(o, c, dy, dx) a(s oy + dy, s ox + dx, c)`.
///
/// Inputs are single values, not polynomials: a lookup's outputs are, and sums of them need no
/// packing, which would cost time and noise.
///
/// # Examples
/// ```
/// use fhe_core::{Clear, Engine, Params};
/// use fhe_nn::Shape;
/// use fhe_nn::geometry::Window;
/// use fhe_nn::public::{PublicConv2d, PublicGeometry};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Clear::exact(&Params::secure128()?);
/// let input = Shape { channels: 1, height: 2, width: 2 };
/// let filter = Window { kernel: 2, stride: 1, padding: 0 };
/// let geometry = PublicGeometry::new("conv", input, 1, filter)?;
/// let layer = PublicConv2d::new("conv", geometry, vec![vec![1, -1, 1, 1]])?;
/// assert_eq!(layer.forward(&engine, &vec![10, 20, 30, 40], 1)?, [60]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicConv2d {
    geometry: PublicGeometry,
    /// Of each output, in the order channel, row, column.
    weights: Vec<Vec<i32>>,
}

impl PublicConv2d {
    /// A layer with given weights.
    ///
    /// # Errors
    /// [`PublicError::Layer`] if their number is another.
    pub fn new(name: &str, geometry: PublicGeometry, weights: Vec<Vec<i32>>) -> Result<Self> {
        let (outputs, len) = (geometry.output().channels, geometry.weights());
        if weights.len() != outputs {
            let got = weights.len();
            return Err(PublicError::layer(name, "number of filters", got, outputs));
        }
        if let Some(other) = weights.iter().find(|w| w.len() != len) {
            return Err(PublicError::layer(
                name,
                "number of weights of a filter",
                other.len(),
                len,
            ));
        }
        Ok(Self { geometry, weights })
    }

    /// Checks that the weights are integers from minus `largest` to `largest`, and -1 or 1 if that
    /// is 1.
    ///
    /// # Errors
    /// [`PublicError::Layer`] names the first weight that is not.
    pub fn check_weights(&self, name: &str, largest: i32) -> Result<()> {
        let most = u32::try_from(largest).unwrap_or(0);
        let fits = |w: i32| w.unsigned_abs() <= most && (most > 1 || w != 0);
        for (output, weights) in self.weights.iter().enumerate() {
            if let Some(j) = weights.iter().position(|&w| !fits(w)) {
                let got = format!("{} (number {j} of output {output})", weights[j]);
                let expected = match most {
                    1 => "-1 or 1".into(),
                    most => format!("-{most} to {most}"),
                };
                return Err(PublicError::layer(name, "weight", got, expected));
            }
        }
        Ok(())
    }

    /// Returns the public numbers.
    #[must_use]
    pub fn geometry(&self) -> &PublicGeometry {
        &self.geometry
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
        Ok(engine.weighted_sums(x, &self.geometry.places(samples), &self.weights)?)
    }

    /// Returns the furthest from zero that any sum of an output's terms can come, in any order, for
    /// inputs from `low` to `high`: `max_o sum_j |w(o, j)| max(|low|, |high|)`.
    #[must_use]
    pub fn reach(&self, (low, high): (i64, i64)) -> i128 {
        let largest = i128::from(low.unsigned_abs().max(high.unsigned_abs()));
        let of_filter =
            |weights: &Vec<i32>| weights.iter().map(|w| i128::from(w.unsigned_abs())).sum::<i128>();
        largest.saturating_mul(self.weights.iter().map(of_filter).max().unwrap_or(0))
    }

    /// Returns the smallest and largest pre-activation of each output, for inputs from `low` to
    /// `high`, whose [reach](Self::reach) must be that of integers of 64 bits. Padding is zero,
    /// which counts too if `low` and `high` leave it out.
    pub(super) fn bounds(&self, (low, high): (i64, i64)) -> Vec<(i64, i64)> {
        let padded = self.geometry.filter().padding > 0;
        let (low, high) = if padded { (low.min(0), high.max(0)) } else { (low, high) };
        let of_filter = |weights: &Vec<i32>| {
            weights.iter().fold((0, 0), |(least, most), &w| {
                let (x, y) = (i64::from(w) * low, i64::from(w) * high);
                (least + x.min(y), most + x.max(y))
            })
        };
        self.weights.iter().map(of_filter).collect()
    }
}
