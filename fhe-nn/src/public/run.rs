//! A network on its way through the layers, on any engine.

use fhe_core::{Engine, to_torus};

use super::config::Pool;
use super::network::{After, PublicNetwork};
use super::{Levels, Result, pool};

/// A network on its way through the layers.
pub(super) struct Run<'a, E: Engine> {
    pub(super) network: &'a PublicNetwork,
    pub(super) engine: &'a E,
    pub(super) samples: usize,
    /// Of each layer so far, the pre-activations if a later one adds them.
    pub(super) kept: Vec<Option<E::Values>>,
}

impl<E: Engine> Run<'_, E> {
    /// Returns the sums of layer i.
    pub(super) fn pre_activations(&mut self, i: usize, x: &E::Values) -> Result<E::Values> {
        let layers = &self.network.layers;
        let mut s = layers[i].conv.forward(self.engine, x, self.samples)?;
        if let Some(earlier) = layers[i].plan.residual.and_then(|j| self.kept[j].as_ref()) {
            self.engine.add_scaled_values(&mut s, earlier, 1)?;
        }
        let needed = layers.iter().any(|later| later.plan.residual == Some(i));
        self.kept.push(if needed { Some(self.engine.scaled_values(&s, 1)?) } else { None });
        Ok(s)
    }

    /// Returns the outputs of layer i: activations, or scores.
    pub(super) fn activate(&self, i: usize, mut s: E::Values) -> Result<E::Values> {
        let (engine, layer) = (self.engine, &self.network.layers[i]);
        let stairs = match &layer.after {
            After::Bias(bias) => {
                let bias = |i: usize| bias[i % bias.len()] as f64 * layer.unit;
                engine.shift_values(&mut s, |i| to_torus(bias(i)));
                return Ok(s);
            }
            After::Staircase(stairs) => stairs,
        };
        let (shape, next) = (layer.plan.activations, self.network.layers[i + 1].unit);
        match layer.pool {
            None => stairs.look_up(engine, s, layer.unit, next),
            Some(Pool::Sum(side)) => {
                let a = stairs.look_up(engine, s, layer.unit, next)?;
                pool::sums(engine, &a, shape, self.samples, side)
            }
            Some(Pool::Max(side)) => {
                // Around zero, as only an odd table reads signs from the whole torus.
                let bits = stairs.with_levels(Levels::SIGN);
                let bits = bits.look_up(engine, s, layer.unit, 0.5 * pool::bit_unit(side))?;
                let sizes = (shape, self.samples, side);
                pool::maxima(engine, &bits, sizes, stairs.levels(), next)
            }
        }
    }
}
