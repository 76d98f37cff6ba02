//! The trained head: features -> dense -> one-vs-all logistic loss.

use fhe_core::engine::clear;
use fhe_core::engine::meter::{Metered, MeteredSelectors, PriceList};
use fhe_core::{Clear, Engine, Meter, Params};
use fhe_nn::Dense;

use crate::{OneVsAll, Recipe, Result};

/// Where mini-batches come from: selectors of the features, and a label value for each class.
pub trait Source<E: Engine> {
    /// Returns the number of mini-batches of one pass.
    fn batches(&self) -> usize;

    /// Returns one mini-batch.
    ///
    /// # Errors
    /// Those of the data.
    fn batch(&self, engine: &E, index: usize) -> Result<(E::Selectors, E::Values)>;
}

/// A head in training.
pub struct Head<E: Engine> {
    recipe: Recipe,
    layer: Dense<E>,
    step: usize,
}

impl<E: Engine> std::fmt::Debug for Head<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head").field("step", &self.step).finish_non_exhaustive()
    }
}

impl<E: Engine> Head<E> {
    /// Starts from zero weights.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`].
    pub fn new(engine: &E, recipe: &Recipe) -> Result<Self> {
        recipe.check()?;
        let layer = Dense::zeros(engine, recipe.classes);
        Ok(Self { recipe: recipe.clone(), layer, step: 0 })
    }

    /// Goes on from saved weights.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`].
    pub fn resume(recipe: &Recipe, weights: E::Rows, step: usize) -> Result<Self> {
        recipe.check()?;
        Ok(Self { recipe: recipe.clone(), layer: Dense::from_weights(weights), step })
    }

    /// Returns the number of steps made.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Returns the layer.
    #[must_use]
    pub fn layer(&self) -> &Dense<E> {
        &self.layer
    }

    /// Makes one step of stochastic gradient descent on mini-batch `step mod batches`:
    /// `w_k -= sum_i A (sigmoid(<w_k, x_i>) - y_ik) x_i`.
    ///
    /// # Cost
    /// `samples * classes` lookups.
    ///
    /// # Errors
    /// Those of the source and the engine.
    pub fn train_step(&mut self, engine: &E, source: &impl Source<E>) -> Result<usize> {
        let steps = source.batches() * self.recipe.passes;
        let (x, labels) = source.batch(engine, self.step % source.batches())?;
        let z = self.layer.forward(engine, &x)?;
        let loss = OneVsAll { logit_range: self.recipe.logit_range };
        let amplitude = self.recipe.amplitude(self.step, steps);
        let errors = loss.error(engine, &z, &labels, amplitude)?;
        let update = self.layer.weight_gradient(engine, &x, &errors)?;
        self.layer.subtract(engine, &update)?;
        self.step += 1;
        Ok(engine.values_len(&errors))
    }
}

/// Features and labels in the clear, for the twin.
#[derive(Clone, Debug)]
pub struct ClearSource {
    /// Samples of a mini-batch.
    pub batch: usize,
    /// Number of classes.
    pub classes: usize,
    /// Features of each sample, N integers.
    pub features: Vec<Vec<i32>>,
    /// Class of each sample.
    pub labels: Vec<u8>,
}

impl ClearSource {
    /// Returns the label values of one sample, a class each.
    #[must_use]
    pub fn label_values(label: u8, classes: usize) -> Vec<u64> {
        (0..classes).map(|k| OneVsAll::label(k == usize::from(label))).collect()
    }
}

impl Source<Clear> for ClearSource {
    fn batches(&self) -> usize {
        self.features.len().div_ceil(self.batch)
    }

    fn batch(&self, engine: &Clear, index: usize) -> Result<(clear::Selectors, Vec<u64>)> {
        let range = index * self.batch..((index + 1) * self.batch).min(self.features.len());
        let labels = self.labels[range.clone()]
            .iter()
            .flat_map(|&label| Self::label_values(label, self.classes))
            .collect();
        Ok((engine.selectors(self.features[range].to_vec()), labels))
    }
}

/// What is public about a data set, for the price of a training.
#[derive(Clone, Copy, Debug)]
pub struct ShapeSource {
    /// Number of samples.
    pub samples: usize,
    /// Samples of a mini-batch.
    pub batch: usize,
    /// Number of classes.
    pub classes: usize,
    /// Mean sum of squares of a sample's features. The encoder aims at 5,000.
    pub squared_norm: f64,
}

impl Source<Meter> for ShapeSource {
    fn batches(&self) -> usize {
        self.samples.div_ceil(self.batch)
    }

    fn batch(&self, engine: &Meter, index: usize) -> Result<(MeteredSelectors, Metered)> {
        let len = self.batch.min(self.samples - index * self.batch);
        let x = engine.fresh_selectors(len, self.squared_norm);
        Ok((x, engine.fresh(len * self.classes)))
    }
}

impl ShapeSource {
    /// Returns the price of a whole training, with the noise that its weights gather. That training itself
    /// corrects a part of the noise is not counted.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`].
    pub fn price(&self, params: &Params, recipe: &Recipe) -> Result<PriceList> {
        let meter = Meter::new(params);
        let mut head = Head::new(&meter, recipe)?;
        for _ in 0..Source::<Meter>::batches(self) * recipe.passes {
            head.train_step(&meter, self)?;
        }
        Ok(meter.list())
    }
}

impl Source<fhe_core::Cpu> for fhe_core::store::Dataset {
    fn batches(&self) -> usize {
        self.batches()
    }

    fn batch(
        &self,
        engine: &fhe_core::Cpu,
        index: usize,
    ) -> Result<(fhe_core::engine::cpu::Selectors, fhe_core::engine::cpu::Values)> {
        Ok(self.batch(engine, index)?)
    }
}
