//! Tables as trigonometric polynomials.
//!
//! A table f of t entries is `f(m) = Re sum_(k <= t/2) c_k zeta^k` at every integer m, with
//! `zeta = exp(2 pi i m / t)`, `c_k = 2 F_k` and `c_0 = F_0`, `c_(t/2) = F_(t/2)`, F being the
//! discrete Fourier transform of f over t. Powers of zeta are shared by all tables: b of them are
//! baby steps and t / 2 b giant steps (Paterson, Stockmeyer, SIAM Journal on Computing 1973).

use num_complex::Complex64;

use super::exponential::product;
use super::key_switch::{Ciphertext, SwitchingKey};
use super::multiply::Terms;
use super::ring::Ring;

/// The coefficients of a table.
pub(crate) struct Interpolation {
    coefficients: Vec<Complex64>,
}

impl Interpolation {
    /// Of a table with t entries, a power of two.
    pub(crate) fn new(table: &[f64]) -> Self {
        let t = table.len();
        let roots: Vec<Complex64> =
            (0..t).map(|e| Complex64::cis(-std::f64::consts::TAU * e as f64 / t as f64)).collect();
        let coefficient = |k: usize| -> Complex64 {
            let sum: Complex64 = table.iter().enumerate().map(|(m, f)| roots[m * k % t] * f).sum();
            let factor = if k == 0 || 2 * k == t { 1.0 } else { 2.0 };
            sum * (factor / t as f64)
        };
        let len = if t == 0 { 0 } else { t / 2 + 1 };
        Self { coefficients: (0..len).map(coefficient).collect() }
    }

    /// `|sum_k k c_k zeta_m^k|` for each m: by how much more than zeta the result is wrong there.
    pub(crate) fn slopes(&self) -> Vec<f64> {
        let t = 2 * self.coefficients.len().saturating_sub(1);
        let roots: Vec<Complex64> =
            (0..t).map(|e| Complex64::cis(std::f64::consts::TAU * e as f64 / t as f64)).collect();
        let slope = |m: usize| {
            let terms = self.coefficients.iter().enumerate();
            terms.map(|(k, c)| roots[m * k % t] * c * k as f64).sum::<Complex64>().norm()
        };
        (0..t).map(slope).collect()
    }
}

/// Powers of zeta.
pub(super) struct Powers {
    /// zeta^1, ..., zeta^b.
    babies: Vec<Ciphertext>,
    /// zeta^2b, zeta^3b, ..., zeta^(t/2).
    giants: Vec<Ciphertext>,
    /// Primes of the last power.
    from: usize,
}

/// Levels of the powers. The sums take one more.
fn depth(t: usize) -> usize {
    t.ilog2() as usize - 1
}

/// Baby steps b, and giant steps t / 2 b.
fn steps(t: usize) -> (usize, usize) {
    let babies = 1 << (depth(t) / 2);
    (babies, t / 2 / babies)
}

/// Inner sums of a table of t entries.
pub(crate) fn inner_sums(t: usize) -> usize {
    steps(t).1
}

/// What tables of t entries need of the chain.
pub(super) struct PowerLevels {
    /// Levels of the giant steps.
    pub(super) giants: Vec<usize>,
    /// Level of the last one.
    pub(super) last: usize,
    /// Baby steps that are held.
    pub(super) babies: usize,
    /// Inner sums that are held.
    pub(super) sums: usize,
}

impl PowerLevels {
    pub(super) fn new(t: usize) -> Self {
        let (babies, giants) = steps(t);
        let level = |k: usize| k.next_power_of_two().ilog2() as usize;
        let giant_levels = (1..=giants).map(|k| level(babies) + level(k)).collect();
        Self { giants: giant_levels, last: depth(t), babies: babies - 1, sums: giants - 1 }
    }
}

/// Adds powers up to `last`: power k is that of the largest power of two below k times another.
fn powers(ring: &Ring, key: &SwitchingKey, all: &mut Vec<Ciphertext>, last: usize) {
    for k in all.len() + 1..=last {
        let first = 1 << (k - 1).ilog2();
        let next = product(ring, key, &all[first - 1], &all[k - first - 1]);
        all.push(next);
    }
}

impl Powers {
    /// Takes zeta to all powers that tables of t entries need.
    pub(super) fn new(ring: &Ring, key: &SwitchingKey, zeta: Ciphertext, t: usize) -> Self {
        let (babies, giants) = steps(t);
        let from = zeta.count() - depth(t);
        let mut low = vec![zeta];
        powers(ring, key, &mut low, babies);
        let mut high: Vec<Ciphertext> = low.pop().into_iter().collect();
        // What sums need of the baby steps; the rest is memory for the giant steps.
        low.iter_mut().for_each(|power| *power = power.first(ring, from + 1));
        powers(ring, key, &mut high, giants);
        Self { babies: low, giants: high, from }
    }

    /// Evaluates a table; the result has the given scale, and its real parts count.
    pub(super) fn evaluate(
        &self,
        ring: &Ring,
        key: &SwitchingKey,
        table: &Interpolation,
        t: usize,
        scale: f64,
    ) -> Ciphertext {
        let c = &table.coefficients;
        let step = self.babies.len() + 1;
        let from = self.from;
        let before = scale * ring.primes[from - 1].q as f64;
        let low = |j: usize| Terms {
            multiples: (1..step).map(|i| (c[j * step + i], &self.babies[i - 1])).collect(),
            constant: c[j * step],
            ..Terms::default()
        };
        let last = t / 2 / step;
        let inner: Vec<Ciphertext> = (1..last)
            .map(|j| {
                let scale = before / self.giants[j - 1].scale;
                low(j).evaluate(ring, key, (from + 1, from), scale)
            })
            .collect();
        let mut terms = low(0);
        terms.products = inner.iter().zip(&self.giants).map(|(x, y)| [x, y]).collect();
        terms.multiples.push((c[t / 2], &self.giants[last - 1]));
        terms.evaluate(ring, key, (from, from - 1), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_meets_every_entry() {
        let t = 64;
        let table: Vec<f64> = (0..t).map(|m| ((m * m) % 23) as f64 - 7.0).collect();
        let of = Interpolation::new(&table);
        for (m, expected) in table.iter().enumerate() {
            let zeta = Complex64::cis(std::f64::consts::TAU * m as f64 / t as f64);
            let (sum, _) = of
                .coefficients
                .iter()
                .fold((Complex64::default(), Complex64::new(1.0, 0.0)), |(sum, power), c| {
                    (sum + c * power, power * zeta)
                });
            assert!((sum.re - expected).abs() < 1e-9, "{m}");
        }
    }
}
