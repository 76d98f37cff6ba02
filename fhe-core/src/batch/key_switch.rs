//! Key switching, and ciphertexts as pairs of polynomials.
//!
//! A ciphertext is `(c0, c1)` with the phase `c0 + c1 s` modulo a product of primes. Its slots hold
//! complex numbers times a scale.

use super::automorphism::Automorphism;
use super::keys::Pairs;
use super::lanes;
use super::ring::{Polynomial, Ring};

/// A ciphertext.
pub(super) struct Ciphertext {
    pub(super) parts: [Polynomial; 2],
    /// By what the numbers are multiplied.
    pub(super) scale: f64,
}

impl Ciphertext {
    pub(super) fn copy(&self, ring: &Ring) -> Self {
        self.first(ring, self.count())
    }

    /// Its residues modulo the first `count` primes.
    pub(super) fn first(&self, ring: &Ring, count: usize) -> Self {
        let parts = self
            .parts
            .each_ref()
            .map(|part| ring.each(count, false, |p, out| out.copy_from_slice(part.limb(p))));
        Self { parts, scale: self.scale }
    }

    /// Number of primes.
    pub(super) fn count(&self) -> usize {
        self.parts[0].count
    }
}

/// A key that takes a part of a ciphertext from one secret to another.
pub(super) struct SwitchingKey(pub(super) Pairs);

impl SwitchingKey {
    /// `sum_d digit_d key_d`, which has P times the phase.
    pub(super) fn products(&self, ring: &Ring, digits: &[Polynomial]) -> [Polynomial; 2] {
        ring.each_pair(digits[0].count, true, |p, out| self.limb(ring, digits, p, out))
    }

    /// One limb of [`SwitchingKey::products`].
    fn limb(&self, ring: &Ring, digits: &[Polynomial], p: usize, out: [&mut [u64]; 2]) {
        let digits: Vec<&[u64]> = digits.iter().map(|digit| ring.residues(digit, p)).collect();
        let keys = &self.0.0[..digits.len()];
        for (part, out) in out.into_iter().enumerate() {
            let key: Vec<&[u64]> = keys.iter().map(|pair| ring.residues(&pair[part], p)).collect();
            lanes::dot(out, false, &digits, &key, ring.primes[p].reduction);
        }
    }
}

/// An automorphism, with the key from s to the secret that the automorphism takes to s.
pub(super) struct Rotation {
    pub(super) automorphism: Automorphism,
    pub(super) key: SwitchingKey,
}

impl Rotation {
    /// Applies to a ciphertext given by the digits of its second part and by its first part: P
    /// times the rotated ciphertext, modulo all primes.
    pub(super) fn hoisted(
        &self,
        ring: &Ring,
        digits: &[Polynomial],
        first: &Polynomial,
    ) -> [Polynomial; 2] {
        self.with(ring, digits, |p, x| {
            if p < ring.chain {
                let product = ring.special_product(p);
                lanes::weighted(x, true, &[first.limb(p)], &[product], ring.primes[p].reduction);
            }
        })
    }

    /// The same, where the first part comes times P.
    pub(super) fn onto(
        &self,
        ring: &Ring,
        digits: &[Polynomial],
        first: &Polynomial,
    ) -> [Polynomial; 2] {
        self.with(ring, digits, |p, x| {
            lanes::weighted(x, true, &[ring.residues(first, p)], &[1], ring.primes[p].reduction);
        })
    }

    fn with(
        &self,
        ring: &Ring,
        digits: &[Polynomial],
        add: impl Fn(usize, &mut [u64]) + Sync,
    ) -> [Polynomial; 2] {
        ring.each_pair(digits[0].count, true, |p, [out0, out1]| {
            let (mut x, mut y) = (ring.limb(), ring.limb());
            self.key.limb(ring, digits, p, [&mut x, &mut y]);
            add(p, &mut x);
            self.automorphism.apply(out0, &x);
            self.automorphism.apply(out1, &y);
        })
    }

    /// Applies to a ciphertext.
    pub(super) fn apply(&self, ring: &Ring, x: &Ciphertext) -> Ciphertext {
        let digits = ring.digits(&x.parts[1]);
        let parts = self.hoisted(ring, &digits, &x.parts[0]);
        let count = x.count();
        Ciphertext { parts: parts.map(|part| ring.divide(&part, count)), scale: x.scale }
    }
}
