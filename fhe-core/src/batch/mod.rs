//! Batch lookups: N' = R N values through one functional bootstrapping over a large ring.
//!
//! (Alexandru, Kim, Polyakov, "General functional bootstrapping using CKKS", CRYPTO 2025, eprint
//! 2024/1623.) R rows of N values are one ciphertext of the ring of N' coefficients. In the order
//! of the computation:
//!
//! | file | step |
//! |---|---|
//! | `read` | rows, rounded so that each value is an integer x modulo t |
//! | `evaluate` | the whole way, from there to polynomials of the large ring |
//! | `stages`, `linear`, `embedding` | between coefficients and slots |
//! | `exponential` | `exp(2 pi i x / t)` of every slot's integer x |
//! | `interpolation` | any table, as a trigonometric polynomial |
//! | `down`, `square`, `exact` | back to rows of N, and to selectors |
//! | `multiply`, `key_switch`, `automorphism` | ciphertexts of the large ring |
//! | `ring`, `prime`, `lanes`, `pool` | polynomials in residues, and how they are computed |
//! | `walk` | one stage at a time, for benchmarks |
//! | `plan`, `keys`, `secret` | a parameter set's numbers, and its keys |
//! | `memory` | the bytes that all this takes |

mod automorphism;
mod down;
mod embedding;
mod evaluate;
mod exact;
mod exponential;
mod interpolation;
mod key_switch;
mod keys;
mod lanes;
mod linear;
mod memory;
mod multiply;
mod plan;
mod pool;
mod prime;
mod read;
mod ring;
mod secret;
mod square;
mod stages;
#[cfg(test)]
mod tests;
mod walk;

use crate::Params;
use crate::params::BatchSpec;
use crate::server::{KEY_CHUNK, SeededRows};
use rayon::prelude::*;

use down::DownKey;
use evaluate::Evaluator;
use exact::Exact;
pub(crate) use interpolation::{Interpolation, inner_sums};
use keys::RingKeys;
pub(crate) use memory::bytes;
use plan::{KeyShapes, Plan};
pub(crate) use plan::{Residues, TABLE_SCALE};
use read::Read;
pub(crate) use secret::SIGMA;
use secret::{Secret, Seeds};
use square::SquareKey;
pub(crate) use walk::Walk;
use zeroize::Zeroizing;

/// The keys of batch lookups, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchKeys {
    ring: RingKeys,
    /// Rows under S of each component of the large ring's secret, level by level.
    down: SeededRows,
    /// Rows under S of S^2, level by level.
    square: SeededRows,
    /// Rows that pack values, of each key bit: some bits in each part.
    pack: Vec<SeededRows>,
}

impl BatchKeys {
    /// Makes the keys: `seed` derives 32 secret bytes for a purpose and an index, `rows` encrypts
    /// rows under S for a purpose; `pack` are rows that pack values. `None` if there are not enough
    /// primes, which the check of parameter sets rules out.
    pub(crate) fn new(
        params: &Params,
        spec: &BatchSpec,
        row_key: &[u64],
        seed: impl Fn(&str, u64) -> Zeroizing<[u8; 32]>,
        rows: impl Fn(&[u64], &str) -> SeededRows,
        pack: Vec<SeededRows>,
    ) -> Option<Self> {
        let plan = Plan::new(params, spec)?;
        let secret = Secret::new(&plan.ring, seed("batch key", 0));
        let ring = secret.keys(&plan, row_key, |purpose, index| {
            let mut mask = [0; 16];
            mask.copy_from_slice(&seed(&format!("{purpose} mask"), index)[..16]);
            let noise = seed(&format!("{purpose} noise"), index);
            Seeds { mask: u128::from_le_bytes(mask), noise }
        });
        let n = params.row_size;
        let len = plan.ring.size * spec.down.levels as usize;
        // Of the right size: a list that grows leaves copies behind.
        let mut components = Zeroizing::new(Vec::with_capacity(len));
        for r in 0..spec.rows {
            for level in 1..=spec.down.levels {
                let shift = 64 - spec.down.base_log * level;
                let component = secret.coefficients.iter().skip(r).step_by(spec.rows);
                components.extend(component.map(|&s| (s as u64) << shift));
            }
        }
        let mut product = Zeroizing::new(vec![0u64; n]);
        for (i, x) in row_key.iter().enumerate() {
            for (j, y) in row_key.iter().enumerate() {
                let at = &mut product[(i + j) % n];
                let bit = x & y;
                *at = if i + j < n { at.wrapping_add(bit) } else { at.wrapping_sub(bit) };
            }
        }
        let len = n * spec.square.levels as usize;
        let mut squares = Zeroizing::new(Vec::with_capacity(len));
        for level in 1..=spec.square.levels {
            let shift = 64 - spec.square.base_log * level;
            squares.extend(product.iter().map(|&x| x << shift));
        }
        let down = rows(&components, "batch down");
        Some(Self { ring, down, square: rows(&squares, "batch square of rows"), pack })
    }

    /// Numbers of bodies of the parts, in their order.
    pub(crate) fn lengths(params: &Params, spec: &BatchSpec) -> Vec<usize> {
        let n = params.row_size;
        let mut lengths = KeyShapes::new(spec, n).lengths(spec, n);
        lengths.push(spec.rows * spec.down.levels as usize * n);
        lengths.push(spec.square.levels as usize * n);
        let bits = KEY_CHUNK.min(n);
        lengths.extend(vec![bits * spec.pack.levels as usize * n; n / bits]);
        lengths
    }

    /// The parts, in their order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &SeededRows> {
        let ring = &self.ring;
        let first = [&ring.secret, &ring.relinearise, &ring.conjugate];
        let last = [&self.down, &self.square].into_iter().chain(&self.pack);
        first.into_iter().chain(&ring.rotations).chain(last)
    }

    /// Returns the rows that pack values.
    pub(crate) fn pack(&self) -> &[SeededRows] {
        &self.pack
    }

    /// Puts the parts of a parameter set together, in their order; `None` if there are too few.
    pub(crate) fn from_parts(params: &Params, mut parts: Vec<SeededRows>) -> Option<Self> {
        let n = params.row_size;
        let pack = parts.split_off(parts.len().checked_sub(n / KEY_CHUNK.min(n))?);
        let square = parts.pop()?;
        let down = parts.pop()?;
        let mut parts = parts.into_iter();
        let (secret, relinearise, conjugate) = (parts.next()?, parts.next()?, parts.next()?);
        let ring = RingKeys { secret, relinearise, conjugate, rotations: parts.collect() };
        Some(Self { ring, down, square, pack })
    }
}

/// A function of one input, by its values at every slot.
pub(crate) struct Function {
    /// For each of the t slots, in halves of the torus: between -1 and 1.
    pub(crate) values: Vec<f64>,
    /// Rows that come out: the first as the values say, each further one smaller by the base of
    /// selectors.
    pub(crate) levels: usize,
}

/// What takes rows to rows, a batch at a time.
pub(crate) struct Batch {
    evaluator: Evaluator,
    down: DownKey,
    square: SquareKey,
    exact: Exact,
    /// Coefficients N of a row.
    n: usize,
    /// Rows R of a batch.
    rows: usize,
}

impl Batch {
    /// Expands keys; `None` if there are not enough primes, which the check of parameter sets rules
    /// out.
    pub(crate) fn new(params: &Params, spec: &BatchSpec, keys: &BatchKeys) -> Option<Self> {
        let selector = params.lists.map(|lists| lists.selector);
        let levels = selector.map_or(1, |selector| selector.levels);
        let base_log = selector.map_or(0, |selector| selector.base_log);
        let shifts: Vec<u32> = (0..levels).map(|level| level * base_log).collect();
        let n = params.row_size;
        let exact = Exact::new(n)?;
        Some(Self {
            evaluator: Evaluator::new(Plan::new(params, spec)?, &keys.ring, &shifts),
            down: DownKey::new(&exact, spec.down, spec.rows, n, &keys.down),
            square: SquareKey::new(&exact, spec.square, n, &keys.square),
            exact,
            n,
            rows: spec.rows,
        })
    }

    /// Returns the number R of rows of a batch.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Applies functions to every coefficient of rows. Returns for each function and each of its
    /// levels the rows, one after another, mask and body each.
    ///
    /// The half torus is read at twice as many slots if values are promised to stay in it.
    pub(crate) fn lookup(
        &self,
        rows: &[u64],
        within_half_torus: bool,
        functions: &[Function],
    ) -> Vec<Vec<u64>> {
        let tables: Vec<Interpolation> =
            functions.iter().map(|f| Interpolation::new(&f.values)).collect();
        let outputs: usize = functions.iter().map(|f| f.levels).sum();
        let mut out = vec![Vec::with_capacity(rows.len()); outputs];
        let batches: Vec<&[u64]> = rows.chunks(self.rows * 2 * self.n).collect();
        for batches in batches.chunks(self.at_a_time()) {
            let looked_up = batches.par_iter().map(|rows| {
                let read = self.read(rows, within_half_torus);
                let mut of_levels = self.looked_up(&read, &tables, functions);
                of_levels.iter_mut().for_each(|level| level.truncate(rows.len()));
                of_levels
            });
            for of_levels in looked_up.collect::<Vec<_>>() {
                out.iter_mut().zip(of_levels).for_each(|(out, level)| out.extend(level));
            }
        }
        out
    }

    /// Returns how many batches are in work at a time: each keeps some eight threads busy, which is
    /// how many residues a number has in the mean.
    fn at_a_time(&self) -> usize {
        (rayon::current_num_threads() / 8).max(1)
    }

    /// Returns the rows of each level of each function for one batch.
    fn looked_up(
        &self,
        read: &Read,
        tables: &[Interpolation],
        functions: &[Function],
    ) -> Vec<Vec<u64>> {
        // One half after the other: the powers take most of the memory.
        let [re, im] = self.evaluator.integers(read).map(|half| {
            let powers = self.evaluator.powers(self.evaluator.zeta(&half));
            let sums = tables.iter().map(|table| self.evaluator.sum(&powers, table));
            sums.collect::<Vec<_>>()
        });
        let mut levels = Vec::new();
        for ((re, im), function) in re.iter().zip(&im).zip(functions) {
            let hoisted = self.evaluator.rows(&self.evaluator.joined([re, im]));
            for level in 0..function.levels {
                let parts = self.evaluator.mix(&hoisted, level);
                levels.push(self.down.apply(&self.evaluator.plan.ring, &self.exact, &parts));
            }
        }
        levels
    }

    /// Returns the rows of -S m of rows of m, mask and body each.
    pub(crate) fn times_key(&self, rows: &[u64]) -> Vec<u64> {
        self.square.apply(&self.exact, self.n, rows)
    }

    /// Reads rows modulo t.
    fn read(&self, rows: &[u64], within_half_torus: bool) -> Read {
        let n = self.n;
        let mut read = Read { masks: Vec::new(), twice: Vec::new() };
        for row in rows.chunks_exact(2 * n) {
            read.add(row, self.evaluator.plan.t, within_half_torus);
        }
        read.masks.resize(self.rows * n, 0);
        read.twice.resize(self.rows * n, 0);
        read
    }
}
