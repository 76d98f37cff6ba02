//! From rows of m to rows of -S m, by a key of S^2.
//!
//! A row (a, b) has the phase `b - a S = m`, so `(b, 0)` has `-b S = -S m - a S^2`. The digits of a
//! times rows that hide `S^2 g_k` add what is missing.

use rayon::prelude::*;

use super::exact::{Exact, Values};
use crate::params::Gadget;
use crate::server::SeededRows;

/// The key of S^2, for each level the mask and the body.
pub(super) struct SquareKey {
    gadget: Gadget,
    rows: Values,
}

impl SquareKey {
    pub(super) fn new(exact: &Exact, gadget: Gadget, n: usize, stored: &SeededRows) -> Self {
        Self { gadget, rows: exact.values(&stored.expand_rows(n)) }
    }

    /// Returns the rows of -S m, mask and body each, of rows of N coefficients.
    pub(super) fn apply(&self, exact: &Exact, n: usize, rows: &[u64]) -> Vec<u64> {
        let levels = self.gadget.levels as usize;
        let masks: Vec<u64> = rows.chunks_exact(2 * n).flat_map(|row| &row[..n]).copied().collect();
        let digits = exact.digits(&masks, self.gadget);
        let mut out = vec![0; rows.len()];
        out.par_chunks_exact_mut(2 * n).zip(rows.par_chunks_exact(2 * n)).enumerate().for_each(
            |(i, (out, row))| {
                let (_, b) = row.split_at(n);
                out[..n].copy_from_slice(b);
                for (part, out) in out.chunks_exact_mut(n).enumerate() {
                    let pairs: Vec<_> =
                        (0..levels).map(|level| (i * levels + level, 2 * level + part)).collect();
                    exact.add_products(out, &digits, &self.rows, &pairs);
                }
            },
        );
        out
    }
}
