//! The tables of every lookup of a network, sampled once.

use fhe_nn::NetworkConfig;
use fhe_nn::activation::{Activation, ErrorGate, TABLES};

use super::reading::Reading;
use crate::deep::HIDDEN_LIMIT;
use crate::{DeepRecipe, ERROR_LIMIT};

/// The tables of an activation and of its errors.
#[derive(Clone, Debug)]
pub(super) struct Hidden {
    /// Integers of activations.
    pub(super) activation: Reading,
    /// A quarter where the gate is open.
    pub(super) gate: Reading,
    /// Integers of gated errors.
    pub(super) error: Reading,
    /// What the errors' phase is multiplied by.
    pub(super) scale: f32,
}

/// All tables whose values are integers or gates; amplitudes, which change, are multiplied later.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    pub(super) hidden: Vec<Hidden>,
    /// `round(L tanh(z / 2))`.
    pub(super) score: Reading,
}

impl Tables {
    pub(super) fn new(recipe: &DeepRecipe, n: usize) -> Self {
        let slots = n / TABLES;
        let network: &NetworkConfig = &recipe.network;
        let scale = 4.0 * network.z_range;
        let hidden = |(layer, activation): (usize, Activation)| {
            let scale_back = recipe.error_scale(layer);
            // The amplitude belongs to the fourth table, which is this one times it.
            let gate = ErrorGate { limit: HIDDEN_LIMIT, scale: scale_back, amplitude: 0.0 };
            Hidden {
                activation: Reading::new(slots, |x| f64::from(activation.at(x * scale))),
                gate: Reading::new(slots, |x| if activation.gate(x * scale) { 0.25 } else { 0.0 }),
                error: Reading::new(slots, |x| f64::from(gate.at(x))),
                scale: scale_back as f32,
            }
        };
        let activations = network.layers.iter().filter_map(|layer| layer.activation);
        let limit = f64::from(ERROR_LIMIT);
        Self {
            hidden: activations.enumerate().map(hidden).collect(),
            score: Reading::new(slots, |x| (limit * (x * scale / 2.0).tanh()).round()),
        }
    }
}
