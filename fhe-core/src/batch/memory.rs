//! Bytes that batch lookups of a parameter set take.

use super::interpolation::PowerLevels;
use super::keys::Extent;
use super::plan::{Counts, KeyShapes};
use super::pool::Pool;
use super::ring::Dimensions;
use super::stages::{Shape, Stage};
use crate::params::BatchSpec;

/// Bytes of a number.
const WORD: usize = 8;
/// Lists of N' numbers that the transform of a prime keeps: roots and their inverses, each with
/// what speeds up products by it.
const ROOTS: usize = 4;
/// Polynomials that a key switch holds beside its digits.
const SUMS: usize = 6;
/// Sizes of a batch part.
pub(super) struct Sizes {
    counts: Counts,
    of: Dimensions,
    shape: Shape,
    keys: KeyShapes,
    spec: BatchSpec,
}

impl Sizes {
    pub(super) fn new(spec: &BatchSpec, row_size: usize) -> Self {
        let (counts, special) = (Counts::new(spec), spec.special.count as usize);
        let of = Dimensions { size: spec.values(row_size), chain: counts.top, special };
        let (shape, keys) = (Shape::new(row_size, spec.rows), KeyShapes::new(spec, row_size));
        Self { counts, of, shape, keys, spec: *spec }
    }

    /// Limbs of the keys of the large ring, expanded: two polynomials a pair.
    pub(super) fn keys(&self) -> usize {
        let limbs = |extent: Extent| {
            let limbs = extent.bodies(self.of) / extent.pairs.max(1) / self.of.size;
            2 * extent.pairs * Pool::room(limbs)
        };
        self.keys.extents().map(limbs).sum()
    }

    /// Numbers of all diagonals.
    pub(super) fn diagonals(&self, levels: usize) -> usize {
        let (counts, n) = (self.counts, self.of.size / self.spec.rows);
        let stages = [
            (Stage::FarInverse, counts.top),
            (Stage::NearInverse, counts.top - 1),
            (Stage::Near, counts.back),
            (Stage::Far, counts.back - 1),
        ];
        let of_stage = |(stage, count)| self.shape.steps(stage).count * (count + self.of.special);
        let mixing = self.shape.mixing().count * (counts.mixing + self.of.special);
        n * stages.map(of_stage).iter().sum::<usize>() + levels * mixing * self.of.size
    }

    /// Limbs of a batch in work. Buffers of each size are kept, so that what one step needs is
    /// added to what the others need: the digits and sums of a key switch in every size, the
    /// rotations of the first transform, the powers of zeta of one half, the baby steps cut to what
    /// sums need of them, and the inner sums of a table.
    pub(super) fn work(&self) -> usize {
        let all = Pool::room(self.counts.top + self.of.special);
        let sizes = (1..=all).map(Pool::room).sum::<usize>() / Pool::room(1);
        let digits = self.counts.top.div_ceil(self.of.special);
        let switches = (digits + SUMS) * sizes;
        let rotations = 2 * self.shape.steps(Stage::FarInverse).babies * all;
        let levels = PowerLevels::new(self.spec.slots);
        let room = |level: usize| Pool::room(self.counts.table - level);
        let powers = 2 * levels.powers.into_iter().map(room).sum::<usize>();
        let cut = 2 * levels.babies * room(levels.last - 1);
        switches + rotations + powers + cut + 2 * levels.sums * room(levels.last)
    }

    /// Bytes that are held between batches, with `levels` levels of a selector.
    pub(super) fn held(&self, levels: usize) -> usize {
        let (size, spec) = (self.of.size, &self.spec);
        let primes = self.of.chain + self.of.special;
        // Permutations of 32 bits an entry, and rows modulo two primes, those of the way down also
        // times X.
        let permutations = (1 + self.keys.rotations.len()) * size / 2;
        let down = 8 * size * spec.down.levels as usize;
        let square = 4 * size / spec.rows * spec.square.levels as usize;
        let limbs = self.keys() + ROOTS * primes;
        WORD * (limbs * size + self.diagonals(levels) + permutations + down + square)
    }

    /// Bytes of one batch in work.
    pub(super) fn batch(&self) -> usize {
        WORD * self.work() * self.of.size
    }
}

/// Returns the bytes that an engine holds for batches, and the bytes that one batch in work takes
/// besides. `levels` is the number of levels of a selector.
pub(crate) fn bytes(spec: &BatchSpec, row_size: usize, levels: usize) -> (u64, u64) {
    let sizes = Sizes::new(spec, row_size);
    (sizes.held(levels) as u64, sizes.batch() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Function};
    use super::*;
    use crate::client::ClientKey;
    use crate::{Params, Seed};

    /// Looks functions up in a batch. Returns the limbs of all buffers that it took, and those that
    /// were counted.
    fn taken(params: &Params, functions: usize) -> (usize, usize) {
        let spec = params.batch.unwrap();
        let keys = ClientKey::new(params, Seed::from_number(3)).evaluation_keys().batch.unwrap();
        let batch = Batch::new(params, &spec, &keys).unwrap();
        let functions: Vec<Function> =
            (0..functions).map(|_| Function { values: vec![0.0; spec.slots], levels: 1 }).collect();
        let rows = vec![0; 2 * spec.values(params.row_size)];
        batch.lookup(&rows, true, &functions);
        (batch.evaluator.plan.ring.waiting(), Sizes::new(&spec, params.row_size).work())
    }

    fn check(params: &Params) {
        for functions in [1, 3] {
            let (took, counted) = taken(params, functions);
            let few = counted.abs_diff(took) <= took / 10;
            assert!(few, "{functions} functions: {took} limbs, {counted} counted");
        }
    }

    #[test]
    fn a_batch_takes_what_is_counted() {
        check(&Params::toy_insecure_batch().unwrap());
    }

    #[test]
    #[ignore = "full size"]
    fn a_full_batch_takes_what_is_counted() {
        check(&Params::secure128_deep_v3().unwrap());
    }
}
