//! What a model is worth at one point of its training.

use std::fmt;

use anyhow::Result;
use candle_core::Tensor;
use fhe_core::Params;
use fhe_data::ImageSet;
use fhe_examples::bnn::{Recipe, integers};
use fhe_nn::public::client::decide;
use fhe_nn::public::{LayerWeights, PublicNetwork, PublicNetworkConfig};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::images::{Change, inputs, labels};
use crate::model::Model;
use crate::ops::{Moments, Noise};

/// What a model is worth at one point of its training.
pub(crate) struct Evaluation {
    pub(crate) moments: Vec<Moments>,
    /// Share of the test images that it classifies rightly, before its numbers are rounded.
    right: f64,
    /// If the recipe trains with it: the noise with which an encrypted inference would read the
    /// pre-activations.
    pub(crate) noise: Option<Noise>,
    /// Share of the test images with that noise.
    right_with_noise: Option<f64>,
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "test {:.4}", self.right)?;
        self.right_with_noise.map_or(Ok(()), |right| write!(f, ", with noise {right:.4}"))
    }
}

pub(crate) fn evaluate(
    model: &Model,
    recipe: &Recipe,
    data: &fhe_data::Split,
) -> Result<Evaluation> {
    let moments = moments_of(model, recipe, &data.train)?;
    let noise = match recipe.training.noise {
        true => Some(noise_of(model, recipe, &moments)?),
        false => None,
    };
    let right = |noise| accuracy(model, recipe, &data.test, &moments, noise);
    let (right, right_with_noise) =
        (right(None)?, noise.as_ref().map(|noise| right(Some(noise))).transpose()?);
    Ok(Evaluation { moments, right, noise, right_with_noise })
}

/// Returns the share of images that an integer network classifies rightly: what `infer_bnn --clear`
/// says of its file. It may differ from that of the model, whose last biases are not rounded.
pub(crate) fn exact(
    config: &PublicNetworkConfig,
    weights: Vec<LayerWeights>,
    images: &ImageSet,
) -> Result<f64> {
    let network = PublicNetwork::new(config, weights, Params::secure128_bnn()?.row_size)?;
    let right = |i: usize| -> Result<bool> {
        let scores = network.exact_scores(integers(config, images, i..i + 1)?.view())?;
        Ok(images.label(i) == Some(u32::try_from(decide(scores.view())[0])?))
    };
    let right = (0..images.len()).into_par_iter().map(right).collect::<Result<Vec<bool>>>()?;
    Ok(right.iter().filter(|&&right| right).count() as f64 / images.len() as f64)
}

/// Returns the noise with which an encrypted inference would read the pre-activations.
fn noise_of(model: &Model, recipe: &Recipe, moments: &[Moments]) -> Result<Noise> {
    let weights = model.weights(moments)?;
    let config = model.config(&weights, moments, recipe.training.range);
    let params = Params::secure128_bnn()?;
    let summary = PublicNetwork::new(&config, weights, params.row_size)?.summary(&params, 1)?;
    let deviations = summary.layers.iter().map(|layer| layer.noise).collect();
    Ok(Noise::new(deviations))
}

/// Returns the mean of the moments of 40 batches of unchanged images.
fn moments_of(model: &Model, recipe: &Recipe, images: &ImageSet) -> Result<Vec<Moments>> {
    const BATCHES: usize = 40;
    let size = recipe.training.batch;
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
    let mut mean: Vec<Moments> = Vec::new();
    let batches = order.chunks_exact(size).take(BATCHES);
    let count = batches.len() as f32;
    for batch in batches {
        let unchanged = vec![Change::default(); size];
        let (_, seen) = model.forward(&inputs(recipe, images, batch, &unchanged)?, None, None)?;
        if mean.is_empty() {
            let zeros = |m: &Moments| vec![0.0; m.means.len()];
            mean = seen.iter().map(|m| Moments { means: zeros(m), stds: zeros(m) }).collect();
        }
        for (mean, seen) in mean.iter_mut().zip(&seen) {
            mean.means.iter_mut().zip(&seen.means).for_each(|(mean, m)| *mean += m / count);
            mean.stds.iter_mut().zip(&seen.stds).for_each(|(mean, s)| *mean += s / count);
        }
    }
    Ok(mean)
}

/// Returns the share of images that the model classifies rightly, with noise if there is any.
fn accuracy(
    model: &Model,
    recipe: &Recipe,
    images: &ImageSet,
    moments: &[Moments],
    noise: Option<&Noise>,
) -> Result<f64> {
    let order: Vec<usize> = (0..images.len()).collect();
    let mut right = 0;
    let mirrors = if recipe.network.mirrored { &[false, true][..] } else { &[false] };
    for batch in order.chunks(500) {
        let y = labels(images, batch)?;
        let logits = mirrors.iter().map(|&mirror| {
            let changes = vec![Change { mirror, ..Change::default() }; batch.len()];
            let noise =
                noise.map(|noise| noise.with_seed((batch[0] << 1 | usize::from(mirror)) as u64));
            let x = inputs(recipe, images, batch, &changes)?;
            Ok(model.forward(&x, Some(moments), noise.as_ref())?.0)
        });
        let logits = logits.collect::<Result<Vec<Tensor>>>()?;
        let logits = Tensor::stack(&logits, 0)?.sum(0)?;
        let found = logits.argmax(1)?.eq(&y)?.to_vec1::<u8>()?;
        right += found.iter().filter(|&&hit| hit == 1).count();
    }
    Ok(right as f64 / images.len() as f64)
}
