//! Sums of products modulo a prime below 2^50, in vectors.
//!
//! A product of two residues has up to 100 bits. Its low and its high 52 bits are added up apart,
//! and the sum is reduced once. On processors with AVX-512 IFMA one instruction does each;
//! elsewhere the same steps run on plain integers and give the same numbers.

use pulp::NullaryFnOnce;
#[cfg(target_arch = "x86_64")]
use pulp::{cast, u64x8};

/// Elements that a loop takes at a time: enough independent sums to hide an instruction's latency.
const BLOCK: usize = 32;
/// Products that can be added before their high parts fill 52 bits.
const TERMS: usize = 15;
const MASK: u64 = (1 << 52) - 1;

/// What the reduction of a sum needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reduction {
    /// The prime, below 2^50.
    pub(super) q: u64,
    /// 2^52 mod q.
    high: u64,
    /// floor(2^52 high / q).
    high_quotient: u64,
    /// floor(2^52 / q).
    low_quotient: u64,
}

impl Reduction {
    pub(super) fn new(q: u64) -> Self {
        let high = (1 << 52) % q;
        let high_quotient = ((u128::from(high) << 52) / u128::from(q)) as u64;
        Self { q, high, high_quotient, low_quotient: (1 << 52) / q }
    }
}

/// Vectors of 52-bit integers in 64-bit lanes.
trait Lanes: Copy {
    /// A block.
    type Vector: Copy;
    fn load(self, x: &[u64; BLOCK]) -> Self::Vector;
    fn splat(self, x: u64) -> Self::Vector;
    fn store(self, out: &mut [u64; BLOCK], x: Self::Vector);
    /// `a + low 52 bits of b c`.
    fn low(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `a + high 52 bits of b c`.
    fn high(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The low 52 bits, and what is above them.
    fn cut(self, a: Self::Vector) -> (Self::Vector, Self::Vector);

    /// `low + 2^52 high` modulo q, for `high < 2^52` once the carry of `low` is in it.
    #[inline(always)]
    fn reduce(self, low: Self::Vector, high: Self::Vector, by: Reduction) -> Self::Vector {
        let zero = self.splat(0);
        let q = self.splat(by.q);
        let (low, carry) = self.cut(low);
        let high = self.add(high, carry);
        // Both quotients are at most one too small.
        let quotient = self.high(zero, high, self.splat(by.high_quotient));
        let product = self.low(zero, high, self.splat(by.high));
        let (above, _) = self.cut(self.sub(product, self.low(zero, quotient, q)));
        let quotient = self.high(zero, low, self.splat(by.low_quotient));
        let below = self.sub(low, self.low(zero, quotient, q));
        let sum = self.add(above, below);
        let sum = self.min(sum, self.sub(sum, self.add(q, q)));
        self.min(sum, self.sub(sum, q))
    }
}

/// Plain integers.
#[derive(Clone, Copy)]
struct Portable;

#[inline(always)]
fn each(f: impl FnMut(usize) -> u64) -> [u64; BLOCK] {
    std::array::from_fn(f)
}

impl Lanes for Portable {
    type Vector = [u64; BLOCK];

    #[inline(always)]
    fn load(self, x: &[u64; BLOCK]) -> [u64; BLOCK] {
        *x
    }
    #[inline(always)]
    fn splat(self, x: u64) -> [u64; BLOCK] {
        [x; BLOCK]
    }
    #[inline(always)]
    fn store(self, out: &mut [u64; BLOCK], x: [u64; BLOCK]) {
        *out = x;
    }
    #[inline(always)]
    fn low(self, a: [u64; BLOCK], b: [u64; BLOCK], c: [u64; BLOCK]) -> [u64; BLOCK] {
        each(|i| a[i].wrapping_add((b[i] & MASK).wrapping_mul(c[i] & MASK) & MASK))
    }
    #[inline(always)]
    fn high(self, a: [u64; BLOCK], b: [u64; BLOCK], c: [u64; BLOCK]) -> [u64; BLOCK] {
        let product = |i: usize| u128::from(b[i] & MASK) * u128::from(c[i] & MASK);
        each(|i| a[i].wrapping_add((product(i) >> 52) as u64))
    }
    #[inline(always)]
    fn add(self, a: [u64; BLOCK], b: [u64; BLOCK]) -> [u64; BLOCK] {
        each(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn sub(self, a: [u64; BLOCK], b: [u64; BLOCK]) -> [u64; BLOCK] {
        each(|i| a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    fn min(self, a: [u64; BLOCK], b: [u64; BLOCK]) -> [u64; BLOCK] {
        each(|i| a[i].min(b[i]))
    }
    #[inline(always)]
    fn cut(self, a: [u64; BLOCK]) -> ([u64; BLOCK], [u64; BLOCK]) {
        (each(|i| a[i] & MASK), each(|i| a[i] >> 52))
    }
}

#[cfg(target_arch = "x86_64")]
pulp::simd_type! {
    struct Ifma {
        pub avx512f: "avx512f",
        pub avx512ifma: "avx512ifma",
    }
}

/// Vectors of a block.
#[cfg(target_arch = "x86_64")]
const VECTORS: usize = BLOCK / 8;

#[cfg(target_arch = "x86_64")]
impl Lanes for Ifma {
    type Vector = [u64x8; VECTORS];

    #[inline(always)]
    fn load(self, x: &[u64; BLOCK]) -> Self::Vector {
        bytemuck::cast(*x)
    }
    #[inline(always)]
    fn splat(self, x: u64) -> Self::Vector {
        [cast(self.avx512f._mm512_set1_epi64(x as i64)); VECTORS]
    }
    #[inline(always)]
    fn store(self, out: &mut [u64; BLOCK], x: Self::Vector) {
        *out = bytemuck::cast(x);
    }
    #[inline(always)]
    fn low(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        std::array::from_fn(|i| {
            cast(self.avx512ifma._mm512_madd52lo_epu64(cast(a[i]), cast(b[i]), cast(c[i])))
        })
    }
    #[inline(always)]
    fn high(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        std::array::from_fn(|i| {
            cast(self.avx512ifma._mm512_madd52hi_epu64(cast(a[i]), cast(b[i]), cast(c[i])))
        })
    }
    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|i| cast(self.avx512f._mm512_add_epi64(cast(a[i]), cast(b[i]))))
    }
    #[inline(always)]
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|i| cast(self.avx512f._mm512_sub_epi64(cast(a[i]), cast(b[i]))))
    }
    #[inline(always)]
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|i| cast(self.avx512f._mm512_min_epu64(cast(a[i]), cast(b[i]))))
    }
    #[inline(always)]
    fn cut(self, a: Self::Vector) -> (Self::Vector, Self::Vector) {
        let mask = self.splat(MASK);
        let low =
            std::array::from_fn(|i| cast(self.avx512f._mm512_and_si512(cast(a[i]), cast(mask[i]))));
        let high = std::array::from_fn(|i| cast(self.avx512f._mm512_srli_epi64::<52>(cast(a[i]))));
        (low, high)
    }
}

/// A loop over blocks.
trait Kernel {
    fn run<L: Lanes>(self, lanes: L);
}

struct Call<L, K>(L, K);

impl<L: Lanes, K: Kernel> NullaryFnOnce for Call<L, K> {
    type Output = ();
    #[inline(always)]
    fn call(self) {
        self.1.run(self.0);
    }
}

fn dispatch(kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = Ifma::try_new() {
        return ifma.vectorize(Call(ifma, kernel));
    }
    Call(Portable, kernel).call();
}

fn blocks(x: &[u64]) -> &[[u64; BLOCK]] {
    x.as_chunks().0
}

/// The second factors of a sum of products.
enum Factors<'a> {
    /// One for each element.
    Elements(&'a [&'a [u64]]),
    /// One for each run of so many elements.
    Runs(&'a [&'a [u64]], usize),
    /// One for all elements.
    Constants(&'a [u64]),
}

struct Sum<'a> {
    out: &'a mut [u64],
    onto: bool,
    x: &'a [&'a [u64]],
    y: Factors<'a>,
    by: Reduction,
}

impl Kernel for Sum<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let terms = self.x.len();
        match self.y {
            Factors::Elements(y) => {
                sum(lanes, self.out, self.onto, self.by, terms, self.x, |b, k| {
                    lanes.load(&blocks(y[k])[b])
                });
            }
            Factors::Runs(y, run) => {
                let blocks = run / BLOCK;
                if blocks > 0 {
                    sum(lanes, self.out, self.onto, self.by, terms, self.x, |b, k| {
                        lanes.splat(y[k][b / blocks])
                    });
                } else {
                    sum(lanes, self.out, self.onto, self.by, terms, self.x, |b, k| {
                        lanes.load(&each(|i| y[k][(b * BLOCK + i) / run]))
                    });
                }
            }
            Factors::Constants(y) => {
                sum(lanes, self.out, self.onto, self.by, terms, self.x, |_, k| lanes.splat(y[k]));
            }
        }
    }
}

#[inline(always)]
fn sum<L: Lanes>(
    lanes: L,
    out: &mut [u64],
    onto: bool,
    by: Reduction,
    terms: usize,
    x: &[&[u64]],
    factor: impl Fn(usize, usize) -> L::Vector,
) {
    let zero = lanes.splat(0);
    for (b, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let mut low = if onto { lanes.load(out) } else { zero };
        let mut high = zero;
        let mut k = 0;
        loop {
            let end = terms.min(k + TERMS);
            while k < end {
                let x = lanes.load(&blocks(x[k])[b]);
                let y = factor(b, k);
                low = lanes.low(low, x, y);
                high = lanes.high(high, x, y);
                k += 1;
            }
            low = lanes.reduce(low, high, by);
            high = zero;
            if k == terms {
                break;
            }
        }
        lanes.store(out, low);
    }
}

/// `out = sum_k x[k] y[k] mod q`, element by element; onto what is there if `onto`.
///
/// Lengths are multiples of 32; elements are below 2^50.
pub(super) fn dot(out: &mut [u64], onto: bool, x: &[&[u64]], y: &[&[u64]], by: Reduction) {
    dispatch(Sum { out, onto, x, y: Factors::Elements(y), by });
}

/// As [`dot`], where element i of the second factors counts for `run` elements from `i run` on.
pub(super) fn dot_runs(
    out: &mut [u64],
    onto: bool,
    x: &[&[u64]],
    y: &[&[u64]],
    run: usize,
    by: Reduction,
) {
    dispatch(Sum { out, onto, x, y: Factors::Runs(y, run), by });
}

/// As [`dot`], with one number as each second factor.
pub(super) fn weighted(out: &mut [u64], onto: bool, x: &[&[u64]], y: &[u64], by: Reduction) {
    dispatch(Sum { out, onto, x, y: Factors::Constants(y), by });
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn sums_are_those_of_wide_integers() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for q in [(1 << 50) - 27, (1 << 42) - 11, 769, 65_537] {
            let by = Reduction::new(q);
            for terms in [1, 7, 15, 16, 40] {
                let mut draw = |n: usize| -> Vec<u64> {
                    (0..n)
                        .map(|i| if i % 9 == 0 { q - 1 } else { rng.random_range(0..q) })
                        .collect()
                };
                let x: Vec<_> = (0..terms).map(|_| draw(64)).collect();
                let y: Vec<_> = (0..terms).map(|_| draw(64)).collect();
                let start = draw(64);
                let xs: Vec<&[u64]> = x.iter().map(Vec::as_slice).collect();
                let ys: Vec<&[u64]> = y.iter().map(Vec::as_slice).collect();
                let expected = |factor: &dyn Fn(usize, usize) -> u64| -> Vec<u64> {
                    (0..64)
                        .map(|i| {
                            let sum = (0..terms).fold(u128::from(start[i]), |s, k| {
                                (s + u128::from(x[k][i]) * u128::from(factor(k, i))) % u128::from(q)
                            });
                            sum as u64
                        })
                        .collect()
                };
                let mut out = start.clone();
                dot(&mut out, true, &xs, &ys, by);
                assert_eq!(out, expected(&|k, i| y[k][i]), "{q} {terms}");
                for run in [4, 32] {
                    let mut out = start.clone();
                    dot_runs(&mut out, true, &xs, &ys, run, by);
                    assert_eq!(out, expected(&|k, i| y[k][i / run]));
                }
                let constants: Vec<u64> = y.iter().map(|y| y[0]).collect();
                let mut out = start.clone();
                weighted(&mut out, true, &xs, &constants, by);
                assert_eq!(out, expected(&|k, _| y[k][0]));
                let mut plain = start.clone();
                Sum { out: &mut plain, onto: true, x: &xs, y: Factors::Elements(&ys), by }
                    .run(Portable);
                assert_eq!(plain, expected(&|k, i| y[k][i]));
            }
        }
    }
}
