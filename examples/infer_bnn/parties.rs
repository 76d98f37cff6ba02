//! The two parties in one process. What goes between them is a query and its scores.

use std::time::Instant;

use anyhow::Result;
use fhe_core::client::ClientKey;
use fhe_core::{Cpu, Engine, Params, Seed};
use fhe_examples::{memory, progress};
use fhe_nn::public::{PublicNetwork, PublicSummary, client};
use ndarray::{Array1, ArrayView2};

/// A client with its key, a server with the evaluation keys, and the network that both know.
pub(crate) struct Parties<'a> {
    key: ClientKey,
    pub(crate) engine: Cpu,
    pub(crate) network: &'a PublicNetwork,
    pub(crate) summary: &'a PublicSummary,
    /// Bytes for the values of images.
    memory: u64,
}

impl<'a> Parties<'a> {
    /// Makes the keys, if the memory for them is there.
    pub(crate) fn new(
        params: &Params,
        network: &'a PublicNetwork,
        summary: &'a PublicSummary,
        values: u64,
    ) -> Result<Self> {
        memory::ensure_room_for_keys(params)?;
        let key = ClientKey::new(params, Seed::random()?);
        let engine = Cpu::new(&key.evaluation_keys());
        Ok(Self { key, engine, network, summary, memory: values })
    }

    /// Returns the class of one image, and the seconds of the server's part, which a bar shows.
    pub(crate) fn one(&self, image: ArrayView2<'_, i64>) -> Result<(usize, f64)> {
        let bar = progress::bar("on the server", self.lookups(1), "lookups");
        let (classes, seconds) = self.classify(image, |lookups| bar.inc(lookups))?;
        bar.finish();
        Ok((classes[0], seconds))
    }

    /// Returns the classes of images, and the seconds of the server's part. Calls `done(lookups)`
    /// after so many more lookups.
    pub(crate) fn classify(
        &self,
        images: ArrayView2<'_, i64>,
        done: impl Fn(u64),
    ) -> Result<(Array1<usize>, f64)> {
        let passes = self.network.config().passes() as u64;
        let of_layer = |layer: usize| self.summary.layers[layer].lookups / passes;
        let done = |layer, images| done(of_layer(layer) * images as u64);
        let query = client::encrypt(self.network, &self.key, images)?;
        let start = Instant::now();
        let scores = self.network.evaluate_within(&self.engine, &query, self.memory, done)?;
        let seconds = start.elapsed().as_secs_f64();
        let scores = client::decrypt(self.network, &self.key, &scores)?;
        Ok((client::decide(scores.view()), seconds))
    }

    /// Returns the number of lookups of so many images.
    pub(crate) fn lookups(&self, images: usize) -> u64 {
        self.summary.lookups_of_image() * images as u64
    }

    /// Returns how many of so many images are evaluated together, if the memory for them is there.
    pub(crate) fn together(&self, images: usize) -> Result<usize> {
        let together = self.network.group(self.engine.params(), images, self.memory)?;
        let batch = self.engine.params().memory().batch;
        let also = if batch == 0 { "" } else { ", and a batch of lookups" };
        let bytes = self.summary.bytes * together as u64 + batch;
        memory::ensure_room(&format!("values of {together} encrypted images{also}"), bytes)?;
        Ok(together)
    }
}
