//! Blind rotation by groups of key bits.
//!
//! A row that holds a table is multiplied by `X^(-b + sum_i a_i s_i)` for the bits s_i of the short
//! key. Taking g bits at a time (Zhou, Yang, Liu, Zhang, Ye, "Faster Bootstrapping with Multiple
//! Addends", IEEE Access 2018; Joye and Paillier, CSCML 2022; Bergerat et al., eprint 2024/1201)
//! the factor of a group is, exactly,
//!
//! `X^(sum_i a_i s_i) = 1 + sum_p [s = p] (X^<a, p> - 1)`, p over the 2^g - 1 patterns that are not
//! 0,
//!
//! and the key holds a selector of each bit `[s = p]`. A step costs the transforms of one external
//! product whatever g is; what grows with g is the pointwise part. We keep that part linear in the
//! selectors, `sum_p (X^<a, p> - 1) (digits . K_p)`, so that no selector is ever put together, and
//! take several values through one block of the key while it is in the nearest cache.

use aligned_vec::AVec;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use tfhe::core_crypto::fft_impl::fft64::c64;

use super::blocks::{BLOCK, Complex, LANES, join, split};
use super::fourier::{Scratch, Transform};
use super::huge_pages::Pages;
use crate::Params;
use crate::params::Gadget;
use crate::server::SeededRows;

/// Numbers between the parts of two values, so that what one step reads of each lies in different
/// sets of the cache.
const PAD: usize = 72;

/// Selectors of the bit patterns of the short key, transformed.
pub(super) struct BlindRotationKey {
    group: usize,
    gadget: Gadget,
    size: usize,
    /// For each group, block of points, pattern, digit polynomial and part of a row: a block.
    data: Pages<f64>,
    monomials: Monomials,
}

/// Values of X^a at the points of the transform.
///
/// Point j is a primitive root of order 2 N, `w^(e_j)`, and the order of the points is a
/// permutation of the bits of j. So `e_(8 b + i) = e_(8 b) + (e_i - e_0)`, and a block needs one
/// root and a vector that depends on a alone.
struct Monomials {
    /// w^k for all k modulo 2 N.
    roots: Vec<c64>,
    /// e_(8 b).
    first: Vec<usize>,
    /// e_i - e_0.
    offsets: [usize; LANES],
}

impl Monomials {
    fn new(transform: &Transform) -> Self {
        let n = 2 * transform.points();
        let order = 2 * n;
        let unit = std::f64::consts::TAU / order as f64;
        // Sine and cosine of small angles only: a large one is itself rounded, which would be the
        // largest error of a blind rotation.
        let small = |k: usize| {
            let (im, re) = (k as f64 * unit).sin_cos();
            c64 { re, im }
        };
        let roots = (0..order)
            .map(|k| {
                let (quarter, k) = (k / (order / 4), k % (order / 4));
                let z = if k <= order / 8 {
                    small(k)
                } else {
                    let z = small(order / 4 - k);
                    c64 { re: z.im, im: z.re }
                };
                (0..quarter).fold(z, |z, _| c64 { re: -z.im, im: z.re })
            })
            .collect();
        let mut x = vec![0u64; n];
        x[1] = 1;
        let mut points = vec![c64::default(); n / 2];
        transform.forward_integer(&mut points, &x, &mut transform.scratch());
        let exponents: Vec<usize> = points
            .iter()
            .map(|z| (z.im.atan2(z.re) / unit).round().rem_euclid(order as f64) as usize)
            .collect();
        let offsets = std::array::from_fn(|i| (exponents[i] + order - exponents[0]) % order);
        Self { roots, first: exponents.into_iter().step_by(LANES).collect(), offsets }
    }

    /// Returns X^a at the offsets of a block, real parts then imaginary parts.
    fn offsets(&self, a: usize) -> [f64; BLOCK] {
        let mut out = [0.0; BLOCK];
        let roots = self.offsets.map(|offset| self.roots[(a * offset) & (self.roots.len() - 1)]);
        split(&mut out, 1, 0, &roots);
        out
    }
}

/// Working memory for `count` values.
pub(super) struct Buffers {
    fourier: AVec<c64>,
    /// For each value, block and digit polynomial: a block. A step replaces the digits of the mask
    /// and the body on the first level by the sums.
    digits: Pages<f64>,
    scratch: Scratch,
}

impl BlindRotationKey {
    /// Numbers that it holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// Expands and transforms one list of selectors a group.
    pub(super) fn new(params: &Params, transform: &Transform, keys: &[SeededRows]) -> Self {
        let n = params.row_size;
        let points = transform.points();
        let (group, gadget) = (params.lookup_group, params.lookup);
        let polynomials = ((1 << group) - 1) * 2 * gadget.levels as usize * 2;
        let mut data = Pages::zeros(keys.len() * polynomials * 2 * points);
        data.par_chunks_exact_mut(polynomials * 2 * points).zip(keys).for_each_init(
            || (transform.scratch(), super::fourier::zeros(points)),
            |(scratch, fourier), (out, seeded)| {
                let rows = seeded.expand_rows(n);
                for (i, x) in rows.chunks_exact(n).enumerate() {
                    transform.forward_torus(fourier, x, scratch);
                    split(out, polynomials, i, fourier);
                }
            },
        );
        Self { group, gadget, size: n, data, monomials: Monomials::new(transform) }
    }

    pub(super) fn buffers(&self, transform: &Transform, count: usize) -> Buffers {
        let levels = self.gadget.levels as usize;
        Buffers {
            fourier: super::fourier::zeros(levels * transform.points()),
            digits: Pages::zeros(count * (2 * levels * self.size + PAD)),
            scratch: transform.scratch(),
        }
    }

    /// Multiplies each row by `X^(sum_i a_i s_i)`; `exponents` has the a_i of each row in turn.
    pub(super) fn rotate(
        &self,
        transform: &Transform,
        rows: &mut [u64],
        exponents: &[usize],
        buffers: &mut Buffers,
    ) {
        let n = self.size;
        let count = rows.len() / (2 * n);
        let per_row = exponents.len() / count;
        let levels = self.gadget.levels as usize;
        let Buffers { fourier, digits, scratch } = buffers;
        let stride = 2 * levels * n + PAD;
        let digits = &mut digits[..count * stride];
        let mut offsets = vec![[0.0; BLOCK]; count * self.group];
        let mut steps = vec![0; count * self.group];
        let forward =
            |row: &mut [u64], out: &mut [f64], fourier: &mut [c64], scratch: &mut Scratch| {
                for (part, x) in row.chunks_exact_mut(n).enumerate() {
                    transform.forward_digits(fourier, x, self.gadget, scratch);
                    for (level, fourier) in fourier.chunks_exact(n / 2).enumerate() {
                        split(out, 2 * levels, 2 * level + part, fourier);
                    }
                }
            };
        for (row, digits) in rows.chunks_exact_mut(2 * n).zip(digits.chunks_exact_mut(stride)) {
            forward(row, digits, fourier, scratch);
        }
        let group_size = self.data.len() / (per_row / self.group);
        for (key, first) in self.data.chunks_exact(group_size).zip((0..per_row).step_by(self.group))
        {
            for c in 0..count {
                for i in 0..self.group {
                    let a = exponents[c * per_row + first + i];
                    steps[c * self.group + i] = a;
                    offsets[c * self.group + i] = self.monomials.offsets(a);
                }
            }
            let (monomials, offsets, steps) = (&self.monomials, &offsets[..], &steps[..]);
            let (group, of) = (self.group, &mut *digits);
            // One instance for each number of digit polynomials, whose loop is then unrolled.
            match levels {
                1 => run(Step::<2> { key, digits: of, monomials, offsets, steps, group }),
                2 => run(Step::<4> { key, digits: of, monomials, offsets, steps, group }),
                3 => run(Step::<6> { key, digits: of, monomials, offsets, steps, group }),
                _ => run(Step::<8> { key, digits: of, monomials, offsets, steps, group }),
            }
            // A value's next step begins while its row is still near.
            let last = first + self.group == per_row;
            for (row, digits) in rows.chunks_exact_mut(2 * n).zip(digits.chunks_exact_mut(stride)) {
                for (part, x) in row.chunks_exact_mut(n).enumerate() {
                    let fourier = &mut fourier[..n / 2];
                    join(fourier, digits, 2 * levels, part);
                    transform.add_backward(x, fourier, scratch);
                }
                if !last {
                    forward(row, digits, fourier, scratch);
                }
            }
        }
    }
}

fn run<const DIGITS: usize>(step: Step<'_, DIGITS>) {
    Arch::new().dispatch(step);
}

/// The pointwise part of one step: `sums = sum_p (X^<a, p> - 1) (digits . K_p)` for every value.
struct Step<'a, const DIGITS: usize> {
    key: &'a [f64],
    digits: &'a mut [f64],
    monomials: &'a Monomials,
    /// Of each value and bit of the group: [`Monomials::offsets`] of its exponent.
    offsets: &'a [[f64; BLOCK]],
    /// Of each value and bit of the group: its exponent.
    steps: &'a [usize],
    group: usize,
}

impl<const DIGITS: usize> WithSimd for Step<'_, DIGITS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.group {
            1 => self.all::<S, 1, 2>(simd),
            2 => self.all::<S, 2, 4>(simd),
            3 => self.all::<S, 3, 8>(simd),
            _ => self.all::<S, 4, 16>(simd),
        }
    }
}

impl<const DIGITS: usize> Step<'_, DIGITS> {
    #[inline(always)]
    fn all<S: Simd, const GROUP: usize, const PATTERNS: usize>(self, simd: S) {
        let per_block = LANES / S::F64_LANES;
        let vectors = 2 * per_block;
        let count = self.steps.len() / GROUP;
        let (key, _) = S::as_simd_f64s(self.key);
        let (digits, _) = S::as_mut_simd_f64s(self.digits);
        let stride = digits.len() / count;
        let key_stride = (PATTERNS - 1) * DIGITS * 2 * vectors;
        let at = |x: &[S::f64s], i: usize, v: usize| Complex::<S> {
            re: x[i * vectors + v],
            im: x[i * vectors + per_block + v],
        };
        let zero = Complex::<S> { re: simd.splat_f64s(0.0), im: simd.splat_f64s(0.0) };
        let one = simd.splat_f64s(1.0);
        let mask = self.monomials.roots.len() - 1;

        for (b, key) in key.chunks_exact(key_stride).enumerate() {
            for c in 0..count {
                let digits = &mut digits[c * stride + b * DIGITS * vectors..][..DIGITS * vectors];
                for v in 0..per_block {
                    let mut monomial = [zero; PATTERNS];
                    for i in 0..GROUP {
                        let a = self.steps[c * GROUP + i];
                        let root = self.monomials.roots[(a * self.monomials.first[b]) & mask];
                        let root = Complex::<S> {
                            re: simd.splat_f64s(root.re),
                            im: simd.splat_f64s(root.im),
                        };
                        let (offsets, _) = S::as_simd_f64s(&self.offsets[c * GROUP + i]);
                        let x = at(offsets, 0, v).times(root, simd);
                        monomial[1 << i] = x;
                        for p in 1..1 << i {
                            monomial[(1 << i) | p] = x.times(monomial[p], simd);
                        }
                    }
                    let digit: [Complex<S>; DIGITS] = std::array::from_fn(|d| at(digits, d, v));
                    let mut sum = [zero; 2];
                    let patterns = key.chunks_exact(DIGITS * 2 * vectors);
                    for (x, key) in monomial[1..].iter().zip(patterns) {
                        let mut y = [zero; 2];
                        for (digit, key) in digit.iter().zip(key.chunks_exact(2 * vectors)) {
                            y[0] = y[0].plus_product(*digit, at(key, 0, v), simd);
                            y[1] = y[1].plus_product(*digit, at(key, 1, v), simd);
                        }
                        let factor = Complex { re: simd.sub_f64s(x.re, one), im: x.im };
                        sum[0] = sum[0].plus_product(y[0], factor, simd);
                        sum[1] = sum[1].plus_product(y[1], factor, simd);
                    }
                    for (part, sum) in sum.iter().enumerate() {
                        digits[part * vectors + v] = sum.re;
                        digits[part * vectors + per_block + v] = sum.im;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::super::fourier::decompose;
    use super::*;
    use crate::polynomial::rotate;

    /// One step against the same sum in integers: what is left is the transform's rounding.
    #[test]
    fn a_step_equals_its_integer_form_but_for_rounding() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let n = 2048;
        let transform = Transform::new(n);
        for (group, gadget) in [
            (1, Gadget { base_log: 23, levels: 1 }),
            (1, Gadget { base_log: 15, levels: 2 }),
            (1, Gadget { base_log: 17, levels: 2 }),
            (2, Gadget { base_log: 17, levels: 2 }),
            (3, Gadget { base_log: 15, levels: 2 }),
            (3, Gadget { base_log: 12, levels: 3 }),
            (4, Gadget { base_log: 10, levels: 4 }),
        ] {
            let levels = gadget.levels as usize;
            let patterns = (1 << group) - 1;
            let mut random = |len| (0..len).map(|_| rng.next_u64()).collect::<Vec<u64>>();
            let key = random(patterns * 2 * levels * 2 * n);
            let row = random(2 * n);
            let steps: Vec<usize> = random(group).iter().map(|a| *a as usize % (2 * n)).collect();

            let mut want = row.clone();
            let mut digits = vec![0; 2 * levels * n];
            for (part, x) in want.chunks_exact_mut(n).enumerate() {
                let mut by_level = vec![0; levels * n];
                decompose(&mut by_level, x, gadget);
                x.fill(0);
                for (level, d) in by_level.chunks_exact(n).enumerate() {
                    digits[(2 * level + part) * n..][..n].copy_from_slice(d);
                    let shift = 64 - gadget.base_log * (level as u32 + 1);
                    x.iter_mut().zip(d).for_each(|(x, d)| *x = x.wrapping_add(d << shift));
                }
            }
            for (p, key) in key.chunks_exact(2 * levels * 2 * n).enumerate() {
                let a: usize = (0..group).map(|i| ((p + 1) >> i & 1) * steps[i]).sum();
                for (d, key) in digits.chunks_exact(n).zip(key.chunks_exact(2 * n)) {
                    for (want, key) in want.chunks_exact_mut(n).zip(key.chunks_exact(n)) {
                        let mut y = vec![0u64; n];
                        for (i, d) in d.iter().enumerate() {
                            for (j, k) in key.iter().enumerate() {
                                let x = d.wrapping_mul(*k);
                                let at = &mut y[(i + j) % n];
                                *at =
                                    if i + j < n { at.wrapping_add(x) } else { at.wrapping_sub(x) };
                            }
                        }
                        let mut turned = y.clone();
                        rotate(&mut turned, a % (2 * n));
                        for ((w, t), y) in want.iter_mut().zip(turned).zip(y) {
                            *w = w.wrapping_add(t).wrapping_sub(y);
                        }
                    }
                }
            }

            let mut data = Pages::zeros(patterns * 2 * levels * 2 * n);
            let mut fourier = super::super::fourier::zeros(n / 2);
            for (i, x) in key.chunks_exact(n).enumerate() {
                transform.forward_torus(&mut fourier, x, &mut transform.scratch());
                split(&mut data, patterns * 2 * levels * 2, i, &fourier);
            }
            let monomials = Monomials::new(&transform);
            let key = BlindRotationKey { group, gadget, size: n, data, monomials };
            let mut got = row;
            key.rotate(&transform, &mut got, &steps, &mut key.buffers(&transform, 1));
            let error =
                |(got, want): (&u64, &u64)| got.wrapping_sub(*want) as i64 as f64 / 2f64.powi(64);
            let square = got.iter().zip(&want).map(|x| error(x).powi(2)).sum::<f64>();
            let bits = (square / (2 * n) as f64).log2() / 2.0;
            // Digits times a uniform key, summed over 2 l N terms: a double rounds such a sum at
            // 2^-53 of its size, and a transform of log N layers a few times.
            let size = f64::from(gadget.base_log) - 1.8 - 1.8
                + ((2 * levels * n * 2 * patterns) as f64).log2() / 2.0;
            let relative = bits - size;
            assert!((-51.1..=-50.8).contains(&relative), "{group} {gadget:?}: 2^{relative:.2}");
        }
    }
}
