//! Bytes that batch lookups of a parameter set take.

use super::interpolation::PowerLevels;
use super::plan::{Counts, KeyShapes};
use super::ring::Dimensions;
use super::stages::{Shape, Stage};
use crate::params::BatchSpec;

/// Bytes of a number.
const WORD: usize = 8;
/// Lists of N' numbers that the transform of a prime keeps: roots and their inverses, each with
/// what speeds up products by it.
const ROOTS: usize = 4;

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
        self.keys.extents().map(|extent| 2 * extent.bodies(self.of) / self.of.size).sum()
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

    /// Limbs of a batch in work, at the fullest of its moments.
    pub(super) fn work(&self) -> usize {
        self.first_transform().max(self.table())
    }

    /// Limbs of the first transform in its last giant step: what comes in and its second part
    /// again, the rotations, the sum so far and the next one, and the digits of a key switch.
    fn first_transform(&self) -> usize {
        let count = self.counts.top;
        let babies = self.shape.steps(Stage::FarInverse).babies;
        3 * count + (2 * babies + 4 + self.digits(count)) * self.all(count)
    }

    /// Limbs of a table's last sum: the second half as it came, the powers of zeta, the inner
    /// sums, and a key switch.
    fn table(&self) -> usize {
        let levels = PowerLevels::new(self.spec.slots);
        let count = |level: usize| self.counts.table - level;
        let last = count(levels.last);
        let giants: usize = levels.giants.into_iter().map(count).sum();
        let ciphertexts = giants + levels.babies * (last + 1) + levels.sums * last;
        let switch = 3 * last + (self.digits(last) + 2) * self.all(last);
        2 * self.counts.exponential + 2 * ciphertexts + switch
    }

    /// Limbs of a polynomial of `count` primes of the chain and the special ones.
    fn all(&self, count: usize) -> usize {
        count + self.of.special
    }

    /// Digits of a polynomial of `count` primes.
    fn digits(&self, count: usize) -> usize {
        count.div_ceil(self.of.special)
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
