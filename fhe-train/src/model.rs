//! Whatever is being trained.

use fhe_core::{Engine, List};

use crate::{HeadTraining, NetworkTraining, Recipe, Result, Source, Work};

/// A model in training.
#[derive(Debug)]
pub enum Model<E: Engine> {
    /// One dense layer.
    Head(HeadTraining<E>),
    /// A network.
    Deep(Box<NetworkTraining<E>>),
}

impl<E: Engine> Model<E> {
    /// Starts from public weights.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`].
    pub fn new(engine: &E, recipe: &Recipe) -> Result<Self> {
        Ok(match recipe {
            Recipe::Head(recipe) => Self::Head(HeadTraining::new(engine, recipe)?),
            Recipe::Deep(recipe) => Self::Deep(Box::new(NetworkTraining::new(engine, recipe)?)),
        })
    }

    /// Goes on from the rows and values of [`Model::parts`], each kind in one list, as they were
    /// after `step` steps and `part` parts of the next one.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`]; [`fhe_core::Error::Index`] if there are
    /// fewer rows or values than [`Recipe::sizes`] says.
    pub fn resume(
        engine: &E,
        recipe: &Recipe,
        (rows, values): (E::Rows, &E::Values),
        step: usize,
        part: usize,
    ) -> Result<Self> {
        Ok(match recipe {
            Recipe::Head(recipe) => Self::Head(HeadTraining::resume(recipe, rows, step)?),
            Recipe::Deep(recipe) => Self::Deep(Box::new(NetworkTraining::resume(
                engine, recipe, &rows, values, step, part,
            )?)),
        })
    }

    /// Returns lists of rows and lists of values: the weights and biases, and inside a step what
    /// else has to be saved of it. See [`NetworkTraining::parts`].
    #[must_use]
    pub fn parts(&self) -> (Vec<&E::Rows>, Vec<&E::Values>) {
        match self {
            Self::Head(head) => (vec![head.layer().weights()], Vec::new()),
            Self::Deep(deep) => deep.parts(),
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

    /// Returns the number of parts made of the step that has begun; 0 between two steps.
    #[must_use]
    pub fn part(&self) -> usize {
        match self {
            Self::Head(_) => 0,
            Self::Deep(deep) => deep.part(),
        }
    }

    /// Trains on the mini-batch of the next step, or on what is left of it.
    ///
    /// # Errors
    /// Those of the source and the engine.
    pub fn train_step(&mut self, engine: &E, source: &impl Source<E>) -> Result<Work> {
        match self {
            Self::Head(head) => head.train_step(engine, source),
            Self::Deep(deep) => deep.train_step(engine, source),
        }
    }

    /// Trains on the next part of a mini-batch: a sub-batch of a network, all of it for a head.
    /// After each part the training can be saved, and resumed without a difference in the result.
    ///
    /// # Errors
    /// Those of [`HeadTraining::train_step`] and of [`NetworkTraining::train_part`].
    pub fn train_part(&mut self, engine: &E, source: &impl Source<E>) -> Result<Work> {
        match self {
            Self::Head(head) => head.train_step(engine, source),
            Self::Deep(deep) => deep.train_part(engine, source),
        }
    }

    /// Returns the model as it is used: see [`NetworkTraining::finished`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn finished(self, engine: &E) -> Result<Self> {
        match self {
            Self::Head(head) => Ok(Self::Head(head)),
            Self::Deep(deep) => Ok(Self::Deep(Box::new(deep.finished(engine)?))),
        }
    }

    /// Returns the scores of samples, a value a class, sample after sample. A model in training is
    /// to be [finished](Model::finished) before.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn scores(&self, engine: &E, x: &E::Selectors) -> Result<E::Values> {
        self.scores_in_groups(engine, x, x.len())
    }

    /// [`Model::scores`] with so many samples at a time, at least one: a network holds what is
    /// between its layers for these alone. The scores are the same, bit for bit, where each value
    /// is looked up by itself. A linear classifier holds nothing but scores, and takes all samples
    /// at a time.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn scores_in_groups(
        &self,
        engine: &E,
        x: &E::Selectors,
        group: usize,
    ) -> Result<E::Values> {
        let network = match self {
            Self::Head(head) => return Ok(head.layer().forward(engine, x)?),
            Self::Deep(deep) => deep.network(),
        };
        let (len, group) = (x.len(), group.max(1));
        let mut lists = Vec::with_capacity(len.div_ceil(group));
        for first in (0..len).step_by(group) {
            let samples = first..first.saturating_add(group).min(len);
            lists.push(network.forward(engine, x, samples)?.scores);
        }
        let lists: Vec<&E::Values> = lists.iter().collect();
        let picks =
            |(list, scores): (usize, &&E::Values)| (0..scores.len()).map(move |i| (list, i));
        let picks: Vec<(usize, usize)> = lists.iter().enumerate().flat_map(picks).collect();
        Ok(engine.gather(&lists, &picks)?)
    }
}
