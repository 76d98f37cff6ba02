//! Sums of products of small digits with rows of 64-bit torus elements, without any rounding.
//!
//! A rounding of a mask meets the key, whose mean is 1/2, and comes out correlated over all
//! coefficients. Multiplied by the key once more, for a selector, it grows with N and not with its
//! root. So these sums are exact: modulo two primes, whose product is larger than they can be.

use rayon::prelude::*;

use super::lanes;
use super::prime::Prime;
use crate::params::Gadget;

/// Bits of the primes.
const BITS: u32 = 50;

/// The ring of N coefficients modulo two primes.
pub(super) struct Exact {
    n: usize,
    primes: [Prime; 2],
    /// The first prime's inverse modulo the second.
    inverse: u64,
}

/// Polynomials by their values modulo each of the primes, one after another.
pub(super) struct Values([Vec<u64>; 2]);

impl Exact {
    /// `None` if there are no such primes.
    pub(super) fn new(n: usize) -> Option<Self> {
        let first = Prime::largest(n, BITS, None)?;
        let second = Prime::largest(n, BITS, Some(first.q))?;
        let inverse = second.inverse(first.q % second.q);
        Some(Self { n, primes: [first, second], inverse })
    }

    /// Takes integers between -2^63 and 2^63, one polynomial after another.
    pub(super) fn values(&self, x: &[u64]) -> Values {
        Values(self.primes.each_ref().map(|prime| {
            let mut out = vec![0; x.len()];
            let q = prime.q as i64;
            out.par_chunks_exact_mut(self.n).zip(x.par_chunks_exact(self.n)).for_each(
                |(out, x)| {
                    for (out, &x) in out.iter_mut().zip(x) {
                        *out = (x as i64).rem_euclid(q) as u64;
                    }
                    prime.forward(out);
                },
            );
            out
        }))
    }

    /// Adds `sum_k x[i_k] y[j_k]` to a polynomial modulo 2^64, for pairs of indices.
    pub(super) fn add_products(
        &self,
        out: &mut [u64],
        x: &Values,
        y: &Values,
        pairs: &[(usize, usize)],
    ) {
        let n = self.n;
        let [first, second] = [0, 1].map(|p| {
            let prime = &self.primes[p];
            let at = |values: &'_ Values, i: usize| -> std::ops::Range<usize> {
                debug_assert!((i + 1) * n <= values.0[p].len());
                i * n..(i + 1) * n
            };
            let left: Vec<&[u64]> = pairs.iter().map(|&(i, _)| &x.0[p][at(x, i)]).collect();
            let right: Vec<&[u64]> = pairs.iter().map(|&(_, j)| &y.0[p][at(y, j)]).collect();
            let mut sum = vec![0; n];
            lanes::dot(&mut sum, false, &left, &right, prime.reduction);
            prime.backward_scaled(&mut sum);
            let scale = [prime.inverse(n as u64)];
            let mut out = vec![0; n];
            lanes::weighted(&mut out, false, &[&sum], &scale, prime.reduction);
            out
        });
        let [p, q] = self.primes.each_ref().map(|prime| prime.q);
        let product = p.wrapping_mul(q);
        let half = u128::from(p) * u128::from(q) / 2;
        let second_prime = &self.primes[1];
        for (out, (&x, &y)) in out.iter_mut().zip(first.iter().zip(&second)) {
            // x + p ((y - x) / p mod q), nearest to 0.
            let difference = second_prime.add(y, second_prime.negate(x % q));
            let turns = second_prime.multiply(difference, self.inverse);
            let low = x.wrapping_add(p.wrapping_mul(turns));
            let large = u128::from(p) * u128::from(turns) + u128::from(x) > half;
            *out = out.wrapping_add(if large { low.wrapping_sub(product) } else { low });
        }
    }

    /// The digits of polynomials, level by level.
    pub(super) fn digits(&self, x: &[u64], gadget: Gadget) -> Values {
        let levels = gadget.levels as usize;
        let mut digits = vec![0; x.len() * levels];
        digits
            .par_chunks_exact_mut(levels * self.n)
            .zip(x.par_chunks_exact(self.n))
            .for_each(|(digits, x)| crate::engine::cpu::fourier::decompose(digits, x, gadget));
        self.values(&digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn sums_are_exact_modulo_two_to_the_64() {
        let n = 64;
        let exact = Exact::new(n).unwrap();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        let mut x: Vec<u64> = (0..3 * n).map(|_| (rng.next_u64() as i64 >> 53) as u64).collect();
        let mut y: Vec<u64> = (0..3 * n).map(|_| rng.next_u64()).collect();
        x[0] = 1024u64.wrapping_neg();
        y[0] = 1 << 63;
        let mut out = vec![7; n];
        let pairs = [(0, 1), (1, 1), (2, 0), (0, 0)];
        exact.add_products(&mut out, &exact.values(&x), &exact.values(&y), &pairs);
        let mut want = vec![7u64; n];
        for (a, b) in pairs {
            for i in 0..n {
                for j in 0..n {
                    let product = x[a * n + i].wrapping_mul(y[b * n + j]);
                    let at = &mut want[(i + j) % n];
                    *at =
                        if i + j < n { at.wrapping_add(product) } else { at.wrapping_sub(product) };
                }
            }
        }
        assert_eq!(out, want);
    }
}
