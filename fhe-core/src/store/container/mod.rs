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

mod header;
mod reader;
mod stream;
mod writer;

pub use header::Header;
pub(super) use header::{MAX_CHUNK, corrupt};
pub use reader::{ChunkReader, read_file};
pub(super) use stream::{STREAM, open_stream, write_pieces};
pub use stream::{read_from, write_to};
pub use writer::{ChunkWriter, write_file};
