//! The server's side of an inference: a query in, scores out. Nothing here can decrypt.

use fhe_core::engine::cpu::Values;
use fhe_core::store::EncryptedValues;
use fhe_core::{Cpu, Engine, Params};

use super::network::PublicNetwork;
use super::{PublicError, Result};

impl PublicNetwork {
    /// Returns the number of images of a query. A server asks before it evaluates: the time that a
    /// query takes grows with them.
    ///
    /// # Errors
    /// [`PublicError::Images`] if there are no whole images.
    pub fn images_of(&self, query: &EncryptedValues) -> Result<usize> {
        let (got, len) = (query.len(), self.config().input.len());
        if got > 0 && got.is_multiple_of(len) {
            return Ok(got / len);
        }
        let expected = format!("{len} for each image");
        Err(PublicError::images("number of values of a query", got, expected))
    }

    /// The bytes of values for which [`PublicNetwork::evaluate`] takes images together: 3 GiB.
    pub const MEMORY: u64 = 3 << 30;

    /// Returns the encrypted scores of a query's images, class by class, image after image. It
    /// takes as many images together as [`PublicNetwork::MEMORY`] has room for, and one at least.
    /// Calls `done(i, images)` after layer i of so many images, in each of the
    /// [`PublicNetworkConfig::passes`](super::PublicNetworkConfig::passes).
    ///
    /// # Cost
    /// That of [`PublicNetwork::forward`].
    ///
    /// # Errors
    /// Those of [`PublicNetwork::images_of`] and of [`PublicNetwork::forward`], and
    /// [`fhe_core::Error::Mismatch`] if the query was made under another key than the engine's.
    pub fn evaluate(
        &self,
        engine: &Cpu,
        query: &EncryptedValues,
        done: impl Fn(usize, usize),
    ) -> Result<EncryptedValues> {
        let memory = Self::MEMORY.max(self.bytes_of_image(engine.params()));
        self.evaluate_within(engine, query, memory, done)
    }

    /// [`PublicNetwork::evaluate`] within a given number of bytes of values, to which those of the
    /// scores come, `8 (N + 1)` each.
    ///
    /// Images go through the layers in groups of [`PublicNetwork::group`] images, the last one with
    /// what is left. Each group is opened when its turn comes. The scores of an image do not depend
    /// on its group: they are the same, bit for bit, where each value is looked up by itself.
    ///
    /// # Cost
    /// That of [`PublicNetwork::forward`].
    ///
    /// # Errors
    /// [`PublicError::Images`] if the memory has no room for one image, and those of
    /// [`PublicNetwork::evaluate`].
    pub fn evaluate_within(
        &self,
        engine: &Cpu,
        query: &EncryptedValues,
        memory: u64,
        done: impl Fn(usize, usize),
    ) -> Result<EncryptedValues> {
        let images = self.images_of(query)?;
        let group = self.group(engine.params(), images, memory)?;
        let len = self.config().input.len();
        let mut scores = Vec::with_capacity(images.div_ceil(group));
        for images in query.open_in_parts(engine, group * len)? {
            let images = images?;
            let count = images.len() / len;
            scores.push(self.forward_watched(engine, &images, count, |i| done(i, count))?);
        }
        let scores = Values::concat(engine.params().row_size, &scores.iter().collect::<Vec<_>>())?;
        Ok(EncryptedValues::new(engine, scores)?)
    }

    /// Returns how many of so many images are evaluated together within a memory, in bytes: the
    /// groups are as few as can be, and as even.
    ///
    /// # Errors
    /// [`PublicError::Images`] if there is no room for one image.
    pub fn group(&self, params: &Params, images: usize, memory: u64) -> Result<usize> {
        let most = self.images_within(params, memory);
        if most == 0 {
            let expected = format!("at least {}", self.bytes_of_image(params));
            let what = "number of bytes for the values of an image";
            return Err(PublicError::images(what, memory, expected));
        }
        let groups = images.div_ceil(most).max(1);
        Ok(images.div_ceil(groups).max(1))
    }
}
