//! One prime modulus, with its number theoretic transform.

use tfhe_ntt::prime64::Plan;

use super::lanes::Reduction;

/// A prime q = 1 modulo 2 N', so that X^N' + 1 splits into linear factors.
pub(super) struct Prime {
    pub(super) q: u64,
    pub(super) reduction: Reduction,
    plan: Plan,
    /// A square root of -1: the value of X^(N'/2) at the first half of the points.
    pub(super) i: u64,
}

impl Prime {
    /// Returns the largest primes below `2^bits` that `ring` points can be transformed with, and
    /// that are below `below`.
    pub(super) fn largest(ring: usize, bits: u32, below: Option<u64>) -> Option<Self> {
        let step = 2 * ring as u64;
        let top = below.map_or(1 << bits, |q| q - 1);
        let mut q = (top - 2) / step * step + 1;
        while q > 1 << (bits - 1) {
            if let Some(plan) = Plan::try_new(ring, q) {
                let mut monomial = vec![0; ring];
                monomial[ring / 2] = 1;
                plan.fwd(&mut monomial);
                return Some(Self { q, reduction: Reduction::new(q), plan, i: monomial[0] });
            }
            q -= step;
        }
        None
    }

    /// To values at the roots of X^N' + 1, in bit-reversed order.
    pub(super) fn forward(&self, x: &mut [u64]) {
        self.plan.fwd(x);
    }

    /// To N' times the coefficients.
    pub(super) fn backward_scaled(&self, x: &mut [u64]) {
        self.plan.inv(x);
    }

    pub(super) fn multiply(&self, x: u64, y: u64) -> u64 {
        (u128::from(x) * u128::from(y) % u128::from(self.q)) as u64
    }

    pub(super) fn add(&self, x: u64, y: u64) -> u64 {
        let sum = x + y;
        sum.min(sum.wrapping_sub(self.q))
    }

    pub(super) fn negate(&self, x: u64) -> u64 {
        if x == 0 { 0 } else { self.q - x }
    }

    pub(super) fn power(&self, x: u64, mut exponent: u64) -> u64 {
        let (mut square, mut out) = (x % self.q, 1);
        while exponent > 0 {
            if exponent & 1 == 1 {
                out = self.multiply(out, square);
            }
            square = self.multiply(square, square);
            exponent >>= 1;
        }
        out
    }

    /// The inverse of a number that is not 0.
    pub(super) fn inverse(&self, x: u64) -> u64 {
        self.power(x, self.q - 2)
    }

    /// The residue of an integer.
    pub(super) fn residue(&self, x: i128) -> u64 {
        x.rem_euclid(i128::from(self.q)) as u64
    }
}
