//! Gradient descent on the latent weights.

use std::path::Path;

use anyhow::{Result, ensure};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use fhe_data::Split;
use fhe_examples::bnn::Recipe;
use fhe_examples::{output, progress};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

use crate::checkpoint::save;
use crate::evaluation::{Evaluation, evaluate};
use crate::images::{Change, inputs, labels};
use crate::model::Model;

/// Trains from epoch `first` on, and writes the latent weights after each.
pub(crate) fn train(
    model: &Model,
    recipe: &Recipe,
    data: &Split,
    seed: u64,
    first: usize,
    checkpoint: &Path,
) -> Result<Evaluation> {
    let training = &recipe.training;
    let images = data.train.len();
    ensure!(
        images >= training.batch,
        "{images} images: expected at least a batch, {}",
        training.batch
    );
    let steps = images / training.batch;
    let all = (steps * training.epochs) as f64;
    let variables = model.variables().into_iter().map(|(_, v)| v).collect();
    let settings = ParamsAdamW { lr: training.rate, weight_decay: 0.0, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(variables, settings)?;
    let mut found = evaluate(model, recipe, data)?;
    for epoch in first..training.epochs {
        let mut random = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(1000) + epoch as u64);
        let mut order: Vec<usize> = (0..images).collect();
        order.shuffle(&mut random);
        let bar = progress::bar(&format!("epoch {}", epoch + 1), steps as u64, "steps");
        let mut total = 0.0;
        for (step, batch) in order.chunks_exact(training.batch).enumerate() {
            let done = (epoch * steps + step) as f64 / all;
            // A cosine from the rate to zero, after a rise of a fiftieth of the steps.
            let rise = (done * 50.0 + 1.0 / all).min(1.0);
            optimizer.set_learning_rate(
                training.rate * rise * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            );
            let changes: Vec<Change> =
                batch.iter().map(|_| Change::draw(training, &mut random)).collect();
            let (x, y) =
                (inputs(recipe, &data.train, batch, &changes)?, labels(&data.train, batch)?);
            let noise = found.noise.as_ref().map(|noise| noise.with_seed(random.random()));
            let (logits, _) = model.forward(&x, None, noise.as_ref())?;
            let loss = candle_nn::loss::cross_entropy(&logits, &y)?;
            optimizer.backward_step(&loss)?;
            model.clamp()?;
            total += f64::from(loss.to_scalar::<f32>()?);
            bar.inc(1);
        }
        bar.finish();
        save(model, checkpoint, epoch + 1)?;
        found = evaluate(model, recipe, data)?;
        let loss = total / steps as f64;
        output::note(format!("epoch {}: loss {loss:.4}, {found}", epoch + 1))?;
    }
    Ok(found)
}
