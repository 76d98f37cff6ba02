//! The polynomials of a mini-batch's channels, for a network whose first layer takes its gradient
//! over samples.

use fhe_core::store::{Beside, DatasetShape};
use fhe_nn::Geometry;
use fhe_nn::geometry::GradientLayout;

use crate::training_plan::TrainingPlan;
use crate::{Error, Result};

/// How the samples of a mini-batch are laid out channel by channel.
///
/// For each part of a mini-batch there is a polynomial for each channel of the first layer's input:
/// polynomial `p channels + c` holds channel c of the samples of part p
/// ([`Geometry::input_over_samples`]). The client encrypts them beside the samples.
///
/// # Examples
/// ```
/// use fhe_train::Recipe;
///
/// # fn main() -> fhe_train::Result<()> {
/// // A head does without them.
/// let recipe = Recipe::linear(64, 10);
/// assert!(recipe.channels(&recipe.params()?)?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    geometry: Geometry,
    /// Samples of a part.
    part: usize,
}

impl Channels {
    /// Those of a plan; `None` if its first layer does without.
    pub(crate) fn new(plan: &TrainingPlan) -> Option<Self> {
        let geometry = plan.network().geometries()[0].clone();
        let part = plan.recipe().sub_batch;
        (geometry.gradient() == GradientLayout::Samples).then_some(Self { geometry, part })
    }

    /// Returns the number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.geometry.input.channels
    }

    /// Refuses a data set that does not have them beside its samples.
    pub(crate) fn fit(&self, shape: &DatasetShape) -> Result<()> {
        let (op, what) = ("a data set's channels", "the number of channels of a part");
        if shape.beside == Some(self.beside()) {
            return Ok(());
        }
        let got = shape.beside.map_or(0, |beside| beside.selectors);
        let of = self.part;
        let expected = format!("{} for each {of} samples (first_batch)", self.channels());
        Err(Error::Data { op, what, got, expected })
    }

    /// Returns what a data set has beside its samples.
    #[must_use]
    pub fn beside(&self) -> Beside {
        Beside { samples: self.part, selectors: self.channels() }
    }

    /// Returns the polynomials of the samples of a mini-batch, of which each is a polynomial of N
    /// integers; what is not there counts as 0.
    ///
    /// # Shapes
    /// N integers each, a polynomial for each part and channel: [`Beside::count`] of them.
    #[must_use]
    pub fn polynomials(&self, samples: &[Vec<i32>]) -> Vec<Vec<i32>> {
        let (g, area) = (&self.geometry, self.geometry.input.area());
        let polynomial = |part: &[Vec<i32>], c: usize| {
            let mut out = vec![0; g.row_size()];
            for (s, sample) in part.iter().enumerate() {
                for at in 0..area {
                    let (y, x) = (at / g.input.width, at % g.input.width);
                    out[g.input_over_samples(s, y, x)] =
                        *sample.get(g.input_at(c, y, x).1).unwrap_or(&0);
                }
            }
            out
        };
        let parts = samples.chunks(self.part);
        parts.flat_map(|part| (0..self.channels()).map(move |c| polynomial(part, c))).collect()
    }
}
