//! The two parties in one process. What goes between them is a query and its scores.

use std::time::Instant;

use anyhow::Result;
use fhe_core::client::ClientKey;
use fhe_core::{Cpu, Params, Seed};
use fhe_examples::progress;
use fhe_nn::public::{PublicNetwork, PublicSummary, client};
use ndarray::{Array1, ArrayView2};

/// A client with its key, a server with the evaluation keys, and the network that both know.
pub(crate) struct Parties<'a> {
    key: ClientKey,
    pub(crate) engine: Cpu,
    pub(crate) network: &'a PublicNetwork,
    pub(crate) summary: &'a PublicSummary,
}

impl<'a> Parties<'a> {
    /// Makes the keys.
    pub(crate) fn new(
        params: &Params,
        network: &'a PublicNetwork,
        summary: &'a PublicSummary,
    ) -> Self {
        let key = ClientKey::new(params, Seed::random());
        let engine = Cpu::new(&key.evaluation_keys());
        Self { key, engine, network, summary }
    }

    /// Returns the class of one image, and the seconds of the server's part, which a bar shows.
    pub(crate) fn one(&self, image: ArrayView2<'_, i64>) -> Result<(usize, f64)> {
        let bar = progress::bar("on the server", self.summary.list.price.lookups, "lookups");
        let passes = self.network.config().passes() as u64;
        let done = |i: usize| bar.inc(self.summary.layers[i].lookups / passes);
        let (classes, seconds) = self.classify(image, done)?;
        bar.finish();
        Ok((classes[0], seconds))
    }

    /// Returns the classes of images, and the seconds of the server's part. Calls `done(i)` after
    /// layer i.
    pub(crate) fn classify(
        &self,
        images: ArrayView2<'_, i64>,
        done: impl Fn(usize),
    ) -> Result<(Array1<usize>, f64)> {
        let query = client::encrypt(self.network, &self.key, images)?;
        let start = Instant::now();
        let scores = self.network.evaluate(&self.engine, &query, done)?;
        let seconds = start.elapsed().as_secs_f64();
        let scores = client::decrypt(self.network, &self.key, &scores)?;
        Ok((client::decide(scores.view()), seconds))
    }
}
