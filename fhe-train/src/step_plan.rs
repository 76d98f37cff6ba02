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
    /// Which one of its step.
    pub(crate) index: usize,
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
        let steps = self.data.batches.saturating_mul(recipe.passes);
        let parts = steps.saturating_mul(per_batch);
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
            index: part,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeepRecipe, LayerTraining};
    use fhe_core::Params;
    use fhe_nn::activation::{Activation, Kind};
    use fhe_nn::{LayerConfig, NetworkConfig, Shape};

    fn plan() -> TrainingPlan {
        let relu = Activation { kind: Kind::Relu, levels: 7, range: 3.5, offset: 1, spacing: 4 };
        let layer = LayerTraining {
            init: 0.1,
            rate: 0.01,
            bias_rate: 0.02,
            error_gain: 4.0,
            ..LayerTraining::default()
        };
        let last = LayerTraining { clip: 5.0, decay: 0.5, centred: true, ..layer.clone() };
        let recipe = DeepRecipe {
            passes: 2,
            squared_norm: 100.0,
            mirrored: false,
            seed: 1,
            sub_batch: 4,
            least_rate: 0.0,
            network: NetworkConfig {
                input: Shape { channels: 8, height: 1, width: 1 },
                z_range: 8.0,
                layers: vec![
                    LayerConfig::new("hidden", 6, 1, Some(relu)),
                    LayerConfig::new("scores", 2, 1, None),
                ],
            },
            training: vec![layer, last],
        };
        TrainingPlan::new(&recipe, &Params::secure128_deep().unwrap()).unwrap()
    }

    #[test]
    fn a_step_has_the_numbers_of_its_definition() {
        let (plan, data) = (plan(), MiniBatches { batches: 3, batch: 10 });
        // Three parts a mini-batch, 18 in all; this is the second mini-batch.
        let step = StepPlan::new(&plan, data, 1, 10);
        let parts: Vec<PartPlan> = (0..step.parts()).map(|i| step.part(i)).collect();
        let ranges: Vec<_> = parts.iter().map(|part| part.samples.clone()).collect();
        assert_eq!(ranges, [0..4, 4..8, 8..10]);
        let near = |x: f64, y: f64| (x / y - 1.0).abs() < 1e-6;
        let rate = |i: f64| 0.5 * (1.0 + (std::f64::consts::PI * i / 18.0).cos());
        for (i, part) in parts.iter().enumerate() {
            let rate = rate(3.0 + i as f64);
            // The unit of a pre-activation is 1/32, that of a weight after the activation 1/128.
            assert!(near(part.amplitudes[0], rate * 0.01 / 32.0), "{part:?}");
            // A clip of 5 pre-activations, four integers each, over ten samples is an eighth.
            assert!((part.amplitudes[1] - 0.125 / 200.0).abs() <= 2f64.powi(-27), "{part:?}");
            let expected = ErrorGate { limit: 31, scale: 2, amplitude: part.amplitudes[0] };
            assert_eq!(part.gates, [expected]);
            // The finest level of three digits of seven bits.
            let k = (rate * 0.02 / 32.0 * 2f64.powi(21)).round() as i64;
            assert_eq!(part.bias_steps, [k, k]);
        }
        let [rule] = step.rules()[..] else { panic!("one layer after the first") };
        assert!(near(rule.rate, rate(5.0) * 0.01 / 128.0), "{rule:?}");
        assert!((rule.gradient_unit / (0.125 / 5.0) - 1.0).abs() < 1e-4, "{rule:?}");
        // Half a mean gradient a weight: 0.5 x 0.025 / (1/128), rounded. Six updates of 0.05/128.
        assert_eq!((rule.clip, rule.decay, rule.centring), (5.0, 2, Some(102)));

        // The last mini-batch is not full, and the schedule does not see it.
        let short = StepPlan::new(&plan, data, 1, 5);
        assert_eq!((short.parts(), short.part(1).samples), (2, 4..5));
        assert!(near(short.rules()[0].rate, rate(4.0) * 0.01 / 128.0));
        assert_eq!(short.part(1).amplitudes, parts[1].amplitudes);
    }
}
