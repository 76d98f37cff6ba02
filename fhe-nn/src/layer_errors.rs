//! The errors of a layer, where its gradients take them.

use fhe_core::{Engine, IntegerTable, List, Outputs, Slot};

use crate::conv2d::GradientErrors;
use crate::promotable::finest_unit;
use crate::{Conv2d, Promotable, Result};

/// The errors of a layer in the forms in which the gradients of its weights and biases take them.
///
/// An error is an integer. In the gradient of the weights it comes times an amplitude, in that of
/// the biases times the unit of a promotion's finest level.
pub struct LayerErrors<E: Engine> {
    weights: GradientErrors<E>,
    finest: E::Values,
}

impl<E: Engine> std::fmt::Debug for LayerErrors<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LayerErrors(hidden)")
    }
}

impl<E: Engine> List for LayerErrors<E> {
    /// Returns the number of errors.
    fn len(&self) -> usize {
        self.finest.len()
    }
}

impl<E: Engine> LayerErrors<E> {
    /// Takes errors of `samples` samples that can be promoted; the value beside their levels is the
    /// error times the amplitude.
    ///
    /// # Cost
    /// That of [`Conv2d::gradient_errors`]; no lookup.
    ///
    /// # Errors
    /// Those of [`Engine::pack`].
    pub fn new(
        engine: &E,
        layer: &Conv2d<E>,
        errors: &Promotable<E>,
        samples: usize,
    ) -> Result<Self> {
        let weights = layer.gradient_errors(engine, errors.extra(engine)?, samples)?;
        Ok(Self { weights, finest: errors.finest(engine)? })
    }

    /// Looks errors of `samples` samples up, times an amplitude, and gives them as selectors in the
    /// lists `back` besides.
    ///
    /// # Cost
    /// That of [`Engine::lookup_into`]: one lookup a value.
    ///
    /// # Errors
    /// Those of [`Engine::lookup_into`].
    pub fn lookup(
        engine: &E,
        layer: &Conv2d<E>,
        (inputs, samples): (&E::Values, usize),
        (integers, amplitude): (IntegerTable, f64),
        back: Vec<Vec<Slot>>,
    ) -> Result<(E::Selectors, Self)> {
        let amplified = integers.times(amplitude);
        let finest = integers.times(finest_unit(engine.params())?);
        let slots = layer.gradient_slots(samples);
        let (rows, values) = match slots {
            Some(lists) => (vec![(amplified, lists)], vec![finest]),
            None => (Vec::new(), vec![finest, amplified]),
        };
        let in_rows = !rows.is_empty();
        let outputs = Outputs { selectors: Some((integers, back)), rows, values };
        let mut out = engine.lookup_into(inputs, &outputs)?;
        let finest = out.values()?;
        let weights = match in_rows {
            true => GradientErrors::Rows(out.rows()?),
            false => GradientErrors::Values(out.values()?),
        };
        Ok((out.selectors()?, Self { weights, finest }))
    }

    /// Returns the errors times their amplitude, as the gradient of the weights takes them.
    #[must_use]
    pub fn of_weights(&self) -> &GradientErrors<E> {
        &self.weights
    }

    /// Returns the errors at the finest level of a promotion, in the order sample, channel, row,
    /// column: what the gradient of the biases sums.
    #[must_use]
    pub fn finest(&self) -> &E::Values {
        &self.finest
    }
}
