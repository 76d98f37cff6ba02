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
/// A part takes the samples that lie side by side forward and backward. After a group of parts, in
/// most recipes of one, the first layer is updated with their sum, and after the last part the
/// others with the sums of all.
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

    /// Returns the parts from one on after which the first layer is updated.
    pub(crate) fn group(&self, first: usize) -> Range<usize> {
        let every = self.plan.recipe().first_layer_every.max(1);
        first..self.parts().min((first / every + 1).saturating_mul(every)).max(first)
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

    /// Returns the rule by which the layers but the first are updated after the last part.
    pub(crate) fn rule(&self) -> Sgd {
        let (plan, batch) = (self.plan, self.data.batch);
        let layers = (1..plan.weighted())
            .map(|layer| (plan.update_rate(layer, batch), plan.decay_scale(layer, batch)));
        let schedule = self.schedule(self.parts().saturating_sub(1));
        Sgd::new(schedule, &layers.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeepRecipe, LayerTraining};
    use fhe_core::Params;
    use fhe_nn::activation::{Activation, Kind};
    use fhe_nn::{Cells, LayerConfig, NetworkConfig, Shape};
    use proptest::prelude::*;

    fn plan() -> TrainingPlan {
        let relu = Activation { kind: Kind::Relu, levels: 7, range: 3.5, offset: 1, spacing: 4 };
        let layer =
            LayerTraining { init: 0.1, rate: 0.01, error_gain: 4.0, ..LayerTraining::default() };
        let last = LayerTraining { clip: 5.0, decay: 0.5, ..layer.clone() };
        let recipe = DeepRecipe {
            passes: 2,
            squared_norm: 100.0,
            mirrored: false,
            seed: 1,
            least_rate: 0.0,
            first_layer_every: 1,
            network: NetworkConfig {
                input: Shape { channels: 8, height: 1, width: 1 },
                cells: Cells { side: 16, stride: 1 },
                z_range: 8.0,
                shortcut: true,
                layers: vec![
                    LayerConfig::new("hidden", 6, 1, Some(relu)),
                    LayerConfig::new("scores", 2, 1, None),
                ],
            },
            training: vec![layer.clone(), last, layer],
        };
        TrainingPlan::new(&recipe, &Params::secure128_deep_v4().unwrap()).unwrap()
    }

    #[test]
    fn a_step_has_the_numbers_of_its_definition() {
        let (plan, data) = (plan(), MiniBatches { batches: 3, batch: 20 });
        // Parts of eight samples, three a mini-batch, 18 in all; this is the second mini-batch.
        let step = StepPlan::new(&plan, data, 1, 20);
        let parts: Vec<PartPlan> = (0..step.parts()).map(|i| step.part(i)).collect();
        let ranges: Vec<_> = parts.iter().map(|part| part.samples.clone()).collect();
        assert_eq!(ranges, [0..8, 8..16, 16..20]);
        let near = |x: f64, y: f64| (x / y - 1.0).abs() < 1e-6;
        let rate = |i: f64| 0.5 * (1.0 + (std::f64::consts::PI * i / 18.0).cos());
        for (i, part) in parts.iter().enumerate() {
            let rate = rate(3.0 + i as f64);
            // The unit of a pre-activation is 1/32, that of a weight after the activation 1/128.
            assert!(near(part.amplitudes[0], rate * 0.01 / 32.0), "{part:?}");
            // A clip of 5 pre-activations, four integers each, over twenty samples is an eighth.
            assert!((part.amplitudes[1] - 0.125 / 400.0).abs() <= 2f64.powi(-25), "{part:?}");
            let expected = ErrorGate { limit: 31, scale: 2, amplitude: part.amplitudes[0] };
            assert_eq!(part.gates, [expected]);
        }
        let rule = step.rule();
        let [last, shortcut] = rule.scales() else { panic!("all but the first") };
        // A mean gradient of 1 is 1/40 on the torus, or an integer's quarter of that.
        let moves = |scale: i64, u: f64| scale as f64 * rule.at(u);
        let by_last = moves(last.update, 1.0 / 40.0);
        assert!((by_last / (-rate(5.0) * 0.01 / 128.0) - 1.0).abs() < 1e-3, "{by_last}");
        let by_shortcut = moves(shortcut.update, 1.0 / 160.0);
        assert!((by_shortcut / (-rate(5.0) * 0.01 / 32.0) - 1.0).abs() < 1e-3, "{by_shortcut}");
        // Five is an eighth.
        assert_eq!(moves(last.update, 0.2), moves(last.update, 0.125));
        // Half a mean gradient a weight: 0.5 x 0.025 / (1/128), rounded.
        assert_eq!((last.decay, shortcut.decay), (2, 0));

        // The last mini-batch is not full, and the schedule does not see it.
        let short = StepPlan::new(&plan, data, 1, 9);
        assert_eq!((short.parts(), short.part(1).samples), (2, 8..9));
        assert!(near(short.rule().at(0.1) / rule.at(0.1), rate(4.0) / rate(5.0)));
        assert_eq!(short.part(1).amplitudes, parts[1].amplitudes);
    }

    proptest! {
        #[test]
        fn parts_and_their_groups_are_the_same_from_wherever_a_step_goes_on(
            (batches, batch, every) in (1..5usize, 1..100usize, 1..6usize),
            step in 0..8usize,
            (less, from) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        ) {
            let mut recipe = plan().recipe().clone();
            recipe.first_layer_every = every;
            let plan =
                TrainingPlan::new(&recipe, &Params::secure128_deep_v4().unwrap()).unwrap();
            let (data, samples) = (MiniBatches { batches, batch }, 1 + less.index(batch));
            let steps = StepPlan::new(&plan, data, step, samples);
            let parts = steps.parts();
            let samples_of = |part: usize| steps.part(part).samples;
            prop_assert!((0..parts).flat_map(samples_of).eq(0..samples));
            // The rest of a group ends where the group does.
            let ends = |first: usize| {
                let next = |&end: &usize| (end < parts).then(|| steps.group(end).end);
                std::iter::successors(Some(first), next).skip(1).collect::<Vec<usize>>()
            };
            let from = from.index(parts);
            let rest: Vec<usize> = ends(0).into_iter().filter(|&end| end > from).collect();
            prop_assert_eq!(&ends(from), &rest);
            prop_assert_eq!(rest.last(), Some(&parts));
            prop_assert!((0..parts).all(|part| steps.group(part).len() <= every));
        }
    }
}
