//! Sums of products of ciphertexts and of multiples of ciphertexts, with one relinearisation.

use num_complex::Complex64;

use super::key_switch::{Ciphertext, SwitchingKey};
use super::lanes;
use super::ring::{Polynomial, Ring};

/// The residues of a complex number times a scale at the first and at the second half of the
/// points: there X^(N'/2) is i and -i.
fn halves(ring: &Ring, prime: usize, x: Complex64, scale: f64) -> [u64; 2] {
    let prime = &ring.primes[prime];
    let round = |x: f64| prime.residue((x * scale).round() as i128);
    let (re, im) = (round(x.re), prime.multiply(round(x.im), prime.i));
    [prime.add(re, im), prime.add(re, prime.negate(im))]
}

/// Writes `sum_k w_k x_k` modulo a prime; onto what is there if `onto`.
fn combine(
    ring: &Ring,
    prime: usize,
    out: &mut [u64],
    onto: bool,
    x: &[&[u64]],
    weights: &[(Complex64, f64)],
) {
    let half = ring.size / 2;
    let weights: Vec<[u64; 2]> =
        weights.iter().map(|&(w, scale)| halves(ring, prime, w, scale)).collect();
    for (side, out) in out.chunks_exact_mut(half).enumerate() {
        let x: Vec<&[u64]> = x.iter().map(|x| &x[side * half..][..half]).collect();
        let weights: Vec<u64> = weights.iter().map(|w| w[side]).collect();
        lanes::weighted(out, onto, &x, &weights, ring.primes[prime].reduction);
    }
}

/// A sum of products and multiples, and a number.
#[derive(Default)]
pub(super) struct Terms<'a> {
    /// Products; all of the same scale.
    pub(super) products: Vec<[&'a Ciphertext; 2]>,
    /// Multiples of ciphertexts.
    pub(super) multiples: Vec<(Complex64, &'a Ciphertext)>,
    /// A number of its own.
    pub(super) constant: Complex64,
}

impl Terms<'_> {
    /// Evaluates on the first `from` primes and divides by all beyond the first `to`, so that the
    /// result has the given scale if there are no products.
    pub(super) fn evaluate(
        &self,
        ring: &Ring,
        relinearise: &SwitchingKey,
        (from, to): (usize, usize),
        scale: f64,
    ) -> Ciphertext {
        let divisor: f64 = ring.primes[to..from].iter().map(|p| p.q as f64).product();
        let before = match self.products.first() {
            Some([x, y]) => x.scale * y.scale,
            None => scale * divisor,
        };
        let mut parts = self.linear(ring, from, before);
        if !self.products.is_empty() {
            let square = ring.each(from, false, |p, out| {
                let side = |part: usize, which: usize| -> Vec<&[u64]> {
                    self.products.iter().map(|pair| pair[which].parts[part].limb(p)).collect()
                };
                lanes::dot(out, false, &side(1, 0), &side(1, 1), ring.primes[p].reduction);
            });
            let mut switched = relinearise.products(ring, &ring.digits(&square));
            for (out, linear) in switched.iter_mut().zip(&parts) {
                ring.add_times_special(out, linear);
            }
            parts = switched;
        }
        let parts = parts.map(|part| ring.divide(&part, to));
        Ciphertext { parts, scale: before / divisor }
    }

    /// Everything but the products of second parts, modulo the first primes of the chain.
    fn linear(&self, ring: &Ring, from: usize, before: f64) -> [Polynomial; 2] {
        let weights: Vec<(Complex64, f64)> =
            self.multiples.iter().map(|(w, x)| (*w, before / x.scale)).collect();
        ring.each_pair(from, false, |p, out| {
            for (part, out) in out.into_iter().enumerate() {
                let x: Vec<&[u64]> =
                    self.multiples.iter().map(|(_, x)| x.parts[part].limb(p)).collect();
                combine(ring, p, out, false, &x, &weights);
                let (mut left, mut right) = (Vec::new(), Vec::new());
                for [x, y] in &self.products {
                    for first in 0..=part {
                        left.push(x.parts[first].limb(p));
                        right.push(y.parts[part - first].limb(p));
                    }
                }
                lanes::dot(out, true, &left, &right, ring.primes[p].reduction);
                if part == 0 && self.constant != Complex64::default() {
                    let constant = halves(ring, p, self.constant, before);
                    for (out, c) in out.chunks_exact_mut(ring.size / 2).zip(constant) {
                        out.iter_mut().for_each(|x| *x = ring.primes[p].add(*x, c));
                    }
                }
            }
        })
    }
}
