//! Whatever is being trained.

use fhe_core::{Engine, List};

use crate::{Deep, Head, Recipe, Result, Source};

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Samples it saw.
    pub samples: usize,
    /// Lookups it made.
    pub lookups: usize,
}

/// A model in training.
#[derive(Debug)]
pub enum Model<E: Engine> {
    /// One dense layer.
    Head(Head<E>),
    /// A network.
    Deep(Deep<E>),
}

impl<E: Engine> Model<E> {
    /// Starts from public weights.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`].
    pub fn new(engine: &E, recipe: &Recipe) -> Result<Self> {
        Ok(match recipe {
            Recipe::Head(recipe) => Self::Head(Head::new(engine, recipe)?),
            Recipe::Deep(recipe) => Self::Deep(Deep::new(engine, recipe)?),
        })
    }

    /// Goes on from the rows and values of [`Model::parts`], each kind in one list.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`].
    pub fn resume(
        engine: &E,
        recipe: &Recipe,
        (rows, values): (E::Rows, &E::Values),
        step: usize,
    ) -> Result<Self> {
        Ok(match recipe {
            Recipe::Head(recipe) => Self::Head(Head::resume(recipe, rows, step)?),
            Recipe::Deep(recipe) => Self::Deep(Deep::resume(engine, recipe, &rows, values, step)?),
        })
    }

    /// Returns the weights: lists of rows, and lists of values.
    #[must_use]
    pub fn parts(&self) -> (Vec<&E::Rows>, Vec<&E::Values>) {
        match self {
            Self::Head(head) => (vec![head.layer().weights()], Vec::new()),
            Self::Deep(deep) => {
                let layers = deep.network().layers();
                let rows = layers.iter().flat_map(|layer| layer.weights()).collect();
                (rows, layers.iter().map(|layer| layer.bias()).collect())
            }
        }
    }

    /// Returns the number of steps made.
    #[must_use]
    pub fn step(&self) -> usize {
        match self {
            Self::Head(head) => head.step(),
            Self::Deep(deep) => deep.step(),
        }
    }

    /// Trains on the next mini-batch.
    ///
    /// # Errors
    /// Those of the source and the engine.
    pub fn train_step(&mut self, engine: &E, source: &impl Source<E>) -> Result<Work> {
        match self {
            Self::Head(head) => head.train_step(engine, source),
            Self::Deep(deep) => deep.train_step(engine, source),
        }
    }

    /// Returns the model as it is used: see [`Deep::finished`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn finished(self, engine: &E) -> Result<Self> {
        match self {
            Self::Head(head) => Ok(Self::Head(head)),
            Self::Deep(deep) => Ok(Self::Deep(deep.finished(engine)?)),
        }
    }

    /// Returns the scores of samples, a value a class, sample after sample. A model in training is to be
    /// [finished](Model::finished) before.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn scores(&self, engine: &E, x: &E::Selectors) -> Result<E::Values> {
        match self {
            Self::Head(head) => Ok(head.layer().forward(engine, x)?),
            Self::Deep(deep) => {
                let samples = 0..x.len();
                Ok(deep.network().forward(engine, x, samples)?.scores)
            }
        }
    }
}
