//! Containers read from files.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::header::{Header, SUM, checksum, corrupt};
use crate::{Error, Params, Result};

/// Returns where a file is until it is complete.
pub(super) fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Reads a container chunk by chunk, each checked.
#[derive(Debug)]
pub struct ChunkReader {
    path: PathBuf,
    file: File,
    header: Header,
    pub(super) header_sum: [u8; SUM],
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
    pub(in crate::store) fn open_part(path: &Path) -> Result<Self> {
        Self::open_any(&part_of(path))
    }

    pub(super) fn open_any(path: &Path) -> Result<Self> {
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

/// Reads a whole payload, checked.
///
/// # Errors
/// As [`ChunkReader::open`] and [`ChunkReader::read`].
pub fn read_file(path: &Path, kind: &'static str) -> Result<(Header, Vec<u8>)> {
    let reader = ChunkReader::open(path, kind)?;
    let payload = reader.read_all()?;
    Ok((reader.header, payload))
}
