//! Single values as a message: scores, and images for networks with public weights.

use serde::{Deserialize, Serialize};

use super::message::{Message, Opened};
use super::stored;
use crate::engine::cpu::{Cpu, Values};
use crate::server::SeededRows;
use crate::{Engine, Error, Params, Result};

/// Encrypted single values with the parameter set and the public name of their key.
///
/// What a client encrypts is kept with its masks as a seed, 8 bytes a value
/// ([`ClientKey::encrypt_values`](crate::client::ClientKey::encrypt_values), opened by
/// [`EncryptedValues::open`]); what a server has computed, with its masks in full, `8 (N + 1)`
/// bytes a value ([`EncryptedValues::new`], decrypted by
/// [`ClientKey::decrypt`](crate::client::ClientKey::decrypt)).
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptedValues {
    params: Params,
    key_id: String,
    content: Content,
}

#[derive(Clone, PartialEq, Eq)]
enum Content {
    Seeded(SeededRows),
    Full(Values),
}

/// What the header says of the payload.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "masks")]
enum Masks {
    Seeded,
    Full,
}

impl EncryptedValues {
    /// Takes what an engine computed.
    ///
    /// # Errors
    /// [`Error::Shape`] if the values have another dimension than the engine's.
    pub fn new(engine: &Cpu, values: Values) -> Result<Self> {
        let (got, expected) = (values.dimension(), engine.params().row_size);
        if got != expected {
            let (op, what) = ("EncryptedValues::new", "mask elements");
            return Err(Error::Shape { op, what, got, expected });
        }
        let (params, key_id) = (engine.params().clone(), engine.key_id().into());
        Ok(Self { params, key_id, content: Content::Full(values) })
    }

    pub(crate) fn seeded(params: &Params, key_id: &str, values: SeededRows) -> Self {
        let content = Content::Seeded(values);
        Self { params: params.clone(), key_id: key_id.into(), content }
    }

    /// Returns the number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.content {
            Content::Seeded(values) => values.bodies.len(),
            Content::Full(values) => values.len(),
        }
    }

    /// Returns whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens the values for an engine.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if they were made under another key or parameter set than the engine's.
    pub fn open(&self, engine: &Cpu) -> Result<Values> {
        self.expect_key(engine.params(), engine.key_id())?;
        self.expand()
    }

    /// Opens the values for an engine, `part` at a time and in their order; the last part may have
    /// fewer. Each part is opened when it is asked for, so that a server holds the `8 (N + 1)`
    /// bytes of a value for one part alone. A part of none is one of a single value.
    ///
    /// # Errors
    /// Those of [`EncryptedValues::open`].
    ///
    /// ```
    /// use fhe_core::store::EncryptedValues;
    /// use fhe_core::{Cpu, List, Params, Seed, client::ClientKey};
    /// # fn main() -> fhe_core::Result<()> {
    /// let key = ClientKey::new(&Params::toy_insecure()?, Seed::random()?);
    /// let engine = Cpu::new(&key.evaluation_keys());
    /// let values: EncryptedValues = key.encrypt_values(&[0; 5])?;
    /// let mut lengths = Vec::new();
    /// for part in values.open_in_parts(&engine, 2)? {
    ///     lengths.push(part?.len());
    /// }
    /// assert_eq!(lengths, [2, 2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn open_in_parts(
        &self,
        engine: &Cpu,
        part: usize,
    ) -> Result<impl Iterator<Item = Result<Values>> + '_> {
        self.expect_key(engine.params(), engine.key_id())?;
        let n = self.params.row_size;
        let part = part.max(1);
        let (seeded, full) = match &self.content {
            Content::Seeded(values) => (Some(values.expansions(n, part)), None),
            Content::Full(values) => {
                let elements = part.saturating_mul(n + 1);
                (None, Some(values.elements().chunks(elements).map(<[u64]>::to_vec)))
            }
        };
        let parts = seeded.into_iter().flatten().chain(full.into_iter().flatten());
        Ok(parts.map(move |elements| whole(n, elements)))
    }

    /// Returns the values with their masks in full.
    pub(crate) fn expand(&self) -> Result<Values> {
        let n = self.params.row_size;
        match &self.content {
            Content::Full(values) => Ok(values.clone()),
            Content::Seeded(values) => whole(n, values.expand_values(n)),
        }
    }
}

fn whole(n: usize, elements: Vec<u64>) -> Result<Values> {
    let (got, expected) = (elements.len(), elements.len().next_multiple_of(n + 1));
    let error = Error::Shape { op: "reading values", what: "elements", got, expected };
    Values::from_elements(n, elements).ok_or(error)
}

impl std::fmt::Debug for EncryptedValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncryptedValues")
            .field("params", &self.params.name)
            .field("key_id", &self.key_id)
            .field("values", &self.len())
            .finish_non_exhaustive()
    }
}

impl Message for EncryptedValues {
    const KIND: &'static str = "encrypted values";

    fn params(&self) -> &Params {
        &self.params
    }

    fn key_id(&self) -> &str {
        &self.key_id
    }

    fn meta(&self) -> serde_json::Value {
        serde_json::json!(match &self.content {
            Content::Seeded(_) => Masks::Seeded,
            Content::Full(_) => Masks::Full,
        })
    }

    fn payload(&self) -> Vec<u8> {
        match &self.content {
            Content::Full(values) => {
                values.elements().iter().flat_map(|x| x.to_le_bytes()).collect()
            }
            Content::Seeded(values) => {
                let mut payload = Vec::new();
                stored::write(&mut payload, values, stored::WHOLE);
                payload
            }
        }
    }

    /// 2^32: some 260,000 values in full with N = 2048, or 500 million seeded ones.
    fn max_payload(_: &Params) -> u64 {
        1 << 32
    }

    fn parse(from: Opened) -> Result<Self> {
        let bad = |problem| from.corrupt("payload", problem);
        let masks = serde_json::from_value(from.header.meta.clone())
            .map_err(|_| from.corrupt("meta", "it does not say how masks are stored"))?;
        let part = "it is no whole number of values";
        let content = match masks {
            Masks::Seeded => {
                let bodies = from.payload.len().checked_sub(stored::bytes(0, stored::WHOLE));
                if !bodies.is_some_and(|bytes| bytes.is_multiple_of(stored::WHOLE)) {
                    return Err(bad(part));
                }
                Content::Seeded(stored::read(&from.payload, stored::WHOLE))
            }
            Masks::Full => {
                let (words, rest) = from.payload.as_chunks::<8>();
                let elements: Vec<u64> = words.iter().map(|&w| u64::from_le_bytes(w)).collect();
                if !rest.is_empty() {
                    return Err(bad(part));
                }
                Content::Full(whole(from.params.row_size, elements).map_err(|_| bad(part))?)
            }
        };
        Ok(Self { params: from.params, key_id: from.header.key_id, content })
    }
}

crate::serde_by_container!(EncryptedValues);
