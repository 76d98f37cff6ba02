//! Linear transforms of slots, by baby and giant steps with hoisting.
//!
//! `out_j = sum_d M_d(j) in_(j + stride d + start)` for d in `0..count`. With d = k + b g,
//!
//! - the b rotations by `stride k + start` share the digits of the input (hoisting: Halevi, Shoup,
//!   eprint 2018/244), and stay times P, so that rounding comes once (double hoisting: Bossuat,
//!   Mouchet, Troncoso-Pastoriza, Hubaux, eprint 2020/1203);
//! - sums over g are taken by Horner's rule, each step a rotation by `stride b`, so that one key
//!   serves all giant steps.

use num_complex::Complex64;

use super::automorphism::{inverse, rotation};
use super::embedding::Embedding;
use super::key_switch::{Ciphertext, Rotation};
use super::lanes;
use super::ring::{Polynomial, Ring};

/// Which rotations a transform takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    /// Slots from one diagonal to the next.
    pub(super) stride: i64,
    /// Slots of the first.
    pub(super) start: i64,
    /// Diagonals.
    pub(super) count: usize,
    /// Baby steps b.
    pub(super) babies: usize,
}

impl Steps {
    /// By how much baby step k moves; 0 needs no key.
    pub(super) fn baby(&self, k: usize) -> i64 {
        self.start + self.stride * k as i64
    }

    /// By how much a giant step moves.
    pub(super) fn giant(&self) -> i64 {
        self.stride * self.babies as i64
    }
}

/// The values of plaintexts at the roots, modulo every prime that is needed.
pub(super) struct Diagonals {
    /// Elements of a polynomial that share a value: those of a polynomial in Y^run.
    run: usize,
    /// Primes of the chain; the special ones come after.
    count: usize,
    /// For each diagonal, for each prime.
    values: Vec<Vec<Vec<u64>>>,
    pub(super) scale: f64,
}

impl Diagonals {
    /// Encodes diagonals `diagonal(d)[j]`, of `ring.size / run` slots that repeat.
    pub(super) fn new(
        ring: &Ring,
        steps: Steps,
        (count, run): (usize, usize),
        scale: f64,
        diagonal: impl Fn(usize) -> Vec<Complex64> + Sync,
    ) -> Self {
        use rayon::prelude::*;
        let embedding = Embedding::new(ring.size / run);
        let encode = |d: usize| -> Vec<Vec<u64>> {
            let mut slots = diagonal(d);
            // Horner's rule rotates it on.
            let moved = steps.giant() * (d / steps.babies) as i64;
            let len = slots.len();
            slots.rotate_right(moved.rem_euclid(len as i64) as usize);
            let coefficients = embedding.encode(&slots, scale);
            let primes = (0..count).chain(ring.chain..ring.primes.len());
            primes
                .map(|p| {
                    let prime = &ring.primes[p];
                    let mut values = vec![0; ring.size];
                    for (i, &x) in coefficients.iter().enumerate() {
                        values[i * run] = prime.residue(x);
                    }
                    prime.forward(&mut values);
                    values.into_iter().step_by(run).collect()
                })
                .collect()
        };
        let values = (0..steps.count).into_par_iter().map(encode).collect();
        Self { run, count, values, scale }
    }

    fn of(&self, ring: &Ring, diagonal: usize, prime: usize) -> &[u64] {
        let limb = if prime < ring.chain { prime } else { self.count + prime - ring.chain };
        &self.values[diagonal][limb]
    }
}

/// A transform, ready to be applied.
pub(super) struct Transform<'a> {
    pub(super) ring: &'a Ring,
    pub(super) steps: Steps,
    /// Of the baby steps that move.
    pub(super) babies: Vec<Option<&'a Rotation>>,
    pub(super) giant: &'a Rotation,
}

/// A ciphertext's rotations by baby steps, times P, modulo all primes.
pub(super) struct Hoisted {
    rotations: Vec<[Polynomial; 2]>,
    count: usize,
    scale: f64,
}

impl Transform<'_> {
    /// Rotates by the baby steps.
    pub(super) fn hoist(&self, x: &Ciphertext) -> Hoisted {
        let ring = self.ring;
        let digits = ring.digits(&x.parts[1]);
        let rotate = |rotation: &Option<&Rotation>| match rotation {
            Some(rotation) => rotation.hoisted(ring, &digits, &x.parts[0]),
            None => x.parts.each_ref().map(|part| ring.times_special(part)),
        };
        let rotations = self.babies.iter().map(rotate).collect();
        Hoisted { rotations, count: x.count(), scale: x.scale }
    }

    /// Multiplies by the diagonals and sums up; the result has `to` primes.
    pub(super) fn sum(&self, x: &Hoisted, diagonals: &Diagonals, to: usize) -> Ciphertext {
        let ring = self.ring;
        let groups = self.steps.count.div_ceil(self.steps.babies);
        let mut sum: Option<[Polynomial; 2]> = None;
        for g in (0..groups).rev() {
            let before = sum.take().map(|[first, second]| {
                let second = ring.divide(&second, x.count);
                let digits = ring.digits(&second);
                self.giant.onto(ring, &digits, &first)
            });
            sum = Some(self.group(x, diagonals, g, before));
        }
        let divisor: f64 = ring.primes[to..x.count].iter().map(|p| p.q as f64).product();
        let parts = sum.unwrap_or_else(|| [(); 2].map(|()| ring.zero(x.count, true)));
        let parts = parts.map(|part| ring.divide(&part, to));
        Ciphertext { parts, scale: x.scale * diagonals.scale / divisor }
    }

    /// The sum over the baby steps of one giant step, onto what came before.
    fn group(
        &self,
        x: &Hoisted,
        diagonals: &Diagonals,
        g: usize,
        before: Option<[Polynomial; 2]>,
    ) -> [Polynomial; 2] {
        let ring = self.ring;
        let first = g * self.steps.babies;
        let terms = self.steps.babies.min(self.steps.count - first);
        ring.each_pair(x.count, true, |p, out| {
            let y: Vec<&[u64]> = (first..first + terms).map(|d| diagonals.of(ring, d, p)).collect();
            for (part, out) in out.into_iter().enumerate() {
                let rotated = x.rotations[..terms].iter();
                let x: Vec<&[u64]> = rotated.map(|r| ring.residues(&r[part], p)).collect();
                if let Some(before) = &before {
                    out.copy_from_slice(ring.residues(&before[part], p));
                }
                let by = ring.primes[p].reduction;
                lanes::dot_runs(out, before.is_some(), &x, &y, diagonals.run, by);
            }
        })
    }
}

/// The exponents of all automorphisms of transforms, each once, with what they need.
pub(super) fn exponents(size: usize, transforms: &[Steps]) -> Vec<usize> {
    let mut all: Vec<usize> = transforms
        .iter()
        .flat_map(|steps| {
            let babies = (0..steps.babies).map(|k| steps.baby(k));
            babies.chain([steps.giant()]).map(|k| rotation(size, k)).filter(|&g| g != 1)
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    debug_assert!(all.iter().all(|&g| g * inverse(size, g) % (2 * size) == 1));
    all
}
