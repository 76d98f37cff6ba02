//! A network of convolutions and activations: forward and backward.

use std::ops::Range;

use fhe_core::{Engine, List};

use crate::activation::ErrorGate;
use crate::conv2d::{Conv2d, Transposed, WeightGradient};
use crate::{Error, NetworkPlan, Promotable, Result, Shape};

/// A network with secret weights.
pub struct Network<E: Engine> {
    plan: NetworkPlan,
    layers: Vec<Conv2d<E>>,
}

impl<E: Engine> std::fmt::Debug for Network<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("config", self.plan.config()).finish_non_exhaustive()
    }
}

/// What a forward pass leaves for the way back.
pub struct Trace<E: Engine> {
    /// Of every layer but the first: its input.
    pub inputs: Vec<E::Selectors>,
    /// Of every layer but the last: the gates of its activation, a quarter where they are open.
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
    /// A network with the layers of a plan.
    ///
    /// # Errors
    /// [`Error::Count`] and [`Error::OtherGeometry`] if they are not those of the plan.
    pub fn new(plan: &NetworkPlan, layers: Vec<Conv2d<E>>) -> Result<Self> {
        let (got, expected) = (layers.len(), plan.geometries().len());
        if got != expected {
            let (layer, what) = ("network".into(), "layers");
            return Err(Error::Count { layer, what, got, expected });
        }
        let names = plan.config().layers.iter().map(|layer| &layer.name);
        for ((layer, geometry), name) in layers.iter().zip(plan.geometries()).zip(names) {
            if layer.geometry() != geometry {
                return Err(Error::OtherGeometry { layer: name.clone() });
            }
        }
        Ok(Self { plan: plan.clone(), layers })
    }

    /// Returns the plan.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlan {
        &self.plan
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
    /// A lookup for each value of every layer but the last; residual connections and pooling are
    /// additions.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer selectors than samples.
    pub fn forward(&self, engine: &E, x: &E::Selectors, samples: Range<usize>) -> Result<Trace<E>> {
        let (count, z_range) = (samples.len(), self.plan.config().z_range);
        let (mut inputs, mut gates) = (Vec::new(), Vec::new());
        // Outputs that a later layer adds.
        let mut kept: Vec<Option<Promotable<E>>> = Vec::new();
        let mut z = self.layers[0].forward(engine, x, samples)?;
        for (i, (hidden, next)) in self.plan.hidden().iter().zip(&self.layers[1..]).enumerate() {
            let mut a = hidden.activation.lookup(engine, &z, z_range)?;
            drop(z);
            gates.push(a.extra(engine)?);
            if let Some(earlier) = hidden.residual.and_then(|source| kept[source].as_ref()) {
                a.add(engine, earlier)?;
            }
            let a = a.pool(engine, self.layers[i].geometry().output, hidden.pool)?;
            let input = a.promote(engine, &next.input_slots(count))?;
            kept.push(hidden.is_source.then_some(a));
            z = next.forward(engine, &input, 0..count)?;
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

    /// Takes the errors of the scores back to every layer: returns for each layer, from the first
    /// on, its errors.
    ///
    /// `errors` are those of the last layer; `gates` has one entry for every layer but the last.
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
        errors: Promotable<E>,
        gates: &[ErrorGate],
        samples: usize,
    ) -> Result<Vec<Promotable<E>>> {
        let (got, expected) = (gates.len(), self.plan.hidden().len());
        if got != expected || trace.gates.len() != expected || transposed.len() != expected {
            let (op, what) = ("backward", "gates, or transposed layers");
            return Err(fhe_core::Error::Shape { op, what, got, expected }.into());
        }
        let mut all = vec![errors];
        // What residual connections bring back to each layer's output.
        let mut added: Vec<Option<E::Values>> = self.layers.iter().map(|_| None).collect();
        for (i, hidden) in self.plan.hidden().iter().enumerate().rev() {
            let (layer, next) = (&self.layers[i], &self.layers[i + 1]);
            let last = &all[all.len() - 1];
            let selectors = last.promote(engine, &next.error_slots(samples))?;
            let mut back = next.input_gradient(engine, &transposed[i], &selectors, samples)?;
            drop(selectors);
            if let Some(more) = added[i].take() {
                engine.add_scaled_values(&mut back, &more, 1)?;
            }
            let back = unpool(engine, back, layer.geometry().output, hidden.pool)?;
            all.push(gates[i].lookup(engine, &back, &trace.gates[i])?);
            if let Some(source) = hidden.residual {
                let k = self.plan.residual_scale(source, i, gates);
                match &mut added[source] {
                    Some(sum) => engine.add_scaled_values(sum, &back, k)?,
                    none => *none = Some(engine.scaled_values(&back, k)?),
                }
            }
        }
        all.reverse();
        Ok(all)
    }

    /// Returns the gradient of a layer's weights, from the errors times their amplitude.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there is no such layer, or the lists do not fit together.
    pub fn weight_gradient(
        &self,
        engine: &E,
        layer: usize,
        (x, samples): (&E::Selectors, Range<usize>),
        errors: &Promotable<E>,
    ) -> Result<WeightGradient<E>> {
        let (op, len) = ("weight_gradient (layer)", self.layers.len());
        let none = fhe_core::Error::Index { op, index: layer, len };
        let layer = self.layers.get(layer).ok_or(none)?;
        layer.weight_gradient(engine, x, &errors.extra(engine)?, samples)
    }
}

/// The way back of pooling: each error goes to all of its window.
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
