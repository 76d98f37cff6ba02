//! Containers over streams: into any [`Write`], out of any [`Read`].

use std::io::{Read, Write};
use std::path::Path;

use super::header::{Header, SUM, checksum, corrupt};
use crate::{Error, Result};

/// What errors call a container that has no file.
pub(in crate::store) const STREAM: &str = "<stream>";

/// Writes a whole payload as a container: the very bytes that [`crate::store::write_file`] puts
/// into a file.
///
/// # Errors
/// [`Error::Io`] if the stream refuses.
pub fn write_to(out: impl Write, header: Header, payload: &[u8]) -> Result<()> {
    write_container(out, header, payload, Path::new(STREAM))
}

pub(super) fn write_container(
    mut out: impl Write,
    header: Header,
    payload: &[u8],
    place: &Path,
) -> Result<()> {
    let header = Header { payload_bytes: payload.len() as u64, ..header };
    let (encoded, header_sum) = header.encode(place)?;
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(Error::io("writing", place));
    write(&encoded)?;
    for (index, chunk) in (0..).zip(payload.chunks(header.chunk_bytes as usize)) {
        write(chunk)?;
        write(checksum(index, &header_sum, chunk).as_bytes())?;
    }
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
    mut input: impl Read,
    kind: &'static str,
    limit: impl FnOnce(&Header) -> Result<u64>,
) -> Result<(Header, Vec<u8>)> {
    let place = Path::new(STREAM);
    let (header, header_sum, _) = Header::decode(&mut input, place)?;
    header.expect_kind(kind, place)?;
    if header.payload_bytes > limit(&header)? {
        return Err(corrupt(place, "payload_bytes", "larger than such a payload can be"));
    }
    let mut payload = Vec::new();
    let chunks = header.chunks();
    for index in 0..chunks {
        let (start, len) = (payload.len(), header.chunk_len(index));
        let whole = (len + SUM) as u64;
        let got = (&mut input).take(whole).read_to_end(&mut payload);
        let got = got.map_err(Error::io("reading", place))?;
        let field = || format!("chunk {index} of {chunks}");
        if got as u64 != whole {
            return Err(corrupt(place, field(), "the stream ends inside it"));
        }
        let (chunk, sum) = payload[start..].split_at(len);
        if checksum(index, &header_sum, chunk).as_bytes() != sum {
            return Err(corrupt(place, field(), "its checksum does not match"));
        }
        payload.truncate(start + len);
    }
    Ok((header, payload))
}
