//! Noise of batch lookups. The chapter "Batch lookups" of the book derives the formulas.

use std::f64::consts::TAU;

use super::{Noise, SelectorKind, digit, rounding};
use crate::batch::{Interpolation, SIGMA, TABLE_SCALE, inner_sums};
use crate::engine::check;
use crate::engine::path::Paths;
use crate::params::BatchSpec;
use crate::{IntegerTable, TestPolynomial, from_torus};

/// Noise of what a batch gives of one table: it depends on the slot that a value is read as. Beside
/// the jumps of a table it is largest.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNoise {
    /// Of each slot.
    variances: Vec<f64>,
}

impl BatchNoise {
    /// Returns the variance of a coefficient whose value is read as a slot; 0 for one that there is
    /// not.
    #[must_use]
    pub fn at(&self, slot: usize) -> f64 {
        self.variances.get(slot).copied().unwrap_or(0.0)
    }

    /// Returns the mean variance of values that are read as all slots equally often.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.variances.iter().sum::<f64>() / self.variances.len().max(1) as f64
    }

    /// Returns the smallest variance.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.variances.iter().copied().reduce(f64::min).unwrap_or(0.0)
    }

    /// Returns the largest variance.
    #[must_use]
    pub fn most(&self) -> f64 {
        self.variances.iter().copied().fold(0.0, f64::max)
    }
}

/// What the large ring adds.
struct Ring {
    spec: BatchSpec,
    /// N'.
    size: f64,
}

impl Ring {
    /// Rounding when a prime is divided out: `(1 + 2 N' / 3) / 12` for each coefficient, as the
    /// secret has a mean square of 2/3.
    fn rounding(&self) -> f64 {
        (1.0 + 2.0 * self.size / 3.0) / 12.0
    }

    /// The same of a complex slot at a scale of so many bits.
    fn slot(&self, bits: u32) -> f64 {
        self.size * self.rounding() / 4f64.powi(bits as i32)
    }

    /// Key switch, for each coefficient: `N' sigma^2 sum_d (D_d / P)^2 / 12` and its rounding, for
    /// digits as large as P.
    fn key_switch(&self, digits: u32) -> f64 {
        self.size * SIGMA * SIGMA * f64::from(digits) / 12.0 + self.rounding()
    }

    /// The variance of zeta, a complex number.
    ///
    /// The exponential's input y = x / t K has the noise of its last rounding, `nu^2`, and reaches
    /// zeta times 2 pi K. The polynomial is `p_0 + p_1 y + p_2 y^2 + ...` with powers of their own
    /// rounding; as y is small for most values, the square, the cube and the sum count. Each of r
    /// squarings doubles what came before, and adds `nu^2`.
    fn zeta(&self) -> f64 {
        let nu = self.slot(self.spec.exponential.bits);
        let angle = TAU * f64::from(self.spec.overflow);
        let theta = angle / 2f64.powi(self.spec.squarings as i32);
        let (square, cube) = (theta.powi(2) / 2.0, theta.powi(3) / 6.0);
        let polynomial = nu * (1.0 + square * square + cube * cube);
        let doubled = 4f64.powi(self.spec.squarings as i32);
        angle * angle * nu + doubled * polynomial + nu * (doubled - 1.0) / 3.0
    }
}

impl Noise {
    /// Returns the variance with which a batch reads its input, on top of the input's own noise and
    /// that of its packing: `N / 48` slots squared. 0 if the set has no batches.
    ///
    /// `half` is whether the tables are promised to be read in the half torus. A slot is `1/t` of
    /// the torus, or half as much with the promise.
    ///
    /// With S the binary key and `S' = 2 S - J`, J being all ones, `b - a S` is
    /// `(b - a J/2) - a S'/2`. The public `b - a J/2` and each a are rounded to slots. Each rounding
    /// is uniform, of variance 1/12. N of them come times +-1/2, so that the variance is `N/4 / 12`
    /// slots squared. The rounding of the first part is done by the table itself and not counted.
    #[must_use]
    pub fn batch_input(&self, half: bool) -> f64 {
        let Some(spec) = self.params.batch else { return 0.0 };
        let slot = if half { 0.5 } else { 1.0 } / spec.slots as f64;
        self.size() / 48.0 * slot * slot
    }

    /// Returns the variance that packing a list of `len` values into a row of a batch adds to them:
    /// that of [`Noise::pack_list`] and [`Noise::pack_list_rounding`], with the batch's own gadget.
    /// 0 if the set has no batches.
    #[must_use]
    pub fn batch_packing(&self, len: usize) -> f64 {
        let Some(spec) = self.params.batch else { return 0.0 };
        self.packed(spec.pack, len) + rounding(spec.pack) * self.size() / 2.0
    }

    /// Returns the largest variance with which [`lookup_each`](crate::Engine::lookup_each) reads a
    /// value, on top of the values' own noise: each by the path that the values of its function
    /// take, packing included. 0 if there are no values, or they do not fit together.
    ///
    /// ```
    /// use fhe_core::noise::Noise;
    /// use fhe_core::{Params, Table, TestPolynomial};
    ///
    /// # fn main() -> fhe_core::Result<()> {
    /// let noise = Noise::new(&Params::secure128_bnn_v2()?);
    /// let sign = TestPolynomial::new(Table::new(2048, |x| if x < 0.0 { -0.125 } else { 0.125 })?);
    /// let read = |values| noise.lookup_each_input(std::slice::from_ref(&sign), &vec![0; values]);
    /// // Few values are read one at a time.
    /// assert_eq!(read(10), noise.lookup_input(1));
    /// assert!(read(1000) > noise.batch_input(false));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn lookup_each_input(&self, functions: &[TestPolynomial], of: &[usize]) -> f64 {
        let n = self.params.row_size;
        let Ok((tables, each)) = check::functions(functions, of, of.len(), n) else { return 0.0 };
        let paths = Paths::new(&self.params, functions, of, each);
        let single = if paths.single.is_empty() { 0.0 } else { self.lookup_input(tables) };
        let batched = paths.batched.iter().map(|group| {
            let longest = n.min(group.entries.len());
            self.batch_reading(longest, group.function.is_within_half_torus())
        });
        batched.fold(single, f64::max)
    }

    /// Returns the variance with which a batch reads what `longest` values are packed into.
    pub(crate) fn batch_reading(&self, longest: usize, half: bool) -> f64 {
        self.batch_packing(longest) + self.batch_input(half)
    }

    /// Returns for each read of a function the variances of the coefficients of the rows that a
    /// batch gives; nothing if the set has no batches.
    ///
    /// With the table's polynomial `f(m) = Re sum_k c_k zeta^k`, slot m has
    /// `V_zeta / 2 |sum_k k c_k zeta_m^k|^2`, and the roundings of the sums; then come the way back
    /// to coefficients, and the key switch from the large ring, `R l N V_row (B^2+2)/12 +
    /// R N / (18 B^2l)`.
    #[must_use]
    pub fn batch_output(&self, function: &TestPolynomial) -> Vec<BatchNoise> {
        let Some(spec) = self.params.batch else { return Vec::new() };
        let reads = function.batch_entries(spec.slots);
        reads.iter().map(|entries| self.batch_table(entries)).collect()
    }

    /// Returns the same of one table, given by its entries at all t slots.
    pub(crate) fn batch_table(&self, entries: &[u64]) -> BatchNoise {
        let Some(spec) = self.params.batch else { return BatchNoise { variances: Vec::new() } };
        let (rows, n) = (spec.rows as f64, self.size());
        let ring = Ring { spec, size: rows * n };
        let halves: Vec<f64> = entries.iter().map(|&x| 2.0 * from_torus(x)).collect();
        let slopes = Interpolation::new(&halves).slopes();
        let sums = ring.slot(spec.table.bits) * (inner_sums(spec.slots) + 1) as f64;
        let joined = ring.slot(TABLE_SCALE - 1);
        // Noise before a stage meets as many numbers as the later stages have entries in a row.
        let stage = (n / 2.0).sqrt();
        let entries = rows + stage * rows + ring.size / 2.0;
        let back = (ring.rounding() + ring.key_switch(1)) * entries / 4f64.powi(TABLE_SCALE as i32);
        let down = f64::from(spec.down.levels) * ring.size * self.fresh() * digit(spec.down)
            + rounding(spec.down) * ring.size * 2.0 / 3.0;
        let zeta = ring.zeta();
        let variance = |slope: f64| {
            (zeta * slope * slope / 2.0 + sums / 2.0 + joined / 2.0 + back) / 4.0 + down
        };
        BatchNoise { variances: slopes.into_iter().map(variance).collect() }
    }

    /// Returns the mean variance of what a batch gives of a function, of its noisiest read.
    pub(crate) fn batch_variance(&self, function: &TestPolynomial) -> f64 {
        self.batch_output(function).iter().map(BatchNoise::mean).fold(0.0, f64::max)
    }

    /// Returns the noise of selectors that a batch gives of integers that are read as all slots
    /// equally often; None if the set has no batches. See [`Noise::batch_selectors_of`].
    #[must_use]
    pub fn batch_selectors(&self, integers: &IntegerTable) -> Option<SelectorKind> {
        self.batch_selectors_of(self.batch_integers(integers)?.mean())
    }

    /// Returns the noise of integers in the first level of selectors; None if the set has no
    /// batches.
    #[must_use]
    pub fn batch_integers(&self, integers: &IntegerTable) -> Option<BatchNoise> {
        let (spec, gadget) = (self.params.batch?, self.params.lists?.selector);
        let first = TestPolynomial::new(integers.times(2f64.powi(-(gadget.base_log as i32))));
        Some(self.batch_table(&first.batch_entries(spec.slots).swap_remove(0)))
    }

    /// Returns the noise of selectors that a batch gives of integers whose first level has noise of
    /// a variance; None if the set has no batches. The rows of m have [`Noise::batch_output`], V,
    /// and those of -S m, which are times 1 - X, `(1 + N/2) V + 2 l N V_row (B^2+2)/12 +
    /// N (N + 5)/4 / (12 B^2l)`.
    ///
    /// The first term is -(1 - X) S times the noise of the row of m. The others are of the key of
    /// the square S^2. With S = (J + S')/2 and (1 - X) J = 2, (1 - X) S^2 is
    /// (2 J + 4 S' + (1 - X) S'^2) / 4, whose coefficients have a mean square of
    /// 1/4 + 1 + 4 N / 16: a coefficient of S'^2 is the sum of N/2 products of two signs, doubled.
    ///
    /// A level's noise is that of the first times its size. It is the first that counts.
    #[must_use]
    pub fn batch_selectors_of(&self, first: f64) -> Option<SelectorKind> {
        let (spec, gadget) = (self.params.batch?, self.params.lists?.selector);
        let square = spec.square;
        let n = self.size();
        let switch = 2.0 * f64::from(square.levels) * n * self.fresh() * digit(square)
            + rounding(square) * n * (n + 5.0) / 4.0;
        // The others have the noise of no table at all.
        let levels = f64::from(gadget.levels);
        let others = (levels - 1.0) * self.batch_table(&vec![0; spec.slots]).mean();
        let output = (first + others) / levels;
        Some(SelectorKind { gadget, rows: output * (2.0 + n / 2.0) + switch })
    }
}
