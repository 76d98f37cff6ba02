//! The client's side: the secret of the large ring, and the keys made with it.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use zeroize::Zeroizing;

use super::automorphism::{Automorphism, conjugation, inverse};
use super::keys::{Extent, RingKeys, Sealer};
use super::plan::{KEY_SCALE, Plan};
use super::ring::Ring;
use crate::seed::leaving_nothing;

/// Standard deviation of the noise of the large ring.
pub(crate) const SIGMA: f64 = 3.2;

/// A polynomial by its values modulo every prime.
type Values = Vec<Zeroizing<Vec<u64>>>;

/// Seeds of one key: of its public masks, and of its noise.
pub(super) struct Seeds {
    pub(super) mask: u128,
    pub(super) noise: Zeroizing<[u8; 32]>,
}

/// The secret s of the large ring: uniform in -1, 0, 1.
pub(super) struct Secret {
    pub(super) coefficients: Zeroizing<Vec<i64>>,
    values: Values,
}

impl Secret {
    pub(super) fn new(ring: &Ring, seed: Zeroizing<[u8; 32]>) -> Self {
        let coefficients = leaving_nothing(|| {
            let mut rng = ChaCha20Rng::from_seed(*seed);
            let draw = |_| i64::from(rng.random_range(0..3u8)) - 1;
            Zeroizing::new((0..ring.size).map(draw).collect::<Vec<i64>>())
        });
        let values = values(ring, &coefficients);
        Self { coefficients, values }
    }

    /// Makes all keys; `row_key` is the binary key S, and `seeds(purpose, index)` gives each key
    /// seeds of its own.
    pub(super) fn keys(
        &self,
        plan: &Plan,
        row_key: &[u64],
        seeds: impl Fn(&str, u64) -> Seeds,
    ) -> RingKeys {
        let ring = &plan.ring;
        let shapes = &plan.keys;
        let run = ring.size / row_key.len();
        let mut signs = Zeroizing::new(vec![0; ring.size]);
        for (i, &bit) in row_key.iter().enumerate() {
            signs[i * run] = 2 * bit as i64 - 1;
        }
        let signs = values(ring, &signs);
        let factor = |p: usize| (1u64 << KEY_SCALE) % ring.primes[p].q;
        let noise = |seeds: &Seeds, i: usize| noise(ring, &seeds.noise, i);
        let of_secret = seeds("batch secret", 0);
        let sealer = Sealer { ring, key: &self.values };
        let secret = sealer.seal(
            shapes.secret,
            of_secret.mask,
            |i| noise(&of_secret, i),
            |_, p, out| {
                super::lanes::weighted(
                    out,
                    true,
                    &[&signs[p]],
                    &[factor(p)],
                    ring.primes[p].reduction,
                );
            },
        );
        let square: Values = self
            .values
            .iter()
            .zip(&ring.primes)
            .map(|(s, prime)| {
                Zeroizing::new(s.iter().map(|&s| prime.multiply(s, s)).collect::<Vec<u64>>())
            })
            .collect();
        let under = |key: &Values, from: &Values, extent: Extent, seeds: &Seeds| {
            let sealer = Sealer { ring, key };
            sealer.seal(
                extent,
                seeds.mask,
                |i| noise(seeds, i),
                |i, p, out| {
                    let digit = i * ring.special()..(i + 1) * ring.special();
                    if p < ring.chain && digit.contains(&p) {
                        let product = ring.special_product(p);
                        super::lanes::weighted(
                            out,
                            true,
                            &[&from[p]],
                            &[product],
                            ring.primes[p].reduction,
                        );
                    }
                },
            )
        };
        let rotated = |g: usize, extent: Extent, seeds: &Seeds| {
            let automorphism = Automorphism::new(ring.size, inverse(ring.size, g));
            let key: Values = self
                .values
                .iter()
                .map(|s| {
                    let mut out = Zeroizing::new(vec![0; ring.size]);
                    automorphism.apply(&mut out, s);
                    out
                })
                .collect();
            under(&key, &self.values, extent, seeds)
        };
        RingKeys {
            secret,
            relinearise: under(
                &self.values,
                &square,
                shapes.relinearise,
                &seeds("batch square", 0),
            ),
            conjugate: rotated(
                conjugation(ring.size),
                shapes.conjugate,
                &seeds("batch conjugate", 0),
            ),
            rotations: shapes
                .rotations
                .iter()
                .map(|&(g, extent)| rotated(g, extent, &seeds("batch rotation", g as u64)))
                .collect(),
        }
    }
}

fn values(ring: &Ring, coefficients: &[i64]) -> Values {
    let of = |prime: &super::prime::Prime| {
        let q = prime.q as i64;
        let mut x = Zeroizing::new(
            coefficients.iter().map(|c| c.rem_euclid(q) as u64).collect::<Vec<u64>>(),
        );
        prime.forward(&mut x);
        x
    };
    ring.primes.iter().map(of).collect()
}

/// The noise of pair i: normal, rounded.
fn noise(ring: &Ring, seed: &[u8; 32], i: usize) -> Zeroizing<Vec<i64>> {
    leaving_nothing(|| {
        let mut rng = ChaCha20Rng::from_seed(*seed);
        rng.set_stream(i as u64);
        let draw = |_| (SIGMA * crate::noise::gaussian(&mut rng)).round() as i64;
        Zeroizing::new((0..ring.size).map(draw).collect())
    })
}
