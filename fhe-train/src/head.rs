//! The trained head: features -> dense -> one-vs-all logistic loss.

use fhe_core::store::ValueLayout;
use fhe_core::{Clear, Engine, List, Params};
use fhe_nn::{Dense, OutputErrors};

use crate::ranks::{Alone, Ranks};
use crate::source::check_batch;
use crate::{Error, HeadRecipe, OneVsAll, Result, Source, Work};

/// Lookups of a unit of work that are made one at a time.
const SINGLE: usize = 64;

/// A head in training.
pub struct HeadTraining<E: Engine> {
    recipe: HeadRecipe,
    layer: Dense<E>,
    step: usize,
}

impl<E: Engine> std::fmt::Debug for HeadTraining<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeadTraining").field("step", &self.step).finish_non_exhaustive()
    }
}

impl<E: Engine> HeadTraining<E> {
    /// Starts from zero weights.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`].
    pub fn new(engine: &E, recipe: &HeadRecipe) -> Result<Self> {
        recipe.check()?;
        let layer = Dense::zeros(engine, recipe.classes);
        Ok(Self { recipe: recipe.clone(), layer, step: 0 })
    }

    /// Goes on from saved weights, a row a class.
    ///
    /// # Errors
    /// [`Error::Recipe`]; [`Error::Data`] if there are more or fewer rows.
    pub fn resume(recipe: &HeadRecipe, weights: E::Rows, step: usize) -> Result<Self> {
        recipe.check()?;
        let (got, classes) = (weights.len(), recipe.classes);
        if got != classes {
            let (op, what) = ("resuming", "the number of rows of weights");
            return Err(Error::Data { op, what, got, expected: format!("{classes}, one a class") });
        }
        Ok(Self { recipe: recipe.clone(), layer: Dense::from_weights(weights), step })
    }

    /// Returns the number of steps made.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Returns the recipe.
    #[must_use]
    pub fn recipe(&self) -> &HeadRecipe {
        &self.recipe
    }

    /// Returns the layer.
    #[must_use]
    pub fn layer(&self) -> &Dense<E> {
        &self.layer
    }

    /// Returns the logits, `z_k = <w_k, x> + bias`: a value a class, sample after sample.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn scores(&self, engine: &E, x: &E::Selectors) -> Result<E::Values> {
        let mut z = self.layer.forward(engine, x)?;
        let bias = self.recipe.bias_phase();
        if bias != 0 {
            engine.shift_values(&mut z, |_| bias);
        }
        Ok(z)
    }

    /// Makes one step of stochastic gradient descent on mini-batch `step mod batches`:
    /// `w_k -= sum_i A (sigmoid(<w_k, x_i>) - y_ik) x_i`.
    ///
    /// # Cost
    /// `samples * classes` lookups.
    ///
    /// # Errors
    /// Those of the source and the engine.
    pub fn train_step(&mut self, engine: &E, source: &impl Source<E>) -> Result<Work> {
        self.train_step_among(engine, source, &Alone)
    }

    /// [`HeadTraining::train_step`] among ranks: each takes units of the mini-batch, and all have
    /// the same weights afterwards.
    ///
    /// # Errors
    /// Those of the source, the engine and the ranks.
    pub(crate) fn train_step_among(
        &mut self,
        engine: &E,
        source: &impl Source<E>,
        ranks: &dyn Ranks<E>,
    ) -> Result<Work> {
        let (classes, steps) = (self.recipe.classes, source.batches() * self.recipe.passes);
        let mini_batch = source.batch(engine, self.step)?;
        let samples = mini_batch.samples;
        check_batch(source, samples)?;
        mini_batch.check(engine, classes)?;
        let loss = OneVsAll { logit_range: self.recipe.logit_range };
        let amplitude = self.recipe.amplitude(self.step, steps);
        let unit = unit(engine.params(), classes);
        let mut update = engine.zero_rows(classes);
        for (index, first) in (0..samples).step_by(unit).enumerate() {
            if !ranks.takes(index) {
                continue;
            }
            let range = first..samples.min(first.saturating_add(unit));
            let part = match range.len() < samples {
                true => {
                    Some(engine.gather_selectors(&mini_batch.x, &Vec::from_iter(range.clone()))?)
                }
                false => None,
            };
            let x = part.as_ref().unwrap_or(&mini_batch.x);
            let z = self.scores(engine, x)?;
            let errors = loss.error(engine, &z, (&mini_batch, range), amplitude)?;
            drop(z);
            let gradient = self.layer.weight_gradient(engine, x, &errors)?;
            engine.add_scaled_rows(&mut update, &gradient, 1)?;
        }
        ranks.sum_rows(&mut update)?;
        self.layer.subtract(engine, &update)?;
        self.step += 1;
        Ok(Work { samples, lookups: samples * classes })
    }
}

/// Returns the samples of a unit of work, which goes to one rank: whole batches of lookups, as what
/// is looked up together shares its noise; or else some lookups, whose number changes nothing.
pub(crate) fn unit(params: &Params, classes: usize) -> usize {
    match OutputErrors::<Clear>::are_in_rows(params) {
        true => ValueLayout::new(params, usize::MAX, classes).unit(),
        false => (SINGLE / classes.max(1)).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_of_work_has_whole_batches_or_some_lookups() {
        let single = Params::toy_insecure().unwrap();
        for (classes, samples) in [(0, 64), (1, 64), (10, 6), (64, 1), (65, 1)] {
            assert_eq!(unit(&single, classes), samples, "{classes} classes");
        }
        // A batch looks up 65,536 values.
        assert_eq!(unit(&Params::secure128_head_v3().unwrap(), 1000), 65);
    }
}
