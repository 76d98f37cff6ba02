//! Seeded ciphertexts as bytes: the mask seed (16 bytes), then the upper bytes of each body.

use crate::Params;
use crate::server::SeededRows;

/// Bytes of a body that is kept in full.
pub(super) const WHOLE: usize = 8;
/// Bytes kept of a body of a selector. The rounding error has a standard deviation of 2^-49.8,
/// against a noise of 2^-47.8.
pub(crate) const CUT: usize = 6;

/// Returns the bytes of a list of so many bodies.
pub(super) fn bytes(bodies: usize, of_body: usize) -> usize {
    16 + of_body * bodies
}

/// Returns the bytes of one selector.
pub(super) fn selector_bytes(params: &Params) -> usize {
    bytes(2 * params.selector.levels as usize * params.row_size, CUT)
}

/// Returns a body rounded to its upper bytes.
pub(crate) fn round(body: u64, of_body: usize) -> u64 {
    let dropped = 64 - 8 * of_body as u32;
    if dropped == 0 { body } else { body.wrapping_add(1 << (dropped - 1)) >> dropped << dropped }
}

/// Reads a list; bytes that do not fill the last body are left out.
pub(super) fn read(stored: &[u8], of_body: usize) -> SeededRows {
    let (seed, bodies) = stored.split_at(16);
    let mut number = [0; 16];
    number.copy_from_slice(seed);
    let bodies = bodies
        .chunks_exact(of_body)
        .map(|body| {
            let mut word = [0; 8];
            word[8 - of_body..].copy_from_slice(body);
            u64::from_le_bytes(word)
        })
        .collect();
    SeededRows { seed: u128::from_le_bytes(number), bodies }
}

/// Appends a list, its bodies rounded.
pub(super) fn write(out: &mut Vec<u8>, rows: &SeededRows, of_body: usize) {
    out.extend(rows.seed.to_le_bytes());
    for &body in &rows.bodies {
        out.extend(&round(body, of_body).to_le_bytes()[8 - of_body..]);
    }
}
