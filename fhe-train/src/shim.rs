//! Temporary.
use std::path::Path;

pub(crate) fn bytes(x: &[u64]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}
pub(crate) fn words(x: &[u8]) -> Vec<u64> {
    x.chunks_exact(8).map(|b| b.iter().rev().fold(0, |x, &b| x << 8 | u64::from(b))).collect()
}
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> crate::Result<()> {
    std::fs::write(path, bytes).map_err(|source| crate::Error::Io { path: path.into(), source })
}
