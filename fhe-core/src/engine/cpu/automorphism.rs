//! Automorphisms of rows, `X -> X^g`, each with a key switch from S(X^g) back to S.
//!
//! Two moves are made of them: reflection, with g = 2 N - 1, and expansion, the tree of
//! "oblivious expansion" (Angel, Chen, Laine, Setty, S&P 2018; Chen, Dai, Kim, Song, eprint
//! 2020/015). At its level i, `X^(2^i m)` becomes `(-1)^m X^(2^i m)` with g = N / 2^i + 1, so that
//! `r(X) + r(X^g)` has the even coefficients of r, twice, and `r(X) - r(X^g)` the odd ones.
//!
//! A torus has no inverse of 2, but a ciphertext can be divided by 2^k all the same: mask and body,
//! as integers, are divided and rounded. Its phase is then that of before, divided, up to a
//! multiple of `1/2^k` in each coefficient. What is kept is doubled k times, so that such multiples
//! vanish; what is dropped cancels in one level, whatever it is. So neither the message nor its
//! noise is multiplied, only the noise of the key switches.
//!
//! (Dividing before each level instead, by 2, would spare that too, but leaves halves behind where
//! coefficients were dropped in an earlier level.)

use rayon::prelude::*;
use tfhe::core_crypto::fft_impl::fft64::c64;

use super::fourier::{Scratch, Transform, decompose, multiply_add};
use super::product::to_row;
use super::{Cpu, Rows};
use crate::params::Gadget;
use crate::polynomial;
use crate::server::SeededRows;

const ZERO: c64 = c64::new(0.0, 0.0);

/// The key of an automorphism, transformed.
pub(super) struct AutomorphismKey {
    gadget: Gadget,
    /// The exponent g.
    exponent: usize,
    data: Vec<c64>,
}

/// Working memory of one thread.
struct Work {
    scratch: Scratch,
    digits: Vec<u64>,
    sum: Vec<c64>,
    fourier: Vec<c64>,
    moved: Vec<u64>,
}

impl Work {
    fn new(cpu: &Cpu, gadget: Gadget) -> Self {
        let (n, points) = (cpu.params.row_size, cpu.transform.points());
        Self {
            scratch: cpu.transform.scratch(),
            digits: vec![0; gadget.levels as usize * n],
            sum: vec![ZERO; 2 * points],
            fourier: vec![ZERO; points],
            moved: vec![0; 2 * n],
        }
    }
}

impl AutomorphismKey {
    /// Expands and transforms.
    pub(super) fn new(
        transform: &Transform,
        gadget: Gadget,
        exponent: usize,
        stored: &SeededRows,
    ) -> Self {
        let (n, points) = (2 * transform.points(), transform.points());
        let mut scratch = transform.scratch();
        let rows = stored.expand_rows(n);
        let mut data = vec![ZERO; rows.len() / 2];
        for (out, x) in data.chunks_exact_mut(points).zip(rows.chunks_exact(n)) {
            transform.forward_torus(out, x, &mut scratch);
        }
        Self { gadget, exponent, data }
    }

    /// Real numbers that it holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        2 * self.data.len()
    }

    /// Writes `r(X^g)` of a row.
    fn apply(&self, cpu: &Cpu, out: &mut [u64], row: &[u64], work: &mut Work) {
        let (n, points) = (cpu.params.row_size, cpu.transform.points());
        let parts = work.moved.chunks_exact_mut(n).zip(row.chunks_exact(n));
        parts.for_each(|(moved, x)| polynomial::automorphism(moved, x, self.exponent));
        let (mask, body) = work.moved.split_at(n);
        decompose(&mut work.digits, mask, self.gadget);
        work.sum.fill(ZERO);
        let rows = self.data.chunks_exact(2 * points);
        for (digits, key) in work.digits.chunks_exact(n).zip(rows) {
            cpu.transform.forward_integer(&mut work.fourier, digits, &mut work.scratch);
            let (mask, body) = work.sum.split_at_mut(points);
            multiply_add(mask, &work.fourier, &key[..points]);
            multiply_add(body, &work.fourier, &key[points..]);
        }
        to_row(cpu, out, &work.sum, &mut work.scratch);
        out.iter_mut().for_each(|x| *x = x.wrapping_neg());
        for (out, b) in out[n..].iter_mut().zip(body) {
            *out = out.wrapping_add(*b);
        }
    }
}

/// `r(1/X)` of each row.
pub(super) fn reflect(cpu: &Cpu, rows: &Rows) -> Rows {
    let n = rows.n;
    let key = &cpu.reflect;
    let mut out = Rows::new(n, rows.len());
    out.data.par_chunks_exact_mut(2 * n).zip(rows.data.par_chunks_exact(2 * n)).for_each_init(
        || Work::new(cpu, key.gadget),
        |work, (out, row)| {
            key.apply(cpu, out, row, work);
        },
    );
    out
}

/// Parts each row into `parts` rows, of which the engine has the keys of all levels: row j has the
/// coefficients whose index is j modulo `parts`, moved down by j.
pub(super) fn expand(cpu: &Cpu, rows: &Rows, parts: usize) -> Rows {
    let n = rows.n;
    let mut out = Rows::new(n, rows.len() * parts);
    let starts = out.data.chunks_exact_mut(2 * n * parts).zip(rows.data.chunks_exact(2 * n));
    let levels = parts.ilog2();
    let half = (1 << levels) >> 1;
    starts.for_each(|(out, row)| {
        for (out, x) in out.iter_mut().zip(row) {
            *out = x.wrapping_add(half) >> levels;
        }
    });
    for (level, key) in cpu.expand.iter().enumerate().take(levels as usize) {
        let nodes = 1 << level;
        // Node j becomes the nodes j and j + nodes.
        let trees = out.data.par_chunks_exact_mut(2 * n * parts);
        let pairs = trees.flat_map(|tree| {
            let (even, odd) = tree[..4 * n * nodes].split_at_mut(2 * n * nodes);
            even.par_chunks_exact_mut(2 * n).zip(odd.par_chunks_exact_mut(2 * n))
        });
        pairs.for_each_init(
            || Work::new(cpu, key.gadget),
            |work, (even, odd)| {
                key.apply(cpu, odd, even, work);
                for (x, y) in even.iter_mut().zip(odd.iter_mut()) {
                    (*x, *y) = (x.wrapping_add(*y), x.wrapping_sub(*y));
                }
                odd.chunks_exact_mut(n).for_each(|x| polynomial::rotate(x, 2 * n - nodes));
            },
        );
    }
    out
}
