//! Packing: values of dimension N back into rows.
//!
//! The key holds, for each bit s_i of the values' key and each level j, the constant row
//! `s_i q / B^j`. With d_ij the digits of mask element i, the row of one value is
//! `(0, b) - sum_ij d_ij K_ij`: its phase is the value's in coefficient 0 and noise elsewhere.

use rayon::prelude::*;
use tfhe::core_crypto::fft_impl::fft64::c64;

use super::fourier::{decompose, multiply_add};
use super::{Cpu, Rows, Values};
use crate::Params;
use crate::server::SeededRows;

/// Columns of the key that one thread works on at a time.
const COLUMNS: usize = 256;
/// Rows of the key applied while they are in the nearest cache.
const KEY_ROWS: usize = 8;

/// The packing key, cut into strips of [`COLUMNS`] columns: strip, then key row, then column.
pub(super) struct PackKey {
    strips: Vec<u64>,
    rows: usize,
    columns: usize,
}

impl PackKey {
    pub(super) fn new(params: &Params, stored: &[SeededRows]) -> Self {
        let n = params.row_size;
        let rows = n * params.pack.levels as usize;
        let columns = COLUMNS.min(2 * n);
        let mut strips = vec![0; rows * 2 * n];
        let parts: Vec<_> = stored.par_iter().map(|part| part.expand_rows(n)).collect();
        let key_rows = parts.iter().flat_map(|part| part.chunks_exact(2 * n));
        for (r, row) in key_rows.enumerate() {
            for (s, piece) in row.chunks_exact(columns).enumerate() {
                let start = (s * rows + r) * columns;
                strips[start..start + columns].copy_from_slice(piece);
            }
        }
        Self { strips, rows, columns }
    }

    /// Copies key row r, mask and body.
    fn row(&self, r: usize, out: &mut [u64]) {
        for (s, piece) in out.chunks_exact_mut(self.columns).enumerate() {
            let start = (s * self.rows + r) * self.columns;
            piece.copy_from_slice(&self.strips[start..start + self.columns]);
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

/// A matrix product of the digits with the key, strip by strip.
pub(super) fn constants(cpu: &Cpu, x: &Values) -> Rows {
    let n = cpu.params.row_size;
    let count = x.len();
    let mut out = Rows::new(n, count);
    if count == 0 {
        return out;
    }
    let digits = digits(cpu, x);
    let key = &cpu.pack;
    let columns = key.columns;
    // Sums of each strip, value by value; copied to their rows at the end.
    let sums: Vec<Vec<u64>> = key
        .strips
        .par_chunks_exact(key.rows * columns)
        .map(|strip| {
            let mut sums = vec![0u64; count * columns];
            for (block, rows) in strip.chunks_exact(columns * KEY_ROWS).enumerate() {
                for (v, sum) in sums.chunks_exact_mut(columns).enumerate() {
                    let d = &digits[v * key.rows + block * KEY_ROWS..][..KEY_ROWS];
                    add_block(sum, rows, d);
                }
            }
            sums
        })
        .collect();
    for (s, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.chunks_exact(columns).enumerate() {
            let start = v * 2 * n + s * columns;
            for (out, x) in out.data[start..start + columns].iter_mut().zip(sum) {
                *out = x.wrapping_neg();
            }
        }
    }
    for (out, value) in out.data.chunks_exact_mut(2 * n).zip(x.iter()) {
        out[n] = out[n].wrapping_add(value[n]);
    }
    out
}

/// Adds [`KEY_ROWS`] rows, each times its digit.
fn add_block(sum: &mut [u64], rows: &[u64], d: &[u64]) {
    let columns = sum.len();
    let (r0, r) = rows.split_at(columns);
    let (r1, r) = r.split_at(columns);
    let (r2, r) = r.split_at(columns);
    let (r3, r) = r.split_at(columns);
    let (r4, r) = r.split_at(columns);
    let (r5, r) = r.split_at(columns);
    let (r6, r7) = r.split_at(columns);
    for c in 0..columns {
        let a = d[0].wrapping_mul(r0[c]).wrapping_add(d[1].wrapping_mul(r1[c]));
        let b = d[2].wrapping_mul(r2[c]).wrapping_add(d[3].wrapping_mul(r3[c]));
        let e = d[4].wrapping_mul(r4[c]).wrapping_add(d[5].wrapping_mul(r5[c]));
        let f = d[6].wrapping_mul(r6[c]).wrapping_add(d[7].wrapping_mul(r7[c]));
        sum[c] = sum[c].wrapping_add(a.wrapping_add(b).wrapping_add(e.wrapping_add(f)));
    }
}

/// The digits of element i of all masks form a polynomial; its product with key row i packs them
/// all at once. Sums stay in the Fourier domain.
pub(super) fn list(cpu: &Cpu, x: &Values) -> Rows {
    let n = cpu.params.row_size;
    let points = cpu.transform.points();
    let digits = digits(cpu, x);
    let rows = cpu.pack.rows;
    let zero = c64::new(0.0, 0.0);
    let part = 64;
    // Parts of fixed size added in order: the result does not depend on the number of threads.
    let parts: Vec<Vec<c64>> = (0..rows / part)
        .into_par_iter()
        .map_init(
            || (cpu.transform.scratch(), vec![0u64; n], vec![0u64; 2 * n], vec![zero; 2 * points]),
            |(scratch, polynomial, key, fourier), p| {
                let mut sum = vec![zero; 2 * points];
                for r in p * part..(p + 1) * part {
                    polynomial.fill(0);
                    for (v, c) in polynomial.iter_mut().enumerate().take(x.len()) {
                        *c = digits[v * rows + r];
                    }
                    cpu.pack.row(r, key);
                    let (d, k) = fourier.split_at_mut(points);
                    cpu.transform.forward_integer(d, polynomial, scratch);
                    for (sum, key) in sum.chunks_exact_mut(points).zip(key.chunks_exact(n)) {
                        cpu.transform.forward_torus(k, key, scratch);
                        multiply_add(sum, d, k);
                    }
                }
                sum
            },
        )
        .collect();
    let mut sum = vec![zero; 2 * points];
    for part in &parts {
        for (s, x) in sum.iter_mut().zip(part) {
            *s += x;
        }
    }
    let mut out = Rows::new(n, 1);
    let mut scratch = cpu.transform.scratch();
    for (out, sum) in out.data.chunks_exact_mut(n).zip(sum.chunks_exact(points)) {
        cpu.transform.backward(out, sum, &mut scratch);
        for x in out {
            *x = x.wrapping_neg();
        }
    }
    for (i, value) in x.iter().enumerate() {
        out.data[n + i] = out.data[n + i].wrapping_add(value[n]);
    }
    out
}
