//! What batch lookups of one parameter set need besides keys: the ring, the transforms, and where
//! in the chain each step is.

use super::exponential::Exponential;
use super::keys::Extent;
use super::linear::{Diagonals, Steps, exponents};
use super::ring::{Dimensions, Ring};
use super::stages::{Shape, Stage};
use crate::Params;
use crate::params::BatchSpec;
use crate::server::SeededRows;

/// Scale of the encryption of S', in bits.
pub(super) const KEY_SCALE: u32 = 50;
/// Scale of the first two transforms, in bits.
const FIRST_SCALE: i32 = 48;
/// Scale of a table's output, in bits.
pub(crate) const TABLE_SCALE: u32 = 48;

/// Numbers of primes before each step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// The product with S'.
    pub(super) top: usize,
    /// The exponential.
    pub(super) exponential: usize,
    /// The tables.
    pub(super) table: usize,
    /// Slots to coefficients.
    pub(super) back: usize,
    /// The mixing of rows.
    pub(super) mixing: usize,
}

impl Counts {
    pub(super) fn new(spec: &BatchSpec) -> Self {
        let count = |limbs: crate::params::Limbs| limbs.count as usize;
        let back = count(spec.base) + count(spec.slots_to_coefficients);
        let table = back + count(spec.table);
        let exponential = table + count(spec.exponential);
        let top = exponential + count(spec.coefficients_to_slots);
        Self { top, exponential, table, back, mixing: back - 2 }
    }
}

/// The shape of all keys.
pub(super) struct KeyShapes {
    pub(super) secret: Extent,
    pub(super) relinearise: Extent,
    pub(super) conjugate: Extent,
    /// By the exponent of the automorphism, in order.
    pub(super) rotations: Vec<(usize, Extent)>,
}

impl KeyShapes {
    /// Of a batch part.
    pub(super) fn new(spec: &BatchSpec, row_size: usize) -> Self {
        let counts = Counts::new(spec);
        let size = spec.values(row_size);
        let of = Dimensions { size, chain: counts.top, special: spec.special.count as usize };
        let shape = Shape::new(row_size, spec.rows);
        let uses = [
            (shape.steps(Stage::FarInverse), counts.top),
            (shape.steps(Stage::NearInverse), counts.top - 1),
            (shape.mixing(), counts.mixing),
        ];
        let all: Vec<Steps> = uses.iter().map(|(steps, _)| *steps).collect();
        let extent = |g: usize| {
            let used = uses.iter().filter(|(steps, _)| exponents(size, &[*steps]).contains(&g));
            Extent::switching(of, used.map(|(_, count)| *count).max().unwrap_or(0))
        };
        Self {
            secret: Extent { count: counts.top, special: false, pairs: 1 },
            relinearise: Extent::switching(of, counts.exponential),
            conjugate: Extent::switching(of, counts.exponential + 1),
            rotations: exponents(size, &all).into_iter().map(|g| (g, extent(g))).collect(),
        }
    }

    /// Of each key, in the order in which the keys are stored.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        let rotations = self.rotations.iter().map(|(_, extent)| *extent);
        [self.secret, self.relinearise, self.conjugate].into_iter().chain(rotations)
    }

    /// Numbers of bodies, in that order.
    pub(super) fn lengths(&self, spec: &BatchSpec, row_size: usize) -> Vec<usize> {
        let chain = Counts::new(spec).top;
        let special = spec.special.count as usize;
        let of = Dimensions { size: spec.values(row_size), chain, special };
        self.extents().map(|extent| extent.bodies(of)).collect()
    }
}

/// What the bodies of the large ring's keys must be: residues.
pub(crate) struct Residues {
    /// `None` if there are not enough primes: then nothing fits.
    ring: Option<Ring>,
    extents: Vec<Extent>,
}

impl Residues {
    /// Of a parameter set.
    pub(crate) fn new(params: &Params, spec: &BatchSpec) -> Self {
        let extents = KeyShapes::new(spec, params.row_size).extents().collect();
        Self { ring: Plan::ring(params, spec), extents }
    }

    /// Returns whether all bodies of a part of the keys are below their primes. The parts behind
    /// those of the large ring are rows, whose bodies are any numbers.
    pub(crate) fn fit(&self, part: usize, stored: &SeededRows) -> bool {
        match (&self.ring, self.extents.get(part)) {
            (Some(ring), Some(extent)) => extent.fits(ring, &stored.bodies),
            (ring, _) => ring.is_some(),
        }
    }
}

/// The plan of a parameter set.
pub(super) struct Plan {
    pub(super) ring: Ring,
    pub(super) shape: Shape,
    pub(super) counts: Counts,
    pub(super) keys: KeyShapes,
    pub(super) exponential: Exponential,
    /// Slots t.
    pub(super) t: usize,
    /// The bound K of overflows.
    bound: f64,
}

/// The encoded diagonals of all transforms.
pub(super) struct Encoded {
    pub(super) far_inverse: Diagonals,
    pub(super) near_inverse: Diagonals,
    pub(super) near: Diagonals,
    pub(super) far: Diagonals,
    /// For outputs as they are, and smaller by the powers of the base of selectors.
    pub(super) mixing: Vec<Diagonals>,
}

impl Plan {
    /// Returns the plan of a batch part; `None` if there are not enough primes, which the check of
    /// parameter sets rules out.
    pub(super) fn new(params: &Params, spec: &BatchSpec) -> Option<Self> {
        let bound = f64::from(spec.overflow);
        Some(Self {
            ring: Self::ring(params, spec)?,
            shape: Shape::new(params.row_size, spec.rows),
            counts: Counts::new(spec),
            keys: KeyShapes::new(spec, params.row_size),
            exponential: Exponential::new(bound, spec.squarings as usize),
            t: spec.slots,
            bound,
        })
    }

    fn ring(params: &Params, spec: &BatchSpec) -> Option<Ring> {
        let parts = [
            spec.base,
            spec.slots_to_coefficients,
            spec.table,
            spec.exponential,
            spec.coefficients_to_slots,
        ];
        let chain: Vec<u32> =
            parts.iter().flat_map(|limbs| vec![limbs.bits; limbs.count as usize]).collect();
        let special = vec![spec.special.bits; spec.special.count as usize];
        Ring::new(spec.values(params.row_size), &chain, &special)
    }

    /// By what `x / t K` is multiplied in a plaintext of masks times 1.
    pub(super) fn unit(&self) -> f64 {
        2.0 * self.t as f64 * self.bound
    }

    /// Scale of the masks' plaintext: that with which the exponential's input has the scale of its
    /// primes.
    pub(super) fn mask_scale(&self) -> f64 {
        let primes = &self.ring.primes[self.counts.exponential - 1..self.counts.top];
        let scale: f64 = primes.iter().map(|p| p.q as f64).product();
        let others = 2f64.powi(KEY_SCALE as i32 + 2 * FIRST_SCALE) * self.unit() * 2.0;
        scale / others
    }

    /// Scale of zeta, with which the powers keep theirs.
    pub(super) fn zeta_scale(&self) -> f64 {
        self.ring.primes[self.counts.table - 1].q as f64
    }

    /// Scale of a table's output.
    pub(super) fn table_scale(&self) -> f64 {
        2f64.powi(TABLE_SCALE as i32)
    }

    /// Encodes all diagonals. An output of 1 becomes half of the torus, and smaller by `2^-bits`
    /// for each of the shifts.
    pub(super) fn encode(&self, shifts: &[u32]) -> Encoded {
        let (ring, shape, counts) = (&self.ring, self.shape, self.counts);
        let q = |i: usize| ring.primes[i].q as f64;
        let first = 2f64.powi(FIRST_SCALE);
        let (near, far) = (q(counts.back - 1), q(counts.back - 2));
        // These two divide by what they multiply by.
        let half = (0..counts.mixing).map(q).product::<f64>() / 2.0 / self.table_scale();
        Encoded {
            far_inverse: shape.diagonals(ring, Stage::FarInverse, counts.top, first),
            near_inverse: shape.diagonals(ring, Stage::NearInverse, counts.top - 1, first),
            near: shape.diagonals(ring, Stage::Near, counts.back, near),
            far: shape.diagonals(ring, Stage::Far, counts.back - 1, far),
            mixing: shifts
                .iter()
                .map(|&bits| {
                    let scale = half * 2f64.powi(-(bits as i32));
                    shape.mixing_diagonals(ring, counts.mixing, scale)
                })
                .collect(),
        }
    }
}
