//! A network of convolutions and activations: forward and backward.

use std::ops::Range;

use fhe_core::Engine;
use serde::{Deserialize, Serialize};

use crate::activation::{ErrorGate, Relu, TABLES, gadget, table};
use crate::conv2d::{Conv2d, Transposed, WeightGradient};
use crate::{Error, Geometry, Result, Shape};

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
    #[serde(default)]
    pub activation: Option<Relu>,
}

fn one() -> usize {
    1
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
        let mut out = Vec::with_capacity(self.layers.len());
        for (i, layer) in self.layers.iter().enumerate() {
            let last = i + 1 == self.layers.len();
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
            input = geometry.output;
            out.push(geometry);
        }
        Ok(out)
    }

    /// Returns the spacing of the integers that enter a layer.
    #[must_use]
    pub fn spacing(&self, layer: usize) -> f64 {
        let before = layer.checked_sub(1).and_then(|i| self.layers[i].activation);
        before.map_or(1.0, |relu| f64::from(relu.spacing))
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
        gadget(engine)?;
        let geometries = config.geometries(engine.params().row_size)?;
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
    /// A lookup for each value of every layer but the last.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer selectors than samples.
    pub fn forward(&self, engine: &E, x: &E::Selectors, samples: Range<usize>) -> Result<Trace<E>> {
        let count = samples.len();
        let (mut inputs, mut gates) = (Vec::new(), Vec::new());
        let mut z = self.layers[0].forward(engine, x, samples)?;
        for (layer, config) in self.layers[1..].iter().zip(&self.config.layers) {
            // The configuration was checked: every layer but the last has one.
            let Some(relu) = config.activation else { continue };
            let a = relu.lookup(engine, &z, self.config.z_range)?;
            let input = engine.promote(&a, TABLES, &layer.input_slots(count))?;
            z = layer.forward(engine, &input, 0..count)?;
            gates.push(table(engine, &a, TABLES - 1)?);
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
        let mut all = vec![errors];
        for i in (1..self.layers.len()).rev() {
            let layer = &self.layers[i];
            let last = &all[all.len() - 1];
            let selectors = engine.promote(last, TABLES, &layer.error_slots(samples))?;
            let back = layer.input_gradient(engine, &transposed[i - 1], &selectors, samples)?;
            all.push(gates[i - 1].lookup(engine, &back, &trace.gates[i - 1])?);
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
