//! The way down: from the large ring to rows under S, with 64-bit elements.
//!
//! A polynomial of the large ring is `sum_r x_r(Y^R) Y^r`, R components of N coefficients. With
//! `c1 = sum_r a_r(Y^R) Y^r`, and rows that hide `s_r g_k` for each component s_r of the secret and
//! each level k of a gadget,
//!
//! `c0 + c1 s` has the components `b_m + sum_(r + r' = m) a_r s_r' + X sum_(r + r' = m + R) a_r s_r'`
//!
//! with X = Y^R, so that row m is `(0, b_m)` and the digits of a_r times the rows of s_r' (the ring
//! switching of Gentry, Halevi, Peikert, Smart, SCN 2012, section 3).

use rayon::prelude::*;
use tfhe::core_crypto::fft_impl::fft64::c64;

use super::ring::{Polynomial, Ring};
use crate::engine::cpu::fourier::{Transform, decompose, multiply_add, zeros};
use crate::params::Gadget;
use crate::server::SeededRows;

/// The components of a polynomial modulo the first primes, as fractions of the torus: component
/// after component.
fn torus(ring: &Ring, x: &Polynomial, rows: usize) -> Vec<u64> {
    let n = ring.size / rows;
    let mut out = vec![0u64; ring.size];
    for p in 0..x.count {
        let prime = &ring.primes[p];
        // x / Q = sum_p (x_p (Q / q)^-1 mod q) / q modulo 1.
        let others = (0..x.count).filter(|&o| o != p);
        let product = others.fold(1, |product, o| prime.multiply(product, ring.primes[o].q % prime.q));
        let factor = prime.inverse(product);
        let coefficients = ring.coefficients(x, p);
        // floor(2^(64 + 48) / q): one and a half times as many bits as a factor below 2^50 leaves.
        let inverse = (1u128 << 112) / u128::from(prime.q);
        out.par_chunks_exact_mut(n).enumerate().for_each(|(r, out)| {
            for (i, out) in out.iter_mut().enumerate() {
                let x = prime.multiply(coefficients[rows * i + r], factor);
                *out = out.wrapping_add((u128::from(x) * inverse >> 48) as u64);
            }
        });
    }
    out
}

/// The key of the way down, transformed.
pub(super) struct DownKey {
    gadget: Gadget,
    rows: usize,
    /// For each component and level the mask and the body, and then all of them times X.
    data: Vec<c64>,
}

impl DownKey {
    pub(super) fn new(
        transform: &Transform,
        gadget: Gadget,
        rows: usize,
        stored: &SeededRows,
    ) -> Self {
        let n = 2 * transform.points();
        let points = transform.points();
        let mut plain = stored.expand_rows(n);
        let mut shifted = plain.clone();
        shifted.chunks_exact_mut(n).for_each(|x| crate::polynomial::rotate(x, 1));
        plain.append(&mut shifted);
        let mut data = vec![c64::default(); plain.len() / 2];
        data.par_chunks_exact_mut(points).zip(plain.par_chunks_exact(n)).for_each_init(
            || transform.scratch(),
            |scratch, (out, x)| transform.forward_torus(out, x, scratch),
        );
        Self { gadget, rows, data }
    }

    /// Returns the rows, mask and body each.
    pub(super) fn apply(
        &self,
        ring: &Ring,
        transform: &Transform,
        [body, mask]: &[Polynomial; 2],
    ) -> Vec<u64> {
        let (n, points) = (2 * transform.points(), transform.points());
        let levels = self.gadget.levels as usize;
        let (bodies, masks) = (torus(ring, body, self.rows), torus(ring, mask, self.rows));
        let mut digits = vec![c64::default(); self.rows * levels * points];
        digits.par_chunks_exact_mut(levels * points).zip(masks.par_chunks_exact(n)).for_each_init(
            || (transform.scratch(), vec![0u64; levels * n]),
            |(scratch, digits), (out, x)| {
                decompose(digits, x, self.gadget);
                for (out, digits) in out.chunks_exact_mut(points).zip(digits.chunks_exact(n)) {
                    transform.forward_integer(out, digits, scratch);
                }
            },
        );
        let mut out = vec![0; 2 * ring.size];
        out.par_chunks_exact_mut(2 * n).enumerate().for_each_init(
            || (transform.scratch(), zeros(2 * points)),
            |(scratch, sum), (m, out)| {
                sum.fill(c64::default());
                for r in 0..self.rows {
                    // Component m - r of the secret, or m - r + R times X.
                    let component = if r <= m { m - r } else { 2 * self.rows + m - r };
                    let key = &self.data[component * levels * 2 * points..][..levels * 2 * points];
                    let digits = &digits[r * levels * points..][..levels * points];
                    for (digit, key) in
                        digits.chunks_exact(points).zip(key.chunks_exact(2 * points))
                    {
                        let (mask, body) = sum.split_at_mut(points);
                        multiply_add(mask, digit, &key[..points]);
                        multiply_add(body, digit, &key[points..]);
                    }
                }
                for (out, sum) in out.chunks_exact_mut(n).zip(sum.chunks_exact(points)) {
                    transform.backward(out, sum, scratch);
                }
                for (out, b) in out[n..].iter_mut().zip(&bodies[m * n..][..n]) {
                    *out = out.wrapping_add(*b);
                }
            },
        );
        out
    }
}
