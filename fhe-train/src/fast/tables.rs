//! The tables of every lookup of a network, sampled once.

use fhe_nn::activation::Activation;

use super::reading::Reading;
use crate::OneVsAll;
use crate::layer_noise::LayerNoise;
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
    /// The tables of a plan, where the lookups of its layers read them.
    pub(super) fn new(plan: &TrainingPlan, noises: &[LayerNoise]) -> Self {
        let z_range = plan.network().config().z_range;
        let scale = 4.0 * z_range;
        let hidden = plan.network().hidden().iter().map(|hidden| hidden.activation);
        let tables = |((layer, activation), of): ((usize, Activation), &LayerNoise)| {
            // The amplitude belongs to the value beside the levels, which is this one times it.
            let gate = plan.gate(layer, 0.0);
            let open = |x: f64| if activation.gate(x * scale) { 0.25 } else { 0.0 };
            Hidden {
                activation: Reading::new(of.grid(), |x| f64::from(activation.at(x * scale))),
                gate: Reading::new(of.grid(), open),
                error: Reading::new(of.error_grid(), |x| f64::from(gate.at(x))),
                scale: gate.scale as f32,
            }
        };
        let loss = OneVsAll { logit_range: z_range };
        let score = |of: &LayerNoise| Reading::new(of.grid(), |x| loss.integer_at(x));
        Self {
            hidden: hidden.enumerate().zip(noises).map(tables).collect(),
            score: score(&noises[noises.len() - 1]),
        }
    }
}
