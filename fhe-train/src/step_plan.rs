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
/// A part takes the samples that lie side by side forward and backward, and updates the first
/// layer. After the last part the other layers are updated, with the sums of all parts.
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
    /// Which one of its step.
    pub(crate) index: usize,
    /// Its samples.
    pub(crate) samples: Range<usize>,
    /// Torus fraction of an error's integer in the gradient of each layer.
    pub(crate) amplitudes: Vec<f64>,
    /// Of each layer but the last.
    pub(crate) gates: Vec<ErrorGate>,
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
        self.samples.div_ceil(self.plan.network().lanes())
    }

    /// Returns what rates are multiplied by in a part. All mini-batches count as full, so that a
    /// schedule depends on no data.
    fn schedule(&self, part: usize) -> f64 {
        let recipe = self.plan.recipe();
        let per_batch = self.data.batch.div_ceil(self.plan.network().lanes());
        let steps = self.data.batches.saturating_mul(recipe.passes);
        let parts = steps.saturating_mul(per_batch);
        recipe.schedule(self.step.saturating_mul(per_batch).saturating_add(part), parts)
    }

    /// Returns the numbers of a part.
    pub(crate) fn part(&self, part: usize) -> PartPlan {
        let (plan, size) = (self.plan, self.plan.network().lanes());
        let schedule = self.schedule(part);
        let layers = 0..plan.layers();
        let amplitudes: Vec<f64> =
            layers.map(|i| plan.amplitude(i, schedule, self.data.batch)).collect();
        let hidden = amplitudes[..plan.layers() - 1].iter().enumerate();
        PartPlan {
            index: part,
            samples: part * size..((part + 1) * size).min(self.samples),
            gates: hidden.map(|(i, &amplitude)| plan.gate(i, amplitude)).collect(),
            amplitudes,
        }
    }

    /// Returns the rules by which the layers but the first are updated after the last part.
    pub(crate) fn rules(&self) -> Vec<Sgd> {
        (1..self.plan.weighted()).map(|layer| self.rule(layer)).collect()
    }

    fn rule(&self, layer: usize) -> Sgd {
        let (plan, batch) = (self.plan, self.data.batch);
        let schedule = self.schedule(self.parts().saturating_sub(1));
        let training = &plan.recipe().training[layer];
        // The gradient of a shortcut is made of the last layer's errors.
        let errors = plan.amplitude(layer.min(plan.layers() - 1), schedule, batch);
        Sgd {
            gradient_unit: errors * plan.spacing(layer) * batch as f64,
            rate: schedule * training.rate * plan.weight_unit(layer),
            clip: plan.clip(layer),
            decay: plan.decay_scale(layer, batch),
        }
    }
}
