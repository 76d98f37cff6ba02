//! From rows to rows: the pipeline.

use num_complex::Complex64;
use rayon::prelude::*;

use super::automorphism::{Automorphism, conjugation};
use super::embedding::Embedding;
use super::interpolation::{Interpolation, Powers};
use super::key_switch::{Ciphertext, Rotation, SwitchingKey};
use super::keys::{Pairs, RingKeys};
use super::lanes;
use super::linear::{Hoisted, Steps, Transform};
use super::multiply::Terms;
use super::plan::{Encoded, Plan};
use super::read::Read;
use super::ring::Polynomial;
use super::stages::Stage;

/// Everything that lookups need, expanded.
pub(super) struct Evaluator {
    pub(super) plan: Plan,
    pub(super) encoded: Encoded,
    /// Of S'(Y^R).
    pub(super) secret: Pairs,
    pub(super) relinearise: SwitchingKey,
    pub(super) conjugate: Rotation,
    /// By exponent.
    pub(super) rotations: std::collections::BTreeMap<usize, Rotation>,
}

impl Evaluator {
    /// Expands keys.
    pub(super) fn new(plan: Plan, keys: &RingKeys, shifts: &[u32]) -> Self {
        let (ring, shapes) = (&plan.ring, &plan.keys);
        let switching = |key, extent| SwitchingKey(Pairs::open(ring, key, extent));
        let rotation = |g, key, extent| Rotation {
            automorphism: Automorphism::new(ring.size, g),
            key: switching(key, extent),
        };
        let secret = Pairs::open(ring, &keys.secret, shapes.secret);
        let relinearise = switching(&keys.relinearise, shapes.relinearise);
        let conjugate = rotation(conjugation(ring.size), &keys.conjugate, shapes.conjugate);
        let open = shapes.rotations.iter().zip(&keys.rotations);
        let rotations = open.map(|(&(g, extent), key)| (g, rotation(g, key, extent))).collect();
        let encoded = plan.encode(shifts);
        Self { plan, encoded, secret, relinearise, conjugate, rotations }
    }

    fn transform(&self, steps: Steps) -> Transform<'_> {
        let size = self.plan.ring.size;
        let of = |k: i64| self.rotations.get(&super::automorphism::rotation(size, k));
        let babies = (0..steps.babies).map(|k| of(steps.baby(k))).collect();
        // The exponents of the keys are those of the transforms.
        let giant = of(steps.giant()).unwrap_or(&self.conjugate);
        Transform { ring: &self.plan.ring, steps, babies, giant }
    }

    /// The integers `x = m + t I` of R rows as slots: `x / (t K)`, real parts and imaginary parts.
    pub(super) fn integers(&self, read: &Read) -> [Ciphertext; 2] {
        let (ring, shape, counts) = (&self.plan.ring, self.plan.shape, self.plan.counts);
        let x = self.times_secret(&read.masks);
        let far = self.transform(shape.steps(Stage::FarInverse));
        let x = far.sum(&far.hoist(&x), &self.encoded.far_inverse, counts.top - 1);
        let near = self.transform(shape.steps(Stage::NearInverse));
        let mut x = near.sum(&near.hoist(&x), &self.encoded.near_inverse, counts.top - 2);
        self.add_public(&mut x, read);
        let conjugate = self.conjugate.apply(ring, &x);
        let q = ring.primes[counts.exponential].q as f64;
        let half = |a: Complex64, b: Complex64| {
            let multiples = vec![(a, &x), (b, &conjugate)];
            let terms = Terms { multiples, ..Terms::default() };
            let levels = (counts.exponential + 1, counts.exponential);
            terms.evaluate(ring, &self.relinearise, levels, 2.0 * x.scale / q)
        };
        let (one, i) = (Complex64::new(0.5, 0.0), Complex64::new(0.0, 0.5));
        [half(one, one), half(-i, i)]
    }

    /// `-a S' / 2 t K` in the slots, a block for each row.
    fn times_secret(&self, masks: &[i64]) -> Ciphertext {
        let (ring, shape) = (&self.plan.ring, self.plan.shape);
        let n = shape.slots;
        let embedding = Embedding::new(2 * n);
        let mut slots = vec![Complex64::default(); ring.size / 2];
        slots.par_chunks_exact_mut(n).zip(masks.par_chunks_exact(2 * n)).for_each(|(out, a)| {
            for (i, out) in out.iter_mut().enumerate() {
                *out = Complex64::new(-(a[i] as f64), -(a[i + n] as f64));
            }
            embedding.slots(out);
        });
        let scale = self.plan.mask_scale();
        let encoded = Embedding::new(ring.size).encode(&slots, scale);
        let plain = ring.polynomial(&encoded, self.plan.counts.top, false);
        let parts = self.secret.0[0].each_ref().map(|part| {
            ring.each(self.plan.counts.top, false, |p, out| {
                lanes::dot(out, false, &[part.limb(p)], &[plain.limb(p)], ring.primes[p].reduction);
            })
        });
        let secret = 2f64.powi(super::plan::KEY_SCALE as i32);
        Ciphertext { parts, scale: scale * secret * self.plan.unit() }
    }

    /// Adds the public part.
    fn add_public(&self, x: &mut Ciphertext, read: &Read) {
        let (ring, shape) = (&self.plan.ring, self.plan.shape);
        let n = shape.slots;
        let unit = self.plan.unit();
        let mut slots = vec![Complex64::default(); ring.size / 2];
        let shift = shape.shift(Stage::NearInverse);
        for (r, twice) in read.twice.chunks_exact(2 * n).enumerate() {
            for i in 0..n {
                let at = (r * n + shape.slot_of(i)) as i64 + shift;
                let at = at.rem_euclid(slots.len() as i64) as usize;
                slots[at] = Complex64::new(twice[i] as f64 / unit, twice[i + n] as f64 / unit);
            }
        }
        let encoded = Embedding::new(ring.size).encode(&slots, x.scale);
        let plain = ring.polynomial(&encoded, x.count(), false);
        ring.add(&mut x.parts[0], &plain);
    }

    /// zeta of each half.
    pub(super) fn zeta(&self, x: &Ciphertext) -> Ciphertext {
        let scale = self.plan.zeta_scale();
        self.plan.exponential.evaluate(&self.plan.ring, &self.relinearise, x, scale)
    }

    /// The powers of zeta.
    pub(super) fn powers(&self, zeta: Ciphertext) -> Powers {
        Powers::new(&self.plan.ring, &self.relinearise, zeta, self.plan.t)
    }

    /// A table of one half: complex numbers whose real parts count.
    pub(super) fn sum(&self, powers: &Powers, table: &Interpolation) -> Ciphertext {
        // Halved, and doubled again by adding conjugates.
        let scale = self.plan.table_scale() / 2.0;
        powers.evaluate(&self.plan.ring, &self.relinearise, table, self.plan.t, scale)
    }

    /// The real parts of both halves, as the real and the imaginary parts of one.
    pub(super) fn joined(&self, [a, b]: [&Ciphertext; 2]) -> Ciphertext {
        let ring = &self.plan.ring;
        let i = Complex64::new(0.0, 1.0);
        let join = |sign: f64| {
            let parts = [0, 1].map(|part| ring.plus(&a.parts[part], &b.parts[part], sign * i));
            Ciphertext { parts, scale: a.scale }
        };
        let (mut sum, difference) = (join(1.0), join(-1.0));
        let conjugate = self.conjugate.apply(ring, &difference);
        for (sum, conjugate) in sum.parts.iter_mut().zip(&conjugate.parts) {
            ring.add(sum, conjugate);
        }
        Ciphertext { scale: 2.0 * sum.scale, ..sum }
    }

    /// From slots to rows of coefficients in the large ring, ready to be mixed.
    pub(super) fn rows(&self, x: &Ciphertext) -> Hoisted {
        let (shape, counts) = (self.plan.shape, self.plan.counts);
        let near = self.transform(shape.steps(Stage::Near));
        let x = near.sum(&near.hoist(x), &self.encoded.near, counts.back - 1);
        let far = self.transform(shape.steps(Stage::Far));
        let x = far.sum(&far.hoist(&x), &self.encoded.far, counts.mixing);
        self.transform(shape.mixing()).hoist(&x)
    }

    /// Mixes the rows, for one of the shifts.
    pub(super) fn mix(&self, x: &Hoisted, shift: usize) -> [Polynomial; 2] {
        let mixing = self.transform(self.plan.shape.mixing());
        mixing.sum(x, &self.encoded.mixing[shift], self.plan.counts.mixing).parts
    }
}
