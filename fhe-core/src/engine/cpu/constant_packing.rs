//! Packing of single values into constant rows.
//!
//! The key holds, for each bit s_i of the values' key and each level j, the constant row
//! `s_i q / B^j`. With d_ij the digits of mask element i, the row of one value is
//! `(0, b) - sum_ij d_ij K_ij`: its phase is the value's in coefficient 0 and noise elsewhere.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::fourier::decompose;
use super::huge_pages::Pages;
use super::{Cpu, Rows, Values};
use crate::Params;
use crate::server::SeededRows;

/// Bits of a limb of the key, and bits of the key that no limb holds.
///
/// Two signed limbs of 26 bits hold the upper 52 bits. A digit of at most 13 bits times a limb,
/// summed over 2^13 key rows, stays below 2^51: sums of doubles are then exact in any order.
/// Leaving out 12 bits adds an error of 2^-53.8 to a key whose noise is 2^-47.8.
const LIMB: u32 = 26;
const LEFT_OUT: u32 = 64 - 2 * LIMB;

/// The packing key as integers in doubles: for each key row the upper limbs of mask and body, then
/// the lower ones.
pub(super) struct ConstantsKey {
    limbs: Pages<f64>,
    rows: usize,
}

impl ConstantsKey {
    /// Numbers that it holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.limbs.len()
    }

    pub(super) fn new(params: &Params, stored: &[SeededRows]) -> Self {
        let n = params.row_size;
        let rows = n * params.pack.levels as usize;
        let mut limbs = Pages::zeros(rows * 4 * n);
        let chunk = limbs.len() / stored.len();
        limbs.par_chunks_exact_mut(chunk).zip(stored).for_each(|(limbs, stored)| {
            let expanded = stored.expand_rows(n);
            for (limbs, row) in limbs.chunks_exact_mut(4 * n).zip(expanded.chunks_exact(2 * n)) {
                let (high, low) = limbs.split_at_mut(2 * n);
                for ((x, high), low) in row.iter().zip(high).zip(low) {
                    let kept = (x.wrapping_add(1 << (LEFT_OUT - 1)) as i64) >> LEFT_OUT;
                    let half = 1 << (LIMB - 1);
                    let above = (kept + half) >> LIMB;
                    *high = above as f64;
                    *low = (kept - (above << LIMB)) as f64;
                }
            }
        });
        Self { limbs, rows }
    }

    /// Puts a row, or a sum of rows times integers, together from its limbs.
    fn join(out: &mut [u64], limbs: &[f64]) {
        let (high, low) = limbs.split_at(out.len());
        for ((out, high), low) in out.iter_mut().zip(high).zip(low) {
            *out = (((*high as i64) << LIMB).wrapping_add(*low as i64) << LEFT_OUT) as u64;
        }
    }
}

/// Digits of the masks, value by value, in the order of the key's rows.
fn digits(cpu: &Cpu, x: &Values) -> Vec<u64> {
    let n = cpu.params.row_size;
    let levels = cpu.params.pack.levels as usize;
    let mut digits = vec![0u64; x.len() * n * levels];
    digits.par_chunks_exact_mut(n * levels).zip(x.data.par_chunks_exact(n + 1)).for_each(
        |(digits, value)| {
            let mut by_level = vec![0u64; n * levels];
            decompose(&mut by_level, &value[..n], cpu.params.pack);
            for (i, digits) in digits.chunks_exact_mut(levels).enumerate() {
                for (j, digit) in digits.iter_mut().enumerate() {
                    *digit = by_level[j * n + i];
                }
            }
        },
    );
    digits
}

/// A matrix product of the digits with the key.
pub(super) fn pack(cpu: &Cpu, x: &Values) -> Rows {
    let n = cpu.params.row_size;
    let count = x.len();
    let mut out = Rows::new(n, count);
    if count == 0 {
        return out;
    }
    let key = &cpu.constants;
    let digits: Vec<f64> = digits(cpu, x).iter().map(|&d| d as i64 as f64).collect();
    let mut sums = Pages::zeros(count * 4 * n);
    matmul(
        MatMut::from_column_major_slice_mut(&mut sums, 4 * n, count),
        Accum::Replace,
        MatRef::from_column_major_slice(&key.limbs, 4 * n, key.rows),
        MatRef::from_column_major_slice(&digits, key.rows, count),
        1.0,
        Par::rayon(0),
    );
    let rows = out.data.par_chunks_exact_mut(2 * n);
    rows.zip(sums.par_chunks_exact(4 * n)).zip(x.data.par_chunks_exact(n + 1)).for_each(
        |((out, sums), value)| {
            ConstantsKey::join(out, sums);
            out.iter_mut().for_each(|x| *x = x.wrapping_neg());
            out[n] = out[n].wrapping_add(value[n]);
        },
    );
    out
}
