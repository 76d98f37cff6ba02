//! The linear transforms between slots and coefficients, in stages.
//!
//! The n = N / 2 slots of a row are the values `p_k = sum_i xi^(5^k i) w_i` of its folded
//! coefficients `w_i = a_i + i a_(i + n)`, with `xi = exp(i pi / N)`. With n = f g, i = i0 + f i1
//! and k = k0 + g k1 this is
//!
//! - `T(k0, i0) = sum_i1 xi^(f 5^k0 i1) w(i0 + f i1)`, for each i0 a transform of g numbers, then
//! - `p(k0 + g k1) = sum_i0 xi^(5^k i0) T(k0, i0)`, for each k0 a transform of f numbers.
//!
//! Both are unitary but for the factors g and f. `T(k0, i0)` is in slot k0 + g i0 and `w(i0 + f
//! i1)` in slot i1 + g i0, so that the stages mix slots of distance 1 and of distance g. A matrix
//! of m by m such numbers has 2 m - 1 diagonals. Rotations go one way only: each stage leaves its
//! output some slots away from where it belongs, which the next one takes into account.
//!
//! The R rows, each in its n slots, are then mixed to the slots of one element `sum_r F_r(Y^R) Y^r`
//! of the large ring: `slot_j = sum_r w^(5^j r) p_r(j mod n)` with `w = exp(i pi / N')`.

use num_complex::Complex64;

use super::embedding::Embedding;
use super::linear::{Diagonals, Steps};
use super::ring::Ring;

/// Most baby steps of a transform.
const BABIES: usize = 8;

/// The shape of the transforms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Slots of a row, n.
    pub(super) slots: usize,
    /// Rows R.
    pub(super) rows: usize,
    /// Factors of n.
    f: usize,
    g: usize,
}

/// Which stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// From p to T.
    FarInverse,
    /// From T to w.
    NearInverse,
    /// From w to T.
    Near,
    /// From T to p.
    Far,
}

impl Shape {
    pub(super) fn new(row_size: usize, rows: usize) -> Self {
        let slots = row_size / 2;
        let g = 1 << (slots.ilog2() / 2);
        Self { slots, rows, f: slots / g, g }
    }

    /// The rotations of a stage.
    pub(super) fn steps(self, stage: Stage) -> Steps {
        let (stride, size) = match stage {
            Stage::FarInverse | Stage::Far => (self.g, self.f),
            Stage::NearInverse | Stage::Near => (1, self.g),
        };
        let babies = BABIES.min(size);
        Steps { stride: stride as i64, start: 0, count: 2 * size - 1, babies }
    }

    /// The rotations that mix the rows.
    pub(super) fn mixing(self) -> Steps {
        let start = self.shift(Stage::Far);
        Steps { stride: self.slots as i64, start, count: self.rows, babies: BABIES.min(self.rows) }
    }

    /// By how many slots the numbers are moved after a stage: slot j holds that of slot
    /// j - shift.
    pub(super) fn shift(self, after: Stage) -> i64 {
        let (far, near) = (-((self.g * (self.f - 1)) as i64), -(self.g as i64 - 1));
        match after {
            Stage::FarInverse => far,
            Stage::NearInverse => far + near,
            Stage::Near => far + 2 * near,
            Stage::Far => 2 * (far + near),
        }
    }

    /// In which slot of its row the folded coefficient i is.
    pub(super) fn slot_of(self, i: usize) -> usize {
        i / self.f + self.g * (i % self.f)
    }

    /// Encodes the diagonals of a stage.
    pub(super) fn diagonals(
        self,
        ring: &Ring,
        stage: Stage,
        count: usize,
        scale: f64,
    ) -> Diagonals {
        let embedding = Embedding::new(2 * self.slots);
        let (f, g, n) = (self.f, self.g, self.slots as i64);
        let shift = self.shift(stage);
        let entry = |j: usize, d: usize| -> Option<Complex64> {
            // The row of the matrix, the column, and the element.
            let (low, high) = (j % g, j / g);
            match stage {
                Stage::FarInverse => {
                    let k1 = (high + d).checked_sub(f - 1).filter(|&k1| k1 < f)?;
                    Some(embedding.root(low + g * k1, high).conj() / f as f64)
                }
                Stage::NearInverse => {
                    let k0 = (low + d).checked_sub(g - 1).filter(|&k0| k0 < g)?;
                    Some(embedding.root(k0, f * low).conj() / g as f64)
                }
                Stage::Near => {
                    let i1 = (low + d).checked_sub(g - 1).filter(|&i1| i1 < g)?;
                    Some(embedding.root(low, f * i1))
                }
                Stage::Far => {
                    let i0 = (high + d).checked_sub(f - 1).filter(|&i0| i0 < f)?;
                    Some(embedding.root(j, i0))
                }
            }
        };
        Diagonals::new(ring, self.steps(stage), (count, self.rows), scale, |d| {
            let at = |j: i64| entry((j - shift).rem_euclid(n) as usize, d).unwrap_or_default();
            (0..n).map(at).collect()
        })
    }

    /// Encodes the diagonals that mix the rows.
    pub(super) fn mixing_diagonals(self, ring: &Ring, count: usize, scale: f64) -> Diagonals {
        let embedding = Embedding::new(ring.size);
        Diagonals::new(ring, self.mixing(), (count, 1), scale, |d| {
            let row = |j: usize| (j / self.slots + d) % self.rows;
            (0..ring.size / 2).map(|j| embedding.root(j, row(j))).collect()
        })
    }
}
