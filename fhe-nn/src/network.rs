//! A network of convolutions and activations: forward and backward.

use std::ops::Range;

use fhe_core::{Engine, List};
use serde::{Deserialize, Serialize};

use crate::activation::{Activation, ErrorGate, TABLES, gadget, table};
use crate::conv2d::{Conv2d, Transposed, WeightGradient};
use crate::{Error, Geometry, Result, Shape};

/// Largest number of outputs of a layer.
const MAX_OUTPUTS: usize = 65_536;

/// One layer and what follows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// Name, for messages.
    pub name: String,
    /// Output channels.
    pub outputs: usize,
    /// Rows, and columns, of the window; 1 on a map of one position is a dense layer.
    #[serde(default = "one")]
    pub kernel: usize,
    /// Distance of two windows.
    #[serde(default = "one")]
    pub stride: usize,
    /// Zeros on each side.
    #[serde(default)]
    pub padding: usize,
    /// What follows; nothing after the last layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// Name of an earlier layer whose output is added to the activation: a residual connection (He et al.,
    /// "Deep Residual Learning", CVPR 2016, equation 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<String>,
    /// Sums over windows of so many rows and columns, after the addition: average pooling, but for the
    /// factor, which the next layer's weights take.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub pool: usize,
}

impl LayerConfig {
    /// A layer of stride 1, without padding, residual connection and pooling.
    #[must_use]
    pub fn new(name: &str, outputs: usize, kernel: usize, activation: Option<Activation>) -> Self {
        let (name, stride, padding, residual, pool) = (name.into(), 1, 0, None, 1);
        Self { name, outputs, kernel, stride, padding, activation, residual, pool }
    }
}

fn one() -> usize {
    1
}

fn is_one(x: &usize) -> bool {
    *x == one()
}

/// The public shape of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// What a sample is.
    pub input: Shape,
    /// Pre-activations from minus to plus this fill the half torus.
    pub z_range: f64,
    /// The layers, from the input on.
    pub layers: Vec<LayerConfig>,
}

impl NetworkConfig {
    /// Returns the geometry of every layer for polynomials of `n` coefficients.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first layer that does not fit, and what would.
    pub fn geometries(&self, n: usize) -> Result<Vec<Geometry>> {
        let fail =
            |layer: &str, problem: String| Err(Error::Layer { layer: layer.into(), problem });
        if self.layers.is_empty() || !(1.0..=1024.0).contains(&self.z_range) {
            let problem = format!(
                "{} layers, z_range {}: expected at least one, and 1 to 1024",
                self.layers.len(),
                self.z_range
            );
            return fail("network", problem);
        }
        let mut input = self.input;
        let mut out: Vec<Geometry> = Vec::with_capacity(self.layers.len());
        let Shape { channels, height, width } = input;
        if channels > n || height > n || width > n {
            let problem = format!("an input of {input}: expected at most {n} of each");
            return fail("network", problem);
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let last = i + 1 == self.layers.len();
            if layer.outputs > MAX_OUTPUTS || layer.padding > layer.kernel || layer.kernel > n {
                let problem = format!(
                    "{} outputs, a window of {}, padding {}: expected at most {MAX_OUTPUTS} outputs, and no more padding than the window",
                    layer.outputs, layer.kernel, layer.padding
                );
                return fail(&layer.name, problem);
            }
            if self.layers[..i].iter().any(|earlier| earlier.name == layer.name) {
                return fail(&layer.name, "its name is that of an earlier layer".into());
            }
            if let Some(problem) = layer.activation.and_then(|a| a.problem()) {
                return fail(&layer.name, problem);
            }
            if last == layer.activation.is_some() {
                let problem = "every layer but the last has an activation".into();
                return fail(&layer.name, problem);
            }
            // A sample is one selector; activations are grouped to pack few lists.
            let group = if i == 0 {
                input.channels
            } else {
                Geometry::best_group(n, input, layer.outputs, layer.padding, TABLES - 1)
            };
            let window = (layer.kernel, layer.stride, layer.padding);
            let geometry = Geometry::new(&layer.name, n, input, layer.outputs, window, group)?;
            let output = geometry.output;
            if layer.pool == 0 || output.height % layer.pool + output.width % layer.pool > 0 {
                let problem = format!("pool is {} on {output}: expected a divisor", layer.pool);
                return fail(&layer.name, problem);
            }
            if let Some(from) = &layer.residual {
                let source = self.layers[..i].iter().position(|earlier| earlier.name == *from);
                let shape = source.map(|j| self.pooled(j, out[j].output));
                if last
                    || shape != Some(output)
                    || self.spacing(i + 1) != self.spacing(source.map_or(0, |j| j + 1))
                {
                    let problem = format!(
                        "residual is {from:?}: expected an earlier layer with an output of {output} and the same spacing, before the last layer"
                    );
                    return fail(&layer.name, problem);
                }
            }
            input = self.pooled(i, output);
            out.push(geometry);
        }
        Ok(out)
    }

    fn pooled(&self, layer: usize, output: Shape) -> Shape {
        let pool = self.layers[layer].pool;
        Shape { height: output.height / pool, width: output.width / pool, ..output }
    }

    /// Returns for each layer the index of the one whose output its residual connection adds.
    #[must_use]
    pub fn residuals(&self) -> Vec<Option<usize>> {
        let index = |name: &String| self.layers.iter().position(|layer| layer.name == *name);
        self.layers.iter().map(|layer| layer.residual.as_ref().and_then(index)).collect()
    }

    /// Returns the smallest and the largest integer of each layer's output; those of the last are 0.
    #[must_use]
    pub fn ranges(&self) -> Vec<(i32, i32)> {
        let mut ranges: Vec<(i32, i32)> = Vec::with_capacity(self.layers.len());
        for (layer, residual) in self.layers.iter().zip(self.residuals()) {
            let (low, high) = layer.activation.map_or((0, 0), |a| a.range());
            let added = residual.and_then(|j| ranges.get(j).copied()).unwrap_or((0, 0));
            let window = i32::try_from(layer.pool * layer.pool).unwrap_or(i32::MAX);
            let sum = |x: i32, y: i32| x.saturating_add(y).saturating_mul(window);
            ranges.push((sum(low, added.0), sum(high, added.1)));
        }
        ranges
    }

    /// Checks that the integers of every output fit half a digit of a promotion.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first layer whose output does not, and the bound.
    pub fn check_ranges(&self, gadget: fhe_core::params::Gadget) -> Result<()> {
        let bound = (1i32 << (gadget.base_log - 1)) - 1;
        for (layer, (low, high)) in self.layers.iter().zip(self.ranges()) {
            if low < -bound || high > bound {
                let problem = format!(
                    "its output has integers from {low} to {high}: expected -{bound} to {bound}; fewer levels, a smaller spacing or less pooling fit"
                );
                return Err(Error::Layer { layer: layer.name.clone(), problem });
            }
        }
        Ok(())
    }

    /// Returns the spacing of the integers that enter a layer.
    #[must_use]
    pub fn spacing(&self, layer: usize) -> f64 {
        let before = layer.checked_sub(1).and_then(|i| self.layers[i].activation);
        before.map_or(1.0, |activation| f64::from(activation.spacing))
    }

    /// Returns what the errors that come back to a layer's activation are multiplied by on their way past the
    /// layers between it and its residual source.
    ///
    /// Errors of layer l are integers, `8 limit scale U / t` times what came back, where the derivative is the slope
    /// `levels / range` of the activation times it. The quotient is the unit of layer l's errors; the connection
    /// goes past these units, and takes their product, rounded to an integer.
    ///
    /// # Values
    /// 1 and more; `gates` are those of every layer but the last, and a gate that is missing counts as 1.
    #[must_use]
    pub fn residual_scale(&self, source: usize, layer: usize, gates: &[ErrorGate]) -> i64 {
        (self.residual_units(source, layer, gates).round() as i64).max(1)
    }

    /// The same before it is rounded.
    #[must_use]
    pub fn residual_units(&self, source: usize, layer: usize, gates: &[ErrorGate]) -> f64 {
        let gain = |l: usize| {
            let Some(gate) = gates.get(l) else { return 1.0 };
            let slope = self.layers[l].activation.map_or(1.0, |a| f64::from(a.levels) / a.range);
            let integers = 8.0 * f64::from(gate.limit) * gate.scale as f64;
            integers * self.unit() / self.spacing(l + 1) / slope
        };
        (source + 1..=layer).map(gain).product()
    }

    /// Returns the torus fraction of a unit of pre-activation.
    #[must_use]
    pub fn unit(&self) -> f64 {
        1.0 / (4.0 * self.z_range)
    }
}

/// A network with secret weights.
pub struct Network<E: Engine> {
    config: NetworkConfig,
    layers: Vec<Conv2d<E>>,
}

impl<E: Engine> std::fmt::Debug for Network<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What a forward pass leaves for the way back.
pub struct Trace<E: Engine> {
    /// Of every layer but the first: its input.
    pub inputs: Vec<E::Selectors>,
    /// Of every layer but the last: the gates of its activation.
    pub gates: Vec<E::Values>,
    /// Pre-activations of the last layer.
    pub scores: E::Values,
}

impl<E: Engine> std::fmt::Debug for Trace<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trace(hidden)")
    }
}

impl<E: Engine> Network<E> {
    /// A network with given layers.
    ///
    /// # Errors
    /// [`Error::Layer`] if they are not those of the configuration, [`Error::Core`] if the parameter set
    /// cannot promote.
    pub fn new(engine: &E, config: &NetworkConfig, layers: Vec<Conv2d<E>>) -> Result<Self> {
        let geometries = config.geometries(engine.params().row_size)?;
        config.check_ranges(gadget(engine)?)?;
        if layers.iter().map(Conv2d::geometry).eq(&geometries) {
            Ok(Self { config: config.clone(), layers })
        } else {
            let problem = "the layers are not those of the configuration".into();
            Err(Error::Layer { layer: "network".into(), problem })
        }
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Returns the layers.
    #[must_use]
    pub fn layers(&self) -> &[Conv2d<E>] {
        &self.layers
    }

    /// Returns the layers, to be changed.
    pub fn layers_mut(&mut self) -> &mut [Conv2d<E>] {
        &mut self.layers
    }

    /// Runs some samples of a list through the network.
    ///
    /// # Cost
    /// A lookup for each value of every layer but the last; residual connections and pooling are additions.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer selectors than samples.
    pub fn forward(&self, engine: &E, x: &E::Selectors, samples: Range<usize>) -> Result<Trace<E>> {
        let count = samples.len();
        let residuals = self.config.residuals();
        let (mut inputs, mut gates) = (Vec::new(), Vec::new());
        // Outputs that a later layer adds: as four tables a value.
        let mut kept: Vec<Option<E::Values>> = Vec::new();
        let mut z = self.layers[0].forward(engine, x, samples)?;
        for (i, layer) in self.layers[1..].iter().enumerate() {
            let (config, shape) = (&self.config.layers[i], self.layers[i].geometry().output);
            // The configuration was checked: every layer but the last has one.
            let Some(activation) = config.activation else { continue };
            let mut a = activation.lookup(engine, &z, self.config.z_range)?;
            drop(z);
            gates.push(table(engine, &a, TABLES - 1)?);
            if let Some(earlier) = residuals[i].and_then(|j| kept[j].as_ref()) {
                engine.add_scaled_values(&mut a, earlier, 1)?;
            }
            let a = pool(engine, a, shape, config.pool)?;
            let input = engine.promote(&a, TABLES, &layer.input_slots(count))?;
            kept.push(residuals.contains(&Some(i)).then_some(a));
            z = layer.forward(engine, &input, 0..count)?;
            inputs.push(input);
        }
        Ok(Trace { inputs, gates, scores: z })
    }

    /// Returns the weights of every layer but the first for the way back.
    ///
    /// # Errors
    /// Those of [`Engine::pack`].
    pub fn transpose(&self, engine: &E) -> Result<Vec<Transposed<E>>> {
        self.layers[1..].iter().map(|layer| layer.transpose(engine)).collect()
    }

    /// Takes the errors of the scores back to every layer: returns for each layer, from the first on,
    /// its errors as four tables a value.
    ///
    /// `errors` are those of the last layer, in the same form; `gates` has one entry for every layer but
    /// the last.
    ///
    /// # Cost
    /// A lookup for each value of every layer but the last.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if the lists do not fit together.
    pub fn backward(
        &self,
        engine: &E,
        trace: &Trace<E>,
        transposed: &[Transposed<E>],
        errors: E::Values,
        gates: &[ErrorGate],
        samples: usize,
    ) -> Result<Vec<E::Values>> {
        let (got, expected) = (gates.len(), self.layers.len() - 1);
        if got != expected || trace.gates.len() != expected || transposed.len() != expected {
            let (op, what) = ("backward", "gates, or transposed layers");
            return Err(fhe_core::Error::Shape { op, what, got, expected }.into());
        }
        let residuals = self.config.residuals();
        let mut all = vec![errors];
        // What residual connections bring back to each layer's output.
        let mut added: Vec<Option<E::Values>> = self.layers.iter().map(|_| None).collect();
        for i in (1..self.layers.len()).rev() {
            let layer = &self.layers[i];
            let last = &all[all.len() - 1];
            let selectors = engine.promote(last, TABLES, &layer.error_slots(samples))?;
            let mut back = layer.input_gradient(engine, &transposed[i - 1], &selectors, samples)?;
            drop(selectors);
            let (config, shape) =
                (&self.config.layers[i - 1], self.layers[i - 1].geometry().output);
            if let Some(more) = added[i - 1].take() {
                engine.add_scaled_values(&mut back, &more, 1)?;
            }
            let back = unpool(engine, back, shape, config.pool)?;
            all.push(gates[i - 1].lookup(engine, &back, &trace.gates[i - 1])?);
            if let Some(source) = residuals[i - 1] {
                let k = self.config.residual_scale(source, i - 1, gates);
                match &mut added[source] {
                    Some(sum) => engine.add_scaled_values(sum, &back, k)?,
                    none => *none = Some(engine.scaled_values(&back, k)?),
                }
            }
        }
        all.reverse();
        Ok(all)
    }

    /// Returns the gradient of a layer's weights from the errors' fourth table.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if the lists do not fit together.
    pub fn weight_gradient(
        &self,
        engine: &E,
        layer: usize,
        (x, samples): (&E::Selectors, Range<usize>),
        errors: &E::Values,
    ) -> Result<WeightGradient<E>> {
        let errors = table(engine, errors, TABLES - 1)?;
        self.layers[layer].weight_gradient(engine, x, &errors, samples)
    }
}

/// Adds the values of windows, each of four tables.
fn pool<E: Engine>(engine: &E, a: E::Values, shape: Shape, side: usize) -> Result<E::Values> {
    if side == 1 {
        return Ok(a);
    }
    let (height, width) = (shape.height / side, shape.width / side);
    let maps = a.len() / (TABLES * shape.height * shape.width);
    let mut sum = engine.public_values(&vec![0; TABLES * maps * height * width]);
    for (dy, dx) in (0..side).flat_map(|dy| (0..side).map(move |dx| (dy, dx))) {
        let picks = (0..maps * height * width).flat_map(|i| {
            let (map, y, x) = (i / (height * width), i / width % height, i % width);
            let at = (map * shape.height + y * side + dy) * shape.width + x * side + dx;
            TABLES * at..TABLES * (at + 1)
        });
        engine.add_scaled_values(&mut sum, &engine.take(&a, picks)?, 1)?;
    }
    Ok(sum)
}

/// The way back of [`pool`], for single values: each goes to all of its window.
fn unpool<E: Engine>(
    engine: &E,
    errors: E::Values,
    shape: Shape,
    side: usize,
) -> Result<E::Values> {
    if side == 1 {
        return Ok(errors);
    }
    let (height, width) = (shape.height / side, shape.width / side);
    let maps = errors.len() / (height * width);
    let picks = (0..maps * shape.height * shape.width).map(|i| {
        let (map, y, x) =
            (i / (shape.height * shape.width), i / shape.width % shape.height, i % shape.width);
        (map * height + y / side) * width + x / side
    });
    Ok(engine.take(&errors, picks)?)
}
