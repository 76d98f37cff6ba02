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
mod head;
mod layer;
mod normal;
mod pool;
mod reading;
mod run;
mod tables;

use fhe_core::Params;
use fhe_nn::argmax;
use rayon::prelude::*;

use crate::initial::initial_layers;
use crate::layer_noise::LayerNoise;
use crate::optimizer::Sgd;
use crate::step_plan::{MiniBatches, PartPlan, StepPlan};
use crate::training_plan::TrainingPlan;
use crate::{DeepRecipe, Error, Result, Work};
pub use head::FastHead;

use chunk::{Moves, Outcome, View};
use layer::Layer;
use normal::{Normal, disturb};
use reading::Reading;
use tables::Tables;

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
/// use fhe_core::Params;
/// use fhe_train::{DeepRecipe, FastTwin, MiniBatches};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let recipe: DeepRecipe = serde_json::from_value(serde_json::json!({
///     "passes": 1, "seed": 1, "least_rate": 0.0,
///     "network": {
///         "input": {"channels": 8, "height": 1, "width": 1}, "z_range": 8.0,
///         "layers": [{"name": "scores", "outputs": 2}]
///     },
///     "training": [{"init": 0.01, "rate": 1e-3}]
/// }))?;
/// let data = MiniBatches { batches: 1, batch: 2 };
/// let mut twin = FastTwin::new(&Params::secure128_deep_v4()?, &recipe, data, Some(1))?;
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
        let hidden = plan.network().hidden();
        let layers: Vec<_> = plan
            .network()
            .weighted()
            .zip(initial_layers(&plan))
            .map(|(geometry, initial)| Layer::new(geometry.clone(), &initial))
            .collect();
        let wraps =
            Wraps { pre_activations: vec![0; plan.layers()], errors: vec![0; hidden.len()] };
        let full = plan.network().lanes().min(data.batch);
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
        let (parts, rule): (Vec<_>, _) =
            ((0..step.parts()).map(|i| step.part(i)).collect(), step.rule());
        let ends: Vec<bool> = (0..parts.len()).map(|i| step.group(i).end == i + 1).collect();
        let used = self.used(Moves::Noisy)?;
        let mut sums: Vec<Sum> = self.layers.iter().map(|_| Sum::default()).collect();
        for (i, part) in parts.iter().enumerate() {
            self.prepare(part.samples.len())?;
            let outcomes = self.pass(samples, labels, part, used.as_deref());
            for (i, sum) in sums.iter_mut().enumerate() {
                let square = outcomes.iter().map(|outcome| outcome.squares[i]).sum::<f64>();
                let square = square / outcomes.len().max(1) as f64;
                let kind = outcomes.first().and_then(|outcome| outcome.kinds[i]);
                sum.variance += self.full().noises[i].gradient(square, kind);
                outcomes.iter().for_each(|outcome| sum.add(&outcome.gradients[i]));
            }
            for outcome in outcomes {
                add(&mut self.wraps.pre_activations, &outcome.wraps);
                add(&mut self.wraps.errors, &outcome.lost);
            }
            if ends[i] {
                let of_first = std::mem::take(&mut sums[0]);
                self.subtract_from_first(of_first, i);
            }
        }
        for (i, sum) in sums.into_iter().enumerate().skip(1) {
            self.update(i, sum, &rule)?;
        }
        self.step += 1;
        Ok(Work { samples: samples.len(), lookups: self.lookups(samples.len(), parts.len()) })
    }

    /// Returns the classes of samples, as the decrypted model sees them: without the noise of
    /// moves, but with the noise that training left in rows.
    ///
    /// # Errors
    /// [`Error::Recipe`] if the samples are of another size.
    pub fn classify(&self, samples: &[&[i8]]) -> Result<Vec<u32>> {
        self.check(samples)?;
        let used = self.used(Moves::Exact)?;
        let layers = used.as_deref().unwrap_or(&self.layers);
        let view = self.view(self.full(), [layers, layers], &[]);
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
        let input = self.plan.network().config().map().len();
        let most = self.params.row_size.max(input);
        let beyond = |x: &[i8]| x.iter().skip(input).any(|&x| x != 0);
        if samples.iter().any(|x| beyond(x)) {
            let got = format!("of {input} numbers, and a sample has more");
            let rule = "expected those of the samples, or zeros beyond the input";
            return Err(Error::Recipe { field: "input", got, rule });
        }
        match samples.iter().find(|x| !(input..=most).contains(&x.len())) {
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

    /// Returns the lookups of a step: those of a part's hidden values are the same with fewer
    /// samples.
    fn lookups(&self, samples: usize, parts: usize) -> usize {
        let (network, n) = (self.plan.network(), self.params.row_size);
        let hidden = network.geometries().iter().zip(network.hidden());
        let hidden: usize = hidden.map(|(g, _)| g.output.len()).sum();
        let updates: usize = (0..self.plan.weighted()).map(|i| self.plan.update_lookups(i)).sum();
        2 * parts * n * hidden + samples * self.plan.recipe().classes() + updates
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
            let Some(signs) = self.plan.signs(i) else { continue };
            let mut noise = match moves {
                Moves::Noisy => self.stream(i, Purpose::Signs),
                Moves::Exact => None,
            };
            layer.weights.iter_mut().for_each(|w| *w *= signs.scale as f32);
            self.look_up(i, &mut layer.weights, &mut noise, |x| signs.at(x))?;
        }
        Ok(Some(layers))
    }

    /// Looks numbers of a layer's weights up.
    fn look_up(
        &self,
        layer: usize,
        x: &mut [f32],
        noise: &mut Option<Normal>,
        f: impl Fn(f64) -> f64,
    ) -> Result<()> {
        let noises = &self.full().noises[layer];
        let lookup = noises.update();
        let reading = Reading::new(lookup.grid(), &f);
        disturb(noise, x, || lookup.reading());
        x.iter_mut().for_each(|x| *x = reading.at(*x));
        if noise.is_some() {
            let output = lookup.output(noises.table(&f)?);
            disturb(noise, x, || output);
        }
        Ok(())
    }

    fn view<'a>(
        &'a self,
        part: &'a PartSize,
        [layers, layers_back]: [&'a [Layer]; 2],
        amplitudes: &'a [f64],
    ) -> View<'a> {
        View {
            layers,
            layers_back,
            noises: &part.noises,
            tables: &part.tables,
            cells: self.plan.network().cells(),
            hidden: self.plan.network().hidden(),
            residual_scales: &self.residual_scales,
            amplitudes,
        }
    }

    /// Returns layers as their weights are once they are expanded.
    fn expanded(&self, layers: &[Layer], index: usize, purpose: Purpose) -> Vec<Layer> {
        let mut layers = layers.to_vec();
        let mut noise = self.stream(index, purpose);
        for (layer, noises) in layers.iter_mut().zip(&self.full().noises) {
            disturb(&mut noise, &mut layer.weights, || noises.expanded());
        }
        layers
    }

    /// Takes the samples of a part forward and backward.
    fn pass(
        &self,
        samples: &[&[i8]],
        labels: &[u32],
        part: &PartPlan,
        used: Option<&[Layer]>,
    ) -> Vec<Outcome> {
        let range = part.samples.clone();
        let layers = used.unwrap_or(&self.layers);
        let forward = self.expanded(layers, part.index, Purpose::Forward);
        let back = self.expanded(layers, part.index, Purpose::Back);
        let view = self.view(self.part(range.len()), [&forward, &back], &part.amplitudes);
        let chunks = samples[range.clone()].par_chunks(CHUNK).zip(labels[range].par_chunks(CHUNK));
        chunks
            .enumerate()
            .map(|(i, (samples, labels))| {
                let mut noise = self.stream(part.index << 16 | i, Purpose::Samples);
                let forward = view.forward(samples, &mut noise, Moves::Noisy);
                view.backward(&forward, labels, &mut noise)
            })
            .collect()
    }

    /// Subtracts the gradient of the first layer, of part `index`.
    fn subtract_from_first(&mut self, sum: Sum, index: usize) {
        let Sum { mut gradient, variance } = sum;
        let mut noise = self.stream(index, Purpose::First);
        disturb(&mut noise, &mut gradient, || variance);
        let weights = &mut self.layers[0].weights;
        weights.iter_mut().zip(gradient).for_each(|(w, x)| *w -= x);
    }

    /// Updates the weights of another layer by a rule.
    fn update(&mut self, layer: usize, sum: Sum, rule: &Sgd) -> Result<()> {
        let mut noise = self.stream(layer, Purpose::Others);
        let Sum { gradient: mut update, variance } = sum;
        disturb(&mut noise, &mut update, || variance);
        let scales = rule.scales()[layer - 1];
        let weights = &self.layers[layer].weights;
        update.iter_mut().zip(weights).for_each(|(u, w)| *u += scales.decay as f32 * w);
        self.look_up(layer, &mut update, &mut noise, |u| rule.at(u))?;
        let weights = &mut self.layers[layer].weights;
        weights.iter_mut().zip(update).for_each(|(w, x)| *w += scales.update as f32 * x);
        Ok(())
    }
}

/// What a stream of noise is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Samples,
    Forward,
    Back,
    First,
    Others,
    Classes,
    Signs,
}

/// A gradient, and the variance of its noise that was not drawn yet.
#[derive(Debug, Default)]
struct Sum {
    gradient: Vec<f32>,
    variance: f64,
}

impl Sum {
    fn add(&mut self, gradient: &[f32]) {
        if self.gradient.is_empty() {
            self.gradient = gradient.to_vec();
        } else {
            self.gradient.iter_mut().zip(gradient).for_each(|(sum, x)| *sum += x);
        }
    }
}

fn add(sums: &mut [u64], x: &[u64]) {
    sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
}
