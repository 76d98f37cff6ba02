//! Containers over streams: into any [`Write`], out of any [`Read`].

use std::io::{Read, Write};
use std::path::Path;

use super::header::{Header, SUM, checksum, corrupt};
use crate::store::pieces::Pieces;
use crate::{Error, Result};

/// What errors call a container that has no file.
pub(in crate::store) const STREAM: &str = "<stream>";

/// Writes a whole payload as a container: the very bytes that [`crate::store::write_file`] puts
/// into a file.
///
/// # Errors
/// [`Error::Io`] if the stream refuses.
pub fn write_to(out: impl Write, header: Header, payload: &[u8]) -> Result<()> {
    write_pieces(out, header, Pieces::whole(payload), Path::new(STREAM))
}

/// Writes a payload that comes in pieces.
pub(in crate::store) fn write_pieces(
    mut out: impl Write,
    header: Header,
    payload: Pieces<'_>,
    place: &Path,
) -> Result<()> {
    let header = Header { payload_bytes: payload.bytes(), ..header };
    let (encoded, header_sum) = header.encode(place)?;
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(Error::io("writing", place));
    write(&encoded)?;
    let mut index = 0;
    payload.in_chunks(header.chunk_bytes as usize, |chunk| {
        write(chunk)?;
        write(checksum(index, &header_sum, chunk).as_bytes())?;
        index += 1;
        Ok(())
    })?;
    out.flush().map_err(Error::io("flushing", place))
}

/// Reads a container of a kind, checked, and nothing behind it. `limit` sees the header and returns
/// the most payload bytes to be taken. Memory is taken only as bytes come, whatever the header
/// says.
///
/// # Errors
/// [`Error::Io`]; [`Error::Corrupt`] if the stream ends early, was changed, or announces more than
/// the limit; [`Error::Mismatch`] for another kind or version; those of `limit`.
pub fn read_from(
    input: impl Read,
    kind: &'static str,
    limit: impl FnOnce(&Header) -> Result<u64>,
) -> Result<(Header, Vec<u8>)> {
    let (header, chunks) = open_stream(input, kind, limit)?;
    let mut payload = Vec::new();
    for chunk in chunks {
        payload.extend(chunk?);
    }
    Ok((header, payload))
}

/// Reads a header as [`read_from`] does. The chunks are read as they are asked for.
pub(in crate::store) fn open_stream<R: Read>(
    mut input: R,
    kind: &'static str,
    limit: impl FnOnce(&Header) -> Result<u64>,
) -> Result<(Header, impl Iterator<Item = Result<Vec<u8>>>)> {
    let place = Path::new(STREAM);
    let (header, header_sum, _) = Header::decode(&mut input, place)?;
    header.expect_kind(kind, place)?;
    if header.payload_bytes > limit(&header)? {
        return Err(corrupt(place, "payload_bytes", "larger than such a payload can be"));
    }
    let (chunks, of) = (header.chunks(), header.clone());
    let chunks = (0..chunks).map(move |index| {
        let field = || format!("chunk {index} of {chunks}");
        let len = of.chunk_len(index);
        let whole = (len + SUM) as u64;
        let mut bytes = Vec::new();
        let got = (&mut input).take(whole).read_to_end(&mut bytes);
        let got = got.map_err(Error::io("reading", place))?;
        if got as u64 != whole {
            return Err(corrupt(place, field(), "the stream ends inside it"));
        }
        let (chunk, sum) = bytes.split_at(len);
        if checksum(index, &header_sum, chunk).as_bytes() != sum {
            return Err(corrupt(place, field(), "its checksum does not match"));
        }
        bytes.truncate(len);
        Ok(bytes)
    });
    Ok((header, chunks))
}
