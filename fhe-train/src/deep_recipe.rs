//! The recipe of a network whose layers are all trained.

use fhe_nn::NetworkConfig;
use serde::{Deserialize, Serialize};

use crate::squared_norm;

/// The hyper-parameters of a network, all public.
///
/// Rates are for weights in pre-activations per integer of the input in the first layer, and per
/// level of the activation in the others. They are for errors in the integers that the layer's
/// outputs get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepRecipe {
    /// Passes over the data.
    pub passes: usize,
    /// Mean sum of squares of a sample's integers, for which rates and first weights are made. It
    /// is public: the encoder aims at it. The summary and the price take it from here.
    #[serde(default = "squared_norm::usual")]
    pub squared_norm: f64,
    /// Every second pass is over mirror images, encrypted beside the images: more storage, no
    /// lookup.
    #[serde(default)]
    pub mirrored: bool,
    /// Seed of the first weights.
    pub seed: u64,
    /// Rates fall from 1 along half a cosine, and not below this.
    pub least_rate: f64,
    /// The first layer is updated after so many parts of a mini-batch, and after the last one. Such
    /// parts can be made at the same time, each by a rank of its own.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub first_layer_every: usize,
    /// The layers.
    pub network: NetworkConfig,
    /// How each is trained, and after all layers the shortcut, if there is one.
    pub training: Vec<LayerTraining>,
}

/// How a layer is trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerTraining {
    /// Standard deviation of the first weights.
    pub init: f64,
    /// Bias, in pre-activations; it is not trained.
    #[serde(default)]
    pub bias: f64,
    /// Learning rate of the weights, at first: of the sum over the samples that lie side by side in
    /// the first layer, and of the mean over a mini-batch in the others.
    pub rate: f64,
    /// All layers but the first: the mean gradient is clipped here. A shortcut takes that of the
    /// last layer, times its spacing.
    #[serde(default)]
    pub clip: f64,
    /// All layers but the last: the errors' integers are this times the errors that come back.
    #[serde(default)]
    pub error_gain: f64,
    /// All layers but the first: weight decay. The mean gradient gets this times the weight, before
    /// the clip. It is rounded to a multiple of what a weight's phase is in it, and takes no
    /// lookup.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decay: f64,
    /// Uses the signs of the weights in place of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<Binary>,
}

/// Binary weights: the layer computes with `scale sign(w)`, looked up once a mini-batch for each
/// weight.
///
/// The gradient is that of the latent weight w. This is the straight-through estimator of
/// Courbariaux, Bengio, David, "BinaryConnect", NeurIPS 2015, algorithm 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binary {
    /// What a weight counts, in the unit of `init`.
    pub scale: f64,
    /// Latent weights are read between minus and plus this; beyond it their sign is read wrongly.
    /// The reading noise, as a part of this range, blurs the sign of small ones.
    pub range: f64,
}

fn one() -> usize {
    1
}

fn is_one(x: &usize) -> bool {
    *x == one()
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

impl DeepRecipe {
    /// Returns the number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.network.layers.last().map_or(0, |layer| layer.outputs)
    }

    /// Returns what rates are multiplied by at one of `steps` parts of mini-batches, from 0 on, and
    /// after them: half a cosine from 1 down to the least rate.
    #[must_use]
    pub fn schedule(&self, step: usize, steps: usize) -> f64 {
        let t = (step as f64 / steps.max(1) as f64).min(1.0);
        (0.5 * (1.0 + (std::f64::consts::PI * t).cos())).max(self.least_rate)
    }
}
