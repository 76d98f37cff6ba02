//! The canonical embedding: between slots and real coefficients.
//!
//! A real polynomial of n coefficients modulo X^n + 1 is determined by its values at `w^(5^j)`,
//! j < n / 2, with `w = exp(i pi / n)`: its slots. The other roots of X^n + 1 are the conjugates.
//! (Cheon, Kim, Kim, Song, ASIACRYPT 2017; the transform by halves is that of Chen, Chillotti,
//! Song, eprint 2018/1043, section 3.)

use num_complex::Complex64;

/// The transform of one size.
pub(super) struct Embedding {
    /// n.
    size: usize,
    /// `w^e` for all e below 2 n.
    roots: Vec<Complex64>,
    /// `5^j` modulo 2 n.
    powers: Vec<usize>,
}

impl Embedding {
    pub(super) fn new(size: usize) -> Self {
        let angle = |e: usize| std::f64::consts::PI * e as f64 / size as f64;
        let roots = (0..2 * size).map(|e| Complex64::cis(angle(e))).collect();
        let next = |&power: &usize| Some(5 * power % (2 * size));
        let powers = std::iter::successors(Some(1), next).take(size / 2).collect();
        Self { size, roots, powers }
    }

    /// Returns `w^(e 5^j)`.
    pub(super) fn root(&self, j: usize, e: usize) -> Complex64 {
        self.roots[self.powers[j % (self.size / 2)] * e % (2 * self.size)]
    }

    /// From `a_i + i a_(i + n/2)` to slots, in place.
    pub(super) fn slots(&self, x: &mut [Complex64]) {
        bit_reverse(x);
        let mut len = 2;
        while len <= x.len() {
            let step = 2 * self.size / (4 * len);
            for block in x.chunks_exact_mut(len) {
                let (low, high) = block.split_at_mut(len / 2);
                for (j, (u, v)) in low.iter_mut().zip(high).enumerate() {
                    let w = self.roots[self.powers[j] % (4 * len) * step];
                    let (a, b) = (*u, *v * w);
                    (*u, *v) = (a + b, a - b);
                }
            }
            len *= 2;
        }
    }

    /// From slots to `a_i + i a_(i + n/2)`, in place.
    pub(super) fn coefficients(&self, x: &mut [Complex64]) {
        let mut len = x.len();
        while len >= 2 {
            let step = 2 * self.size / (4 * len);
            for block in x.chunks_exact_mut(len) {
                let (low, high) = block.split_at_mut(len / 2);
                for (j, (u, v)) in low.iter_mut().zip(high).enumerate() {
                    let w = self.roots[self.powers[j] % (4 * len) * step];
                    let (a, b) = (*u, *v);
                    (*u, *v) = (a + b, (a - b) * w.conj());
                }
            }
            len /= 2;
        }
        bit_reverse(x);
        let scale = 1.0 / x.len() as f64;
        x.iter_mut().for_each(|x| *x *= scale);
    }

    /// Rounds the polynomial with the given slots, times a scale, to integers.
    pub(super) fn encode(&self, slots: &[Complex64], scale: f64) -> Vec<i128> {
        let mut x = slots.to_vec();
        self.coefficients(&mut x);
        let round = |x: f64| (x * scale).round() as i128;
        x.iter().map(|x| round(x.re)).chain(x.iter().map(|x| round(x.im))).collect()
    }
}

fn bit_reverse(x: &mut [Complex64]) {
    let shift = usize::BITS - x.len().ilog2();
    for i in 0..x.len() {
        let j = i.reverse_bits() >> shift;
        if i < j {
            x.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_values_at_powers_of_five() {
        let n = 32;
        let embedding = Embedding::new(n);
        let a: Vec<f64> = (0..n).map(|i| ((7 * i * i + 3) % 11) as f64 - 5.0).collect();
        let mut x: Vec<_> = (0..n / 2).map(|i| Complex64::new(a[i], a[i + n / 2])).collect();
        let folded = x.clone();
        embedding.slots(&mut x);
        for (j, slot) in x.iter().enumerate() {
            let value: Complex64 = (0..n).map(|i| embedding.root(j, i) * a[i]).sum();
            assert!((slot - value).norm() < 1e-10, "{j} {slot} {value}");
        }
        embedding.coefficients(&mut x);
        assert!(x.iter().zip(&folded).all(|(x, y)| (x - y).norm() < 1e-10));
    }
}
