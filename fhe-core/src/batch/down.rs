//! The way down: from the large ring to rows under S, with 64-bit elements.
//!
//! A polynomial of the large ring is `sum_r x_r(Y^R) Y^r`, R components of N coefficients. With
//! `c1 = sum_r a_r(Y^R) Y^r`, and rows that hide `s_r g_k` for each component s_r of the secret and
//! each level k of a gadget,
//!
//! `c0 + c1 s` has the components
//! `b_m + sum_(r + r' = m) a_r s_r' + X sum_(r + r' = m + R) a_r s_r'`
//!
//! with X = Y^R, so that row m is `(0, b_m)` and the digits of a_r times the rows of s_r' (the ring
//! switching of Gentry, Halevi, Peikert, Smart, SCN 2012, section 3).

use rayon::prelude::*;

use super::exact::{Exact, Values};
use super::ring::{Polynomial, Ring};
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
        let product =
            others.fold(1, |product, o| prime.multiply(product, ring.primes[o].q % prime.q));
        let factor = prime.inverse(product);
        let coefficients = ring.coefficients(x, p);
        // floor(2^(64 + 48) / q): one and a half times as many bits as a factor below 2^50 leaves.
        let inverse = (1u128 << 112) / u128::from(prime.q);
        out.par_chunks_exact_mut(n).enumerate().for_each(|(r, out)| {
            for (i, out) in out.iter_mut().enumerate() {
                let x = prime.multiply(coefficients[rows * i + r], factor);
                *out = out.wrapping_add(((u128::from(x) * inverse) >> 48) as u64);
            }
        });
    }
    out
}

/// The key of the way down.
pub(super) struct DownKey {
    gadget: Gadget,
    /// R.
    components: usize,
    /// For each component and level the mask and the body, and then all of them times X.
    rows: Values,
}

impl DownKey {
    pub(super) fn new(
        exact: &Exact,
        gadget: Gadget,
        components: usize,
        n: usize,
        stored: &SeededRows,
    ) -> Self {
        let mut rows = stored.expand_rows(n);
        let mut shifted = rows.clone();
        shifted.chunks_exact_mut(n).for_each(|x| crate::polynomial::rotate(x, 1));
        rows.append(&mut shifted);
        Self { gadget, components, rows: exact.values(&rows) }
    }

    /// Returns the rows, mask and body each.
    pub(super) fn apply(
        &self,
        ring: &Ring,
        exact: &Exact,
        [body, mask]: &[Polynomial; 2],
    ) -> Vec<u64> {
        let (count, levels) = (self.components, self.gadget.levels as usize);
        let n = ring.size / count;
        let (bodies, masks) = (torus(ring, body, count), torus(ring, mask, count));
        let digits = exact.digits(&masks, self.gadget);
        let mut out = vec![0; 2 * ring.size];
        out.par_chunks_exact_mut(2 * n).enumerate().for_each(|(m, out)| {
            out[n..].copy_from_slice(&bodies[m * n..][..n]);
            for (part, out) in out.chunks_exact_mut(n).enumerate() {
                let pairs: Vec<_> = (0..count * levels)
                    .map(|digit| {
                        let (r, level) = (digit / levels, digit % levels);
                        // Component m - r of the secret, or m - r + R times X.
                        let component = if r <= m { m - r } else { 2 * count + m - r };
                        (digit, 2 * (component * levels + level) + part)
                    })
                    .collect();
                exact.add_products(out, &digits, &self.rows, &pairs);
            }
        });
        out
    }
}
