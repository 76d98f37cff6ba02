//! Files of a limited size.

use std::path::Path;

use crate::{Result, file};

/// Bytes at most of a file: the largest of ImageNet has a quarter of that.
const MOST_BYTES: u64 = 64 << 20;

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    file::read(path, MOST_BYTES)
}

/// Refuses a file of too many bytes.
pub(super) fn check_size(file: &Path, bytes: u64) -> Result<()> {
    file::check_size(file, bytes, MOST_BYTES)
}
