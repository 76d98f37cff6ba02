//! Packing of lists of values into rows, and promotion of lists of values to selectors.
//!
//! For each bit s_i of the values' key and each level j one key holds the row of `s_i q / B^j`, and
//! another that of `s_i S q / B^j`. With d_ij the digits of mask element i of every value of a
//! list, each at its coefficient, `D_ij = sum_v d_ij(v) X^c(v)`, and `b(X) = sum_v b(v) X^c(v)`,
//!
//! - `(0, b(X)) - sum_ij D_ij K_ij` has the phase `m(X)`, that of the values (Chillotti, Gama,
//!   Georgieva, Izabachene, Journal of Cryptology 2020, algorithm 2, for a whole list at a time);
//! - `(b(X), 0) + sum_ij D_ij K'_ij` has the phase `-S m(X)`: with f(x) = -S x it is the private
//!   functional key switch (ibid., algorithm 3) that circuit bootstrapping uses.
//!
//! The digits and their transforms are the same in both. Sums stay in the Fourier domain, and a
//! block of the keys, 400 MB in all, serves several lists while it is near.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use tfhe::core_crypto::fft_impl::fft64::c64;

use super::blocks::{BLOCK, Complex, LANES, join, split};
use super::fourier::{Digits, Transform, zeros};
use super::huge_pages::Pages;
use super::{Cpu, Rows, Selectors, Values};
use crate::engine::Slot;
use crate::params::Gadget;
use crate::polynomial;
use crate::server::{KEY_CHUNK, SeededRows};

/// Mask elements whose digits are worked on together.
const ELEMENTS: usize = LANES;
/// Lists that share one pass over the keys.
const BATCH: usize = 8;

/// The first key, or both, transformed.
pub(super) struct ListKey {
    gadget: Gadget,
    /// Which rows it has.
    held: Parts,
    /// For each block of elements and block of points, digit and part of the two rows: a block.
    data: Pages<f64>,
}

/// What comes out of a pass: rows of the values only, or those times -S too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    Values = 2,
    Both = 4,
}

impl ListKey {
    /// Numbers that it holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// Expands and transforms; each stored list covers [`KEY_CHUNK`] elements.
    pub(super) fn new(
        gadget: Gadget,
        transform: &Transform,
        values: &[SeededRows],
        times_key: Option<&[SeededRows]>,
    ) -> Self {
        let held = if times_key.is_some() { Parts::Both } else { Parts::Values };
        let points = transform.points();
        let levels = gadget.levels as usize;
        let polynomials = ELEMENTS * levels * held as usize;
        let block = polynomials * 2 * points;
        let elements = KEY_CHUNK.min(2 * points);
        let mut data = Pages::zeros(values.len() * elements / ELEMENTS * block);
        data.par_chunks_exact_mut(elements / ELEMENTS * block).enumerate().for_each_init(
            || (transform.scratch(), zeros(points)),
            |(scratch, fourier), (chunk, out)| {
                let keys = std::iter::once(&values[chunk..]);
                let keys = keys.chain(times_key.map(|rows| &rows[chunk..]));
                for (key, seeded) in keys.filter_map(<[SeededRows]>::first).enumerate() {
                    let rows = seeded.expand_rows(2 * points);
                    let blocks = rows.chunks_exact(ELEMENTS * levels * 4 * points);
                    for (out, rows) in out.chunks_exact_mut(block).zip(blocks) {
                        for (i, x) in rows.chunks_exact(2 * points).enumerate() {
                            transform.forward_torus(fourier, x, scratch);
                            let (digit, part) = (i / 2, i % 2);
                            let polynomial = held as usize * digit + 2 * key + part;
                            split(out, polynomials, polynomial, fourier);
                        }
                    }
                }
            },
        );
        Self { gadget, held, data }
    }
}

/// Packs each list into a row.
pub(super) fn pack(cpu: &Cpu, key: &ListKey, x: &Values, lists: &[Vec<Slot>]) -> Rows {
    let n = cpu.params.row_size;
    let mut out = Rows::new(n, lists.len());
    let batches = out.data.chunks_mut(2 * n * BATCH).zip(lists.chunks(BATCH));
    for (out, lists) in batches {
        let sums = sums(cpu, key, x, lists, Parts::Values);
        out.par_chunks_exact_mut(2 * n).zip(&sums).zip(lists).for_each(|((out, sums), list)| {
            values_row(cpu, out, sums, Parts::Values, x, list);
        });
    }
    out
}

/// Promotes lists to selectors; value `v tables + j` holds level j of number v.
pub(super) fn promote(
    cpu: &Cpu,
    key: &ListKey,
    selector: Gadget,
    x: &Values,
    tables: usize,
    lists: &[Vec<Slot>],
) -> Selectors {
    let n = cpu.params.row_size;
    let points = cpu.transform.points();
    let levels = selector.levels as usize;
    let of_level = |list: &[Slot], j| -> Vec<Slot> {
        list.iter().map(|s| Slot { value: s.value * tables + j, ..*s }).collect()
    };
    let by_level: Vec<Vec<Slot>> =
        lists.iter().flat_map(|list| (0..levels).map(move |j| of_level(list, j))).collect();
    let mut out = Selectors::divided(selector, points, lists.len());
    // A level is the row of -S m, then that of m, each mask and body.
    let batches = out.data.chunks_mut(4 * points * BATCH).zip(by_level.chunks(BATCH));
    for (out, lists) in batches {
        let sums = sums(cpu, key, x, lists, Parts::Both);
        out.par_chunks_exact_mut(4 * points).zip(&sums).zip(lists).for_each_init(
            || (cpu.transform.scratch(), zeros(points)),
            |(scratch, fourier), ((out, sums), list)| {
                let mut rows = vec![0; 4 * n];
                let (times_key, values) = rows.split_at_mut(2 * n);
                values_row(cpu, values, sums, Parts::Both, x, list);
                for (part, x) in times_key.chunks_exact_mut(n).enumerate() {
                    join(fourier, sums, Parts::Both as usize, 2 + part);
                    cpu.transform.backward(x, fourier, scratch);
                }
                for slot in list {
                    let b = x.data[slot.value * (n + 1) + n];
                    let c = &mut times_key[slot.coefficient];
                    *c = c.wrapping_add(b);
                }
                times_key.chunks_exact_mut(n).for_each(polynomial::times_one_less_x);
                for (out, x) in out.chunks_exact_mut(points).zip(rows.chunks_exact(n)) {
                    cpu.transform.forward_torus(out, x, scratch);
                }
            },
        );
    }
    out
}

/// Writes `(0, b(X)) - sums`.
fn values_row(cpu: &Cpu, out: &mut [u64], sums: &[f64], parts: Parts, x: &Values, list: &[Slot]) {
    let n = cpu.params.row_size;
    let mut scratch = cpu.transform.scratch();
    let mut fourier = zeros(cpu.transform.points());
    for (part, out) in out.chunks_exact_mut(n).enumerate() {
        join(&mut fourier, sums, parts as usize, part);
        cpu.transform.backward(out, &fourier, &mut scratch);
        out.iter_mut().for_each(|x| *x = x.wrapping_neg());
    }
    for slot in list {
        let b = x.data[slot.value * (n + 1) + n];
        let c = &mut out[n + slot.coefficient];
        *c = c.wrapping_add(b);
    }
}

/// Returns for each list `sum_ij D_ij K_ij` in blocks: mask and body under the first key, then
/// under the second.
fn sums(cpu: &Cpu, key: &ListKey, x: &Values, lists: &[Vec<Slot>], parts: Parts) -> Vec<Vec<f64>> {
    let n = cpu.params.row_size;
    let points = cpu.transform.points();
    let digits_of = Digits::new(key.gadget);
    let levels = key.gadget.levels as usize;
    let digits = ELEMENTS * levels;
    let block = digits * key.held as usize * 2 * points;
    let (held, len) = (key.held, parts as usize * 2 * points);
    let chunk = KEY_CHUNK.min(n);

    let fold = |slot: &Slot| {
        let (at, factor) = cpu.transform.fold(slot.coefficient);
        (slot.value, at, factor)
    };
    let folded: Vec<Vec<_>> = lists.iter().map(|list| list.iter().map(fold).collect()).collect();

    // Parts of fixed size added in order: the result does not depend on the number of threads.
    let chunks: Vec<Vec<f64>> = key
        .data
        .par_chunks_exact(chunk / ELEMENTS * block)
        .enumerate()
        .map_init(
            || {
                let polynomials = zeros(digits * points);
                (cpu.transform.scratch(), polynomials, Pages::zeros(digits * n))
            },
            |(scratch, polynomials, transformed), (part, keys)| {
                let mut sums = vec![0.0; len * lists.len()];
                for (e, key) in keys.chunks_exact(block).enumerate() {
                    let first = part * chunk + e * ELEMENTS;
                    for (list, sums) in folded.iter().zip(sums.chunks_exact_mut(len)) {
                        polynomials.fill(c64::new(0.0, 0.0));
                        for &(value, at, factor) in list {
                            let value = &x.data[value * (n + 1) + first..];
                            let mut rest = digits_of.kept(&std::array::from_fn(|k| value[k]));
                            for level in (0..levels).rev() {
                                for (k, digit) in digits_of.next(&mut rest).into_iter().enumerate()
                                {
                                    let polynomial = k * levels + level;
                                    polynomials[polynomial * points + at] +=
                                        factor * (digit as i64 as f64);
                                }
                            }
                        }
                        for (i, polynomial) in polynomials.chunks_exact_mut(points).enumerate() {
                            cpu.transform.folded(polynomial, scratch);
                            split(transformed, digits, i, polynomial);
                        }
                        accumulate(sums, transformed, key, (parts, held));
                    }
                }
                sums
            },
        )
        .collect();
    (0..lists.len())
        .into_par_iter()
        .map(|i| {
            let mut sum = vec![0.0; len];
            for chunk in &chunks {
                for (s, x) in sum.iter_mut().zip(&chunk[i * len..][..len]) {
                    *s += x;
                }
            }
            sum
        })
        .collect()
}

/// Adds the products of the digits with one block of the keys.
///
/// The key has the rows that are wanted.
fn accumulate(sums: &mut [f64], digits: &[f64], key: &[f64], (parts, held): (Parts, Parts)) {
    match (parts, held) {
        (Parts::Values, Parts::Values) => {
            Arch::new().dispatch(Accumulate::<2, 2> { sums, digits, key });
        }
        (Parts::Values, Parts::Both) => {
            Arch::new().dispatch(Accumulate::<2, 4> { sums, digits, key });
        }
        (Parts::Both, _) => Arch::new().dispatch(Accumulate::<4, 4> { sums, digits, key }),
    }
}

struct Accumulate<'a, const PARTS: usize, const HELD: usize> {
    sums: &'a mut [f64],
    digits: &'a [f64],
    key: &'a [f64],
}

impl<const PARTS: usize, const HELD: usize> WithSimd for Accumulate<'_, PARTS, HELD> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let per_block = LANES / S::F64_LANES;
        let vectors = 2 * per_block;
        let blocks = self.sums.len() / (PARTS * BLOCK);
        let (sums, _) = S::as_mut_simd_f64s(self.sums);
        let (digits, _) = S::as_simd_f64s(self.digits);
        let (key, _) = S::as_simd_f64s(self.key);
        let (digits_len, key_len) = (digits.len() / blocks, key.len() / blocks);
        let zero = Complex::<S> { re: simd.splat_f64s(0.0), im: simd.splat_f64s(0.0) };
        let at = |x: &[S::f64s], v: usize| Complex::<S> { re: x[v], im: x[per_block + v] };
        for ((sums, digits), key) in sums
            .chunks_exact_mut(PARTS * vectors)
            .zip(digits.chunks_exact(digits_len))
            .zip(key.chunks_exact(key_len))
        {
            for v in 0..per_block {
                // Summed apart: every addition rounds in proportion to the sum so far, which over
                // all rows would be more than the transforms' own rounding.
                let mut acc = [zero; PARTS];
                let rows = key.chunks_exact(HELD * vectors);
                for (digit, key) in digits.chunks_exact(vectors).zip(rows) {
                    let digit = at(digit, v);
                    for (p, acc) in acc.iter_mut().enumerate() {
                        *acc = acc.plus_product(digit, at(&key[p * vectors..], v), simd);
                    }
                }
                for (p, acc) in acc.into_iter().enumerate() {
                    let (re, im) = (p * vectors + v, p * vectors + per_block + v);
                    sums[re] = simd.add_f64s(sums[re], acc.re);
                    sums[im] = simd.add_f64s(sums[im], acc.im);
                }
            }
        }
    }
}
