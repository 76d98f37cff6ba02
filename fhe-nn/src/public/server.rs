//! The server's side of an inference: a query in, scores out. Nothing here can decrypt.

use fhe_core::Cpu;
use fhe_core::store::EncryptedValues;

use super::network::PublicNetwork;
use super::{PublicError, Result};

impl PublicNetwork {
    /// Returns the number of images of a query. A server asks before it evaluates: the time that a
    /// query takes, and its memory of `8 (N + 1)` bytes a value, grow with them.
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

    /// Returns the encrypted scores of a query's images, class by class, image after image. Calls
    /// `done(i)` after layer i, in each of the
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
        done: impl Fn(usize),
    ) -> Result<EncryptedValues> {
        let images = self.images_of(query)?;
        let scores = self.forward_watched(engine, &query.open(engine)?, images, done)?;
        Ok(EncryptedValues::new(engine, scores)?)
    }
}
