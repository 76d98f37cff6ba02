//! The exponential of a real number: a polynomial, and squarings.
//!
//! For |y| <= 1, `exp(2 pi i K y) = p(y)^(2^r)` with `p(y) ~ exp(i theta y)`,
//! `theta = 2 pi K / 2^r`. On [-1, 1], `exp(i theta y) = sum_k (2 - [k = 0]) i^k J_k(theta) T_k(y)`
//! (Jacobi, Anger); cut off after degree 15 the error is about `2 J_16(theta)`.

use num_complex::Complex64;

use super::key_switch::{Ciphertext, SwitchingKey};
use super::multiply::Terms;
use super::ring::Ring;

/// Coefficients of the polynomial.
const TERMS: usize = 16;
/// Levels that the polynomial takes.
const DEPTH: usize = 4;

/// The exponential of numbers between -K and K times a period.
pub(super) struct Exponential {
    /// Of 1, y, y^2, ...
    coefficients: [Complex64; TERMS],
    squarings: usize,
}

impl Exponential {
    pub(super) fn new(bound: f64, squarings: usize) -> Self {
        let theta = std::f64::consts::TAU * bound / 2f64.powi(squarings as i32);
        let mut coefficients = [Complex64::default(); TERMS];
        // T_k and T_(k-1), in powers.
        let (mut last, mut before) = ([0.0; TERMS], [0.0; TERMS]);
        last[0] = 1.0;
        for k in 0..TERMS {
            let weight = if k == 0 { 1.0 } else { 2.0 } * libm::jn(k as i32, theta);
            let weight = Complex64::i().powu(k as u32) * weight;
            for (c, &t) in coefficients.iter_mut().zip(&last) {
                *c += weight * t;
            }
            let factor = if k == 0 { 1.0 } else { 2.0 };
            let next: [f64; TERMS] = std::array::from_fn(|i| {
                factor * i.checked_sub(1).map_or(0.0, |i| last[i]) - before[i]
            });
            (before, last) = (last, next);
        }
        Self { coefficients, squarings }
    }

    /// Evaluates; the result has the given scale.
    pub(super) fn evaluate(
        &self,
        ring: &Ring,
        key: &SwitchingKey,
        y: &Ciphertext,
        scale: f64,
    ) -> Ciphertext {
        let top = y.count();
        // What the scale must be before each squaring.
        let q = |count: usize| ring.primes[count - 1].q as f64;
        let target =
            (0..self.squarings).rev().fold(scale, |scale, k| (scale * q(top - DEPTH - k)).sqrt());
        let mut z = self.polynomial(ring, key, y, target);
        for _ in 0..self.squarings {
            z = product(ring, key, &z, &z);
        }
        z
    }

    /// The polynomial of degree 15, in four levels and seven relinearisations.
    fn polynomial(
        &self,
        ring: &Ring,
        key: &SwitchingKey,
        y: &Ciphertext,
        scale: f64,
    ) -> Ciphertext {
        let top = y.count();
        let q = |count: usize| ring.primes[count - 1].q as f64;
        let p = &self.coefficients;
        let y2 = product(ring, key, y, y);
        let y3 = product(ring, key, &y2, y);
        let y4 = product(ring, key, &y2, &y2);
        let y8 = product(ring, key, &y4, &y4);
        let powers = [y, &y2, &y3];
        let multiples = |from: usize, to: usize| {
            (from + 1..=to).map(|k| (p[k], powers[k - from - 1])).collect::<Vec<_>>()
        };
        let before = scale * q(top - 1) * q(top - 2) * q(top - 3);
        let factor = before / (y2.scale * y4.scale * y8.scale);
        let terms = Terms { multiples: multiples(14, 15), constant: p[14], ..Terms::default() };
        let last = terms.evaluate(ring, key, (top, top - 1), factor);
        let terms =
            Terms { products: vec![[&last, &y2]], multiples: multiples(12, 13), constant: p[12] };
        let last = terms.evaluate(ring, key, (top - 1, top - 2), 0.0);
        let terms =
            Terms { products: vec![[&last, &y4]], multiples: multiples(8, 11), constant: p[8] };
        let high = terms.evaluate(ring, key, (top - 2, top - 3), 0.0);
        let terms = Terms { multiples: multiples(4, 7), constant: p[4], ..Terms::default() };
        let middle_scale = high.scale * y8.scale / y4.scale;
        let middle = terms.evaluate(ring, key, (top - 2, top - 3), middle_scale);
        let products = vec![[&high, &y8], [&middle, &y4]];
        let terms = Terms { products, multiples: multiples(0, 3), constant: p[0] };
        terms.evaluate(ring, key, (top - 3, top - 4), 0.0)
    }
}

/// The product of two ciphertexts, one level below the lower.
pub(super) fn product(
    ring: &Ring,
    key: &SwitchingKey,
    x: &Ciphertext,
    y: &Ciphertext,
) -> Ciphertext {
    let from = x.count().min(y.count());
    let terms = Terms { products: vec![[x, y]], ..Terms::default() };
    terms.evaluate(ring, key, (from, from - 1), 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Exponential {
        fn at(&self, y: f64) -> Complex64 {
            let p = self.coefficients.iter().rev().fold(Complex64::default(), |p, c| p * y + c);
            (0..self.squarings).fold(p, |z, _| z * z)
        }
    }

    #[test]
    fn the_exponential_is_exact_to_many_bits() {
        let exponential = Exponential::new(48.0, 7);
        for i in -100..=100 {
            let y = f64::from(i) / 100.0;
            let exact = Complex64::cis(std::f64::consts::TAU * 48.0 * y);
            assert!((exponential.at(y) - exact).norm() < 2f64.powi(-31), "{y}");
        }
    }
}
