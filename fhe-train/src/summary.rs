//! What a recipe will do, before any work: shapes, ranges, noise and lookups of every layer.
//!
//! Figures are those of the first weights: pre-activations are taken as normal, and the integers of
//! an output as independent. Training widens them; the fast twin counts what leaves its range.

use std::fmt;

use fhe_core::Params;
use fhe_nn::Shape;
use fhe_nn::activation::Activation;

use crate::layer_noise::LayerNoise;
use crate::training_plan::TrainingPlan;
use crate::{DeepRecipe, Result};

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSummary {
    /// Name.
    pub name: String,
    /// Shape of the input.
    pub input: Shape,
    /// Shape of the pre-activations.
    pub output: Shape,
    /// Trained numbers.
    pub parameters: usize,
    /// Smallest and largest integer of the output, for the promotion; none of the last layer.
    pub range: Option<(i32, i32)>,
    /// Standard deviation of the pre-activations, in their unit.
    pub std: f64,
    /// That of the noise with which they are read, as a part of it.
    pub noise: f64,
    /// Probability that a pre-activation is outside the range and wraps.
    pub wraps: f64,
    /// Lookups of a sample, forward.
    pub forward: usize,
    /// Lookups of a sample, backward.
    pub backward: usize,
    /// Lookups of a mini-batch, for the weights.
    pub update: usize,
}

/// A network, layer by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The layers.
    pub layers: Vec<LayerSummary>,
    /// Largest integer of half a digit of a promotion.
    pub bound: i32,
    /// Bytes of the lists that a step holds at a time, without keys and data.
    pub memory: u64,
    /// Samples that lie side by side. A part of a mini-batch costs as much with fewer.
    pub samples: usize,
    /// Trained numbers of the shortcut.
    pub shortcut: usize,
    /// Lookups of a mini-batch for these.
    pub lookups_of_shortcut: usize,
}

/// Mean and variance of an integer.
#[derive(Clone, Copy)]
struct Moments {
    mean: f64,
    variance: f64,
}

impl Moments {
    fn square(self) -> f64 {
        self.mean * self.mean + self.variance
    }

    /// Of an activation of a normal pre-activation.
    fn after(activation: &Activation, mean: f64, std: f64) -> Self {
        let points = 400;
        let (mut sum, mut squares, mut weights) = (0.0, 0.0, 0.0);
        for i in 0..=points {
            let t = 8.0 * (f64::from(i) / f64::from(points) - 0.5);
            let (weight, a) = ((-t * t / 2.0).exp(), f64::from(activation.at(mean + std * t)));
            weights += weight;
            sum += weight * a;
            squares += weight * a * a;
        }
        let mean = sum / weights;
        Self { mean, variance: squares / weights - mean * mean }
    }
}

impl DeepRecipe {
    /// Returns what the recipe will do.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`].
    pub fn summary(&self, params: &Params) -> Result<Summary> {
        let plan = TrainingPlan::new(self, params)?;
        let network = plan.network();
        let noises = LayerNoise::of_layers(&plan, params, network.lanes())?;
        let mut input =
            Moments { mean: 0.0, variance: self.squared_norm / self.network.map().len() as f64 };
        let (mut layers, mut outputs) = (Vec::new(), Vec::<Moments>::new());
        for (i, noise) in noises.iter().enumerate().take(plan.layers()) {
            layers.push(layer_summary(&plan, noise, i, input));
            if let Some(hidden) = network.hidden().get(i) {
                let a = Moments::after(&hidden.activation, self.training[i].bias, layers[i].std);
                let none = Moments { mean: 0.0, variance: 0.0 };
                let added = hidden.residual.map_or(none, |j| outputs[j]);
                let window = (hidden.pool * hidden.pool) as f64;
                input = Moments {
                    mean: window * (a.mean + added.mean),
                    variance: window * (a.variance + added.variance),
                };
                outputs.push(input);
            }
        }
        let shortcut = network.shortcut().map_or(0, |g| g.weights());
        let lookups_of_shortcut = match network.shortcut() {
            Some(_) => plan.update_lookups(plan.layers()),
            None => 0,
        };
        let bound = (1 << (network.gadget().base_log - 1)) - 1;
        // Selectors of all activations, and as many rows of gates, stay until the way back. What is
        // expanded and their digits come and go.
        let selector = 32 * (params.row_size * network.gadget().levels as usize) as u64;
        let row = 16 * params.row_size as u64;
        let hidden: usize =
            layers.iter().filter(|l| l.range.is_some()).map(|l| l.output.len()).sum();
        let expanded = (params.row_size as u64) * (row + selector / 2);
        let memory = hidden as u64 * (selector + 2 * row) + expanded;
        let samples = network.lanes();
        Ok(Summary { layers, bound, memory, samples, shortcut, lookups_of_shortcut })
    }
}

/// Returns what a layer will do with inputs of given moments.
fn layer_summary(plan: &TrainingPlan, of: &LayerNoise, i: usize, input: Moments) -> LayerSummary {
    let (network, training) = (plan.network(), &plan.recipe().training[i]);
    let (g, hidden) = (&network.geometries()[i], network.hidden().get(i));
    let per_integer = training.binary.map_or(training.init, |binary| binary.scale);
    let per_integer = per_integer / network.spacing(i);
    let cells = if hidden.is_none() { network.cells().count() } else { 1 };
    // A score is a sum over cells.
    let terms = (cells * g.window()) as f64;
    let std = per_integer * (terms * input.square()).sqrt();
    let off =
        (cells as f64 * of.forward(input.square(), None) + of.reading()).sqrt() / network.unit();
    let total = (std * std + off * off).sqrt();
    let beyond = |edge: f64| 0.5 * libm::erfc(edge / (2f64.sqrt() * total));
    let z_range = network.config().z_range;
    LayerSummary {
        name: network.config().layers[i].name.clone(),
        input: g.input,
        output: g.output,
        parameters: g.weights(),
        range: hidden.map(|hidden| hidden.range),
        std,
        noise: off / std,
        wraps: beyond(z_range - training.bias) + beyond(z_range + training.bias),
        forward: if hidden.is_none() { 0 } else { network.cells().count() * g.output.len() },
        backward: match hidden {
            Some(_) => network.cells().count() * g.output.len(),
            None => network.classes(),
        },
        update: plan.update_lookups(i),
    }
}

impl Summary {
    /// Returns the lookups of a sample, forward and backward.
    #[must_use]
    pub fn lookups_a_sample(&self) -> usize {
        self.layers.iter().map(|layer| layer.forward + layer.backward).sum()
    }

    /// Returns the lookups of a mini-batch, for the weights.
    #[must_use]
    pub fn lookups_a_batch(&self) -> usize {
        self.layers.iter().map(|layer| layer.update).sum::<usize>() + self.lookups_of_shortcut
    }

    /// Returns the number of trained numbers.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.parameters).sum::<usize>() + self.shortcut
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:<10} {:>12} {:>12} {:>10} {:>11} {:>6} {:>6} {:>8} {:>8} {:>8} {:>8}",
            "layer",
            "input",
            "output",
            "parameters",
            "integers",
            "std z",
            "noise",
            "wraps",
            "forward",
            "backward",
            "update"
        )?;
        for l in &self.layers {
            let range = l.range.map_or_else(String::new, |(low, high)| format!("{low}..={high}"));
            writeln!(
                f,
                "  {:<10} {:>12} {:>12} {:>10} {:>11} {:>6.2} {:>5.0}% {:>8.0e} {:>8} {:>8} {:>8}",
                l.name,
                l.input.to_string(),
                l.output.to_string(),
                l.parameters,
                range,
                l.std,
                100.0 * l.noise,
                l.wraps,
                l.forward,
                l.backward,
                l.update
            )?;
        }
        write!(
            f,
            "  {} parameters; {} samples side by side; {} lookups a sample and {} a mini-batch; \
             integers to {} fit; lists of a step {:.1} GB",
            self.parameters(),
            self.samples,
            self.lookups_a_sample(),
            self.lookups_a_batch(),
            self.bound,
            self.memory as f64 / 1e9
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhe_nn::activation::Kind;

    #[test]
    fn moments_are_those_of_known_functions() {
        let sign = Activation { kind: Kind::Sign, levels: 1, range: 1.0, offset: 0, spacing: 3 };
        let m = Moments::after(&sign, 0.0, 2.0);
        assert!(m.mean.abs() < 0.05 && (m.square() - 9.0).abs() < 1e-9);
        // Half of the mass at 0, the mean of the rest std sqrt(2/pi): a fine rectifier that never
        // clips.
        let relu =
            Activation { kind: Kind::Relu, levels: 1000, range: 100.0, offset: 0, spacing: 1 };
        let m = Moments::after(&relu, 0.0, 5.0);
        assert!((m.mean - 50.0 / (2.0 * std::f64::consts::PI).sqrt()).abs() < 0.1, "{}", m.mean);
        assert!((m.square() - 1250.0).abs() < 5.0, "{}", m.square());
    }
}
