//! The tables of every lookup of a network, sampled once.

use fhe_nn::activation::Activation;
use fhe_nn::promotable::TABLES;

use super::reading::Reading;
use crate::ERROR_LIMIT;
use crate::training_plan::TrainingPlan;

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
    pub(super) fn new(plan: &TrainingPlan, n: usize) -> Self {
        let slots = n / TABLES;
        let scale = 4.0 * plan.network().config().z_range;
        let hidden = plan.network().hidden().iter().map(|hidden| hidden.activation);
        let tables = |(layer, activation): (usize, Activation)| {
            // The amplitude belongs to the value beside the levels, which is this one times it.
            let gate = plan.gate(layer, 0.0);
            Hidden {
                activation: Reading::new(slots, |x| f64::from(activation.at(x * scale))),
                gate: Reading::new(slots, |x| if activation.gate(x * scale) { 0.25 } else { 0.0 }),
                error: Reading::new(slots, |x| f64::from(gate.at(x))),
                scale: gate.scale as f32,
            }
        };
        let limit = f64::from(ERROR_LIMIT);
        Self {
            hidden: hidden.enumerate().map(tables).collect(),
            score: Reading::new(slots, |x| (limit * (x * scale / 2.0).tanh()).round()),
        }
    }
}
