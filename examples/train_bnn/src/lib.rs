//! Training of networks with public weights, in the clear: `infer_bnn` evaluates them on encrypted
//! images.
//!
//! This is a package of its own because it alone needs candle. No other program waits for that to
//! be built.

use std::path::PathBuf;

use anyhow::Result;
use fhe_data::Split;
use fhe_examples::bnn::Recipe;

use crate::evaluation::Evaluation;
use crate::model::Model;
use crate::training::Run;

mod adam;
mod checkpoint;
mod checks;
mod evaluation;
mod images;
mod model;
mod ops;
mod origin;
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
    /// If the images or their classes are not the network's, a setting of the training is out of
    /// bounds, a checkpoint is of another training, or a file cannot be written.
    pub fn run(&self, data: &Split) -> Result<f64> {
        let recipe = &self.recipe;
        checks::check(recipe, data)?;
        let model = Model::new(&recipe.network, self.seed)?;
        let checkpoint = self.out.with_extension("latent.safetensors");
        let run = Run {
            recipe,
            data,
            seed: self.seed,
            from: self.from.as_deref(),
            checkpoint: &checkpoint,
        };
        let Evaluation { moments, .. } = training::train(&model, &run)?;
        let weights = model.weights(&moments)?;
        let config = model.config(&weights, &moments, recipe.training.range);
        fhe_nn::public::write(&self.out, &config, &weights)?;
        evaluation::exact(&config, weights, &data.test)
    }
}
