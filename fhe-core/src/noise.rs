//! Predicted noise of every move, as variances in units of the torus squared.
//!
//! Notation: N the row size, n the short dimension, B = 2^b and l the base and the levels of a
//! gadget, V_row and V_short the variances of fresh rows and of the short key's noise. Keys are
//! uniform binary: a key bit has mean square 1/2. Balanced digits have variance (B^2 + 2) / 12.
//! The formulas are those of Chillotti, Gama, Georgieva, Izabachene ("TFHE", Journal of Cryptology
//! 2020) in the variance form of Chillotti, Ligier, Orfila, Tap (eprint 2021/729, section 2),
//! written out for k = 1.

#[cfg(test)]
mod answers;
mod batch;

use rand::{Rng, RngExt};

use crate::Params;
use crate::params::Gadget;

pub use batch::BatchNoise;

/// What the noise of a product depends on besides the selector's integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SelectorKind {
    /// Gadget of the selectors.
    pub gadget: Gadget,
    /// Variance of a coefficient of the rows that multiply the mask's digits and of those that
    /// multiply the body's, added.
    pub rows: f64,
}

/// The noise formulas of one parameter set.
#[derive(Clone, Debug)]
pub struct Noise {
    params: Params,
}

/// Variance of TUniform(b): uniform on [-2^b, 2^b], the ends with half weight, over 2^64.
fn t_uniform(bits: u32) -> f64 {
    (2f64.powi(2 * bits as i32 + 1) + 1.0) / 6.0 / 2f64.powi(128)
}

/// Variance of one digit of a balanced decomposition.
fn digit(g: Gadget) -> f64 {
    (4f64.powi(g.base_log.min(512) as i32) + 2.0) / 12.0
}

/// Variance of what a gadget does not see: uniform rounding to `b l` bits.
fn rounding(g: Gadget) -> f64 {
    // More bits than a torus element has leave nothing to round.
    4f64.powi(-(g.base_log.saturating_mul(g.levels).min(512) as i32)) / 12.0
}

/// Draws from the standard normal distribution (Box and Muller 1958), two numbers of `rng` each
/// time.
pub fn gaussian(rng: &mut impl Rng) -> f64 {
    let u: f64 = 1.0 - rng.random::<f64>();
    let v: f64 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

impl Noise {
    /// Returns the formulas of a parameter set.
    #[must_use]
    pub fn new(params: &Params) -> Self {
        Self { params: params.clone() }
    }

    fn size(&self) -> f64 {
        self.params.row_size as f64
    }

    /// Returns the variance of a fresh row, selector row or value.
    #[must_use]
    pub fn fresh(&self) -> f64 {
        t_uniform(self.params.row_noise_bits)
    }

    /// Returns the noise of selectors that the client encrypts: `2 V_row`.
    #[must_use]
    pub fn fresh_selectors(&self) -> SelectorKind {
        SelectorKind { gadget: self.params.selector, rows: 2.0 * self.fresh() }
    }

    /// Returns the noise of selectors promoted from `len` values each, of variance V, or None if
    /// the set cannot promote: `3 V_list + (2 len/N + len/2) (V + V_rounding)`.
    ///
    /// Both rows have the noise of packing, the one of -S m times 1 - X. The rounding and the
    /// values' own noise e is in `len` coefficients of the row of m. The other row has
    /// -(1 - X) S e, a sum of 1 + N/2 coefficients of e in each.
    #[must_use]
    pub fn promoted_selectors(&self, len: usize, variance: f64) -> Option<SelectorKind> {
        let gadget = self.params.lists?.selector;
        let values = len as f64 * (variance + self.pack_list_rounding());
        let rows = 3.0 * self.pack_list(len) + values * (2.0 / self.size() + 0.5);
        Some(SelectorKind { gadget, rows })
    }

    /// Returns the variance that a sum of products adds to each coefficient; `squared_norms` is the
    /// sum of `|m|^2` over the terms:
    /// `terms l N V_rows (B^2+2)/12 + squared_norms (1 + N/2) / (12 B^2l)`.
    ///
    /// The noise of the rows themselves is multiplied by the selector, which is not counted here.
    /// The transform's own rounding is [`Noise::transform`], and that of sums in the Fourier
    /// domain: of p polynomials, the k-th addition rounds a sum of k, with a mean square of a third
    /// of a unit's. So it grows as p^2 / 6.
    #[must_use]
    pub fn products(&self, selectors: SelectorKind, terms: usize, squared_norms: f64) -> f64 {
        let g = selectors.gadget;
        let gadget = f64::from(g.levels) * self.size() * selectors.rows * digit(g);
        let polynomials = 2.0 * f64::from(g.levels) * terms as f64;
        let additions = 1.0 + polynomials / (6.0 * self.size().log2());
        terms as f64 * gadget
            + self.transform(g, polynomials) * additions
            + squared_norms * rounding(g) * (1.0 + self.size() / 2.0)
    }

    /// Returns the variance of the rounding of the double-precision transform: `polynomials` digit
    /// polynomials times rows whose coefficients fill the torus. Each product coefficient is a sum
    /// of N terms of standard deviation `B/sqrt(12) / sqrt(12)`, computed with a relative error of
    /// about `2^-53 sqrt(log2 N)` of its root mean square; the body adds once, the mask times S.
    #[must_use]
    pub fn transform(&self, g: Gadget, polynomials: f64) -> f64 {
        let unit = 2f64.powi(-53);
        let sum = polynomials * self.size() * digit(g) / 12.0;
        sum * unit * unit * self.size().log2() * (1.0 + self.size() / 2.0)
    }

    /// Returns the variance that reflection adds: `l N V_row (B^2+2)/12 + N / (24 B^2l)`.
    #[must_use]
    pub fn reflect(&self) -> f64 {
        self.automorphism(self.params.reflect)
    }

    /// Returns the variance that an expansion of k levels adds to a coefficient of a row, 2
    /// dividing its index j times. It is `V_a (4^k - 1) / 3` if it is kept, as j is k or more, and
    /// `V_a (2^(k-j) - 1)` otherwise. An automorphism has the variance
    /// `V_a = l N V_row (B^2+2)/12 + N / (24 B^2l)`. 0 if the set does not expand.
    ///
    /// A level adds two of what came before. Of a coefficient that is kept these are the same, so
    /// that its variance is four times what it was; of another they are two, and it is twice. What
    /// level j finds in a coefficient that is not kept cancels.
    ///
    /// The first automorphism adds less, as the row was divided by 2^k before: its first digits have
    /// squares of 4 in 4^k of the others'. That is not counted: with three digits and many levels,
    /// a coefficient that is kept has three quarters of the variance given here.
    #[must_use]
    pub fn expansion(&self, levels: u32, divided: u32) -> f64 {
        let Some(g) = self.params.lists.and_then(|lists| lists.expand) else { return 0.0 };
        let times = match levels.checked_sub(divided) {
            Some(rest) if rest > 0 => 2f64.powi(rest as i32) - 1.0,
            _ => (4f64.powi(levels as i32) - 1.0) / 3.0,
        };
        times * self.automorphism(g)
    }

    /// Returns the mean variance that an expansion of k levels adds to the coefficients of a row
    /// that are not kept: 2 divides the index of one in `2^(j+1)` of them j times.
    #[must_use]
    pub fn expansion_beside(&self, levels: u32) -> f64 {
        (0..levels).map(|j| self.expansion(levels, j) / 2f64.powi(j as i32 + 1)).sum()
    }

    /// Returns the variance that an automorphism adds.
    fn automorphism(&self, g: Gadget) -> f64 {
        f64::from(g.levels) * self.size() * self.fresh() * digit(g)
            + rounding(g) * self.size() / 2.0
            + self.transform(g, f64::from(g.levels))
    }

    /// Returns the variance that packing adds to every coefficient of a constant row:
    /// `l N V_row (B^2+2)/12`.
    #[must_use]
    pub fn pack_constant(&self) -> f64 {
        let g = self.params.pack;
        f64::from(g.levels) * self.size() * self.fresh() * digit(g)
    }

    /// Returns the variance that packing a list of `len` values adds to every coefficient:
    /// `len l N V_row (B^2+2)/12`, and the transform's rounding. 0 if the set cannot.
    #[must_use]
    pub fn pack_list(&self, len: usize) -> f64 {
        self.params.lists.map_or(0.0, |lists| self.packed(lists.pack, len))
    }

    /// Returns the same for a gadget.
    fn packed(&self, g: Gadget, len: usize) -> f64 {
        let polynomials = self.size() * f64::from(g.levels);
        let gadget = polynomials * self.fresh() * digit(g);
        len as f64 * (gadget + self.transform(g, polynomials) / self.size())
    }

    /// Returns the variance that packing a list adds to the coefficients that hold values:
    /// `N / (24 B^2l)`. 0 if the set cannot.
    #[must_use]
    pub fn pack_list_rounding(&self) -> f64 {
        self.params.lists.map_or(0.0, |lists| rounding(lists.pack) * self.size() / 2.0)
    }

    /// Returns the variance that packing adds to coefficient 0 of a constant row: `N / (24 B^2l)`.
    #[must_use]
    pub fn pack_rounding(&self) -> f64 {
        rounding(self.params.pack) * self.size() / 2.0
    }

    /// Returns the variance of the key switch: `l N V_short (B^2+2)/12 + N / (24 B^2l)`.
    #[must_use]
    pub fn key_switch(&self) -> f64 {
        let g = self.params.key_switch;
        let short = t_uniform(self.params.short_noise_bits);
        f64::from(g.levels) * self.size() * short * digit(g) + rounding(g) * self.size() / 2.0
    }

    /// Returns the variance of the centred switch to 2 N / tables exponents:
    /// `(1 + n/4) (tables / 2N)^2 / 12`.
    #[must_use]
    pub fn modulus_switch(&self, tables: usize) -> f64 {
        let step = tables as f64 / (2.0 * self.size());
        (1.0 + self.params.short_dimension as f64 / 4.0) * step * step / 12.0
    }

    /// Returns the variance with which a lookup reads its input, on top of the input's own noise.
    /// The rounding of the body to a slot is done by the table itself and not counted.
    #[must_use]
    pub fn lookup_input(&self, tables: usize) -> f64 {
        let step = tables as f64 / (2.0 * self.size());
        self.key_switch() + self.modulus_switch(tables) - step * step / 12.0
    }

    /// Returns the variance of a lookup's output:
    /// `(n/g) (2 (2^g - 1) 2 l N V_row (B^2+2)/12 + (1 + N/2) / (12 B^2l))`, with the transform's
    /// rounding, for steps of g key bits.
    ///
    /// Each of the `2^g - 1` products of a step is multiplied by some `X^a - 1`, which doubles its
    /// variance. A step rounds the row once, whatever the key bits are.
    #[must_use]
    pub fn lookup(&self) -> f64 {
        let g = self.params.lookup;
        let patterns = f64::from((1u32 << self.params.lookup_group) - 1);
        let gadget = 2.0 * f64::from(g.levels) * self.size() * self.fresh() * digit(g);
        let rounding = rounding(g) * (1.0 + self.size() / 2.0);
        let transform = self.transform(g, 2.0 * f64::from(g.levels));
        let steps = (self.params.short_dimension / self.params.lookup_group) as f64;
        steps * (2.0 * patterns * (gadget + transform) + rounding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Of n numbers the mean of `x^p` has a variance of `(E x^2p - (E x^p)^2) / n`: five standard
    /// deviations are allowed, which is wrong once in 10^6 for another seed.
    #[test]
    fn numbers_have_the_moments_of_the_normal_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let numbers: Vec<f64> = (0..200_000).map(|_| gaussian(&mut rng)).collect();
        let moments = [(1, 0.0, 1.0f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)];
        for (p, moment, variance) in moments {
            let mean = numbers.iter().map(|x| x.powi(p)).sum::<f64>() / numbers.len() as f64;
            let most = 5.0 * (variance / numbers.len() as f64).sqrt();
            assert!((mean - moment).abs() < most, "the mean of x^{p} is {mean}");
        }
    }

    /// The switch to slots is exact over the integers, so that all it adds is the masks' rounding.
    #[test]
    fn a_batch_reads_with_the_noise_of_its_rounding() {
        let params = Params::secure128_deep_v3().unwrap();
        let (n, t) = (params.row_size, 1024.0);
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (mut sum, runs) = (0.0f64, 16_000);
        for _ in 0..runs {
            let mut error = 0.0;
            for _ in 0..n {
                let a = rng.random::<f64>() * t;
                let key = if rng.random() { 1.0 } else { -1.0 };
                error += (a - a.round()) * key / 2.0;
            }
            sum += error * error;
        }
        let measured = (sum / f64::from(runs)).sqrt();
        let noise = Noise::new(&params);
        // Of 16,000 samples a standard deviation has an error of 0.6 %.
        assert!((noise.batch_input(false).sqrt() * t / measured - 1.0).abs() < 0.025, "{measured}");
        assert_eq!(noise.batch_input(true) * 4.0, noise.batch_input(false));
    }
}
