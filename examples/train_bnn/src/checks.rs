//! What a training needs, before any work.

use anyhow::{Result, ensure};
use fhe_data::Split;
use fhe_examples::bnn::{Recipe, check_network};
use fhe_nn::public::PublicPlan;

/// Passes at most: a checkpoint counts them, and no training has nearly as many.
const MOST_EPOCHS: usize = 1_000_000;

/// Refuses what would fail later, or train nothing.
pub(crate) fn check(recipe: &Recipe, data: &Split) -> Result<()> {
    PublicPlan::new(&recipe.network)?;
    let shape = data.train.shape();
    check_network(&recipe.network, shape, data.class_names.len())?;
    let training = &recipe.training;
    let (images, batch) = (data.train.len(), training.batch);
    ensure!(
        (2..=images).contains(&batch),
        "training.batch is {batch}, expected 2 to {images}, the number of training images: \
         activations are normalised over a batch, and those of one image would all be the same"
    );
    ensure!(!data.test.is_empty(), "there are no test images to measure the accuracy on");
    let (rate, range) = (training.rate, training.range);
    ensure!(
        rate > 0.0 && rate <= 1.0,
        "training.rate is {rate}, expected a number above 0 and at most 1"
    );
    ensure!(
        range > 0.0 && range <= 1000.0,
        "training.range is {range}, expected a number above 0 and at most 1000"
    );
    let side = shape.height.max(shape.width);
    ensure!(
        training.shift <= side,
        "training.shift is {}, expected at most {side}, the side of an image",
        training.shift
    );
    ensure!(
        training.epochs <= MOST_EPOCHS,
        "training.epochs is {}, expected at most {MOST_EPOCHS}",
        training.epochs
    );
    Ok(())
}
