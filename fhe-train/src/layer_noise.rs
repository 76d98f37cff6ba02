//! The variances of a layer, from [`fhe_core::noise`] and from how the layer is packed.
//!
//! Two things are left out. Their sizes are standard deviations in torus fractions for
//! `secure128-deep-v1`, the noisier set. The noise of encrypted labels times their multiplier is
//! 2e-9 at most, beside 4e-8 of a lookup's output. A promoted integer can be misread, with 4e-8
//! beside a rounding limit of 4e-3.

use std::ops::Range;

use fhe_core::Params;
use fhe_core::noise::{Noise, SelectorKind};
use fhe_nn::geometry::GradientLayout;
use fhe_nn::promotable::TABLES;
use fhe_nn::{CONSTANTS, Geometry, HiddenLayer};

use crate::list_lookup::{Functions, Grid, IntegerNoise, ListLookup};
use crate::training_plan::TrainingPlan;
use crate::{OneVsAll, Result};

/// The variances of a layer, in parts of a mini-batch of a given size.
#[derive(Clone, Debug)]
pub(crate) struct LayerNoise {
    params: Params,
    noise: Noise,
    geometry: Geometry,
    /// Channels of an input polynomial.
    group: usize,
    /// Outputs of an error polynomial.
    error_group: usize,
    input: SelectorKind,
    /// Of the inputs in the gradient of the weights.
    gradient_input: SelectorKind,
    errors: SelectorKind,
    lookups: Lookups,
    /// Samples of a part.
    samples: usize,
}

/// The lookups of a layer but those of its weights.
#[derive(Clone, Debug)]
struct Lookups {
    /// Of pre-activations.
    forward: ListLookup,
    /// Variance of the gates.
    gate: f64,
    /// Of errors. Those of the last layer are looked up from pre-activations.
    backward: ListLookup,
    error: IntegerNoise,
}

/// Lists that integers are promoted in, or looked up into.
#[derive(Clone, Copy)]
struct Lists {
    count: usize,
    longest: usize,
}

/// Returns the channels of an input polynomial of a layer.
fn group(g: &Geometry) -> usize {
    (0..g.input.channels).filter(|&c| g.input_at(c, 0, 0).0 == 0).count()
}

/// Returns the outputs of an error polynomial of a layer.
fn error_group(g: &Geometry) -> usize {
    (0..g.output.channels).filter(|&o| g.back_error_at(o, 0, 0).0 == 0).count()
}

/// Returns the lists of a layer's inputs.
fn input_lists(g: &Geometry, samples: usize) -> Lists {
    Lists { count: samples * g.groups(), longest: group(g) * g.input.area() }
}

/// Returns the lists of a layer's errors on their way back; none of the first layer.
fn error_lists(g: &Geometry, layer: usize, samples: usize) -> Lists {
    let count = if layer > 0 { samples * g.error_groups() } else { 0 };
    Lists { count, longest: error_group(g) * g.output.area() }
}

/// How activations are looked up, and the noise of what that gives.
struct Activations {
    lookup: ListLookup,
    gate: f64,
    /// Of the next layer's inputs, and of those in the gradient of its weights.
    inputs: [SelectorKind; 2],
}

/// Returns that of hidden layer i.
fn activations(
    plan: &TrainingPlan,
    params: &Params,
    (i, hidden): (usize, &HiddenLayer),
    samples: usize,
) -> Result<Activations> {
    let (network, noise) = (plan.network(), Noise::new(params));
    let (integers, gates) = hidden.activation.tables(params.row_size, network.config().z_range)?;
    let functions = Functions { tables: TABLES, within_half_torus: gates.is_within_half_torus() };
    let values = samples * network.geometries()[i].output.len();
    let next = &network.geometries()[i + 1];
    let lists = input_lists(next, samples);
    let rows = (values, lists.count, lists.longest);
    let in_place =
        hidden.is_plain().then(|| ListLookup::in_place(params, rows, functions)).flatten();
    let kind = in_place.as_ref().and_then(|_| noise.batch_selectors(&integers));
    let lookup = in_place.unwrap_or_else(|| ListLookup::in_order(params, values, functions));
    // A promotion reads the first level, whose noise is in the rows of all.
    let first = lookup.integers(&integers).times(first_level(plan));
    let promoted = |len: usize| {
        let kind = noise.promoted_selectors(len, hidden.terms * first);
        kind.unwrap_or_else(|| noise.fresh_selectors())
    };
    let gate = lookup.output(gates);
    let input = kind.unwrap_or_else(|| promoted(lists.longest));
    let of_gradient = match next.gradient() {
        GradientLayout::Channels => input,
        GradientLayout::Samples => {
            promoted(samples.min(next.samples_together()) * next.input.area())
        }
    };
    Ok(Activations { lookup, gate, inputs: [input, of_gradient] })
}

/// Returns how errors of layer i are looked up, their noise, and that of their selectors.
fn errors(
    plan: &TrainingPlan,
    params: &Params,
    i: usize,
    samples: usize,
) -> Result<(ListLookup, IntegerNoise, SelectorKind)> {
    let (network, noise) = (plan.network(), Noise::new(params));
    let g = &network.geometries()[i];
    let (values, lists) = (samples * g.output.len(), error_lists(g, i, samples));
    let last = i + 1 == plan.layers();
    let integers = if last {
        OneVsAll { logit_range: network.config().z_range }.integers(params.row_size)?
    } else {
        plan.gate(i, 0.0).table(params.row_size)?
    };
    let functions = Functions { tables: TABLES, within_half_torus: !last };
    let rows = (values, lists.count, lists.longest);
    let in_place = (!last).then(|| ListLookup::in_place(params, rows, functions)).flatten();
    let kind = in_place.as_ref().and_then(|_| noise.batch_selectors(&integers));
    let lookup = in_place.unwrap_or_else(|| ListLookup::in_order(params, values, functions));
    let of_integers = lookup.integers(&integers);
    let first = of_integers.times(first_level(plan));
    let kind = kind.or_else(|| noise.promoted_selectors(lists.longest, first));
    Ok((lookup, of_integers, kind.unwrap_or_else(|| noise.fresh_selectors())))
}

/// Returns the torus fraction of one at the first level of a promotion.
fn first_level(plan: &TrainingPlan) -> f64 {
    2f64.powi(-(plan.network().gadget().base_log as i32))
}

impl LayerNoise {
    /// The variances of all layers of a network, in parts of so many samples. The number decides on
    /// how lists are looked up.
    pub(crate) fn of_layers(
        plan: &TrainingPlan,
        params: &Params,
        samples: usize,
    ) -> Result<Vec<Self>> {
        let noise = Noise::new(params);
        // The first layer's inputs are fresh, all others' come from lookups.
        let mut inputs = [noise.fresh_selectors(); 2];
        let mut layers = Vec::with_capacity(plan.layers());
        for (i, g) in plan.network().geometries().iter().enumerate() {
            let (backward, error, errors) = errors(plan, params, i, samples)?;
            let Activations { lookup: forward, gate, inputs: next } =
                match plan.network().hidden().get(i) {
                    Some(hidden) => activations(plan, params, (i, hidden), samples)?,
                    None => Activations { lookup: backward.clone(), gate: 0.0, inputs },
                };
            layers.push(Self {
                params: params.clone(),
                noise: noise.clone(),
                geometry: g.clone(),
                group: group(g),
                error_group: error_group(g),
                input: inputs[0],
                gradient_input: inputs[1],
                errors,
                lookups: Lookups { forward, gate, backward, error },
                samples,
            });
            inputs = next;
        }
        Ok(layers)
    }

    /// Returns which polynomial an input channel is in, in the gradient of the weights.
    pub(crate) fn gradient_input_of(&self, channel: usize) -> usize {
        match self.geometry.gradient() {
            GradientLayout::Channels => channel / self.group,
            GradientLayout::Samples => channel,
        }
    }

    fn squared_kernel(&self) -> usize {
        self.geometry.kernel * self.geometry.kernel
    }

    /// Returns which part of the coefficients that meet an input hold no weight.
    fn idle_share(&self) -> f64 {
        let side = |s: usize| s + 2 * self.geometry.padding;
        let input = self.geometry.input;
        1.0 - self.squared_kernel() as f64 / (side(input.height) * side(input.width)) as f64
    }

    /// Returns the variance of a pre-activation of a sample whose integers have a sum of squares of
    /// `norm`: that of the products, and that of idle coefficients of variance `idle`.
    ///
    /// The latter noise is one fixed value for each pair of a row's and an input's coefficient.
    /// Fresh noise of its variance stands for it.
    pub(crate) fn forward(&self, norm: f64, idle: f64) -> f64 {
        self.noise.products(self.input, self.geometry.groups(), norm) + self.idle(norm, idle)
    }

    /// Returns the variance of a pre-activation that idle coefficients alone make.
    pub(crate) fn idle(&self, norm: f64, idle: f64) -> f64 {
        norm * idle * self.idle_share()
    }

    /// Returns where pre-activations are read.
    pub(crate) fn grid(&self) -> Grid {
        self.lookups.forward.grid()
    }

    /// Returns where errors are read.
    pub(crate) fn error_grid(&self) -> Grid {
        self.lookups.backward.grid()
    }

    /// Returns the variance with which pre-activations are read.
    pub(crate) fn reading(&self) -> f64 {
        self.lookups.forward.reading()
    }

    /// Returns the variance with which gated errors are read, that of their gates included.
    pub(crate) fn error_reading(&self) -> f64 {
        self.lookups.gate + self.lookups.backward.reading()
    }

    /// Returns the variance of an input's gradient, from errors of a sum of squares `norm`.
    pub(crate) fn backward(&self, norm: f64) -> f64 {
        let len = self.transposed_len(0, 0);
        self.noise.products(self.errors, self.geometry.error_groups(), norm)
            + norm * self.noise.pack_list(len) * self.idle_share()
    }

    /// Returns the length of a list of transposed weights.
    fn transposed_len(&self, channel: usize, output: usize) -> usize {
        let (filters, g) = (self.geometry.transposed_filters(), &self.geometry);
        let full = |i: usize, size: usize, all: usize| size.min(all - i / size * size);
        full(channel, filters, g.input.channels)
            * full(output, self.error_group, g.output.channels)
            * self.squared_kernel()
    }

    /// Returns the variance of a transposed weight: that of packing, and of its rounding.
    pub(crate) fn transposed(&self, output: usize, channel: usize) -> f64 {
        self.noise.pack_list(self.transposed_len(channel, output)) + self.noise.pack_list_rounding()
    }

    fn constants(&self) -> bool {
        let g = &self.geometry;
        g.output.len() == g.output.channels && g.filters() <= CONSTANTS
    }

    /// Returns the variance of an error in the weights' gradient: that of the lookup of integers
    /// times an amplitude, and what packing does to the error itself.
    pub(crate) fn error(&self, amplitude: f64) -> f64 {
        self.lookups.error.times(amplitude)
            + if self.constants() {
                self.noise.pack_constant() + self.noise.pack_rounding()
            } else {
                self.noise.pack_list_rounding()
            }
    }

    /// Returns the variance of an error in the biases' gradient, with one being `finest`.
    pub(crate) fn bias_error(&self, finest: f64) -> f64 {
        self.lookups.error.times(finest)
    }

    /// Returns the variance of a weight's gradient, summed over samples whose integers have a sum
    /// of squares of `norm` in the polynomials of [`LayerNoise::gradient_input_of`]: that of the
    /// products, and what packing does to coefficients beside the errors.
    pub(crate) fn gradient(&self, output: usize, samples: usize, norm: f64) -> f64 {
        let (g, noise) = (&self.geometry, &self.noise);
        if g.gradient() == GradientLayout::Samples {
            // Each part has its products, which are packed in full lists.
            let (parts, together) = (samples.div_ceil(self.samples), g.samples_together());
            let terms = parts * self.samples.div_ceil(together);
            let len = self.samples.min(together) * g.output.area();
            let packed = noise.pack_list(g.row_size()) + noise.pack_list_rounding();
            return noise.products(self.gradient_input, terms, norm)
                + norm * noise.pack_list(len)
                + parts as f64 * packed;
        }
        let filters = self.filters_with(output);
        let products = self.noise.products(self.gradient_input, samples, norm);
        if self.constants() {
            // The rows of a block's filters are products of their own, and added.
            filters as f64 * (products + norm * self.noise.pack_constant())
        } else {
            let len = filters * self.geometry.output.height * self.geometry.output.width;
            products + norm * self.noise.pack_list(len)
        }
    }

    fn filters_with(&self, output: usize) -> usize {
        self.geometry.outputs_of(output / self.geometry.filters()).len()
    }

    /// Returns the variance that an update's packing adds to every coefficient of a weight's row.
    pub(crate) fn packing(&self, output: usize, channel: usize) -> f64 {
        let first = channel / self.group * self.group;
        let channels = self.group.min(self.geometry.input.channels - first);
        self.noise.pack_list(self.filters_with(output) * channels * self.squared_kernel())
    }

    /// Returns the variance that an update's packing adds to the weight besides.
    pub(crate) fn packing_rounding(&self) -> f64 {
        self.noise.pack_list_rounding()
    }

    /// Returns how numbers of the weights are looked up, `per_output` for each output: in stretches
    /// of blocks. Those that are looked up alike are one.
    pub(crate) fn updates(&self, per_output: usize) -> Vec<(Range<usize>, ListLookup)> {
        let g = &self.geometry;
        let functions = Functions { tables: 1, within_half_torus: false };
        let stretches = g.stretches(self.params.batch_values());
        let of_stretch = |i: usize| {
            let (first, last) = (stretches[i].start, stretches[i].end - 1);
            let range = g.outputs_of(first).start * per_output..g.outputs_of(last).end * per_output;
            let lookup = ListLookup::in_order(&self.params, range.len(), functions);
            (range, lookup)
        };
        // All stretches but the last have the same number of outputs.
        let (mut stretch, first) = of_stretch(0);
        let (last, other) = of_stretch(stretches.len() - 1);
        if other.is_like(&first) {
            return vec![(stretch.start..last.end, first)];
        }
        stretch.end = last.start;
        vec![(stretch, first), (last, other)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeepRecipe, LayerTraining, NetworkTraining};
    use fhe_core::{Clear, Params};
    use fhe_nn::activation::{Activation, Kind};
    use fhe_nn::{LayerConfig, NetworkConfig, Shape};

    fn recipe() -> DeepRecipe {
        let relu = Activation { kind: Kind::Relu, levels: 7, range: 3.0, offset: 2, spacing: 1 };
        let layer = LayerTraining {
            init: 0.1,
            rate: 1e-3,
            clip: 3.0,
            error_gain: 16.0,
            ..LayerTraining::default()
        };
        DeepRecipe {
            passes: 1,
            squared_norm: 100.0,
            mirrored: false,
            seed: 1,
            sub_batch: 4,
            least_rate: 0.0,
            network: NetworkConfig {
                input: Shape { channels: 3, height: 6, width: 6 },
                z_range: 8.0,
                layers: vec![
                    LayerConfig::new("one", 10, 3, Some(relu)),
                    LayerConfig { pool: 2, ..LayerConfig::new("two", 4, 3, Some(relu)) },
                    LayerConfig::new("scores", 2, 1, None),
                ],
            },
            training: vec![layer.clone(), layer.clone(), layer],
        }
    }

    /// An engine's selectors are looked up in place, or promoted, as predicted.
    #[test]
    fn inputs_are_the_selectors_that_an_engine_makes() {
        let (params, recipe) = (Params::toy_insecure_batch().unwrap(), recipe());
        let plan = TrainingPlan::new(&recipe, &params).unwrap();
        let engine = Clear::noisy(&params, 1);
        let training = NetworkTraining::new(&engine, &recipe).unwrap();
        let sample = |s: usize| (0..512).map(|i| (i * (s + 7) % 5) as i32 - 2).collect();
        // A batch has four rows: those of seven samples take two, and their values one.
        for (samples, in_place) in [(3, true), (7, false)] {
            let x = engine.selectors((0..samples).map(sample).collect());
            let trace = training.network().forward(&engine, &x, 0..samples).unwrap();
            let kinds: Vec<SelectorKind> = trace.inputs.iter().map(|x| x.samples.kind()).collect();
            let layers = LayerNoise::of_layers(&plan, &params, samples).unwrap();
            let predicted: Vec<SelectorKind> = layers.iter().map(|layer| layer.input).collect();
            assert_eq!(predicted[1] == kinds[0], in_place, "{predicted:?} {kinds:?}");
            for (predicted, kind) in predicted[1..].iter().zip(&kinds) {
                let ratio = (predicted.rows / kind.rows).sqrt();
                assert!((0.6..1.6).contains(&ratio), "{samples} samples: {ratio}");
            }
        }
    }
}
