//! The public numbers of one step, for the engines and for the fast twin alike.

use std::ops::Range;

use fhe_nn::activation::ErrorGate;

use crate::optimizer::Sgd;
use crate::training_plan::TrainingPlan;

/// The mini-batches of a training set, on whose number and size the schedule depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiniBatches {
    /// Mini-batches of one pass.
    pub batches: usize,
    /// Samples of a full mini-batch.
    pub batch: usize,
}

/// One step, which takes one mini-batch in parts.
///
/// A part takes the samples of a sub-batch forward and backward, and updates the first layer and
/// the biases. After the last part the other layers are updated, with the sums of all parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepPlan<'a> {
    plan: &'a TrainingPlan,
    data: MiniBatches,
    step: usize,
    samples: usize,
}

/// The public numbers of one part of a step.
#[derive(Clone, Debug)]
pub(crate) struct PartPlan {
    /// Its samples.
    pub(crate) samples: Range<usize>,
    /// Torus fraction of an error's integer in the gradient of each layer.
    pub(crate) amplitudes: Vec<f64>,
    /// Of each layer but the last.
    pub(crate) gates: Vec<ErrorGate>,
    /// By which the finest level of each layer's errors is multiplied in its bias.
    pub(crate) bias_steps: Vec<i64>,
}

impl<'a> StepPlan<'a> {
    /// A step on a mini-batch of so many samples.
    pub(crate) fn new(
        plan: &'a TrainingPlan,
        data: MiniBatches,
        step: usize,
        samples: usize,
    ) -> Self {
        Self { plan, data, step, samples }
    }

    /// Returns the number of parts.
    pub(crate) fn parts(&self) -> usize {
        self.samples.div_ceil(self.plan.recipe().sub_batch)
    }

    /// Returns what rates are multiplied by in a part. All mini-batches count as full, so that a
    /// schedule depends on no data.
    fn schedule(&self, part: usize) -> f64 {
        let recipe = self.plan.recipe();
        let per_batch = self.data.batch.div_ceil(recipe.sub_batch);
        let parts = self.data.batches * recipe.passes * per_batch;
        recipe.schedule(self.step.saturating_mul(per_batch).saturating_add(part), parts)
    }

    /// Returns the numbers of a part.
    pub(crate) fn part(&self, part: usize) -> PartPlan {
        let (plan, size) = (self.plan, self.plan.recipe().sub_batch);
        let schedule = self.schedule(part);
        let layers = 0..plan.layers();
        let amplitudes: Vec<f64> =
            layers.clone().map(|i| plan.amplitude(i, schedule, self.data.batch)).collect();
        let hidden = amplitudes[..plan.layers() - 1].iter().enumerate();
        PartPlan {
            samples: part * size..((part + 1) * size).min(self.samples),
            gates: hidden.map(|(i, &amplitude)| plan.gate(i, amplitude)).collect(),
            amplitudes,
            bias_steps: layers.map(|i| plan.bias_step(i, schedule)).collect(),
        }
    }

    /// Returns the rules by which the layers but the first are updated after the last part.
    pub(crate) fn rules(&self) -> Vec<Sgd> {
        (1..self.plan.layers()).map(|layer| self.rule(layer)).collect()
    }

    fn rule(&self, layer: usize) -> Sgd {
        let (plan, batch) = (self.plan, self.data.batch);
        let schedule = self.schedule(self.parts().saturating_sub(1));
        let training = &plan.recipe().training[layer];
        let rate = schedule * training.rate;
        Sgd {
            gradient_unit: plan.gradient_unit(layer, schedule, batch),
            rate: rate * plan.network().unit() / plan.network().spacing(layer),
            clip: training.clip,
            decay: plan.decay_scale(layer, batch),
            centring: plan.centring(layer),
        }
    }
}
