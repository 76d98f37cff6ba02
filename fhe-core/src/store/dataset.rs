//! Encrypted data sets: for each sample a selector and a few values.
//!
//! A record is the selector's mask seed (16 bytes), its bodies cut to their upper 48 bits (6 bytes
//! a coefficient), the values' mask seed (16 bytes) and their bodies (8 bytes each). Cutting adds a
//! rounding error of standard deviation 2^-49.8, against a noise of 2^-47.8. A chunk of the
//! container is one mini-batch, so that training reads and checks whole chunks.

use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::container::{ChunkReader, ChunkWriter, Header, Secrecy};
use crate::client::ClientKey;
use crate::engine::cpu::{Cpu, Selectors, Values};
use crate::server::SeededRows;
use crate::{Error, Params, Result};

const KIND: &str = "encrypted data set";
/// Bytes kept of each body coefficient of a selector.
const BODY_BYTES: usize = 6;

/// The public shape of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetShape {
    /// A name for people.
    pub name: String,
    /// Number of samples.
    pub samples: usize,
    /// Values stored with each sample, such as one a class.
    pub values: usize,
    /// Samples of a mini-batch.
    pub batch: usize,
    /// [`ClientKey::digest`] of everything that is encrypted: an interrupted encryption goes on with
    /// the same inputs only, and so does a training.
    pub inputs: String,
    /// log2 of the torus fraction that the values are multiples of.
    #[serde(default = "values_log2", skip_serializing_if = "is_default")]
    pub values_log2: i32,
    /// Times that each sample is there, one copy of all after the other; a pass takes one copy. Copies have
    /// whole mini-batches.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub copies: usize,
}

fn one() -> usize {
    1
}

fn is_one(x: &usize) -> bool {
    *x == one()
}

fn values_log2() -> i32 {
    -31
}

fn is_default(x: &i32) -> bool {
    *x == values_log2()
}

impl DatasetShape {
    /// Returns whether every copy has whole mini-batches; one copy may end with a part of one.
    #[must_use]
    pub fn has_whole_copies(&self) -> bool {
        let whole = self.copies.checked_mul(self.batch.max(1));
        self.copies == 1
            || whole.is_some_and(|whole| whole > 0 && self.samples.is_multiple_of(whole))
    }

    fn record_bytes(&self, params: &Params) -> usize {
        let bodies = 2 * params.selector.levels as usize * params.row_size;
        16 + BODY_BYTES * bodies + 16 + 8 * self.values
    }

    fn header(&self, params: &Params, key_id: &str) -> Header {
        let record = self.record_bytes(params) as u64;
        Header {
            payload_bytes: record * self.samples as u64,
            chunk_bytes: record * self.batch.max(1) as u64,
            ..Header::new(KIND, params, key_id, serde_json::json!(self))
        }
    }
}

/// Reads a seed and bodies whose upper `bytes` bytes are stored.
pub(super) fn seeded(stored: &[u8], bytes: usize) -> SeededRows {
    let (seed, bodies) = stored.split_at(16);
    let mut number = [0; 16];
    number.copy_from_slice(seed);
    let bodies = bodies
        .chunks_exact(bytes)
        .map(|body| {
            let mut word = [0; 8];
            word[8 - bytes..].copy_from_slice(body);
            u64::from_le_bytes(word)
        })
        .collect();
    SeededRows { seed: u128::from_le_bytes(number), bodies }
}

fn store(out: &mut Vec<u8>, rows: &SeededRows, bytes: usize) {
    out.extend(rows.seed.to_le_bytes());
    let half = if bytes < 8 { 1u64 << (63 - 8 * bytes) } else { 0 };
    for body in &rows.bodies {
        out.extend(&body.wrapping_add(half).to_le_bytes()[8 - bytes..]);
    }
}

/// Encrypts a data set into a file, on the client. An interrupted run is gone on with.
#[derive(Debug)]
pub struct DatasetWriter<'a> {
    key: &'a ClientKey,
    shape: DatasetShape,
    writer: ChunkWriter,
}

impl<'a> DatasetWriter<'a> {
    /// Starts, or goes on with what an interrupted run left.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn resume(path: &Path, key: &'a ClientKey, shape: &DatasetShape) -> Result<Self> {
        let header = shape.header(key.params(), &key.id());
        let writer = ChunkWriter::resume(path, &header, Secrecy::Public)?;
        Ok(Self { key, shape: shape.clone(), writer })
    }

    /// Returns the index of the sample to be encrypted next.
    #[must_use]
    pub fn next_sample(&self) -> usize {
        (self.writer.next() as usize * self.shape.batch).min(self.shape.samples)
    }

    /// Encrypts the next mini-batch: for each sample N integers and the torus elements beside them.
    ///
    /// # Cost
    /// `2 + 2 l` polynomial products a sample, about a millisecond each.
    ///
    /// # Errors
    /// [`Error::Shape`] if a sample has another shape, [`Error::Io`].
    pub fn write_batch(&mut self, samples: &[(Vec<i32>, Vec<u64>)]) -> Result<()> {
        let first = self.next_sample();
        let n = self.key.params().row_size;
        for (m, values) in samples {
            let shape = |what, got, expected| {
                let op = "encrypting a sample";
                if got == expected { Ok(()) } else { Err(Error::Shape { op, what, got, expected }) }
            };
            shape("coefficients", m.len(), n)?;
            shape("values", values.len(), self.shape.values)?;
        }
        let records: Vec<Vec<u8>> = samples
            .par_iter()
            .enumerate()
            .map(|(i, (m, values))| {
                let index = (first + i) as u64;
                let purpose = format!("data set {}", self.shape.name);
                let mut record = Vec::new();
                store(&mut record, &self.key.encrypt_selector_of(m, &purpose, index), BODY_BYTES);
                let purpose = format!("values of data set {}", self.shape.name);
                store(&mut record, &self.key.encrypt_list_of_values(values, &purpose, index), 8);
                record
            })
            .collect();
        self.writer.write(&records.concat())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// [`Error::Shape`] if samples are missing, [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        self.writer.finish()
    }
}

/// An encrypted data set, on the server.
#[derive(Debug)]
pub struct Dataset {
    reader: ChunkReader,
    shape: DatasetShape,
    record: usize,
}

impl Dataset {
    /// Opens a data set made under the engine's keys.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`], [`Error::Mismatch`].
    pub fn open(path: &Path, params: &Params, key_id: &str) -> Result<Self> {
        let reader = ChunkReader::open(path, KIND)?;
        reader.expect_key(params, key_id)?;
        let bad = |_| Error::Corrupt {
            path: path.into(),
            field: "meta".into(),
            problem: "it is no shape of a data set",
        };
        let shape: DatasetShape =
            serde_json::from_value(reader.header().meta.clone()).map_err(bad)?;
        let header = reader.header();
        let fits = (shape.samples as u64) <= header.payload_bytes
            && (shape.values as u64) <= header.payload_bytes
            && (shape.batch as u64) <= header.chunk_bytes
            && shape.header(params, key_id) == *header
            && shape.has_whole_copies();
        if !fits {
            return Err(Error::Corrupt {
                path: path.into(),
                field: "meta".into(),
                problem: "the shape does not fit the file's length",
            });
        }
        let record = shape.record_bytes(params);
        Ok(Self { reader, shape, record })
    }

    /// Returns the shape.
    #[must_use]
    pub fn shape(&self) -> &DatasetShape {
        &self.shape
    }

    /// Returns the number of mini-batches.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.reader.chunks() as usize
    }

    /// Reads one mini-batch: a selector and `values` values for each sample.
    ///
    /// # Errors
    /// [`Error::Index`], [`Error::Io`], [`Error::Corrupt`] with the chunk.
    pub fn batch(&self, cpu: &Cpu, index: usize) -> Result<(Selectors, Values)> {
        let bytes = self.reader.read(index as u64)?;
        let split = self.record - 16 - 8 * self.shape.values;
        let (selectors, values): (Vec<_>, Vec<_>) = bytes
            .par_chunks_exact(self.record)
            .map(|r| (seeded(&r[..split], BODY_BYTES), seeded(&r[split..], 8)))
            .unzip();
        Ok((cpu.open_selectors(&selectors)?, cpu.open_values(&values)))
    }
}
