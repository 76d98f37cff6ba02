//! Where mini-batches come from.

use fhe_core::engine::clear;
use fhe_core::engine::meter::{Metered, MeteredSelectors};
use fhe_core::{Clear, Engine, Meter, Params};

use crate::samples::Samples;
use crate::{OneVsAll, Recipe, Result};

/// Where mini-batches come from: selectors of the features, and a label value for each class.
pub trait Source<E: Engine> {
    /// Returns the number of mini-batches of one pass.
    fn batches(&self) -> usize;

    /// Returns the number of samples of a mini-batch; the last one may have fewer.
    fn batch_size(&self) -> usize;

    /// Returns the mini-batch of a step, from 0 on; after the last one comes the first one.
    ///
    /// # Errors
    /// Those of the data.
    fn batch(&self, engine: &E, step: usize) -> Result<(E::Selectors, E::Values)>;
}

/// Features and labels in the clear, for the twin.
#[derive(Clone, Debug)]
pub struct ClearSource {
    /// Samples of a mini-batch.
    pub batch: usize,
    /// Number of classes.
    pub classes: usize,
    /// Times that each sample is there, one copy of all after the other; a pass takes one copy.
    pub copies: usize,
    /// Features of each sample, N integers.
    pub features: Vec<Vec<i32>>,
    /// Class of each sample.
    pub labels: Vec<u32>,
    /// [`crate::Recipe::label_log2`].
    pub label_log2: i32,
}

impl ClearSource {
    /// Takes samples that fit a recipe, in mini-batches of `batch`.
    pub(crate) fn new(
        params: &Params,
        recipe: &Recipe,
        data: &Samples<'_>,
        batch: usize,
    ) -> Result<Self> {
        data.check_batches(recipe, batch)?;
        Ok(Self {
            batch,
            classes: recipe.classes(),
            copies: recipe.copies(),
            features: (0..data.len()).map(|i| data.polynomial(i, params.row_size)).collect(),
            labels: data.labels.to_vec(),
            label_log2: recipe.label_log2(),
        })
    }

    /// Returns the label values of one sample, a class each.
    #[must_use]
    pub fn label_values(label: u32, classes: usize, log2: i32) -> Vec<u64> {
        (0..classes).map(|k| OneVsAll::label(k == label as usize, log2)).collect()
    }
}

impl Source<Clear> for ClearSource {
    fn batches(&self) -> usize {
        self.features.len().div_ceil(self.batch) / self.copies
    }

    fn batch_size(&self) -> usize {
        self.batch
    }

    fn batch(&self, engine: &Clear, step: usize) -> Result<(clear::Selectors, Vec<u64>)> {
        let index = step % self.features.len().div_ceil(self.batch);
        let range = index * self.batch..((index + 1) * self.batch).min(self.features.len());
        let labels = self.labels[range.clone()]
            .iter()
            .flat_map(|&label| Self::label_values(label, self.classes, self.label_log2))
            .collect();
        Ok((engine.selectors(self.features[range].to_vec()), labels))
    }
}

/// What is public about a data set, for the price of a training.
#[derive(Clone, Copy, Debug)]
pub struct ShapeSource {
    /// Number of samples of a pass.
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

    fn batch_size(&self) -> usize {
        self.batch
    }

    fn batch(&self, engine: &Meter, step: usize) -> Result<(MeteredSelectors, Metered)> {
        let index = step % Source::<Meter>::batches(self);
        let len = self.batch.min(self.samples - index * self.batch);
        let x = engine.fresh_selectors(len, self.squared_norm);
        Ok((x, engine.fresh(len * self.classes)))
    }
}

impl Source<fhe_core::Cpu> for fhe_core::store::Dataset {
    fn batches(&self) -> usize {
        self.batches() / self.shape().copies
    }

    fn batch_size(&self) -> usize {
        self.shape().batch
    }

    fn batch(
        &self,
        engine: &fhe_core::Cpu,
        step: usize,
    ) -> Result<(fhe_core::engine::cpu::Selectors, fhe_core::engine::cpu::Values)> {
        Ok(self.batch(engine, step % self.batches())?)
    }
}
