//! What a container says about itself, and the checksums of its parts.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::store::dataset;
use crate::{Error, Params, ParamsSpec, Result};

const MAGIC: &[u8; 8] = b"FHETORUS";
pub(super) const SUM: usize = 32;
/// A header is a few hundred bytes; this bounds what a damaged length can make us allocate.
const MAX_HEADER: usize = 1 << 20;
pub(in crate::store) const MAX_CHUNK: u64 = 1 << 32;
const MAX_PAYLOAD: u64 = 1 << 48;

/// Returns the version of the format of a kind. Data sets had values of their own in version 1.
fn version(kind: &str) -> u32 {
    if kind == dataset::KIND { 2 } else { 1 }
}

/// What a file says about itself. All of it is public.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// What the file holds.
    pub kind: String,
    /// Version of the format.
    pub version: u32,
    /// The parameter set.
    pub params: ParamsSpec,
    /// The public name of the client key.
    pub key_id: String,
    /// What else the kind needs.
    pub meta: serde_json::Value,
    /// Bytes of all chunks together.
    pub payload_bytes: u64,
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
}

impl Header {
    /// A header of the present version of a kind.
    #[must_use]
    pub fn new(kind: &str, params: &Params, key_id: &str, meta: serde_json::Value) -> Self {
        Self {
            kind: kind.into(),
            version: version(kind),
            params: (**params).clone(),
            key_id: key_id.into(),
            meta,
            payload_bytes: 0,
            chunk_bytes: 1 << 20,
        }
    }

    pub(super) fn chunks(&self) -> u64 {
        self.payload_bytes.div_ceil(self.chunk_bytes)
    }

    pub(super) fn chunk_len(&self, index: u64) -> usize {
        (self.payload_bytes - index * self.chunk_bytes).min(self.chunk_bytes) as usize
    }

    /// Returns the header's bytes with their checksum, and the checksum again.
    pub(super) fn encode(&self, place: &Path) -> Result<(Vec<u8>, [u8; SUM])> {
        self.check_sizes(place)?;
        let json = serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .map_err(Error::io("encoding the header of", place))?;
        if json.len() > MAX_HEADER {
            let (op, what) = ("encoding a header", "bytes (at most)");
            return Err(Error::Shape { op, what, got: json.len(), expected: MAX_HEADER });
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend((json.len() as u32).to_le_bytes());
        bytes.extend(json);
        let sum = *blake3::hash(&bytes).as_bytes();
        bytes.extend(sum);
        Ok((bytes, sum))
    }

    /// Reads a header with its checksum, and returns both and the number of their bytes. The header
    /// may be of any kind and version.
    pub(super) fn decode(input: &mut impl Read, place: &Path) -> Result<(Self, [u8; SUM], u64)> {
        let mut bytes = vec![0; 12];
        let cut = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => corrupt(place, "header", "it is too short"),
            _ => Error::io("reading", place)(e),
        };
        input.read_exact(&mut bytes).map_err(cut)?;
        if &bytes[..8] != MAGIC {
            return Err(corrupt(place, "magic", "this is not a file of this project"));
        }
        let len = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
        if len > MAX_HEADER {
            return Err(corrupt(place, "header length", "larger than any header"));
        }
        bytes.resize(12 + len, 0);
        input.read_exact(&mut bytes[12..]).map_err(cut)?;
        let mut sum = [0; SUM];
        input.read_exact(&mut sum).map_err(cut)?;
        if blake3::hash(&bytes) != sum {
            return Err(corrupt(place, "header", "its checksum does not match"));
        }
        let header: Self = serde_json::from_slice(&bytes[12..])
            .map_err(|_| corrupt(place, "header", "it has fields of another version"))?;
        header.check_sizes(place)?;
        Ok((header, sum, (bytes.len() + SUM) as u64))
    }

    /// Bounds on both sizes keep every later sum of sizes far from overflow.
    fn check_sizes(&self, place: &Path) -> Result<()> {
        if (1..=MAX_CHUNK).contains(&self.chunk_bytes) && self.payload_bytes <= MAX_PAYLOAD {
            return Ok(());
        }
        Err(corrupt(place, "chunk_bytes", "the sizes are absurd"))
    }

    /// Refuses another parameter set or key.
    pub(in crate::store) fn expect_key(
        &self,
        params: &Params,
        key_id: &str,
        place: &Path,
    ) -> Result<()> {
        let mismatch = |field, got: &str, expected: &str| {
            Err(Error::Mismatch {
                path: place.into(),
                field,
                got: got.into(),
                expected: expected.into(),
            })
        };
        if self.params != **params {
            return mismatch("parameter set", &self.params.name, &params.name);
        }
        if self.key_id != key_id {
            return mismatch("key", &self.key_id, key_id);
        }
        Ok(())
    }

    /// Refuses another kind or version.
    pub(super) fn expect_kind(&self, kind: &'static str, place: &Path) -> Result<()> {
        let mismatch = |field, got, expected| {
            Err(Error::Mismatch { path: place.into(), field, got, expected })
        };
        if self.kind != kind {
            return mismatch("kind", self.kind.clone(), kind.into());
        }
        let version = version(kind);
        if self.version != version {
            return mismatch("version", self.version.to_string(), version.to_string());
        }
        Ok(())
    }
}

pub(super) fn checksum(index: u64, header_sum: &[u8; SUM], chunk: &[u8]) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    hash.update(&index.to_le_bytes());
    hash.update(header_sum);
    hash.update(chunk);
    hash.finalize()
}

pub(in crate::store) fn corrupt(
    path: &Path,
    field: impl Into<String>,
    problem: &'static str,
) -> Error {
    Error::Corrupt { path: path.into(), field: field.into(), problem }
}
