//! From rows of m to rows of -S m, by a key of S^2.
//!
//! A row (a, b) has the phase `b - a S = m`, so `(b, 0)` has `-b S = -S m - a S^2`. The digits of a
//! times rows that hide `S^2 g_k` add what is missing.

use rayon::prelude::*;
use tfhe::core_crypto::fft_impl::fft64::c64;

use crate::engine::cpu::fourier::{Transform, decompose, multiply_add, zeros};
use crate::params::Gadget;
use crate::server::SeededRows;

/// The key of S^2, transformed.
pub(crate) struct SquareKey {
    gadget: Gadget,
    /// For each level the mask and the body.
    data: Vec<c64>,
}

impl SquareKey {
    pub(super) fn new(transform: &Transform, gadget: Gadget, stored: &SeededRows) -> Self {
        let n = 2 * transform.points();
        let rows = stored.expand_rows(n);
        let mut data = vec![c64::default(); rows.len() / 2];
        data.par_chunks_exact_mut(n / 2).zip(rows.par_chunks_exact(n)).for_each_init(
            || transform.scratch(),
            |scratch, (out, x)| transform.forward_torus(out, x, scratch),
        );
        Self { gadget, data }
    }

    /// Returns the rows of -S m, mask and body each.
    pub(crate) fn apply(&self, transform: &Transform, rows: &[u64]) -> Vec<u64> {
        let (n, points) = (2 * transform.points(), transform.points());
        let mut out = vec![0; rows.len()];
        out.par_chunks_exact_mut(2 * n).zip(rows.par_chunks_exact(2 * n)).for_each_init(
            || {
                let digits = vec![0u64; self.gadget.levels as usize * n];
                (transform.scratch(), digits, zeros(2 * points), zeros(points))
            },
            |(scratch, digits, sum, fourier), (out, row)| {
                let (a, b) = row.split_at(n);
                decompose(digits, a, self.gadget);
                sum.fill(c64::default());
                let keys = self.data.chunks_exact(2 * points);
                for (digits, key) in digits.chunks_exact(n).zip(keys) {
                    transform.forward_integer(fourier, digits, scratch);
                    let (mask, body) = sum.split_at_mut(points);
                    multiply_add(mask, fourier, &key[..points]);
                    multiply_add(body, fourier, &key[points..]);
                }
                for (out, sum) in out.chunks_exact_mut(n).zip(sum.chunks_exact(points)) {
                    transform.backward(out, sum, scratch);
                }
                for (out, b) in out[..n].iter_mut().zip(b) {
                    *out = out.wrapping_add(*b);
                }
            },
        );
        out
    }
}
