//! One training step on ciphertexts, beside its twins in the clear.

use anyhow::Result;
use fhe_core::engine::clear::Row;
use fhe_core::store::Dataset;
use fhe_core::{Clear, Cpu, Engine, List, Params, from_torus};
use fhe_nn::Conv2d;
use fhe_train::{ClearSource, MiniBatch, Model, Recipe, Source, Work};
use serde::{Deserialize, Serialize};

use crate::audit::{Audit, Findings};
use crate::results::published;

/// The encrypted mini-batches and what they are known to hold.
#[derive(Debug)]
pub struct AuditSource<'a> {
    /// What the server has.
    pub dataset: &'a Dataset,
    /// What the client encrypted.
    pub clear: &'a ClearSource,
}

impl<'a> Source<Audit<'a>> for AuditSource<'_> {
    fn batches(&self) -> usize {
        Source::<Cpu>::batches(self.dataset)
    }

    fn batch_size(&self) -> usize {
        self.dataset.shape().batch
    }

    fn batch(&self, engine: &Audit<'a>, step: usize) -> fhe_train::Result<MiniBatch<Audit<'a>>> {
        let encrypted = Source::<Cpu>::batch(self.dataset, engine.server(), step)?;
        let clear = self.clear.batch(&Clear::exact(engine.params()), step)?;
        let MiniBatch { samples, classes, x, labels } = encrypted;
        let x = engine.selectors(x, clear.x.integers);
        Ok(MiniBatch { samples, classes, x, labels: engine.decrypted(labels)? })
    }
}

/// Returns the weights of every layer as torus fractions, in the order output, channel, row,
/// column.
fn weights<E: Engine>(
    params: &Params,
    model: &Model<E>,
    plain: impl Fn(&E::Rows) -> &Vec<Row>,
) -> Result<Vec<Vec<f64>>> {
    // On ciphertexts each weight would be a value by itself.
    let clear = Clear::exact(params);
    let of = |rows: &E::Rows, at: &[(usize, usize)]| {
        Ok(clear.extract(plain(rows), at)?.into_iter().map(from_torus).collect())
    };
    match model {
        Model::Head(head) => {
            let rows = head.layer().weights();
            let inputs = head.recipe().inputs.unwrap_or(params.row_size);
            let at = (0..rows.len()).flat_map(|k| (0..inputs).map(move |i| (k, i)));
            Ok(vec![of(rows, &at.collect::<Vec<_>>())?])
        }
        Model::Deep(deep) => {
            let layers = deep.network().weighted().iter();
            let at = |layer: &Conv2d<E>| layer.geometry().weights_at().collect::<Vec<_>>();
            layers.map(|layer| of(layer.weights(), &at(layer))).collect()
        }
    }
}

/// What a step did to the weights of every layer, as torus fractions.
pub type Update = Vec<Vec<f64>>;

fn minus(x: Vec<Vec<f64>>, y: &[Vec<f64>]) -> Update {
    x.into_iter()
        .zip(y)
        .map(|(x, y)| x.iter().zip(y).map(|(x, y)| (x - y) - (x - y).round()).collect())
        .collect()
}

/// Makes `before` steps on ciphertexts and then one that is looked at; returns what that one did to
/// the weights.
///
/// # Errors
/// Those of the data and the engine.
pub fn audited(
    engine: &Audit<'_>,
    recipe: &Recipe,
    source: &AuditSource<'_>,
    before: usize,
) -> Result<(Work, Update)> {
    let mut model = Model::new(engine, recipe)?;
    for _ in 0..before {
        model.train_step(engine, source)?;
    }
    engine.forget();
    let before = weights(engine.params(), &model, |x| x.plain())?;
    let work = model.train_step(engine, source)?;
    Ok((work, minus(weights(engine.params(), &model, |x| x.plain())?, &before)))
}

/// Makes `before` steps in the clear and then one more; exact, or with noise from a seed. Returns
/// what that one did to the weights.
///
/// # Errors
/// Those of the data.
pub fn twin(
    params: &Params,
    recipe: &Recipe,
    source: &ClearSource,
    noise: Option<u64>,
    before: usize,
) -> Result<Update> {
    let engine = noise.map_or_else(|| Clear::exact(params), |seed| Clear::noisy(params, seed));
    let mut model = Model::new(&engine, recipe)?;
    for _ in 0..before {
        model.train_step(&engine, source)?;
    }
    let before = weights(engine.params(), &model, |x| x)?;
    model.train_step(&engine, source)?;
    Ok(minus(weights(engine.params(), &model, |x| x)?, &before))
}

/// Returns the correlation of two lists; 0 if one of them is constant.
#[must_use]
pub fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len().max(1) as f64;
    let (mx, my) = (mean(x), mean(y));
    let dot = |x: &[f64], mx: f64, y: &[f64], my: f64| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum()
    };
    let spread = (dot(x, mx, x, mx) * dot(y, my, y, my)).sqrt();
    if spread > 0.0 { dot(x, mx, y, my) / spread } else { 0.0 }
}

fn rms(x: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = x.len().max(1) as f64;
    (x.map(|x| x * x).sum::<f64>() / count).sqrt()
}

/// The update of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerUpdate {
    /// Name.
    pub name: String,
    /// Number of weights.
    pub weights: usize,
    /// Root mean square of the exact twin's update, as a fraction of the torus.
    pub update: f64,
    /// The same of what the encrypted update differs from it.
    pub measured_noise: f64,
    /// The same of what the twins with noise differ from it.
    pub predicted_noise: f64,
    /// Correlation of the encrypted update with the exact twin's.
    pub correlation: f64,
    /// The same of the twins with noise, their mean.
    pub predicted_correlation: f64,
}

impl LayerUpdate {
    /// Compares the updates of a layer.
    #[must_use]
    pub fn new(name: &str, encrypted: &[f64], exact: &[f64], noisy: &[&[f64]]) -> Self {
        let off = |x: &[f64]| rms(x.iter().zip(exact).map(|(x, y)| x - y));
        let mean = |f: &dyn Fn(&[f64]) -> f64| {
            noisy.iter().map(|x| f(x)).sum::<f64>() / noisy.len().max(1) as f64
        };
        Self {
            name: name.into(),
            weights: exact.len(),
            update: rms(exact.iter().copied()),
            measured_noise: published(off(encrypted)),
            predicted_noise: mean(&off),
            correlation: published(correlation(encrypted, exact)),
            predicted_correlation: mean(&|x| correlation(x, exact)),
        }
    }
}

/// A step as a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepResults {
    /// Encrypted images of the mini-batch.
    pub images: usize,
    /// Lookups.
    pub lookups: u64,
    /// Parameters that are trained.
    pub parameters: usize,
    /// Seconds of the server's moves.
    pub wall_seconds: f64,
    /// The same times threads, an image: updates of all weights included.
    #[serde(default)]
    pub core_seconds_per_image: f64,
    /// Wall time, predicted by the price list before the step.
    pub predicted_seconds: f64,
    /// Threads.
    pub threads: usize,
    /// Seconds of one raw key switch and bootstrap on one thread while all do the same, before and
    /// after.
    pub raw_seconds: f64,
    /// Wall time over lookups times raw bootstrapping cost over threads.
    pub efficiency: f64,
    /// Largest resident memory, decrypted copies included.
    pub peak_memory_bytes: u64,
    /// Name of the parameter set.
    pub parameter_set: String,
    /// Seed of the set-up.
    pub seed: u64,
    /// Whether anyone can derive the secret key; older files do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproducible_key: Option<bool>,
    /// Command.
    pub command: String,
    /// Commit.
    pub commit: String,
    /// Machine.
    pub machine: String,
    /// Name of the data set.
    pub dataset: String,
    /// Twins with noise.
    pub twins: u64,
    /// The layers.
    pub layers: Vec<LayerUpdate>,
    /// Noise and time of the moves.
    pub findings: Findings,
    /// The public recipe, as it was then.
    pub recipe: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_and_noise_are_those_of_the_definition() {
        let (x, y) = ([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0]);
        assert!((correlation(&x, &y) - 1.0).abs() < 1e-12);
        assert!((correlation(&x, &[4.0, 3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        let layer = LayerUpdate::new("l", &[0.0, 2.0, 3.0, 4.0], &x, &[&x, &y]);
        assert!((layer.measured_noise - 0.5).abs() < 1e-12);
        assert!((layer.predicted_noise - 0.5 * 7.5f64.sqrt()).abs() < 1e-12);
        assert!((layer.predicted_correlation - 1.0).abs() < 1e-12);
    }
}
