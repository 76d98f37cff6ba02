//! The public shape of a network, as data that a file says. [`PublicPlan`](super::PublicPlan)
//! checks it.

use serde::{Deserialize, Serialize};

use super::Levels;
use crate::Shape;
use crate::geometry::Window;

/// What follows an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Pool {
    /// Sums of windows of so many rows and columns: average pooling, but for the factor. This takes
    /// no lookup.
    Sum(usize),
    /// Maxima of windows of so many rows and columns, of activations with two levels. Each takes a
    /// lookup.
    Max(usize),
}

impl Pool {
    /// Returns the rows, and columns, of a window.
    #[must_use]
    pub fn side(self) -> usize {
        let (Self::Sum(side) | Self::Max(side)) = self;
        side
    }
}

/// One layer and what follows it: convolution, residual connection, normalisation and activation
/// (as thresholds), pooling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicLayerConfig {
    /// Name, for messages and for the weights' tensors.
    pub name: String,
    /// Output channels.
    pub outputs: usize,
    /// Rows, and columns, of the window.
    pub kernel: usize,
    /// Distance of two windows.
    #[serde(default = "one")]
    pub stride: usize,
    /// Zeros on each side.
    #[serde(default)]
    pub padding: usize,
    /// Weights are integers from minus this to this; 1 means -1 and 1 alone.
    #[serde(default = "binary")]
    pub largest_weight: i32,
    /// Name of an earlier layer whose pre-activation is added to this one's: a residual connection
    /// (Liu et al., "Bi-Real Net", ECCV 2018, figure 3). Files may also call it `shortcut`.
    #[serde(default, alias = "shortcut", skip_serializing_if = "Option::is_none")]
    pub residual: Option<String>,
    /// The activation; none after the last layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Levels>,
    /// What follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// Distance from a channel's centre beyond which pre-activations wrap. By default this is as
    /// far as any input can bring them, and then a lookup must have a slot for each integer. A
    /// range of the model's own may be smaller than that, which makes the noise of readings
    /// smaller, or larger than a lookup has slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<i64>,
}

impl PublicLayerConfig {
    /// A layer of weights -1 and 1 with a stride of one; without padding, residual connection,
    /// pooling and a range of its own.
    #[must_use]
    pub fn new(name: &str, outputs: usize, kernel: usize, activation: Option<Levels>) -> Self {
        Self {
            name: name.into(),
            outputs,
            kernel,
            stride: 1,
            padding: 0,
            largest_weight: 1,
            residual: None,
            activation,
            pool: None,
            range: None,
        }
    }

    /// Returns the size of the filters and how they move.
    #[must_use]
    pub fn filter(&self) -> Window {
        Window { kernel: self.kernel, stride: self.stride, padding: self.padding }
    }
}

fn one() -> usize {
    1
}

fn binary() -> i32 {
    1
}

/// The public shape of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicNetworkConfig {
    /// What an image is.
    pub input: Shape,
    /// Smallest and largest integer of an image.
    pub levels: (i64, i64),
    /// Whether scores are the sum of those of the image and of those of its mirror image, left and
    /// right exchanged. This takes twice the lookups, for a little more accuracy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mirrored: bool,
    /// The layers, from the image on.
    pub layers: Vec<PublicLayerConfig>,
}

impl PublicNetworkConfig {
    /// Returns how often an image goes through the layers: twice with its mirror image.
    #[must_use]
    pub fn passes(&self) -> usize {
        if self.mirrored { 2 } else { 1 }
    }
}

/// The numbers of a layer that training finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerWeights {
    /// Of each output, in the order channel, row, column.
    pub weights: Vec<Vec<i32>>,
    /// Of each output: the thresholds of its activation, or, in the last layer, one number that is
    /// added.
    pub thresholds: Vec<Vec<i64>>,
}
