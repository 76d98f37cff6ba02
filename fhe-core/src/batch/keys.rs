//! Keys of the large ring, in the form in which they are stored and in that in which they are used.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;

use super::ring::{Dimensions, Polynomial, Ring};
use crate::server::SeededRows;

/// A generator of public masks: uniform below a prime, by rejection, from ChaCha20 under a seed.
fn mask(ring: &Ring, seed: u128, number: usize, prime: usize, out: &mut [u64]) {
    let key = blake3::derive_key("fhe-core 2026 masks modulo primes v1", &seed.to_le_bytes());
    let mut rng = ChaCha20Rng::from_seed(key);
    rng.set_stream((number * ring.primes.len() + prime) as u64);
    let q = ring.primes[prime].q;
    let bits = u64::MAX >> q.leading_zeros();
    for x in out {
        *x = loop {
            let x = rng.next_u64() & bits;
            if x < q {
                break x;
            }
        };
    }
}

/// Numbers of primes that the pairs of a key have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Of the chain.
    pub(super) count: usize,
    /// Whether the special ones too.
    pub(super) special: bool,
    /// Pairs.
    pub(super) pairs: usize,
}

impl Extent {
    /// Of a key that switches ciphertexts of `count` primes.
    pub(super) fn switching(of: Dimensions, count: usize) -> Self {
        Self { count, special: true, pairs: count.div_ceil(of.special) }
    }

    fn primes(self, of: Dimensions) -> impl Iterator<Item = usize> {
        let special = if self.special { of.chain..of.chain + of.special } else { 0..0 };
        (0..self.count).chain(special)
    }

    /// Number of all bodies.
    pub(super) fn bodies(self, of: Dimensions) -> usize {
        self.pairs * self.primes(of).count() * of.size
    }

    /// Returns whether all bodies are below their primes. The arithmetic takes them as they are.
    pub(super) fn fits(self, ring: &Ring, bodies: &[u64]) -> bool {
        let primes: Vec<u64> = self.primes(ring.dimensions()).map(|p| ring.primes[p].q).collect();
        let limbs = bodies.par_chunks(ring.size).enumerate();
        limbs.into_par_iter().all(|(i, limb)| limb.iter().all(|&x| x < primes[i % primes.len()]))
    }
}

/// The keys of the large ring as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RingKeys {
    /// Of S'(Y^R) under s.
    pub(super) secret: SeededRows,
    /// From s^2 to s.
    pub(super) relinearise: SeededRows,
    pub(super) conjugate: SeededRows,
    /// Of each automorphism, by exponent in order.
    pub(super) rotations: Vec<SeededRows>,
}

/// Pairs `(b, a)` with `b + a s` = message + noise, by their values.
pub(super) struct Pairs(pub(super) Vec<[Polynomial; 2]>);

impl Pairs {
    /// Expands stored pairs.
    pub(super) fn open(ring: &Ring, stored: &SeededRows, extent: Extent) -> Self {
        let limbs = extent.primes(ring.dimensions()).count();
        let open = |(number, bodies): (usize, &[u64])| {
            ring.each_pair(extent.count, extent.special, |p, [b, a]| {
                let limb = if p < ring.chain { p } else { extent.count + p - ring.chain };
                b.copy_from_slice(&bodies[limb * ring.size..][..ring.size]);
                mask(ring, stored.seed, number, p, a);
            })
        };
        Self(stored.bodies.chunks_exact(limbs * ring.size).enumerate().map(open).collect())
    }
}

/// What makes pairs: a key by its values modulo every prime.
pub(super) struct Sealer<'a> {
    pub(super) ring: &'a Ring,
    /// Of the key of the pairs.
    pub(super) key: &'a [zeroize::Zeroizing<Vec<u64>>],
}

impl Sealer<'_> {
    /// Encrypts: pair i hides what `add(i, prime, values)` adds to values modulo a prime, with the
    /// noise `noise(i)`, coefficients common to all primes.
    pub(super) fn seal(
        &self,
        extent: Extent,
        seed: u128,
        noise: impl Fn(usize) -> zeroize::Zeroizing<Vec<i64>>,
        add: impl Fn(usize, usize, &mut [u64]) + Sync,
    ) -> SeededRows {
        let ring = self.ring;
        let size = ring.size;
        let primes: Vec<usize> = extent.primes(ring.dimensions()).collect();
        let mut bodies = vec![0; extent.bodies(ring.dimensions())];
        for (i, pair) in bodies.chunks_exact_mut(primes.len() * size).enumerate() {
            let noise = noise(i);
            pair.par_chunks_exact_mut(size).zip(&primes).for_each(|(body, &p)| {
                let prime = &ring.primes[p];
                for (out, &e) in body.iter_mut().zip(noise.iter()) {
                    *out = e.rem_euclid(prime.q as i64) as u64;
                }
                prime.forward(body);
                add(i, p, body);
                let mut a = vec![0; size];
                mask(ring, seed, i, p, &mut a);
                for a in &mut a {
                    *a = prime.negate(*a);
                }
                super::lanes::dot(body, true, &[&a], &[&self.key[p]], prime.reduction);
            });
        }
        SeededRows { seed, bodies }
    }
}
