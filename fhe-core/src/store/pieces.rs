//! Payloads in pieces, so that a large message is in memory once and not twice.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::container::{Header, MAX_CHUNK, corrupt};
use super::message::Opened;
use crate::{Error, Params, Result};

/// A payload on its way out: its length, and its bytes one piece after another.
pub struct Pieces<'a> {
    bytes: u64,
    pieces: Box<dyn Iterator<Item = Cow<'a, [u8]>> + 'a>,
}

impl<'a> Pieces<'a> {
    /// Takes pieces that have so many bytes together.
    pub fn new(bytes: u64, pieces: impl Iterator<Item = Vec<u8>> + 'a) -> Self {
        Self { bytes, pieces: Box::new(pieces.map(Cow::Owned)) }
    }

    /// Takes a payload that is there as a whole.
    #[must_use]
    pub fn whole(payload: impl Into<Cow<'a, [u8]>>) -> Self {
        let payload = payload.into();
        Self { bytes: payload.len() as u64, pieces: Box::new(std::iter::once(payload)) }
    }

    /// Returns the number of bytes of all pieces together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Cuts the payload into chunks of `len` bytes, of which the last may have fewer, and calls
    /// `write` with each.
    pub(super) fn in_chunks(
        self,
        len: usize,
        mut write: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut written = 0;
        // A payload may be secret: its copy does not grow, and is wiped.
        let most = usize::try_from(self.bytes).unwrap_or(len).min(len);
        let mut chunk = Zeroizing::new(Vec::with_capacity(most));
        for piece in self.pieces {
            written += piece.len() as u64;
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(len - chunk.len()));
                chunk.extend_from_slice(now);
                rest = later;
                if chunk.len() == len {
                    write(&chunk)?;
                    chunk.clear();
                }
            }
        }
        if !chunk.is_empty() {
            write(&chunk)?;
        }
        if written == self.bytes {
            return Ok(());
        }
        let (op, what) = ("writing a payload", "bytes of all pieces");
        let (got, expected) = (written as usize, self.bytes as usize);
        Err(Error::Shape { op, what, got, expected })
    }
}

impl std::fmt::Debug for Pieces<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// A container on its way in: its header was checked, and its chunks come as they are asked for,
/// each with its checksum compared.
pub struct Incoming<'a> {
    header: Header,
    params: Params,
    place: PathBuf,
    chunks: Box<dyn Iterator<Item = Result<Vec<u8>>> + 'a>,
    /// Of the chunks that came, the bytes that nobody took.
    waiting: Vec<u8>,
}

impl<'a> Incoming<'a> {
    /// Takes a header whose parameter set is still to be checked, and the chunks behind it.
    pub(super) fn new(
        place: &Path,
        header: Header,
        chunks: impl Iterator<Item = Result<Vec<u8>>> + 'a,
    ) -> Result<Self> {
        let params = Params::new(header.params.clone())?;
        let (place, chunks) = (place.into(), Box::new(chunks));
        Ok(Self { header, params, place, chunks, waiting: Vec::new() })
    }

    /// Takes a container that is there as a whole.
    #[must_use]
    pub fn whole(opened: Opened) -> Self {
        let Opened { header, params, payload, place } = opened;
        let len = header.chunk_bytes.clamp(1, MAX_CHUNK) as usize;
        let chunks = (0..payload.len().div_ceil(len))
            .map(move |i| Ok(payload[i * len..payload.len().min((i + 1) * len)].to_vec()));
        Self { header, params, place, chunks: Box::new(chunks), waiting: Vec::new() }
    }

    /// Returns the header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the parameter set, checked.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Takes the next bytes of the payload. Memory is taken as chunks come.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if so many are not left, or a chunk was changed; [`Error::Io`].
    pub fn take(&mut self, bytes: usize) -> Result<Vec<u8>> {
        while self.waiting.len() < bytes {
            match self.chunks.next() {
                Some(chunk) => self.waiting.extend(chunk?),
                None => return Err(self.corrupt("payload", "it ends too early")),
            }
        }
        let later = self.waiting.split_off(bytes);
        Ok(std::mem::replace(&mut self.waiting, later))
    }

    /// Takes all of the payload that is left.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a chunk was changed or is cut; [`Error::Io`].
    pub fn take_all(&mut self) -> Result<Vec<u8>> {
        let mut payload = std::mem::take(&mut self.waiting);
        for chunk in &mut self.chunks {
            payload.extend(chunk?);
        }
        Ok(payload)
    }

    /// Refuses a payload of which something is left.
    pub(super) fn expect_end(&mut self) -> Result<()> {
        let left = !self.waiting.is_empty() || self.chunks.next().transpose()?.is_some();
        if left { Err(self.corrupt("payload", "there are bytes behind it")) } else { Ok(()) }
    }

    /// Takes all of it, as a whole, from its first byte on.
    ///
    /// # Errors
    /// Those of [`Incoming::take_all`].
    pub fn open(&mut self) -> Result<Opened> {
        let payload = self.take_all()?;
        let (header, params) = (self.header.clone(), self.params.clone());
        Ok(Opened { header, params, payload, place: self.place.clone() })
    }

    /// Returns the error that a part of it is wrong.
    #[must_use]
    pub fn corrupt(&self, field: &str, problem: &'static str) -> Error {
        corrupt(&self.place, field, problem)
    }
}

impl std::fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("header", &self.header).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(pieces: Pieces<'_>, len: usize) -> Result<Vec<Vec<u8>>> {
        let mut chunks = Vec::new();
        pieces.in_chunks(len, |chunk| {
            chunks.push(chunk.to_vec());
            Ok(())
        })?;
        Ok(chunks)
    }

    #[test]
    fn chunks_do_not_depend_on_the_pieces() {
        let payload: Vec<u8> = (0..23).collect();
        for piece in [1, 2, 5, 7, 22, 23, 99] {
            for len in [1, 3, 5, 22, 23, 24] {
                let pieces = payload.chunks(piece).map(<[u8]>::to_vec);
                let got = chunks(Pieces::new(23, pieces), len).unwrap();
                let want: Vec<Vec<u8>> = payload.chunks(len).map(<[u8]>::to_vec).collect();
                assert_eq!(got, want, "pieces of {piece}, chunks of {len}");
                assert_eq!(chunks(Pieces::whole(&payload[..]), len).unwrap(), want);
            }
        }
        assert!(chunks(Pieces::whole(Vec::new()), 8).unwrap().is_empty());
        let short = chunks(Pieces::new(24, std::iter::once(payload)), 8);
        assert!(short.unwrap_err().to_string().contains("bytes of all pieces"));
    }
}
