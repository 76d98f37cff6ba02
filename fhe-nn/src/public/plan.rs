//! The public shape of a network, checked once.

use std::collections::HashMap;

use super::config::{Pool, PublicLayerConfig, PublicNetworkConfig};
use super::error::escaped;
use super::geometry::{PublicGeometry, values_expected, values_of};
use super::{PublicError, Result};
use crate::Shape;

/// The most layers of a network.
const LAYERS: usize = 1000;
/// The most weights of a network: a hundred times those of the largest of this project.
const WEIGHTS: usize = 1 << 26;
/// The furthest from zero that any sum on the way can come. A lookup tells a few thousand integers
/// apart, and sums of integers of this size are far from overflowing.
pub(super) const REACH: i64 = 1 << 40;
/// The longest name of a layer.
const NAME: usize = 200;

/// A layer that fits to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedLayer {
    /// The convolution.
    pub geometry: PublicGeometry,
    /// Index of the layer whose pre-activation is added to this one's.
    pub residual: Option<usize>,
    /// Whether a residual connection begins or ends here.
    pub joined: bool,
    /// Shape of the activations, before pooling.
    pub activations: Shape,
    /// Shape of what the next layer takes.
    pub output: Shape,
}

/// The public shape of a network whose layers fit together, with every number within bounds: the
/// only way from a [`PublicNetworkConfig`] to a network.
///
/// No number of a plan, and no product of them that the network computes with, overflows. What a
/// network of this shape allocates is bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPlan {
    layers: Vec<PlannedLayer>,
}

impl PublicPlan {
    /// Checks a network's public shape.
    ///
    /// # Errors
    /// [`PublicError::Network`] or [`PublicError::Layer`] names the first number that does not fit.
    pub fn new(config: &PublicNetworkConfig) -> Result<Self> {
        check_network(config)?;
        let mut plan = Self { layers: Vec::with_capacity(config.layers.len()) };
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut input = config.input;
        let mut weights = 0;
        for (i, layer) in config.layers.iter().enumerate() {
            check_layer(layer, i + 1 == config.layers.len())?;
            if let Some(earlier) = names.insert(&layer.name, i) {
                let (got, expected) = (format!("that of layer {earlier}"), "one of its own");
                return Err(PublicError::layer(&layer.name, "name", got, expected));
            }
            let planned = plan.next(layer, input, &names)?;
            if let Some(j) = planned.residual {
                plan.layers[j].joined = true;
            }
            weights += planned.geometry.weights() * layer.outputs;
            if weights > WEIGHTS {
                let got = format!("{weights} with this layer");
                let what = "number of the network's weights";
                let expected = format!("at most {WEIGHTS}");
                return Err(PublicError::layer(&layer.name, what, got, expected));
            }
            input = planned.output;
            plan.layers.push(planned);
        }
        Ok(plan)
    }

    /// Returns the layers, of which there is at least one.
    #[must_use]
    pub fn layers(&self) -> &[PlannedLayer] {
        &self.layers
    }

    /// Plans the layer behind those that are planned.
    fn next(
        &self,
        layer: &PublicLayerConfig,
        input: Shape,
        names: &HashMap<&str, usize>,
    ) -> Result<PlannedLayer> {
        let geometry = PublicGeometry::new(&layer.name, input, layer.outputs, layer.filter())?;
        let output = geometry.output();
        let residual = match &layer.residual {
            None => None,
            Some(source) => {
                let earlier = names.get(source.as_str()).filter(|&&j| j < self.layers.len());
                let fits = |&&j: &&usize| self.layers[j].geometry.output() == output;
                let Some(&j) = earlier.filter(fits) else {
                    let expected = format!("an earlier layer with pre-activations of {output}");
                    let got = escaped(source);
                    return Err(PublicError::layer(&layer.name, "residual", got, expected));
                };
                Some(j)
            }
        };
        let copies = layer.activation.map_or(1, |levels| levels.copies());
        let activations = Shape { channels: layer.outputs.saturating_mul(copies), ..output };
        if values_of(activations).is_none() {
            let (what, expected) = ("shape of the activations", values_expected());
            return Err(PublicError::layer(&layer.name, what, activations, expected));
        }
        let output = pooled(layer, activations)?;
        Ok(PlannedLayer { geometry, residual, joined: residual.is_some(), activations, output })
    }
}

/// Checks the numbers of a network that are no layer's.
fn check_network(config: &PublicNetworkConfig) -> Result<()> {
    let (low, high) = config.levels;
    let far = i64::from(i32::MAX);
    let layers = config.layers.len();
    if !(1..=LAYERS).contains(&layers) {
        return Err(PublicError::network("number of layers", layers, format!("1 to {LAYERS}")));
    }
    if low < -far || high > far || low >= high {
        let got = format!("{low} to {high}");
        let expected = format!("an ascending pair from -{far} to {far}");
        return Err(PublicError::network("range of an image's integers", got, expected));
    }
    if values_of(config.input).is_none() {
        return Err(PublicError::network("input", config.input, values_expected()));
    }
    Ok(())
}

/// Checks the numbers of a layer that depend on no other layer.
fn check_layer(layer: &PublicLayerConfig, last: bool) -> Result<()> {
    let name = &layer.name;
    let fail =
        |what, got: String, expected: &str| Err(PublicError::layer(name, what, got, expected));
    let letters = name.chars().count();
    if !(1..=NAME).contains(&letters) || name.chars().any(char::is_control) {
        let expected = format!("1 to {NAME} letters without control characters");
        return fail("name", format!("one of {letters} letters"), &expected);
    }
    if layer.largest_weight < 1 {
        return fail("largest weight", layer.largest_weight.to_string(), "at least 1");
    }
    if let Some(range) = layer.range
        && !(1..=REACH).contains(&range)
    {
        return fail("range", range.to_string(), &format!("1 to {REACH}"));
    }
    match (last, layer.activation, layer.pool) {
        (false, None, _) => fail("activation", "none".into(), "one in every layer but the last"),
        (true, Some(_), _) => fail("activation", "there".into(), "none in the last layer"),
        (true, None, Some(_)) => fail("pool", "there".into(), "none in the last layer"),
        (true, None, None) => Ok(()),
        (false, Some(levels), pool) => {
            levels.check(name)?;
            match pool {
                Some(Pool::Max(_)) if levels.thresholds != 1 => {
                    fail("number of thresholds", levels.thresholds.to_string(), "1 under a maximum")
                }
                _ => Ok(()),
            }
        }
    }
}

/// Returns the shape behind a layer's pooling.
fn pooled(layer: &PublicLayerConfig, activations: Shape) -> Result<Shape> {
    let Some(side) = layer.pool.map(Pool::side) else { return Ok(activations) };
    let Shape { height, width, .. } = activations;
    if side == 0 || height % side + width % side > 0 {
        let expected = format!("a divisor of {height} and {width}");
        return Err(PublicError::layer(&layer.name, "pool", side, expected));
    }
    Ok(Shape { height: height / side, width: width / side, ..activations })
}
