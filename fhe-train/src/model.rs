//! Whatever is being trained.

use fhe_core::{Engine, List};

use crate::ranks::{Alone, Ranks};
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

    /// Goes on from the rows of [`Model::parts`], in one list, as they were
    /// after `step` steps and `part` parts of the next one.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`]; [`fhe_core::Error::Index`] if there are
    /// fewer rows than [`Recipe::rows`] says.
    pub fn resume(
        engine: &E,
        recipe: &Recipe,
        rows: E::Rows,
        step: usize,
        part: usize,
    ) -> Result<Self> {
        Ok(match recipe {
            Recipe::Head(recipe) => Self::Head(HeadTraining::resume(recipe, rows, step)?),
            Recipe::Deep(recipe) => {
                Self::Deep(Box::new(NetworkTraining::resume(engine, recipe, &rows, step, part)?))
            }
        })
    }

    /// Returns lists of rows: the weights, and inside a step what else has to be saved of it. See
    /// [`NetworkTraining::parts`].
    #[must_use]
    pub fn parts(&self) -> Vec<&E::Rows> {
        match self {
            Self::Head(head) => vec![head.layer().weights()],
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

    /// Trains on the next part of a mini-batch: the samples of a network
    /// that lie side by side, or some times as many ([`crate::DeepRecipe::first_layer_every`]); all of
    /// it for a head.
    /// After each part the training can be saved, and resumed without a difference in the result.
    ///
    /// # Errors
    /// Those of [`HeadTraining::train_step`] and of [`NetworkTraining::train_part`].
    pub fn train_part(&mut self, engine: &E, source: &impl Source<E>) -> Result<Work> {
        self.train_part_among(engine, source, &Alone)
    }

    /// [`Model::train_part`] among ranks: each takes units of the work, and all have the same model
    /// afterwards. Returns the work of all.
    ///
    /// # Errors
    /// Those of [`Model::train_part`] and of the ranks.
    pub fn train_part_among(
        &mut self,
        engine: &E,
        source: &impl Source<E>,
        ranks: &dyn Ranks<E>,
    ) -> Result<Work> {
        match self {
            Self::Head(head) => head.train_step_among(engine, source, ranks),
            Self::Deep(deep) => deep.train_part_among(engine, source, ranks),
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

    /// Returns the scores of samples, a value a class, sample after sample. `x` is a selector a
    /// sample for a linear classifier, and for a network the polynomials of [`crate::Lanes`]. A
    /// model in training is to be [finished](Model::finished) before.
    ///
    /// # Errors
    /// Those of the engine; [`fhe_core::Error::Index`] if there are fewer selectors than the
    /// samples have.
    pub fn scores(&self, engine: &E, x: &E::Selectors, samples: usize) -> Result<E::Values> {
        let network = match self {
            Self::Head(head) => return head.scores(engine, x),
            Self::Deep(deep) => deep.network(),
        };
        let (plan, mut lists) = (network.plan(), Vec::new());
        for first in (0..samples).step_by(plan.lanes()) {
            let trace = network.forward(engine, x, first / plan.lanes() * plan.inputs())?;
            let count = plan.lanes().min(samples - first);
            lists.push(engine.extract(&trace.scores, &network.scores_at(count))?);
        }
        let lists: Vec<&E::Values> = lists.iter().collect();
        let picks =
            |(list, scores): (usize, &&E::Values)| (0..scores.len()).map(move |i| (list, i));
        let picks: Vec<(usize, usize)> = lists.iter().enumerate().flat_map(picks).collect();
        Ok(engine.gather(&lists, &picks)?)
    }
}
