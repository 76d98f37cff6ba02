//! A network of integer convolutions and activations of few levels.

use std::borrow::Cow;

use fhe_core::Params;

use super::config::{LayerWeights, Pool, PublicLayerConfig, PublicNetworkConfig};
use super::conv2d::PublicConv2d;
use super::plan::{PlannedLayer, PublicPlan, REACH};
use super::staircase::Staircase;
use super::{Levels, PublicError, Result, pool};
use crate::Shape;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    pub(super) conv: PublicConv2d,
    pub(super) after: After,
    pub(super) plan: PlannedLayer,
    pub(super) pool: Option<Pool>,
    /// Distance from a centre that pre-activations can reach.
    pub(super) furthest: i64,
    /// Distance from a centre to which they are read rightly.
    pub(super) range: i64,
    /// Torus fraction of one in the pre-activations.
    pub(super) unit: f64,
}

/// Entries at most of all tables that a layer's lookups have: a gigabyte of them.
const MOST_ENTRIES: usize = 1 << 27;

/// What follows a convolution.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum After {
    Staircase(Staircase),
    Bias(Vec<i64>),
}

/// A network with public weights.
///
/// Layer i computes, for each output channel, `s_i = w_i * a_(i-1) + s_j` (the last term if it has
/// a residual connection from layer j) and `a_i = pool(first + step * #{thresholds that s_i
/// reaches})`. The last layer computes `s_i + bias`. Everything is an integer, so the clear twin is
/// exact.
///
/// An integer s is the torus element `s * unit`. The unit of a layer is as large as its range
/// allows: half the torus over `range + 1` for signs, a quarter for other activations. Layers
/// joined by a residual connection share theirs.
///
/// # Examples
/// ```
/// use fhe_core::{Clear, Params, from_torus, to_torus};
/// use fhe_nn::public::{LayerWeights, PublicNetwork, PublicNetworkConfig};
/// use ndarray::array;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Whether two signs differ: 1 if they do, -1 if not.
/// let config: PublicNetworkConfig = serde_json::from_str(
///     r#"{
///         "input": { "channels": 2, "height": 1, "width": 1 },
///         "levels": [-1, 1],
///         "layers": [
///             { "name": "hidden", "outputs": 2, "kernel": 1,
///               "activation": { "first": -1, "step": 2, "thresholds": 1 } },
///             { "name": "score", "outputs": 1, "kernel": 1 }
///         ]
///     }"#,
/// )?;
/// let weights = vec![
///     LayerWeights {
///         weights: vec![vec![1, 1], vec![-1, -1]],
///         thresholds: vec![vec![1], vec![1]],
///     },
///     LayerWeights { weights: vec![vec![-1, -1]], thresholds: vec![vec![-1]] },
/// ];
/// let params = Params::secure128_bnn()?;
/// let network = PublicNetwork::new(&config, weights, params.row_size)?;
/// assert_eq!(network.exact_scores(array![[1, -1], [1, 1]].view())?, array![[1], [-1]]);
///
/// // The same with the noise of ciphertexts: two lookups, which miss with a probability below
/// // 1e-50.
/// let image = [1.0, -1.0].map(|x: f64| to_torus(x * network.input_unit()));
/// let scores = network.forward(&Clear::noisy(&params, 1), &image.to_vec(), 1)?;
/// assert_eq!((from_torus(scores[0]) / network.score_unit()).round(), 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PublicNetwork {
    config: PublicNetworkConfig,
    /// Slots of the half torus that a lookup reads.
    slots: usize,
    pub(super) layers: Vec<Layer>,
}

/// Smallest and largest integer.
type Bounds = (i64, i64);

/// The pre-activations that a layer can have.
struct Reached {
    /// Of each output.
    bounds: Vec<Bounds>,
    /// The furthest from zero that any sum on the way to one can come.
    reach: i64,
}

impl PublicNetwork {
    /// Checks a network and computes the range of every accumulator, for lookups that read `slots`
    /// slots of the half torus.
    ///
    /// # Errors
    /// [`PublicError::Network`] or [`PublicError::Layer`] names the first number that does not fit.
    pub fn new(
        config: &PublicNetworkConfig,
        weights: Vec<LayerWeights>,
        slots: usize,
    ) -> Result<Self> {
        const SLOTS: usize = 1 << 24;
        let plan = PublicPlan::new(config)?;
        let (got, expected) = (weights.len(), plan.layers().len());
        if got != expected {
            return Err(PublicError::network("number of layers with weights", got, expected));
        }
        if !(2..=SLOTS).contains(&slots) {
            let (what, expected) = ("number of slots of a lookup", format!("2 to {SLOTS}"));
            return Err(PublicError::network(what, slots, expected));
        }
        let mut levels = config.levels;
        let mut layers: Vec<Layer> = Vec::new();
        let mut reached: Vec<Reached> = Vec::new();
        for ((layer, planned), given) in config.layers.iter().zip(plan.layers()).zip(weights) {
            let conv = PublicConv2d::new(&layer.name, planned.geometry, given.weights)?;
            conv.check_weights(&layer.name, layer.largest_weight)?;
            let earlier = planned.residual.map(|j| &reached[j]);
            let reach = reached_by(layer, &conv, levels, earlier)?;
            let (after, furthest) = after(layer, given.thresholds, &reach.bounds)?;
            check_tables(&layer.name, &after, slots)?;
            let (furthest, range) = ranges(layer, furthest, config.passes() as i64);
            let halves = after.halves();
            check_range(layer, range, slots as i64, halves)?;
            levels = levels_behind(layer);
            let unit = 0.25 * halves as f64 / (range + 1) as f64;
            let (plan, pool) = (*planned, layer.pool);
            layers.push(Layer { conv, after, plan, pool, furthest, range, unit });
            reached.push(reach);
        }
        share_units(&mut layers);
        Ok(Self { config: config.clone(), slots, layers })
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &PublicNetworkConfig {
        &self.config
    }

    /// Returns the number of classes: the scores of an image.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.layers[self.layers.len() - 1].plan.output.len()
    }

    /// Returns the last layer that adds the pre-activations of layer j, if any does.
    pub(super) fn last_use(&self, j: usize) -> Option<usize> {
        self.layers.iter().rposition(|layer| layer.plan.residual == Some(j))
    }

    /// Checks that lookups of a parameter set read as many slots as the network was made for.
    pub(super) fn check_slots(&self, params: &Params) -> Result<()> {
        let (got, expected) = (params.row_size, self.slots);
        if got == expected {
            return Ok(());
        }
        Err(PublicError::network("number of slots of a lookup", got, expected))
    }

    /// Returns the torus fraction by which a client multiplies the integers of an image.
    #[must_use]
    pub fn input_unit(&self) -> f64 {
        self.layers[0].unit
    }

    /// Returns the torus fraction of one in the scores.
    #[must_use]
    pub fn score_unit(&self) -> f64 {
        self.layers[self.layers.len() - 1].unit
    }
}

impl Layer {
    /// Returns the activation that pre-activations are looked up by, and the unit of its outputs,
    /// if the next layer's inputs have `next`: of signs under a maximum these are bits, which are
    /// around zero, as only an odd table reads signs from the whole torus.
    pub(super) fn read<'a>(&self, stairs: &'a Staircase, next: f64) -> (Cow<'a, Staircase>, f64) {
        match self.pool {
            Some(Pool::Max(side)) => {
                (Cow::Owned(stairs.with_levels(Levels::SIGN)), 0.5 * pool::bit_unit(side))
            }
            _ => (Cow::Borrowed(stairs), next),
        }
    }

    /// Returns the lookups of an image on its way through the layer.
    pub(super) fn lookups(&self) -> usize {
        let sums = self.plan.geometry.output().len();
        match (&self.after, self.pool) {
            (After::Bias(_), _) => 0,
            (After::Staircase(_), Some(Pool::Max(_))) => sums + self.plan.output.len(),
            (After::Staircase(_), _) => sums,
        }
    }
}

impl After {
    /// Returns how many quarters of the torus pre-activations have on each side.
    fn halves(&self) -> i64 {
        match self {
            Self::Staircase(stairs) => i64::from(stairs.levels().halves()),
            Self::Bias(_) => 2,
        }
    }
}

/// Returns the pre-activations that a layer can have, for inputs within `levels`.
fn reached_by(
    layer: &PublicLayerConfig,
    conv: &PublicConv2d,
    levels: Bounds,
    earlier: Option<&Reached>,
) -> Result<Reached> {
    let reach = conv.reach(levels) + earlier.map_or(0, |earlier| i128::from(earlier.reach));
    let within = i64::try_from(reach).ok().filter(|&reach| reach <= REACH);
    let Some(reach) = within else {
        let (what, expected) = ("largest sum of weights times inputs", format!("at most {REACH}"));
        return Err(PublicError::layer(&layer.name, what, reach, expected));
    };
    let mut bounds = conv.bounds(levels);
    if let Some(earlier) = earlier {
        for ((least, most), (low, high)) in bounds.iter_mut().zip(&earlier.bounds) {
            (*least, *most) = (*least + low, *most + high);
        }
    }
    Ok(Reached { bounds, reach })
}

/// Returns what follows a convolution, and how far from their centres pre-activations can be.
fn after(
    layer: &PublicLayerConfig,
    thresholds: Vec<Vec<i64>>,
    bounds: &[Bounds],
) -> Result<(After, i64)> {
    let name = &layer.name;
    if thresholds.len() != layer.outputs {
        let what = "number of channels with thresholds";
        return Err(PublicError::layer(name, what, thresholds.len(), layer.outputs));
    }
    let Some(levels) = layer.activation else {
        let bias = bias(name, &thresholds)?;
        let far =
            bounds.iter().zip(&bias).map(|(&(low, high), b)| (low + b).abs().max((high + b).abs()));
        let furthest = far.max().unwrap_or(0);
        return Ok((After::Bias(bias), furthest));
    };
    let mut stairs = Staircase::new(name, levels, thresholds)?;
    stairs.clamp(bounds);
    let far = bounds.iter().enumerate().map(|(o, &bounds)| stairs.furthest(o, bounds));
    let furthest = far.max().unwrap_or(0);
    Ok((After::Staircase(stairs), furthest))
}

/// Returns the number that is added to each score.
fn bias(name: &str, thresholds: &[Vec<i64>]) -> Result<Vec<i64>> {
    let one = |of_class: &Vec<i64>| match of_class[..] {
        [bias] if bias.unsigned_abs() <= REACH.unsigned_abs() => Ok(bias),
        [bias] => Err(PublicError::layer(name, "bias", bias, format!("-{REACH} to {REACH}"))),
        _ => Err(PublicError::layer(name, "number of biases of a class", of_class.len(), 1)),
    };
    thresholds.iter().map(one).collect()
}

/// Returns how far pre-activations can be from their centres, and how far they are read rightly.
/// The scores of several passes are added up.
fn ranges(layer: &PublicLayerConfig, furthest: i64, passes: i64) -> (i64, i64) {
    let times = if layer.activation.is_none() { passes } else { 1 };
    let furthest = times * furthest;
    (furthest, layer.range.map_or(furthest, |range| times * range).max(1))
}

/// Checks that a lookup has a slot for each pre-activation. A range of the model's own says that it
/// can do with less.
fn check_range(layer: &PublicLayerConfig, range: i64, slots: i64, halves: i64) -> Result<()> {
    let most = slots * halves / 2 - 1;
    if layer.range.is_some() || layer.activation.is_none() || range <= most {
        return Ok(());
    }
    let expected = format!(
        "at most {most}, as a lookup has {slots} slots: fewer or smaller weights fit, or a `range` \
         of the layer's own, beyond which pre-activations wrap and within which they are read with \
         noise"
    );
    let what = "furthest pre-activation from its centre";
    Err(PublicError::layer(&layer.name, what, range, expected))
}

/// Checks that the tables of a layer's lookups fit into memory: channels whose thresholds lie alike
/// share one.
fn check_tables(layer: &str, after: &After, slots: usize) -> Result<()> {
    let After::Staircase(stairs) = after else { return Ok(()) };
    let (got, most) = (stairs.steps().len(), MOST_ENTRIES / slots);
    if got > most {
        let what = "number of different spacings of thresholds";
        return Err(PublicError::layer(layer, what, got, format!("at most {most}")));
    }
    Ok(())
}

/// Returns the smallest and largest integer that the next layer takes.
fn levels_behind(layer: &PublicLayerConfig) -> Bounds {
    let (low, high) = layer.activation.map_or((0, 0), |levels| levels.range());
    match layer.pool {
        Some(Pool::Sum(side)) => {
            let window = (side * side) as i64;
            (low * window, high * window)
        }
        _ => (low, high),
    }
}

/// Returns the places that the numbers of an image's mirror image have in the image.
pub(super) fn mirror(input: Shape) -> Vec<usize> {
    let (width, channels) = (input.width, input.channels);
    let place = |i: usize| {
        let (row, x, c) = (i / (width * channels), i / channels % width, i % channels);
        (row * width + width - 1 - x) * channels + c
    };
    (0..input.len()).map(place).collect()
}

/// Gives layers that are joined by a residual connection the smallest of their units.
fn share_units(layers: &mut [Layer]) {
    let mut settled = false;
    while !settled {
        settled = true;
        for i in 0..layers.len() {
            if let Some(source) = layers[i].plan.residual {
                let least = layers[i].unit.min(layers[source].unit);
                settled &= layers[i].unit == least && layers[source].unit == least;
                (layers[i].unit, layers[source].unit) = (least, least);
            }
        }
    }
}
