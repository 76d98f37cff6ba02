//! The container: a checked header and chunks with checksums.
//!
//! ```text
//! magic "FHETORUS"   8 bytes
//! header length      u32, little endian
//! header             JSON
//! checksum           blake3 of magic, length and header, 32 bytes
//! chunks             chunk_bytes each (the last may be shorter), each followed by
//!                    blake3(index as u64 little endian || header checksum || chunk), 32 bytes
//! ```
//!
//! A file under its final name is complete: writing goes to `NAME.part`, which is renamed when it
//! has been flushed to the disk.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::stream::write_container;
use super::whole::{Secrecy, replace};
use crate::{Error, Params, ParamsSpec, Result};

const MAGIC: &[u8; 8] = b"FHETORUS";
const VERSION: u32 = 1;
pub(super) const SUM: usize = 32;
/// A header is a few hundred bytes; this bounds what a damaged length can make us allocate.
const MAX_HEADER: usize = 1 << 20;
pub(super) const MAX_CHUNK: u64 = 1 << 32;
const MAX_PAYLOAD: u64 = 1 << 48;

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
    /// A header of the present version.
    #[must_use]
    pub fn new(kind: &str, params: &Params, key_id: &str, meta: serde_json::Value) -> Self {
        Self {
            kind: kind.into(),
            version: VERSION,
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
    pub(super) fn expect_key(&self, params: &Params, key_id: &str, place: &Path) -> Result<()> {
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
        if self.version != VERSION {
            return mismatch("version", self.version.to_string(), VERSION.to_string());
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

pub(super) fn corrupt(path: &Path, field: impl Into<String>, problem: &'static str) -> Error {
    Error::Corrupt { path: path.into(), field: field.into(), problem }
}

/// Reads a container chunk by chunk, each checked.
#[derive(Debug)]
pub struct ChunkReader {
    path: PathBuf,
    file: File,
    header: Header,
    header_sum: [u8; SUM],
    start: u64,
}

impl ChunkReader {
    /// Opens a complete file of a kind.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] if it is cut or changed, [`Error::Mismatch`] if it is of
    /// another kind or version.
    pub fn open(path: &Path, kind: &'static str) -> Result<Self> {
        let reader = Self::open_any(path)?;
        let header = &reader.header;
        header.expect_kind(kind, path)?;
        let expected = reader.start + header.payload_bytes + header.chunks() * SUM as u64;
        let got = reader.file.metadata().map_err(Error::io("reading", path))?.len();
        if got != expected {
            let (got, expected) = (format!("{got} bytes"), format!("{expected} bytes"));
            return Err(reader.mismatch("length", got, expected));
        }
        Ok(reader)
    }

    /// Opens what an interrupted run left of a file, of any kind.
    pub(super) fn open_part(path: &Path) -> Result<Self> {
        Self::open_any(&part_of(path))
    }

    fn open_any(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::io("opening", path))?;
        let (header, sum, start) = Header::decode(&mut file, path)?;
        Ok(Self { path: path.into(), file, header, header_sum: sum, start })
    }

    /// Returns the header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the parameter set, checked.
    ///
    /// # Errors
    /// [`Error::Params`].
    pub fn params(&self) -> Result<Params> {
        Params::new(self.header.params.clone())
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a file made under another key.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    pub fn expect_key(&self, params: &Params, key_id: &str) -> Result<()> {
        self.header.expect_key(params, key_id, &self.path)
    }

    fn mismatch(&self, field: &'static str, got: String, expected: String) -> Error {
        Error::Mismatch { path: self.path.clone(), field, got, expected }
    }

    /// Returns the number of chunks.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.header.chunks()
    }

    /// Reads and checks one chunk.
    ///
    /// # Errors
    /// [`Error::Index`], [`Error::Io`], or [`Error::Corrupt`] with the chunk's index.
    pub fn read(&self, index: u64) -> Result<Vec<u8>> {
        let chunks = self.chunks();
        if index >= chunks {
            let (index, len) = (index as usize, chunks as usize);
            return Err(Error::Index { op: "reading a chunk", index, len });
        }
        let len = self.header.chunk_len(index);
        let mut bytes = vec![0; len + SUM];
        let at = self.start + index * (self.header.chunk_bytes + SUM as u64);
        self.file.read_exact_at(&mut bytes, at).map_err(Error::io("reading", &self.path))?;
        let (chunk, sum) = bytes.split_at(len);
        if checksum(index, &self.header_sum, chunk).as_bytes() != sum {
            let field = format!("chunk {index} of {chunks}");
            return Err(corrupt(&self.path, field, "its checksum does not match"));
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Reads all chunks, checked, one after another.
    ///
    /// # Errors
    /// As [`ChunkReader::read`].
    pub fn read_all(&self) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        for index in 0..self.chunks() {
            payload.extend(self.read(index)?);
        }
        Ok(payload)
    }
}

/// Writes a container chunk by chunk, to `NAME.part`; [`ChunkWriter::finish`] renames it.
#[derive(Debug)]
pub struct ChunkWriter {
    path: PathBuf,
    part: PathBuf,
    file: File,
    header: Header,
    header_sum: [u8; SUM],
    next: u64,
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

impl ChunkWriter {
    /// Starts a file, or goes on with the `NAME.part` that an interrupted run left: chunks that are
    /// whole and match their checksums are kept, under the very same header only.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn resume(path: &Path, header: &Header, secrecy: Secrecy) -> Result<Self> {
        let part = part_of(path);
        let (encoded, header_sum) = header.encode(path)?;
        let mut next = 0;
        if let Ok(old) = ChunkReader::open_any(&part)
            && old.header_sum == header_sum
        {
            while next < old.chunks() && old.read(next).is_ok() {
                next += 1;
            }
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(next == 0)
            .mode(secrecy.mode())
            .open(&part)
            .map_err(Error::io("creating", &part))?;
        let mut at = encoded.len() as u64;
        if next == 0 {
            file.write_all(&encoded).map_err(Error::io("writing", &part))?;
        } else {
            at += (0..next).map(|i| (header.chunk_len(i) + SUM) as u64).sum::<u64>();
            file.set_len(at).map_err(Error::io("truncating", &part))?;
        }
        file.seek(SeekFrom::Start(at)).map_err(Error::io("seeking", &part))?;
        Ok(Self { path: path.into(), part, file, header: header.clone(), header_sum, next })
    }

    /// Returns the index of the chunk to be written next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Writes the next chunk.
    ///
    /// # Errors
    /// [`Error::Index`] if all chunks are there, [`Error::Shape`] if this one has another length
    /// than the header says, [`Error::Io`].
    pub fn write(&mut self, chunk: &[u8]) -> Result<()> {
        let chunks = self.header.chunks();
        if self.next >= chunks {
            let (index, len) = (self.next as usize, chunks as usize);
            return Err(Error::Index { op: "writing a chunk", index, len });
        }
        let expected = self.header.chunk_len(self.next);
        if chunk.len() != expected {
            let (op, what, got) = ("writing a chunk", "bytes", chunk.len());
            return Err(Error::Shape { op, what, got, expected });
        }
        let sum = checksum(self.next, &self.header_sum, chunk);
        self.file
            .write_all(chunk)
            .and_then(|()| self.file.write_all(sum.as_bytes()))
            .map_err(Error::io("writing", &self.part))?;
        self.next += 1;
        Ok(())
    }

    /// Flushes to the disk and renames to the final name.
    ///
    /// # Errors
    /// [`Error::Shape`] if chunks are missing, [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let (got, expected) = (self.next as usize, self.header.chunks() as usize);
        if got != expected {
            return Err(Error::Shape { op: "finishing a file", what: "chunks", got, expected });
        }
        self.file.sync_all().map_err(Error::io("flushing", &self.part))?;
        std::fs::rename(&self.part, &self.path).map_err(Error::io("renaming", &self.part))
    }
}

/// Writes a whole payload, whole or not at all.
///
/// # Errors
/// [`Error::Io`]; then the former file, if any, is as it was.
pub fn write_file(path: &Path, header: Header, secrecy: Secrecy, payload: &[u8]) -> Result<()> {
    replace(path, secrecy, |file| write_container(file, header, payload, path))
}

/// Reads a whole payload, checked.
///
/// # Errors
/// As [`ChunkReader::open`] and [`ChunkReader::read`].
pub fn read_file(path: &Path, kind: &'static str) -> Result<(Header, Vec<u8>)> {
    let reader = ChunkReader::open(path, kind)?;
    let payload = reader.read_all()?;
    Ok((reader.header, payload))
}
