//! A network of convolutions and activations: forward and backward.

use std::ops::Range;

use fhe_core::{Engine, IntegerTable, List, Outputs, Slot, Table};

use crate::activation::ErrorGate;
use crate::conv2d::{Conv2d, GradientInput, LayerInput, Transposed, WeightGradient};
use crate::{Error, HiddenLayer, LayerErrors, NetworkPlan, Promotable, Result, Shape};

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
    pub inputs: Vec<LayerInput<E>>,
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
        let count = samples.len();
        let (mut inputs, mut gates) = (Vec::new(), Vec::new());
        // Outputs that a later layer adds.
        let mut kept: Vec<Option<Promotable<E>>> = Vec::new();
        let mut z = self.layers[0].forward(engine, x, samples)?;
        for (i, hidden) in self.plan.hidden().iter().enumerate() {
            let (input, gate) = if hidden.is_plain() {
                kept.push(None);
                self.plain(engine, i, &z, count)?
            } else {
                let (input, gate, sum) = self.summed(engine, i, &z, count, &kept)?;
                kept.push(hidden.is_source.then_some(sum));
                (input, gate)
            };
            z = self.layers[i + 1].forward(engine, &input.samples, 0..count)?;
            inputs.push(input);
            gates.push(gate);
        }
        Ok(Trace { inputs, gates, scores: z })
    }

    /// Returns the input of the layer after layer i, and the gates of layer i, of activations that
    /// nothing is added to: they are selectors as soon as they are looked up.
    fn plain(
        &self,
        engine: &E,
        i: usize,
        z: &E::Values,
        count: usize,
    ) -> Result<(LayerInput<E>, E::Values)> {
        let (integers, gates) = self.tables(engine, &self.plan.hidden()[i])?;
        let next = &self.layers[i + 1];
        let (slots, channels) = (next.input_slots(count), next.channel_slots(count));
        // What is promoted once more is there in rows, which are small.
        let levels = match channels.is_empty() {
            true => Vec::new(),
            false => integers.levels(self.plan.gadget())?,
        };
        let rows = levels.into_iter().map(|table| (table, slots.clone())).collect();
        let outputs =
            Outputs { selectors: Some((integers, slots.clone())), rows, values: vec![gates] };
        let mut out = engine.lookup_into(z, &outputs)?;
        let rows = outputs.rows.iter().map(|_| out.rows()).collect::<fhe_core::Result<Vec<_>>>()?;
        let channels = over_channels(engine, &rows, &slots, channels)?;
        Ok((LayerInput { samples: out.selectors()?, channels }, out.values()?))
    }

    /// Returns the same of activations to which an earlier layer's are added, or which are pooled,
    /// or which are to be added later; and these sums.
    fn summed(
        &self,
        engine: &E,
        i: usize,
        z: &E::Values,
        count: usize,
        kept: &[Option<Promotable<E>>],
    ) -> Result<(LayerInput<E>, E::Values, Promotable<E>)> {
        let hidden = &self.plan.hidden()[i];
        let (integers, gates) = self.tables(engine, hidden)?;
        let mut a = Promotable::lookup(engine, z, &integers, &gates)?;
        let gates = a.extra(engine)?;
        if let Some(earlier) = hidden.residual.and_then(|source| kept[source].as_ref()) {
            a.add(engine, earlier)?;
        }
        let a = a.pool(engine, self.layers[i].geometry().output, hidden.pool)?;
        let next = &self.layers[i + 1];
        let samples = a.promote(engine, &next.input_slots(count))?;
        let channels = next.channel_slots(count);
        let channels = channels.iter().map(|lists| a.promote(engine, lists));
        let input = LayerInput { samples, channels: channels.collect::<Result<_>>()? };
        Ok((input, gates, a))
    }

    fn tables(&self, engine: &E, hidden: &HiddenLayer) -> Result<(IntegerTable, Table)> {
        let (slots, z_range) = (engine.params().row_size, self.plan.config().z_range);
        Ok(hidden.activation.tables(slots, z_range)?)
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
    /// `errors` are those of the last layer. `gates` has one entry for every layer but the last.
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
    ) -> Result<Vec<LayerErrors<E>>> {
        let (got, expected) = (gates.len(), self.plan.hidden().len());
        if got != expected || trace.gates.len() != expected || transposed.len() != expected {
            let (op, what) = ("backward", "gates, or transposed layers");
            return Err(fhe_core::Error::Shape { op, what, got, expected }.into());
        }
        let last = &self.layers[expected];
        let mut all = vec![LayerErrors::new(engine, last, &errors, samples)?];
        let back = if expected > 0 { last.error_slots(samples) } else { Vec::new() };
        let mut selectors = errors.promote(engine, &back)?;
        drop(errors);
        // What residual connections bring back to each layer's output.
        let mut added: Vec<Option<E::Values>> = self.layers.iter().map(|_| None).collect();
        for (i, hidden) in self.plan.hidden().iter().enumerate().rev() {
            let (layer, next) = (&self.layers[i], &self.layers[i + 1]);
            let mut back = next.input_gradient(engine, &transposed[i], &selectors, samples)?;
            if let Some(more) = added[i].take() {
                engine.add_scaled_values(&mut back, &more, 1)?;
            }
            let back = unpool(engine, back, layer.geometry().output, hidden.pool)?;
            let inputs = gates[i].inputs(engine, &back, &trace.gates[i])?;
            let table = (gates[i].table(engine.params().row_size)?, gates[i].amplitude);
            // No way leads back from the first layer.
            let slots = if i > 0 { layer.error_slots(samples) } else { Vec::new() };
            let errors;
            (selectors, errors) =
                LayerErrors::lookup(engine, layer, (&inputs, samples), table, slots)?;
            all.push(errors);
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
        x: GradientInput<'_, E>,
        errors: &LayerErrors<E>,
    ) -> Result<WeightGradient<E>> {
        let (op, len) = ("weight_gradient (layer)", self.layers.len());
        let none = fhe_core::Error::Index { op, index: layer, len };
        let layer = self.layers.get(layer).ok_or(none)?;
        layer.weight_gradient(engine, x, errors.of_weights())
    }
}

/// Promotes integers, whose levels are rows in the lists `slots`, in other lists: stretch after
/// stretch, as their values are large.
fn over_channels<E: Engine>(
    engine: &E,
    levels: &[E::Rows],
    slots: &[Vec<Slot>],
    stretches: Vec<Vec<Vec<Slot>>>,
) -> Result<Vec<E::Selectors>> {
    let mut places = vec![(0, 0); slots.iter().map(Vec::len).sum()];
    for (list, slots) in slots.iter().enumerate() {
        slots.iter().for_each(|slot| places[slot.value] = (list, slot.coefficient));
    }
    let of_stretch = |mut lists: Vec<Vec<Slot>>| {
        let mut at = Vec::new();
        for slot in lists.iter_mut().flatten() {
            at.push(places[slot.value]);
            slot.value = at.len() - 1;
        }
        let values = levels.iter().map(|rows| engine.extract(rows, &at));
        let values = values.collect::<fhe_core::Result<Vec<_>>>()?;
        let picks = (0..at.len()).flat_map(|i| (0..levels.len()).map(move |level| (level, i)));
        let values =
            engine.gather(&values.iter().collect::<Vec<_>>(), &picks.collect::<Vec<_>>())?;
        Ok(engine.promote(&values, levels.len(), &lists)?)
    };
    stretches.into_iter().map(of_stretch).collect()
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
