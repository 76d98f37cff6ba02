//! Training of networks with public weights, in the clear: `infer_bnn` evaluates them on encrypted
//! images.
//!
//! This is a package of its own because it alone needs candle. No other program waits for that to
//! be built.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use fhe_data::Split;
use fhe_examples::bnn::Recipe;

use crate::evaluation::Evaluation;
use crate::model::Model;

mod checkpoint;
mod evaluation;
mod images;
mod model;
mod ops;
mod training;

/// One training: what is trained, how, from where, and where its weights go.
#[derive(Clone, Debug)]
pub struct Job {
    /// The network and its training.
    pub recipe: Recipe,
    /// Seed of the first weights, of the order of the images and of their changes.
    pub seed: u64,
    /// A checkpoint of another training to begin with.
    pub from: Option<PathBuf>,
    /// The file of the integer weights. The latent ones lie beside it, so that an interrupted
    /// training goes on.
    pub out: PathBuf,
}

impl Job {
    /// Trains, writes the integer weights, and returns the share of the test images that they
    /// classify rightly.
    ///
    /// # Errors
    /// If the images are not the network's, a checkpoint is of another network, or a file cannot be
    /// written.
    pub fn run(&self, data: &Split) -> Result<f64> {
        let recipe = &self.recipe;
        let (takes, shape) = (recipe.network.input, data.train.shape());
        ensure!(
            takes.len() == shape.bytes(),
            "the network takes images of {takes}, these are {shape}"
        );
        let model = Model::new(&recipe.network, self.seed)?;
        let checkpoint = self.out.with_extension("latent.safetensors");
        let first = match &self.from {
            _ if checkpoint.exists() => checkpoint::resume(&model, &checkpoint)?,
            Some(other) => checkpoint::begin_with(&model, other)?,
            None => 0,
        };
        let Evaluation { moments, right, .. } =
            training::train(&model, recipe, data, self.seed, first, &checkpoint)?;
        let weights = model.weights(&moments)?;
        let config = model.config(&weights, &moments, recipe.training.range);
        fhe_nn::public::write(&self.out, &config, &weights)?;
        Ok(right)
    }
}
