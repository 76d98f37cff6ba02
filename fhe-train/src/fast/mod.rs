//! The fast twin: the training of [`crate::NetworkTraining`] in floating point.
//!
//! It does what `NetworkTraining` does, with real numbers for torus elements, matrix products for
//! products of polynomials, and normal numbers of the predicted variance for every noise. Every
//! lookup takes the path that its list takes on an engine. It reads on the path's grid of slots,
//! and goes on outside the half torus as the path does. [`fhe_core::Clear`] is the specification;
//! tests compare.
//!
//! The noise of a batch's outputs is its mean over the slots of a table. A gradient that is summed
//! over parts of several sizes has the noise of parts of full size.

mod chunk;
mod layer;
mod normal;
mod pool;
mod reading;
mod run;
mod tables;
mod update;

use fhe_core::{Params, Table};
use fhe_nn::argmax;
use rayon::prelude::*;

use crate::initial::initial_layers;
use crate::layer_noise::LayerNoise;
use crate::optimizer::Sgd;
use crate::step_plan::{MiniBatches, PartPlan, StepPlan};
use crate::training_plan::TrainingPlan;
use crate::{DeepRecipe, Error, Result, Work};
use chunk::{Moves, Outcome, View};
use layer::Layer;
use normal::{Normal, disturb};
use reading::Reading;
use tables::Tables;
use update::{InFloats, Numbers};

/// Samples that one thread takes at a time; fixed, so that sums do not depend on the number of
/// threads.
const CHUNK: usize = 16;

/// What did not fit its range so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wraps {
    /// Of each layer: pre-activations that were read outside the half torus, as something else. A
    /// blind rotation reads the negative of what is half a torus away. A batch may read that
    /// itself.
    pub pre_activations: Vec<u64>,
    /// Of each layer but the last: errors beyond their largest integer where the gate was open,
    /// read as zero or with the other sign.
    pub errors: Vec<u64>,
}

/// A network in training, in floating point.
///
/// # Examples
/// ```
/// use fhe_core::{Params, Table};
/// use fhe_train::{DeepRecipe, FastTwin, MiniBatches};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let recipe: DeepRecipe = serde_json::from_value(serde_json::json!({
///     "passes": 1, "seed": 1, "first_batch": 2, "least_rate": 0.0,
///     "network": {
///         "input": {"channels": 8, "height": 1, "width": 1}, "z_range": 8.0,
///         "layers": [{"name": "scores", "outputs": 2}]
///     },
///     "training": [{"init": 0.01, "rate": 1e-3, "bias_rate": 1e-3}]
/// }))?;
/// let data = MiniBatches { batches: 1, batch: 2 };
/// let mut twin = FastTwin::new(&Params::secure128_deep()?, &recipe, data, Some(1))?;
/// let (a, b) = ([3i8; 8], [-3i8; 8]);
/// let work = twin.train_step(&[&a, &b], &[0, 1])?;
/// assert_eq!(work.lookups, 4);
/// assert_eq!(twin.classify(&[&a])?, [0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FastTwin {
    plan: TrainingPlan,
    data: MiniBatches,
    params: Params,
    layers: Vec<Layer>,
    /// What depends on the size of a part; the first is of full size.
    parts: Vec<PartSize>,
    residual_scales: Vec<Option<i64>>,
    seed: Option<u64>,
    step: usize,
    wraps: Wraps,
}

/// How lists of a part of so many samples are looked up.
#[derive(Clone, Debug)]
struct PartSize {
    samples: usize,
    noises: Vec<LayerNoise>,
    tables: Tables,
}

impl PartSize {
    fn new(plan: &TrainingPlan, params: &Params, samples: usize) -> Result<Self> {
        let noises = LayerNoise::of_layers(plan, params, samples)?;
        Ok(Self { samples, tables: Tables::new(plan, &noises), noises })
    }
}

impl FastTwin {
    /// Starts from the weights from which [`crate::NetworkTraining::new`] starts; exact, or with
    /// noise from a seed.
    ///
    /// # Errors
    /// [`Error::Recipe`], [`Error::Network`]; also if the parameter set cannot promote.
    pub fn new(
        params: &Params,
        recipe: &DeepRecipe,
        data: MiniBatches,
        noise: Option<u64>,
    ) -> Result<Self> {
        let plan = TrainingPlan::new(recipe, params)?;
        if data.batch == 0 || data.batches == 0 {
            let got = format!("{} of {} samples", data.batches, data.batch);
            return Err(Error::Recipe { field: "mini-batches", got, rule: "expected at least 1" });
        }
        let (geometries, hidden) = (plan.network().geometries(), plan.network().hidden());
        let layers: Vec<_> = geometries
            .iter()
            .zip(initial_layers(&plan))
            .map(|(geometry, initial)| Layer::new(geometry.clone(), &initial))
            .collect();
        let wraps = Wraps { pre_activations: vec![0; layers.len()], errors: vec![0; hidden.len()] };
        let full = plan.recipe().sub_batch.min(data.batch);
        Ok(Self {
            parts: vec![PartSize::new(&plan, params, full)?],
            residual_scales: plan.residual_scales(),
            plan,
            data,
            params: params.clone(),
            layers,
            seed: noise,
            step: 0,
            wraps,
        })
    }

    /// Returns the number of steps made.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Returns what did not fit its range so far.
    #[must_use]
    pub fn wraps(&self) -> &Wraps {
        &self.wraps
    }

    /// Returns weights and biases of each layer as torus fractions; weights in the order output,
    /// channel, row, column of the window.
    #[must_use]
    pub fn weights(&self) -> Vec<(&[f32], &[f32])> {
        self.layers.iter().map(|layer| (&layer.weights[..], &layer.bias[..])).collect()
    }

    /// Trains on a mini-batch; `samples` are the integers of a selector each.
    ///
    /// # Errors
    /// [`Error::Recipe`] if there are no samples, they are of another size, or a label is no class.
    pub fn train_step(&mut self, samples: &[&[i8]], labels: &[u32]) -> Result<Work> {
        self.check(samples)?;
        self.check_labels(samples.len(), labels)?;
        if samples.is_empty() {
            let (got, rule) = ("of no samples".into(), "expected at least 1");
            return Err(Error::Recipe { field: "mini-batch", got, rule });
        }
        let step = StepPlan::new(&self.plan, self.data, self.step, samples.len());
        let (parts, rules): (Vec<_>, _) =
            ((0..step.parts()).map(|i| step.part(i)).collect(), step.rules());
        let used = self.used(Moves::Noisy)?;
        let transposed = self.transposed(used.as_deref());
        let mut sums: Vec<Sum> = self.layers.iter().map(|_| Sum::default()).collect();
        for (i, part) in parts.iter().enumerate() {
            self.prepare(part.samples.len())?;
            let outcomes = self.pass(samples, labels, part, used.as_deref(), &transposed);
            self.update_biases(&outcomes, part);
            for outcome in outcomes {
                for (i, sum) in sums.iter_mut().enumerate() {
                    sum.add(&outcome.gradients[i], &outcome.norms[i]);
                }
                add(&mut self.wraps.pre_activations, &outcome.wraps);
                add(&mut self.wraps.errors, &outcome.lost);
            }
            let of_first = std::mem::take(&mut sums[0]);
            self.subtract_from_first(of_first, i, part.samples.len());
        }
        let mut lookups = samples.len() * self.lookups_a_sample();
        lookups += (0..self.layers.len()).map(|i| self.plan.update_lookups(i)).sum::<usize>();
        for (i, (sum, rule)) in sums.into_iter().skip(1).zip(&rules).enumerate() {
            self.update(i + 1, sum, samples.len(), rule)?;
        }
        self.step += 1;
        Ok(Work { samples: samples.len(), lookups })
    }

    /// Returns the classes of samples, as the decrypted model sees them: without the noise of
    /// moves, but with the noise that training left in rows.
    ///
    /// # Errors
    /// [`Error::Recipe`] if the samples are of another size.
    pub fn classify(&self, samples: &[&[i8]]) -> Result<Vec<u32>> {
        self.check(samples)?;
        let used = self.used(Moves::Exact)?;
        let view = self.view(self.full(), used.as_deref(), &[], &[]);
        let chunks: Vec<Vec<u32>> = samples
            .par_chunks(CHUNK)
            .enumerate()
            .map(|(i, chunk)| {
                let mut noise = self.stream(i, Purpose::Classes);
                let scores = view.forward(chunk, &mut noise, Moves::Exact).scores;
                (0..chunk.len())
                    .map(|s| argmax(scores.iter().skip(s).step_by(chunk.len())) as u32)
                    .collect()
            })
            .collect();
        Ok(chunks.concat())
    }

    /// Returns what belongs to a part of full size.
    fn full(&self) -> &PartSize {
        &self.parts[0]
    }

    /// Returns what belongs to a part of so many samples, which was prepared.
    fn part(&self, samples: usize) -> &PartSize {
        self.parts.iter().find(|part| part.samples == samples).unwrap_or(self.full())
    }

    fn prepare(&mut self, samples: usize) -> Result<()> {
        if self.parts.iter().all(|part| part.samples != samples) {
            self.parts.push(PartSize::new(&self.plan, &self.params, samples)?);
        }
        Ok(())
    }

    fn check(&self, samples: &[&[i8]]) -> Result<()> {
        let g = &self.layers[0].geometry;
        let input = g.input;
        let (_, last) = g.input_at(input.channels - 1, input.height - 1, input.width - 1);
        let fits = |len: usize| (last + 1..=self.params.row_size).contains(&len);
        let beyond = |x: &[i8]| x.iter().skip(last + 1).any(|&x| x != 0);
        if samples.iter().any(|x| beyond(x)) {
            let got = format!("of {} numbers, and a sample has more", input.len());
            let rule = "expected those of the samples: their layout holds zeros beyond the input";
            return Err(Error::Recipe { field: "input", got, rule });
        }
        match samples.iter().find(|x| !fits(x.len())) {
            None => Ok(()),
            Some(x) => {
                let got = format!("for samples of {} integers", x.len());
                let rule = "expected those of the input, and at most a polynomial's";
                Err(Error::Recipe { field: "input", got, rule })
            }
        }
    }

    fn check_labels(&self, samples: usize, labels: &[u32]) -> Result<()> {
        let classes = self.plan.recipe().classes();
        if labels.len() == samples && labels.iter().all(|&label| (label as usize) < classes) {
            return Ok(());
        }
        let got = format!("{} labels for {samples} samples", labels.len());
        Err(Error::Recipe { field: "labels", got, rule: "expected a class for each sample" })
    }

    fn lookups_a_sample(&self) -> usize {
        let values = self.layers.iter().map(|layer| layer.geometry.output.len());
        2 * values.sum::<usize>() - self.plan.recipe().classes()
    }

    /// A stream of noise, if there is noise.
    fn stream(&self, index: usize, purpose: Purpose) -> Option<Normal> {
        let at = (self.step as u64) << 4 | purpose as u64;
        self.seed.map(|seed| Normal::new([seed, at, index as u64]))
    }

    /// Returns the layers with which a step computes, if they are not those that are trained: with
    /// binary weights.
    fn used(&self, moves: Moves) -> Result<Option<Vec<Layer>>> {
        if !self.plan.has_binary_layers() {
            return Ok(None);
        }
        let mut layers = self.layers.clone();
        for (i, layer) in layers.iter_mut().enumerate() {
            let Some(lookup) = self.plan.signs(i) else { continue };
            let mut noise = match moves {
                Moves::Noisy => self.stream(i, Purpose::Signs),
                Moves::Exact => None,
            };
            let noises = &self.full().noises[i];
            let window = layer.geometry.window();
            let mut outputs = vec![0.0; layer.geometry.output.channels];
            layer.weights.iter_mut().for_each(|w| *w *= lookup.scale as f32);
            for (range, way) in noises.updates(window) {
                let signs = Reading::new(way.grid(), |x| lookup.at(x));
                let weights = &mut layer.weights[range.clone()];
                disturb(&mut noise, weights, || way.reading());
                weights.iter_mut().for_each(|w| *w = signs.at(*w));
                if noise.is_some() {
                    let table = Table::new(self.params.row_size, |x| lookup.at(x))?;
                    outputs[range.start / window..range.end / window].fill(way.output(table));
                }
            }
            let mut weights = std::mem::take(&mut layer.weights);
            self.by_channel(i, &mut weights, |output, channel, w| {
                disturb(&mut noise, w, || {
                    outputs[output] + noises.packing(output, channel) + noises.packing_rounding()
                });
            });
            layer.weights = weights;
            layer.idle = noise.map_or(0.0, |_| noises.packing(0, 0));
        }
        Ok(Some(layers))
    }

    fn view<'a>(
        &'a self,
        part: &'a PartSize,
        used: Option<&'a [Layer]>,
        transposed: &'a [Vec<f32>],
        amplitudes: &'a [f64],
    ) -> View<'a> {
        View {
            layers: used.unwrap_or(&self.layers),
            noises: &part.noises,
            tables: &part.tables,
            hidden: self.plan.network().hidden(),
            residual_scales: &self.residual_scales,
            transposed,
            amplitudes,
        }
    }

    /// Returns the weights for the way back, which are packed anew for each mini-batch.
    fn transposed(&self, used: Option<&[Layer]>) -> Vec<Vec<f32>> {
        let layers = used.unwrap_or(&self.layers);
        let of_layer = |i: usize| {
            if i == 0 {
                return Vec::new();
            }
            let mut weights = layers[i].weights.clone();
            let mut noise = self.stream(i, Purpose::Transposed);
            self.by_channel(i, &mut weights, |output, channel, w| {
                disturb(&mut noise, w, || self.full().noises[i].transposed(output, channel));
            });
            weights
        };
        (0..self.layers.len()).map(of_layer).collect()
    }

    /// Calls `f` with output, channel and the window of some numbers of a layer's weights.
    fn by_channel(&self, layer: usize, x: &mut [f32], mut f: impl FnMut(usize, usize, &mut [f32])) {
        let g = &self.layers[layer].geometry;
        for (i, x) in x.chunks_exact_mut(g.kernel * g.kernel).enumerate() {
            f(i / g.input.channels, i % g.input.channels, x);
        }
    }

    /// Takes the samples of a part forward and backward.
    fn pass(
        &self,
        samples: &[&[i8]],
        labels: &[u32],
        part: &PartPlan,
        used: Option<&[Layer]>,
        transposed: &[Vec<f32>],
    ) -> Vec<Outcome> {
        let range = part.samples.clone();
        let view = self.view(self.part(range.len()), used, transposed, &part.amplitudes);
        samples[range.clone()]
            .par_chunks(CHUNK)
            .zip(labels[range.clone()].par_chunks(CHUNK))
            .enumerate()
            .map(|(i, (x, y))| {
                let mut noise = self.stream(range.start + i * CHUNK, Purpose::Samples);
                let forward = view.forward(x, &mut noise, Moves::Noisy);
                view.backward(&forward, y, &mut noise)
            })
            .collect()
    }

    fn update_biases(&mut self, outcomes: &[Outcome], part: &PartPlan) {
        let finest = self.plan.finest_unit();
        let mut noise = self.stream(part.samples.start, Purpose::Biases);
        let noises: Vec<f64> =
            self.part(part.samples.len()).noises.iter().map(|n| n.bias_error(finest)).collect();
        for (i, layer) in self.layers.iter_mut().enumerate() {
            let k = part.bias_steps[i] as f64;
            let mut sums = vec![0.0; layer.bias.len()];
            for outcome in outcomes {
                sums.iter_mut().zip(&outcome.errors[i]).for_each(|(sum, e)| *sum += e);
            }
            let count = (part.samples.len() * layer.area()) as f64;
            sums.iter_mut().for_each(|sum| *sum *= finest as f32);
            disturb(&mut noise, &mut sums, || count * noises[i]);
            layer.bias.iter_mut().zip(sums).for_each(|(b, sum)| *b -= k as f32 * sum);
        }
    }

    /// Subtracts the gradient of the first layer, of part `index`.
    fn subtract_from_first(&mut self, sum: Sum, index: usize, samples: usize) {
        let Sum { mut gradient, norms } = sum;
        let mut noise = self.stream(index, Purpose::First);
        let noises = &self.full().noises[0];
        // The product's noise and the packing's, one after the other, are one.
        self.by_channel(0, &mut gradient, |output, channel, x| {
            disturb(&mut noise, x, || {
                noises.gradient(output, samples, norms[noises.gradient_input_of(channel)])
                    + noises.packing(output, channel)
                    + noises.packing_rounding()
            });
        });
        let weights = &mut self.layers[0].weights;
        weights.iter_mut().zip(gradient).for_each(|(w, x)| *w -= x);
        self.disturb_idle(0);
    }

    /// Updates the weights of another layer by a rule.
    fn update(&mut self, layer: usize, sum: Sum, samples: usize, rule: &Sgd) -> Result<()> {
        let mut noise = self.stream(layer, Purpose::Others);
        let (noises, g) = (&self.full().noises[layer], &self.layers[layer].geometry);
        let (channels, run) = (g.input.channels, g.kernel * g.kernel);
        let variance = |i| {
            let (output, channel) = (i / channels, i % channels);
            noises.gradient(output, samples, sum.norms[noises.gradient_input_of(channel)])
        };
        let gradient = Numbers {
            variances: match noise {
                Some(_) => (0..g.output.channels * channels).map(variance).collect(),
                None => Vec::new(),
            },
            values: sum.gradient,
            run,
        };
        let mut numbers = InFloats {
            weights: &self.layers[layer].weights,
            noises,
            noise: &mut noise,
            row_size: self.params.row_size,
            geometry: g,
        };
        let mut update = rule.update(&mut numbers, gradient)?.values;
        self.by_channel(layer, &mut update, |output, channel, x| {
            disturb(&mut noise, x, || noises.packing(output, channel) + noises.packing_rounding());
        });
        let weights = &mut self.layers[layer].weights;
        weights.iter_mut().zip(update).for_each(|(w, x)| *w += x);
        self.disturb_idle(layer);
        Ok(())
    }

    /// Adds the packing's noise to the coefficients without weights.
    fn disturb_idle(&mut self, layer: usize) {
        if self.seed.is_some() {
            self.layers[layer].idle += self.full().noises[layer].packing(0, 0);
        }
    }
}

/// What a stream of noise is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Samples,
    Transposed,
    Biases,
    First,
    Others,
    Classes,
    Signs,
}

/// A gradient, and the squared norms that its noise depends on.
#[derive(Debug, Default)]
struct Sum {
    gradient: Vec<f32>,
    norms: Vec<f64>,
}

impl Sum {
    fn add(&mut self, gradient: &[f32], norms: &[f64]) {
        if self.gradient.is_empty() {
            (self.gradient, self.norms) = (gradient.to_vec(), norms.to_vec());
        } else {
            self.gradient.iter_mut().zip(gradient).for_each(|(sum, x)| *sum += x);
            self.norms.iter_mut().zip(norms).for_each(|(sum, x)| *sum += x);
        }
    }
}

fn add(sums: &mut [u64], x: &[u64]) {
    sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
}
