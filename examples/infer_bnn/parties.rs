//! The two parties: the client has the key, the server the network.

use std::time::Instant;

use anyhow::Result;
use fhe_core::client::ClientKey;
use fhe_core::engine::cpu::Values;
use fhe_core::store::EncryptedValues;
use fhe_core::{Cpu, Engine, from_torus, to_torus};
use fhe_examples::progress;
use fhe_nn::public::{PublicNetwork, PublicSummary};
use ndarray::ArrayView2;

/// What the client holds.
pub(crate) struct Client<'a> {
    pub(crate) key: ClientKey,
    pub(crate) network: &'a PublicNetwork,
}

impl Client<'_> {
    pub(crate) fn encrypt(&self, image: &[i64], purpose: &str) -> Result<EncryptedValues> {
        let unit = self.network.input_unit();
        let phases: Vec<u64> = image.iter().map(|&x| to_torus(x as f64 * unit)).collect();
        Ok(self.key.deterministic(purpose).encrypt_values(&phases, 0)?)
    }

    /// Returns the class of each image.
    pub(crate) fn decide(&self, scores: &Values, images: usize) -> Result<Vec<usize>> {
        let unit = self.network.score_unit();
        let scores: Vec<f64> =
            self.key.decrypt_values(scores)?.into_iter().map(|s| from_torus(s) / unit).collect();
        Ok(scores.chunks(scores.len() / images.max(1)).map(largest).collect())
    }
}

/// What the server holds: evaluation keys and public weights.
pub(crate) struct Server<'a> {
    pub(crate) engine: Cpu,
    pub(crate) network: &'a PublicNetwork,
}

impl Server<'_> {
    /// Calls `done(i)` after layer i.
    pub(crate) fn scores(
        &self,
        images: &[EncryptedValues],
        done: impl Fn(usize),
    ) -> Result<Values> {
        let opened: Vec<Values> =
            images.iter().map(|image| image.open(&self.engine)).collect::<Result<_, _>>()?;
        let dimension = self.engine.params().row_size;
        let values = Values::concat(dimension, &opened.iter().collect::<Vec<_>>());
        Ok(self.network.forward_watched(&self.engine, &values, images.len(), done)?)
    }
}

/// Returns the class that the exact twin decides on.
pub(crate) fn exactly(network: &PublicNetwork, image: &[i64]) -> Result<usize> {
    let scores = network.exact_scores(ArrayView2::from_shape((1, image.len()), image)?)?;
    Ok(largest(&scores.into_iter().collect::<Vec<i64>>()))
}

/// Returns the index of the largest score, of equal ones the first.
pub(crate) fn largest<T: PartialOrd + Copy>(scores: &[T]) -> usize {
    (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
}

/// Returns the class of one image, and the seconds of the server's part.
pub(crate) fn one(
    client: &Client<'_>,
    server: &Server<'_>,
    summary: &PublicSummary,
    image: &[i64],
) -> Result<(usize, f64)> {
    let query = client.encrypt(image, "query")?;
    let bar = progress::bar("on the server", summary.list.price.lookups, "lookups");
    let passes = server.network.config().passes() as u64;
    let start = Instant::now();
    let scores = server.scores(&[query], |i| bar.inc(summary.layers[i].lookups / passes))?;
    let seconds = start.elapsed().as_secs_f64();
    bar.finish();
    Ok((client.decide(&scores, 1)?[0], seconds))
}
