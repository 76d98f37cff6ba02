//! What a client sends for inference by an encrypted model: samples as selectors.

use rayon::prelude::*;

use super::message::{Message, Opened};
use super::stored;
use crate::engine::cpu::{Cpu, Selectors};
use crate::server::SeededRows;
use crate::{Params, Result};

/// Encrypted samples, each a seeded selector: made by
/// [`ClientKey::encrypt_query`](crate::client::ClientKey::encrypt_query), opened by a server. It
/// says nothing of the client but the public name of its key.
///
/// ```
/// use fhe_core::{Cpu, List, Params, Seed, client::ClientKey};
/// use fhe_core::store::{EncryptedQuery, Message};
/// let key = ClientKey::new(&Params::toy_insecure()?, Seed::random()?);
/// let mut sample = vec![0; key.params().row_size];
/// sample[..3].copy_from_slice(&[7, -7, 2]);
/// let bytes = key.encrypt_query(&[sample])?.to_bytes()?;
///
/// let server = Cpu::new(&key.evaluation_keys());
/// let selectors = EncryptedQuery::from_bytes(&bytes)?.open(&server)?;
/// assert_eq!(selectors.len(), 1);
/// # Ok::<_, fhe_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptedQuery {
    params: Params,
    key_id: String,
    /// Bodies rounded to what is stored of them, so that a query is the same before and after its
    /// way.
    samples: Vec<SeededRows>,
    /// Samples that lie side by side, if they do.
    side_by_side: Option<usize>,
}

impl EncryptedQuery {
    pub(crate) fn new(params: &Params, key_id: &str, mut samples: Vec<SeededRows>) -> Self {
        for body in samples.iter_mut().flat_map(|sample| &mut sample.bodies) {
            *body = stored::round(*body, stored::CUT);
        }
        Self { params: params.clone(), key_id: key_id.into(), samples, side_by_side: None }
    }

    /// Says that the selectors hold so many samples side by side.
    #[must_use]
    pub fn side_by_side(self, samples: usize) -> Self {
        Self { side_by_side: Some(samples), ..self }
    }

    /// Returns the number of selectors.
    #[must_use]
    pub fn selectors(&self) -> usize {
        self.samples.len()
    }

    /// Returns the number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.side_by_side.unwrap_or(self.samples.len())
    }

    /// Returns whether there is no sample, which no query says of itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens the selectors for an engine, in their order.
    ///
    /// # Errors
    /// [`crate::Error::Mismatch`] if they were made under another key or parameter set than the
    /// engine's.
    pub fn open(&self, engine: &Cpu) -> Result<Selectors> {
        self.expect_key(crate::Engine::params(engine), engine.key_id())?;
        engine.open_selectors(&self.samples)
    }
}

impl std::fmt::Debug for EncryptedQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncryptedQuery")
            .field("params", &self.params.name)
            .field("key_id", &self.key_id)
            .field("samples", &self.samples.len())
            .finish_non_exhaustive()
    }
}

impl Message for EncryptedQuery {
    const KIND: &'static str = "encrypted query";

    fn params(&self) -> &Params {
        &self.params
    }

    fn key_id(&self) -> &str {
        &self.key_id
    }

    fn meta(&self) -> serde_json::Value {
        serde_json::json!(self.side_by_side)
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        for sample in &self.samples {
            stored::write(&mut payload, sample, stored::CUT);
        }
        payload
    }

    /// 2^32, some 90,000 samples.
    fn max_payload(_: &Params) -> u64 {
        1 << 32
    }

    fn parse(from: Opened) -> Result<Self> {
        let record = stored::selector_bytes(&from.params);
        if from.payload.is_empty() || !from.payload.len().is_multiple_of(record) {
            return Err(from.corrupt("payload", "it is no whole number of samples"));
        }
        let side_by_side: Option<usize> = serde_json::from_value(from.header.meta.clone())
            .map_err(|_| from.corrupt("meta", "it is no number of samples"))?;
        // A lane for each coefficient at most.
        let lanes = from.payload.len() / record * from.params.row_size;
        if side_by_side.is_some_and(|samples| samples == 0 || samples > lanes) {
            return Err(from.corrupt("meta", "the samples do not fit the payload"));
        }
        let samples =
            from.payload.par_chunks_exact(record).map(|r| stored::read(r, stored::CUT)).collect();
        Ok(Self { params: from.params, key_id: from.header.key_id, samples, side_by_side })
    }
}

crate::serde_by_container!(EncryptedQuery);
