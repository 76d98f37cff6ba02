//! Files of a limited size.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// Bytes at most of a file: the largest of ImageNet has a quarter of that.
const MOST_BYTES: u64 = 64 << 20;

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io("opening", path))?;
    let mut bytes = Vec::new();
    // The size that the system states is not asked: it may be none, and a file may grow.
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    check_size(path, read.map_err(Error::io("reading", path))? as u64)?;
    Ok(bytes)
}

/// Refuses a file of too many bytes.
pub(super) fn check_size(file: &Path, bytes: u64) -> Result<()> {
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    let (file, wanted) = (file.to_path_buf(), format!("at most {MOST_BYTES}"));
    Err(Error::Field { file, field: "size in bytes", got: bytes, wanted })
}
