//! Formats of others that have checksums: these are made to fit again.

use flate2::Crc;

/// Bytes of a header of a tar archive, and of the blocks in which it is written.
const BLOCK: usize = 512;

/// Puts the right checksum into every header of an archive.
pub(super) fn tar(mut bytes: Vec<u8>, fit: bool) -> Vec<u8> {
    for header in bytes.chunks_exact_mut(BLOCK).filter(|block| fit && &block[257..262] == b"ustar")
    {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

/// Puts the right checksum behind every chunk of a picture: length, four letters, data, checksum.
pub(super) fn png(mut bytes: Vec<u8>, fit: bool) -> Vec<u8> {
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4).filter(|_| fit) {
        let length = length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let (start, end) = (at + 4, at + 8 + length);
        if end + 4 > bytes.len() {
            break;
        }
        let mut sum = Crc::new();
        sum.update(&bytes[start..end]);
        bytes[end..end + 4].copy_from_slice(&sum.sum().to_be_bytes());
        at = end + 4;
    }
    bytes
}
