//! The recipe of a network whose layers are all trained.

use fhe_core::params::Gadget;
use fhe_core::{Error as CoreError, Params};
use fhe_nn::NetworkConfig;
use fhe_nn::activation::ErrorGate;
use serde::{Deserialize, Serialize};

use crate::loss::AMPLITUDE_STEP;
use crate::{Error, Result};

/// The hyper-parameters of a network, all public.
///
/// Rates are for weights in pre-activations per integer of the input (first layer) or per level of the
/// activation (other layers), and for errors in the integers that the layer's outputs get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepRecipe {
    /// Passes over the data.
    pub passes: usize,
    /// Mean sum of squares of a sample's integers, for which rates and first weights are made: public, the encoder
    /// aims at it. For the summary and the price.
    #[serde(default = "squared_norm")]
    pub squared_norm: f64,
    /// Every second pass is over mirror images, encrypted beside the images: more storage, no lookup.
    #[serde(default)]
    pub mirrored: bool,
    /// Seed of the first weights.
    pub seed: u64,
    /// Samples after which the first layer and the biases are updated, or fewer at the end of a mini-batch, which
    /// updates the other layers.
    pub first_batch: usize,
    /// Rates fall from 1 along half a cosine, and not below this.
    pub least_rate: f64,
    /// The layers.
    pub network: NetworkConfig,
    /// How each is trained.
    pub training: Vec<LayerTraining>,
}

/// How a layer is trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerTraining {
    /// Standard deviation of the first weights.
    pub init: f64,
    /// First bias, in pre-activations.
    #[serde(default)]
    pub bias: f64,
    /// Learning rate of the weights, at first: of the sum over a first mini-batch in the first layer, and of
    /// the mean over a mini-batch in the others.
    pub rate: f64,
    /// Learning rate of the bias, at first, of the sum over a first mini-batch.
    pub bias_rate: f64,
    /// All layers but the first: the mean gradient is clipped here.
    #[serde(default)]
    pub clip: f64,
    /// All layers but the last: the errors' integers are this times the errors that come back.
    #[serde(default)]
    pub error_gain: f64,
    /// All layers but the first: weight decay. The mean gradient gets this times the weight, before the clip;
    /// rounded to a multiple of what a weight's phase is in it. No lookup.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decay: f64,
    /// All layers but the first: filters have mean zero. The mean of each filter's update is taken out of it, for
    /// one lookup a filter.
    #[serde(default, skip_serializing_if = "is_false")]
    pub centred: bool,
    /// Uses the signs of the weights in place of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<Binary>,
}

/// Binary weights: the layer computes with `scale sign(w)`, looked up once a mini-batch for each weight; the
/// gradient is that of the latent weight w (straight-through estimator: Courbariaux, Bengio, David,
/// "BinaryConnect", NeurIPS 2015, algorithm 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binary {
    /// What a weight counts, in the unit of `init`.
    pub scale: f64,
    /// Latent weights are read between minus and plus this; beyond it their sign is read wrongly. The
    /// reading noise, as a part of this range, blurs the sign of small ones.
    pub range: f64,
}

/// What `EncoderConfig::head` of fhe-data aims at.
pub(crate) fn squared_norm() -> f64 {
    5e3
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

fn is_false(x: &bool) -> bool {
    !x
}

impl DeepRecipe {
    /// Returns the number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.network.layers.last().map_or(0, |layer| layer.outputs)
    }

    /// Checks the values, for a parameter set.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the first field at fault, [`Error::Network`] the layer; [`Error::Core`] if the set
    /// cannot promote.
    pub fn check(&self, params: &Params) -> Result<()> {
        let geometries = self.network.geometries(params.row_size)?;
        let none = || CoreError::NoLists { op: "a network's recipe", name: params.name.clone() };
        self.network.check_ranges(params.lists.ok_or_else(none)?.selector)?;
        let fail = |field, got: String, rule| Err(Error::Recipe { field, got, rule });
        if self.passes == 0 || self.passes > 1000 {
            return fail("passes", self.passes.to_string(), "expected 1 to 1000");
        }
        if self.first_batch == 0 || self.first_batch > 4096 {
            return fail("first_batch", self.first_batch.to_string(), "expected 1 to 4096");
        }
        if !(1.0..=1e9).contains(&self.squared_norm) {
            return fail("squared_norm", self.squared_norm.to_string(), "expected 1 to 1e9");
        }
        if !(0.0..=1.0).contains(&self.least_rate) {
            return fail("least_rate", self.least_rate.to_string(), "expected 0 to 1");
        }
        let (got, layers) = (self.training.len(), self.network.layers.len());
        if got != layers {
            return fail("training", format!("{got} long"), "expected an entry a layer");
        }
        if geometries[0].padding > 0 {
            let got = format!("{} before the first layer", geometries[0].padding);
            let rule = "expected 0: samples are encrypted as they are, without zeros around them";
            return fail("padding", got, rule);
        }
        if geometries.last().is_some_and(|g| g.output.len() != g.output.channels) {
            return fail("network", "a map of scores".into(), "expected one score a class");
        }
        for (i, t) in self.training.iter().enumerate() {
            let positive = |x: f64| x.is_finite() && x > 0.0;
            if !positive(t.init) || t.init > 1e3 {
                return fail("init", t.init.to_string(), "expected more than 0, to 1000");
            }
            if !positive(t.rate) || t.rate > 1e3 {
                return fail("rate", t.rate.to_string(), "expected more than 0, to 1000");
            }
            if !(0.0..=1e3).contains(&t.bias_rate) {
                return fail("bias_rate", t.bias_rate.to_string(), "expected 0 to 1000");
            }
            if t.bias.abs() > self.network.z_range || !t.bias.is_finite() {
                return fail("bias", t.bias.to_string(), "expected at most z_range");
            }
            if i > 0 && !positive(t.clip) {
                return fail("clip", t.clip.to_string(), "expected more than 0");
            }
            if i == 0 && (t.decay != 0.0 || t.centred) {
                let (field, got) = if t.centred {
                    ("centred", t.centred.to_string())
                } else {
                    ("decay", t.decay.to_string())
                };
                return fail(
                    field,
                    got,
                    "the first layer is updated without a lookup: leave it out",
                );
            }
            if !(0.0..=1e3).contains(&t.decay) {
                return fail("decay", t.decay.to_string(), "expected 0 to 1000");
            }
            if t.decay > 0.0 && self.decay_scale(i, 1) == 0 {
                let rule =
                    "less than half a step of 8 clip / (4 z_range spacing): expected more, or none";
                return fail("decay", t.decay.to_string(), rule);
            }
            if t.centred && self.centring(i, geometries[i].window()).is_none() {
                let rule = "a filter's updates add up to more than the range: expected a smaller rate or clip";
                return fail("centred", "true".into(), rule);
            }
            if let Some(binary) = t.binary {
                if !positive(binary.scale) || !positive(binary.range) {
                    let got = format!("{binary:?}");
                    return fail("binary", got, "expected a scale and a range of more than 0");
                }
                if self.signs(i, binary).1 >= 0.25 {
                    let rule = "a weight beyond the range of the torus: expected less";
                    return fail("binary.scale", binary.scale.to_string(), rule);
                }
                if self.binary_scale(i, binary) < 1 {
                    let rule = "the range is wider than z_range times the spacing: expected less";
                    return fail("binary.range", binary.range.to_string(), rule);
                }
            }
            if i + 1 < layers {
                if !positive(t.error_gain) {
                    return fail("error_gain", t.error_gain.to_string(), "expected more than 0");
                }
                if self.error_scale(i) < 1 {
                    let rule = "too small for the spacing of the activation before the next layer: expected more, or a wider spacing";
                    return fail("error_gain", t.error_gain.to_string(), rule);
                }
            }
        }
        if self.mirrored && self.passes < 2 {
            return fail(
                "mirrored",
                "true".into(),
                "only the second pass takes mirror images: expected 2 passes or more",
            );
        }
        self.check_residuals()
    }

    /// Refuses residual connections whose errors cannot be brought to the unit of their source.
    fn check_residuals(&self) -> Result<()> {
        let gates = self.units();
        for (layer, source) in self.network.residuals().into_iter().enumerate() {
            let Some(source) = source else { continue };
            let exact = self.network.residual_units(source, layer, &gates);
            let rounded = self.network.residual_scale(source, layer, &gates) as f64;
            if !(0.8..=1.25).contains(&(rounded / exact)) || exact > 1024.0 {
                let rule = "past the layers of a residual connection the errors' units multiply to this: expected near an integer from 1 to 1024";
                return Err(Error::Recipe {
                    field: "error_gain",
                    got: format!("{exact:.2}"),
                    rule,
                });
            }
        }
        Ok(())
    }

    /// Returns the gates of the errors, without amplitudes.
    pub(crate) fn units(&self) -> Vec<ErrorGate> {
        let gate = |layer| ErrorGate {
            limit: crate::deep::HIDDEN_LIMIT,
            scale: self.error_scale(layer),
            amplitude: 0.0,
        };
        (0..self.network.layers.len() - 1).map(gate).collect()
    }

    /// Returns the numbers of rows and of values of a model.
    pub(crate) fn sizes(&self, n: usize) -> Result<(usize, usize)> {
        let geometries = self.network.geometries(n)?;
        let rows = geometries.iter().map(|g| g.blocks() * g.groups()).sum();
        Ok((rows, geometries.iter().map(|g| g.output.channels).sum()))
    }

    /// Returns the integer that the errors coming back to a layer's outputs are multiplied by, so that their
    /// range is an eighth of the torus. The gain is rounded by that.
    pub(crate) fn error_scale(&self, layer: usize) -> i64 {
        let unit = self.network.unit() / self.network.spacing(layer + 1);
        let limit = f64::from(crate::deep::HIDDEN_LIMIT);
        (self.training[layer].error_gain / (8.0 * limit * unit)).round() as i64
    }

    /// Returns the torus fraction of an error's integer in the gradient of a layer.
    ///
    /// The first layer's gradient is subtracted as it is, so its amplitude carries the learning rate. The
    /// others' is read by a lookup, half of whose range is the clip.
    pub(crate) fn amplitude(&self, layer: usize, schedule: f64, batch: usize) -> f64 {
        let training = &self.training[layer];
        let exact = if layer == 0 {
            schedule * training.rate * self.network.unit()
        } else {
            0.125 / (training.clip * self.network.spacing(layer) * batch as f64)
        };
        if layer + 1 < self.network.layers.len() {
            exact
        } else {
            (exact / AMPLITUDE_STEP).round().max(1.0) * AMPLITUDE_STEP
        }
    }

    /// Returns the integer by which weights are multiplied before they are added to a summed gradient.
    pub(crate) fn decay_scale(&self, layer: usize, batch: usize) -> i64 {
        let spacing = self.network.spacing(layer);
        let per_unit = self.amplitude(layer, 1.0, batch) * spacing * batch as f64;
        let of_weight = self.network.unit() / spacing;
        (self.training[layer].decay * per_unit / of_weight).round() as i64
    }

    /// Returns the integer by which the sum of a filter's updates is multiplied before its lookup; `None` if the
    /// sum can leave the range.
    pub(crate) fn centring(&self, layer: usize, window: usize) -> Option<i64> {
        let training = &self.training[layer];
        let unit = self.network.unit() / self.network.spacing(layer);
        let largest = window as f64 * training.rate * training.clip * unit;
        let k = (0.24 / largest).floor().min(1e9);
        (k >= 1.0).then_some(k as i64)
    }

    /// Returns the integer by which latent weights are multiplied before their sign is looked up.
    pub(crate) fn binary_scale(&self, layer: usize, binary: Binary) -> i64 {
        let unit = self.network.unit() / self.network.spacing(layer);
        (0.25 / (binary.range * unit)).floor().min(1e9) as i64
    }

    /// Returns what latent weights are multiplied by before their sign is looked up, and the torus fraction that
    /// the sign is multiplied by.
    pub(crate) fn signs(&self, layer: usize, binary: Binary) -> (i64, f64) {
        let scale = binary.scale * self.network.unit() / self.network.spacing(layer);
        (self.binary_scale(layer, binary), scale)
    }

    /// Returns whether any layer has binary weights.
    pub(crate) fn has_binary_layers(&self) -> bool {
        self.training.iter().any(|training| training.binary.is_some())
    }

    /// Returns the integer by which the finest level of a bias's errors is multiplied.
    pub(crate) fn bias_step(&self, layer: usize, schedule: f64, gadget: Gadget) -> i64 {
        let finest = 2f64.powi(-((gadget.base_log * gadget.levels) as i32));
        let rate = schedule * self.training[layer].bias_rate;
        (rate * self.network.unit() / finest).round() as i64
    }

    /// Returns what rates are multiplied by at one of `steps` first mini-batches.
    #[must_use]
    pub fn schedule(&self, step: usize, steps: usize) -> f64 {
        let t = step as f64 / steps.max(1) as f64;
        (0.5 * (1.0 + (std::f64::consts::PI * t).cos())).max(self.least_rate)
    }
}
