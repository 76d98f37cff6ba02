//! The configuration of a network, as people write it in files.

use serde::{Deserialize, Serialize};

use crate::Shape;
use crate::activation::Activation;
use crate::geometry::{Cells, Window};

/// One layer and what follows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// Name, for messages.
    pub name: String,
    /// Output channels.
    pub outputs: usize,
    /// Rows, and columns, of the window; 1 on a map of one position is a dense layer.
    #[serde(default = "one")]
    pub kernel: usize,
    /// Distance of two windows.
    #[serde(default = "one")]
    pub stride: usize,
    /// Zeros on each side.
    #[serde(default)]
    pub padding: usize,
    /// What follows; nothing after the last layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// Name of an earlier layer whose output is added to the activation: a residual connection
    /// (He et al., "Deep Residual Learning", CVPR 2016, equation 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<String>,
    /// Sums over windows of so many rows and columns, after the addition. This is average pooling
    /// but for the factor, which the next layer's weights take.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub pool: usize,
}

impl LayerConfig {
    /// A layer of stride 1, without padding, residual connection and pooling.
    #[must_use]
    pub fn new(name: &str, outputs: usize, kernel: usize, activation: Option<Activation>) -> Self {
        let (name, stride, padding, residual, pool) = (name.into(), 1, 0, None, 1);
        Self { name, outputs, kernel, stride, padding, activation, residual, pool }
    }

    /// Returns the window.
    #[must_use]
    pub fn window(&self) -> Window {
        Window { kernel: self.kernel, stride: self.stride, padding: self.padding }
    }
}

fn one() -> usize {
    1
}

fn is_one(x: &usize) -> bool {
    *x == one()
}

fn is_false(x: &bool) -> bool {
    !x
}

fn is_default(x: &Cells) -> bool {
    *x == Cells::default()
}

/// The public shape of a network. [`crate::NetworkPlan`] is the checked form of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// What the network computes on: a sample's map, or a cell of it.
    pub input: Shape,
    /// How a sample's map is cut into cells; one cell by default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cells: Cells,
    /// Pre-activations from minus to plus this fill the half torus.
    pub z_range: f64,
    /// Whether the scores also take the input itself, by a linear layer beside all others, which is
    /// trained, too, and takes no activation.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shortcut: bool,
    /// The layers, from the input on.
    pub layers: Vec<LayerConfig>,
}

impl NetworkConfig {
    /// Returns the torus fraction of a unit of pre-activation, `1 / (4 z_range)`.
    #[must_use]
    pub fn unit(&self) -> f64 {
        1.0 / (4.0 * self.z_range)
    }

    /// Returns the shape of a sample's map.
    #[must_use]
    pub fn map(&self) -> Shape {
        self.cells.map(self.input)
    }
}
