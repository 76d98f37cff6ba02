//! Encrypted data sets: selectors, and for each sample a few values.
//!
//! A record is the selector's mask seed (16 bytes), its bodies cut to their upper 48 bits (6 bytes
//! a coefficient), the values' mask seed (16 bytes) and their bodies (8 bytes each). Cutting adds a
//! rounding error of standard deviation 2^-49.8, against a noise of 2^-47.8. A chunk of the
//! container is one mini-batch, so that training reads and checks whole chunks. Where samples lie
//! side by side, a record has values only, and the mini-batch's selectors follow its records.

use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::container::{ChunkReader, ChunkWriter, Header, MAX_CHUNK};
use super::stored;
use super::whole::Secrecy;
use crate::client::{ClientKey, Nonce, Use};
use crate::engine::Engine;
use crate::engine::cpu::{Cpu, Selectors, Values};
use crate::{Error, Params, Result};

const KIND: &str = "encrypted data set";
/// Bounds that keep every product of sizes far from overflow.
const MAX_SAMPLES: usize = 1 << 24;
const MAX_VALUES: usize = 1 << 20;
/// What the header calls the random number of a data set that is not deterministic.
const NONCE: &str = "nonce";

/// Samples side by side: each selector holds one number of each of many samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lanes {
    /// Samples of a part of a mini-batch. The last part has what is left.
    pub samples: usize,
    /// Selectors of each part, also of the last one.
    pub selectors: usize,
}

impl Lanes {
    /// Returns the number of selectors of so many samples of a mini-batch.
    #[must_use]
    pub fn count(&self, samples: usize) -> usize {
        samples.div_ceil(self.samples.max(1)).saturating_mul(self.selectors)
    }
}

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
    /// [`ClientKey::digest`] of everything that is encrypted: an interrupted encryption goes on
    /// with the same inputs only, and so does a training.
    pub inputs: String,
    /// log2 of the torus fraction that the values are multiples of.
    #[serde(default = "values_log2", skip_serializing_if = "is_default")]
    pub values_log2: i32,
    /// Times that each sample is there, one copy of all after the other; a pass takes one copy.
    /// Copies have whole mini-batches.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub copies: usize,
    /// How samples lie side by side; if they do not, each has a selector of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lanes: Option<Lanes>,
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

    fn batches(&self) -> usize {
        self.samples.div_ceil(self.batch)
    }

    /// Returns the samples of a mini-batch.
    fn samples_of(&self, index: usize) -> usize {
        self.batch.min(self.samples.saturating_sub(index.saturating_mul(self.batch)))
    }

    /// Returns the selectors of so many samples of a mini-batch that lie side by side.
    fn selectors_in_lanes(&self, samples: usize) -> usize {
        self.lanes.map_or(0, |lanes| lanes.count(samples))
    }

    /// Returns the bytes of a mini-batch of so many samples; `None` if they are too many.
    fn batch_bytes(&self, params: &Params, samples: usize) -> Option<u64> {
        let records = (self.record_bytes(params) as u64).checked_mul(samples as u64)?;
        let in_lanes = self.selectors_in_lanes(samples) as u64;
        let in_lanes = in_lanes.checked_mul(stored::selector_bytes(params) as u64)?;
        records.checked_add(in_lanes).filter(|&bytes| bytes <= MAX_CHUNK)
    }

    fn record_bytes(&self, params: &Params) -> usize {
        self.selector_bytes(params) + stored::bytes(self.values, stored::WHOLE)
    }

    /// Returns the bytes of a sample's own selector.
    fn selector_bytes(&self, params: &Params) -> usize {
        self.lanes.map_or_else(|| stored::selector_bytes(params), |_| 0)
    }

    /// Returns the header, or says which number is out of range. A nonce stands beside the shape.
    fn header(&self, params: &Params, key_id: &str, nonce: Option<Nonce>) -> Result<Header> {
        let fail = |what, got, expected| {
            Err(Error::Shape { op: "a data set's shape", what, got, expected })
        };
        if self.samples == 0 || self.samples > MAX_SAMPLES {
            let expected = self.samples.clamp(1, MAX_SAMPLES);
            return fail("samples (1 to 2^24)", self.samples, expected);
        }
        if self.values > MAX_VALUES {
            return fail("values a sample (2^20 at most)", self.values, MAX_VALUES);
        }
        let record = self.record_bytes(params).max(1) as u64;
        let most = (MAX_CHUNK / record) as usize;
        if self.batch == 0 || self.batch > most {
            let expected = self.batch.clamp(1, most);
            return fail("samples of a mini-batch (2^32 bytes at most)", self.batch, expected);
        }
        let bytes = |samples| self.batch_bytes(params, samples);
        let (Some(whole), Some(last)) =
            (bytes(self.batch), bytes(self.samples_of(self.batches() - 1)))
        else {
            let what = "selectors of a mini-batch (2^32 bytes at most, all in all)";
            return fail(what, self.selectors_in_lanes(self.batch), 0);
        };
        if !self.has_whole_copies() {
            let whole = self.batch.saturating_mul(self.copies.max(1));
            let expected = self.samples.checked_next_multiple_of(whole).unwrap_or(whole);
            return fail("samples (whole mini-batches in each copy)", self.samples, expected);
        }
        let mut meta = serde_json::json!(self);
        if let (Some(meta), Some(Nonce(nonce))) = (meta.as_object_mut(), nonce) {
            meta.insert(NONCE.into(), format!("{nonce:032x}").into());
        }
        Ok(Header {
            payload_bytes: whole * (self.batches() as u64 - 1) + last,
            chunk_bytes: whole,
            ..Header::new(KIND, params, key_id, meta)
        })
    }

    /// Takes a header's meta apart; `None` if it is no shape of a data set.
    fn parse(mut meta: serde_json::Value) -> Option<(Self, Option<Nonce>)> {
        let nonce = match meta.as_object_mut()?.remove(NONCE) {
            None => None,
            Some(text) => Some(Nonce(u128::from_str_radix(text.as_str()?, 16).ok()?)),
        };
        Some((serde_json::from_value(meta).ok()?, nonce))
    }
}

/// Encrypts a data set into a file, on the client. An interrupted run is gone on with.
///
/// ```
/// use fhe_core::{Cpu, Params, Seed, client::ClientKey};
/// use fhe_core::store::{Dataset, DatasetShape, DatasetWriter};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("train.data");
/// let key = ClientKey::new(&Params::toy_insecure()?, Seed::random());
/// let n = key.params().row_size;
/// // Two samples with one value each, in one mini-batch.
/// let samples = [(vec![1; n], vec![1 << 62]), (vec![-1; n], vec![3 << 62])];
/// let shape = DatasetShape {
///     name: "two samples".into(),
///     samples: 2,
///     values: 1,
///     batch: 2,
///     inputs: key.digest(b"all that is encrypted"),
///     values_log2: -2,
///     copies: 1,
///     lanes: None,
/// };
/// let mut writer = DatasetWriter::create(&path, &key, &shape)?;
/// while writer.next_sample() < shape.samples {
///     writer.write_batch(&samples)?;
/// }
/// writer.finish()?;
///
/// // On the server.
/// let server = Cpu::new(&key.evaluation_keys());
/// let data = Dataset::open(&path, key.params(), server.key_id())?;
/// let (_selectors, values) = data.batch(&server, 0)?;
/// assert_eq!(values.len(), 2);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DatasetWriter<'a> {
    key: &'a ClientKey,
    shape: DatasetShape,
    nonce: Option<Nonce>,
    writer: ChunkWriter,
}

impl<'a> DatasetWriter<'a> {
    /// Starts a data set with fresh randomness, or goes on with what an interrupted run of the same
    /// shape and inputs left in `NAME.part`, with that run's randomness.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shape has no sample, no mini-batch or broken copies, [`Error::Io`],
    /// [`Error::Random`].
    pub fn create(path: &Path, key: &'a ClientKey, shape: &DatasetShape) -> Result<Self> {
        let begun = ChunkReader::open_part(path).ok().and_then(|part| {
            let (begun, nonce) = DatasetShape::parse(part.header().meta.clone())?;
            nonce.filter(|_| begun == *shape)
        });
        Self::start(path, key, shape, Some(begun.map_or_else(Nonce::random, Ok)?))
    }

    /// Starts a data set without fresh randomness, or goes on with one: for data that must be made
    /// again bit for bit.
    ///
    /// **It leaks equality**, as [`ClientKey::deterministic`] says: whoever has two data sets of
    /// one name and key sees which samples at equal places are equal.
    ///
    /// # Errors
    /// As [`DatasetWriter::create`].
    pub fn deterministic(path: &Path, key: &'a ClientKey, shape: &DatasetShape) -> Result<Self> {
        Self::start(path, key, shape, None)
    }

    fn start(
        path: &Path,
        key: &'a ClientKey,
        shape: &DatasetShape,
        nonce: Option<Nonce>,
    ) -> Result<Self> {
        let header = shape.header(key.params(), &key.id(), nonce)?;
        let writer = ChunkWriter::resume(path, &header, Secrecy::Public)?;
        Ok(Self { key, shape: shape.clone(), nonce, writer })
    }

    /// Returns the index of the sample to be encrypted next.
    #[must_use]
    pub fn next_sample(&self) -> usize {
        (self.writer.next() as usize).saturating_mul(self.shape.batch).min(self.shape.samples)
    }

    /// Encrypts the next mini-batch, whole unless it is the last: for each sample N integers and
    /// the torus elements beside them.
    ///
    /// # Cost
    /// `2 + 2 l` polynomial products a sample, about a millisecond each.
    ///
    /// # Errors
    /// [`Error::Shape`] if a sample or the mini-batch has another shape, [`Error::Magnitude`] as
    /// for [`ClientKey::encrypt_query`], [`Error::Index`] if all samples are there, [`Error::Io`].
    pub fn write_batch(&mut self, samples: &[(Vec<i32>, Vec<u64>)]) -> Result<()> {
        let op = "encrypting a mini-batch";
        if let Some(lanes) = self.shape.lanes {
            let (what, got) = ("selectors of samples that lie side by side", samples.len());
            return Err(Error::Shape { op, what, got, expected: lanes.count(samples.len()) });
        }
        let first = self.next_sample();
        let n = self.key.params().row_size;
        let values: Vec<&[u64]> = samples.iter().map(|(_, values)| &values[..]).collect();
        self.check(&values)?;
        samples.iter().try_for_each(|(m, _)| expect_coefficients(m, n))?;
        let of_sample = |(i, (m, values)): (usize, &(Vec<i32>, Vec<u64>))| {
            let index = (first + i) as u64;
            let purpose = format!("data set {}", self.shape.name);
            let mut record = self.selector(m, &purpose, index)?;
            self.write_values(&mut record, values, index);
            Ok(record)
        };
        let records = samples.par_iter().enumerate().map(of_sample);
        let records: Vec<Vec<u8>> = records.collect::<Result<_>>()?;
        self.writer.write(&records.concat())
    }

    /// Encrypts the next mini-batch of samples that lie side by side: the torus elements of each,
    /// and polynomials of N integers, as many as [`Lanes::count`] says.
    ///
    /// # Cost
    /// As for [`DatasetWriter::write_batch`], each polynomial as a sample.
    ///
    /// # Errors
    /// Those of [`DatasetWriter::write_batch`].
    pub fn write_lanes(&mut self, values: &[Vec<u64>], polynomials: &[Vec<i32>]) -> Result<()> {
        let first = self.next_sample();
        let n = self.key.params().row_size;
        self.check(&values.iter().map(|values| &values[..]).collect::<Vec<_>>())?;
        let expected = self.shape.selectors_in_lanes(values.len());
        if polynomials.len() != expected {
            let (op, what, got) = ("encrypting a mini-batch", "selectors", polynomials.len());
            return Err(Error::Shape { op, what, got, expected });
        }
        polynomials.iter().try_for_each(|m| expect_coefficients(m, n))?;
        let mut records = Vec::new();
        for (i, values) in values.iter().enumerate() {
            self.write_values(&mut records, values, (first + i) as u64);
        }
        let of_batch = self.shape.selectors_in_lanes(self.shape.batch);
        let first = self.writer.next() as usize * of_batch;
        let purpose = format!("lanes of data set {}", self.shape.name);
        let selectors = polynomials.par_iter().enumerate();
        let selectors = selectors.map(|(i, m)| self.selector(m, &purpose, (first + i) as u64));
        let selectors: Vec<Vec<u8>> = selectors.collect::<Result<_>>()?;
        records.extend(selectors.concat());
        self.writer.write(&records)
    }

    /// Checks the number of samples, and of the values of each.
    fn check(&self, values: &[&[u64]]) -> Result<()> {
        let (got, left) = (values.len(), self.shape.samples - self.next_sample());
        if left == 0 {
            let (index, len) = (self.writer.next() as usize, self.shape.batches());
            return Err(Error::Index { op: "encrypting a mini-batch", index, len });
        }
        let expected = left.min(self.shape.batch);
        if got != expected {
            let (op, what) = ("encrypting a mini-batch", "samples");
            return Err(Error::Shape { op, what, got, expected });
        }
        let (op, what, expected) = ("encrypting a sample", "values", self.shape.values);
        match values.iter().map(|values| values.len()).find(|&got| got != expected) {
            Some(got) => Err(Error::Shape { op, what, got, expected }),
            None => Ok(()),
        }
    }

    /// Encrypts a polynomial.
    fn selector(&self, m: &[i32], purpose: &str, index: u64) -> Result<Vec<u8>> {
        let mut record = Vec::new();
        let selector = self.key.seeded_selector(m, self.of(purpose, index))?;
        stored::write(&mut record, &selector, stored::CUT);
        Ok(record)
    }

    /// Encrypts the values of a sample.
    fn write_values(&self, record: &mut Vec<u8>, values: &[u64], index: u64) {
        let purpose = format!("values of data set {}", self.shape.name);
        let values = self.key.seeded_values(values, self.of(&purpose, index));
        stored::write(record, &values, stored::WHOLE);
    }

    fn of<'b>(&self, purpose: &'b str, index: u64) -> Use<'b> {
        match self.nonce {
            Some(nonce) => Use::fresh(purpose, index, nonce),
            None => Use::deterministic(purpose, index),
        }
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
        let bad = |problem| Error::Corrupt { path: path.into(), field: "meta".into(), problem };
        let (shape, nonce) = DatasetShape::parse(reader.header().meta.clone())
            .ok_or_else(|| bad("it is no shape of a data set"))?;
        let unfit = "the shape does not fit the file's length";
        let header = shape.header(params, key_id, nonce).map_err(|_| bad(unfit))?;
        if header != *reader.header() {
            return Err(bad(unfit));
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

    /// Reads one mini-batch: its selectors, and `values` values for each sample.
    ///
    /// # Errors
    /// [`Error::Index`], [`Error::Io`], [`Error::Corrupt`] with the chunk.
    pub fn batch(&self, cpu: &Cpu, index: usize) -> Result<(Selectors, Values)> {
        let bytes = self.reader.read(index as u64)?;
        let records = self.record * self.shape.samples_of(index);
        let (records, in_lanes) = bytes.split_at(bytes.len().min(records));
        let own = self.shape.selector_bytes(cpu.params());
        let read = |record: &[u8]| stored::read(record, stored::CUT);
        let (selectors, values): (Vec<_>, Vec<_>) = records
            .par_chunks_exact(self.record.max(1))
            .map(|r| ((own > 0).then(|| read(&r[..own])), stored::read(&r[own..], stored::WHOLE)))
            .unzip();
        let in_lanes = in_lanes.par_chunks_exact(stored::selector_bytes(cpu.params())).map(read);
        let mut selectors: Vec<_> = selectors.into_iter().flatten().collect();
        selectors.extend(in_lanes.collect::<Vec<_>>());
        Ok((cpu.open_selectors(&selectors)?, cpu.open_values(&values)))
    }
}

/// Refuses a polynomial of another size.
fn expect_coefficients(m: &[i32], n: usize) -> Result<()> {
    let (op, what, got) = ("encrypting a sample", "coefficients", m.len());
    if got == n { Ok(()) } else { Err(Error::Shape { op, what, got, expected: n }) }
}
