//! Encrypted data sets: selectors, and for each sample a few values.
//!
//! A chunk of the container is one mini-batch, so that training reads and checks whole chunks. It
//! has the selectors, one a sample or those of samples that lie side by side: each is a mask seed
//! (16 bytes) and its bodies cut to their upper 48 bits (6 bytes a coefficient). Cutting adds a
//! rounding error of standard deviation 2^-49.8, against a noise of 2^-47.8. Then come the values,
//! in rows ([`ValueLayout`]): a mask seed and bodies of 8 bytes. What is left of a row is 0.

use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::container::{ChunkReader, ChunkWriter, Header, MAX_CHUNK};
use super::stored;
use super::value_layout::ValueLayout;
use super::whole::Secrecy;
use crate::client::{ClientKey, Nonce, Use};
use crate::engine::Engine;
use crate::engine::cpu::{Cpu, Rows, Selectors};
use crate::{Error, Params, Result};

pub(super) const KIND: &str = "encrypted data set";
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

    /// Returns the samples of a mini-batch; the last one may have fewer, and there is none beyond.
    #[must_use]
    pub fn samples_of(&self, index: usize) -> usize {
        self.batch.min(self.samples.saturating_sub(index.saturating_mul(self.batch)))
    }

    /// Returns the selectors of so many samples of a mini-batch.
    fn selectors_of(&self, samples: usize) -> usize {
        self.lanes.map_or(samples, |lanes| lanes.count(samples))
    }

    /// Returns where the values of so many samples stand.
    #[must_use]
    pub fn layout(&self, params: &Params, samples: usize) -> ValueLayout {
        ValueLayout::new(params, samples, self.values)
    }

    /// Returns the bytes of the values of so many samples; `None` if they are too many.
    fn values_bytes(&self, params: &Params, samples: usize) -> Option<u64> {
        let bodies = self.layout(params, samples).rows().checked_mul(params.row_size)?;
        match bodies {
            0 => Some(0),
            _ => (bodies as u64).checked_mul(stored::WHOLE as u64)?.checked_add(16),
        }
    }

    /// Returns the bytes of a mini-batch of so many samples; `None` if they are too many.
    fn batch_bytes(&self, params: &Params, samples: usize) -> Option<u64> {
        let selectors = self.selectors_of(samples) as u64;
        let selectors = selectors.checked_mul(stored::selector_bytes(params) as u64)?;
        let bytes = selectors.checked_add(self.values_bytes(params, samples)?)?;
        Some(bytes).filter(|&bytes| bytes <= MAX_CHUNK)
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
        if self.batch == 0 || self.batch > MAX_SAMPLES {
            let expected = self.batch.clamp(1, MAX_SAMPLES);
            return fail("samples of a mini-batch (1 to 2^24)", self.batch, expected);
        }
        let bytes = |samples| self.batch_bytes(params, samples);
        let (Some(whole), Some(last)) =
            (bytes(self.batch), bytes(self.samples_of(self.batches() - 1)))
        else {
            let what = "selectors of a mini-batch (2^32 bytes at most, with its values)";
            return fail(what, self.selectors_of(self.batch), 0);
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
/// use fhe_core::{Cpu, List, Params, Seed, client::ClientKey, from_torus};
/// use fhe_core::store::{Dataset, DatasetShape, DatasetWriter};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("train.data");
/// let key = ClientKey::new(&Params::toy_insecure()?, Seed::random()?);
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
/// let (selectors, values) = data.batch(&server, 0)?;
/// assert_eq!((selectors.len(), values.len()), (2, 1));
/// // The value of the second sample is coefficient 1 of the row.
/// let value = key.decrypt_rows(&values)?[1];
/// assert!((from_torus(value) + 0.25).abs() < 1e-6);
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
        let (polynomials, values): (Vec<_>, Vec<_>) =
            samples.iter().map(|(m, values)| (&m[..], &values[..])).unzip();
        self.check(&values)?;
        let purpose = format!("data set {}", self.shape.name);
        self.write(&polynomials, &purpose, first, &values)
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
        let values: Vec<_> = values.iter().map(|values| &values[..]).collect();
        self.check(&values)?;
        let expected = self.shape.selectors_of(values.len());
        if polynomials.len() != expected {
            let (op, what, got) = ("encrypting a mini-batch", "selectors", polynomials.len());
            return Err(Error::Shape { op, what, got, expected });
        }
        let of_batch = self.shape.selectors_of(self.shape.batch);
        let first = self.writer.next() as usize * of_batch;
        let purpose = format!("lanes of data set {}", self.shape.name);
        let polynomials: Vec<_> = polynomials.iter().map(|m| &m[..]).collect();
        self.write(&polynomials, &purpose, first, &values)
    }

    /// Encrypts a mini-batch: its polynomials, as uses of a purpose from the first one on, and the
    /// values of its samples.
    fn write(
        &mut self,
        polynomials: &[&[i32]],
        purpose: &str,
        first: usize,
        values: &[&[u64]],
    ) -> Result<()> {
        let n = self.key.params().row_size;
        polynomials.iter().try_for_each(|m| expect_coefficients(m, n))?;
        let selectors = polynomials.par_iter().enumerate();
        let selectors = selectors.map(|(i, m)| self.selector(m, purpose, (first + i) as u64));
        let selectors: Vec<Vec<u8>> = selectors.collect::<Result<_>>()?;
        let mut chunk = selectors.concat();
        let layout = self.shape.layout(self.key.params(), values.len());
        if layout.rows() > 0 {
            let mut phases = Zeroizing::new(vec![0; layout.rows() * n]);
            for (i, values) in values.iter().enumerate() {
                for (v, value) in values.iter().enumerate() {
                    let (row, coefficient) = layout.place(i, v);
                    phases[row * n + coefficient] = *value;
                }
            }
            let purpose = format!("values of data set {}", self.shape.name);
            let values = self.key.seeded_rows(&phases, self.of(&purpose, self.writer.next()));
            stored::write(&mut chunk, &values, stored::WHOLE);
        }
        self.writer.write(&chunk)
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
        Ok(Self { reader, shape })
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

    /// Reads one mini-batch: its selectors, and the rows of its values ([`ValueLayout`]).
    ///
    /// # Errors
    /// [`Error::Index`], [`Error::Io`], [`Error::Corrupt`] with the chunk.
    pub fn batch(&self, cpu: &Cpu, index: usize) -> Result<(Selectors, Rows)> {
        let bytes = self.reader.read(index as u64)?;
        let of_selector = stored::selector_bytes(cpu.params());
        let selectors = self.shape.selectors_of(self.shape.samples_of(index)) * of_selector;
        let (selectors, values) = bytes.split_at(bytes.len().min(selectors));
        let selectors = selectors.par_chunks_exact(of_selector);
        let selectors: Vec<_> = selectors.map(|x| stored::read(x, stored::CUT)).collect();
        let n = cpu.params().row_size;
        let values = match values {
            [] => Rows::of(n, Vec::new()),
            values => Rows::of(n, stored::read(values, stored::WHOLE).expand_rows(n)),
        };
        Ok((cpu.open_selectors(&selectors)?, values))
    }
}

/// Refuses a polynomial of another size.
fn expect_coefficients(m: &[i32], n: usize) -> Result<()> {
    let (op, what, got) = ("encrypting a sample", "coefficients", m.len());
    if got == n { Ok(()) } else { Err(Error::Shape { op, what, got, expected: n }) }
}
