//! Gradient descent on the latent weights.

use std::path::Path;

use anyhow::{Result, ensure};
use fhe_data::Split;
use fhe_examples::bnn::Recipe;
use fhe_examples::{output, progress};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

use crate::adam::Adam;
use crate::checkpoint::{begin_with, resume, save};
use crate::evaluation::{Evaluation, evaluate};
use crate::images::{Change, inputs, labels};
use crate::model::Model;
use crate::origin::Origin;

/// What a training reads and writes.
pub(crate) struct Run<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) data: &'a Split,
    pub(crate) seed: u64,
    /// A checkpoint of another training to begin with.
    pub(crate) from: Option<&'a Path>,
    /// That of this training, which goes on if it is there.
    pub(crate) checkpoint: &'a Path,
}

/// Trains, and writes the latent weights after each epoch.
pub(crate) fn train(model: &Model, run: &Run<'_>) -> Result<Evaluation> {
    let &Run { recipe, data, seed, from, checkpoint } = run;
    let training = &recipe.training;
    let images = data.train.len();
    let steps = images / training.batch;
    let all = (steps * training.epochs) as f64;
    let origin = Origin::new(recipe, seed, &data.train, from)?;
    let mut adam = Adam::new(model.variables())?;
    let first = if checkpoint.exists() {
        resume((model, &mut adam), checkpoint, &origin, (training.epochs, steps))?
    } else {
        from.map_or(Ok(()), |other| begin_with(model, other))?;
        0
    };
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
            let rate = training.rate * rise * 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
            let changes: Vec<Change> =
                batch.iter().map(|_| Change::draw(training, &mut random)).collect();
            let (x, y) =
                (inputs(recipe, &data.train, batch, &changes)?, labels(&data.train, batch)?);
            let noise = found.noise.as_ref().map(|noise| noise.with_seed(random.random()));
            let (logits, _) = model.forward(&x, None, noise.as_ref())?;
            let loss = candle_nn::loss::cross_entropy(&logits, &y)?;
            adam.step(&loss.backward()?, rate)?;
            model.clamp()?;
            total += f64::from(loss.to_scalar::<f32>()?);
            ensure!(
                total.is_finite(),
                "epoch {}: the loss is no number any more: try a smaller rate than {}",
                epoch + 1,
                training.rate
            );
            bar.inc(1);
        }
        bar.finish();
        save((model, &adam), checkpoint, &origin, epoch + 1)?;
        found = evaluate(model, recipe, data)?;
        let loss = total / steps as f64;
        output::note(format!("epoch {}: loss {loss:.4}, {found}", epoch + 1))?;
    }
    Ok(found)
}
