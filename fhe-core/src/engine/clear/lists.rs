//! Lists of phases and of integers, and their products.

use crate::engine::List;
use crate::noise::SelectorKind;

/// Single values in the clear: their phases.
pub type Values = Vec<u64>;

/// A polynomial of phases; constants are kept as such, which makes their products quick.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// Only coefficient 0 differs from zero, or from noise of a variance, which is drawn where the
    /// row is multiplied.
    Constant(u64, f64),
    /// All N coefficients.
    Full(Vec<u64>),
}

impl Row {
    /// Returns the variance of the noise of a constant row's other coefficients.
    pub(super) fn idle(&self) -> f64 {
        match self {
            Self::Full(_) => 0.0,
            Self::Constant(_, idle) => *idle,
        }
    }

    /// Returns all coefficients.
    #[must_use]
    pub fn coefficients(&self, n: usize) -> Vec<u64> {
        match self {
            Self::Full(x) => x.clone(),
            Self::Constant(c, _) => {
                let mut x = vec![0; n];
                x.iter_mut().take(1).for_each(|x| *x = *c);
                x
            }
        }
    }
}

/// Polynomials of small integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Selectors {
    /// The N coefficients of each.
    pub integers: Vec<Vec<i32>>,
    pub(super) kind: SelectorKind,
}

impl List for Selectors {
    fn len(&self) -> usize {
        self.integers.len()
    }
}

impl Selectors {
    /// Returns what the noise of their products depends on: fresh or promoted.
    #[must_use]
    pub fn kind(&self) -> SelectorKind {
        self.kind
    }
}

/// Adds `m * x` modulo X^N + 1.
pub(super) fn add_product(out: &mut [u64], m: &[i32], x: &Row) {
    match x {
        Row::Constant(c, _) => {
            for (o, &m) in out.iter_mut().zip(m) {
                *o = o.wrapping_add(c.wrapping_mul(i64::from(m) as u64));
            }
        }
        Row::Full(x) => {
            let n = x.len();
            for (i, &m) in m.iter().enumerate().filter(|(_, m)| **m != 0) {
                let m = i64::from(m) as u64;
                let (low, high) = x.split_at(n - i);
                for (o, &x) in out[i..].iter_mut().zip(low) {
                    *o = o.wrapping_add(m.wrapping_mul(x));
                }
                for (o, &x) in out[..i].iter_mut().zip(high) {
                    *o = o.wrapping_sub(m.wrapping_mul(x));
                }
            }
        }
    }
}

/// Coefficient 0 of `m * x`: `m_0 x_0 - sum_i m_i x_{N-i}`.
pub(super) fn dot(m: &[i32], x: &Row) -> u64 {
    let times = |m: i32, x: u64| x.wrapping_mul(i64::from(m) as u64);
    match x {
        Row::Constant(c, _) => times(m[0], *c),
        Row::Full(x) => m[1..]
            .iter()
            .zip(x.iter().rev())
            .fold(times(m[0], x[0]), |sum, (&m, &x)| sum.wrapping_sub(times(m, x))),
    }
}

/// The sum of squares of integers.
pub(super) fn squared_norm(m: &[i32]) -> f64 {
    m.iter().map(|&m| f64::from(m) * f64::from(m)).sum()
}
