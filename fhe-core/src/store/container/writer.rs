//! Containers written to files.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::header::{Header, SUM, checksum};
use super::reader::{ChunkReader, part_of};
use super::stream::write_pieces;
use crate::store::pieces::Pieces;
use crate::store::whole::{Secrecy, flush_folder, replace};
use crate::{Error, Result};

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

impl ChunkWriter {
    /// Starts a file, or goes on with the `NAME.part` that an interrupted run left: chunks that are
    /// whole and match their checksums are kept, under the very same header only.
    ///
    /// # Errors
    /// [`Error::Io`]; also if `NAME.part` is a symbolic link: what it points to is left alone.
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
            .custom_flags(libc::O_NOFOLLOW)
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
        std::fs::rename(&self.part, &self.path).map_err(Error::io("renaming", &self.part))?;
        flush_folder(&self.path)
    }
}

/// Writes a whole payload, whole or not at all.
///
/// # Errors
/// [`Error::Io`]; then the former file, if any, is as it was.
pub fn write_file(path: &Path, header: Header, secrecy: Secrecy, payload: &[u8]) -> Result<()> {
    replace(path, secrecy, |file| write_pieces(file, header, Pieces::whole(payload), path))
}
