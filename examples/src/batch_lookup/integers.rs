//! Every integer of many batches, against the exact one.
//!
//! In the same lookup as the integers a table gives half of the value. It tells as which slot the
//! value was read, because a slot is far wider than the noise of outputs. So the exact integer is
//! known, and no value is too near to a step to be judged. How far that slot is from the decrypted
//! value is the noise of the reading.

use fhe_core::engine::cpu::Selectors;
use fhe_core::noise::Noise;
use fhe_core::{Engine, Result, from_torus, to_torus};

use super::functions::{Functions, Slots, batch_noise};
use super::keys::Keys;
use super::noise::{Compared, Squares};
use super::prediction::batch_reading;
use super::products::{Levels, SelectorNoise};
use super::values::{Listed, decrypt};

/// A slot that is further from the value than this many standard deviations of the reading is not
/// noise.
const FAR: f64 = 8.0;

/// What was found so far.
#[derive(Debug)]
pub struct Integers<'a> {
    keys: &'a Keys,
    functions: Functions,
    slots: Slots,
    /// Variance of the reading.
    reading: f64,
    found: Found,
}

/// Counts and sums.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Values looked up.
    pub values: u64,
    /// Integers that are wrong at a level, and values that were read as a slot far away.
    pub wrong_integers: u64,
    /// Gates that are wrong.
    pub wrong_gates: u64,
    /// Largest distance between a value and the slot as which it was read, in predicted standard
    /// deviations.
    pub farthest: f64,
    reading: Squares,
    levels: Vec<Squares>,
    gate: Squares,
}

impl<'a> Integers<'a> {
    /// Of an engine whose secret key is known.
    #[must_use]
    pub fn new(keys: &'a Keys, functions: &Functions) -> Self {
        let params = keys.key.params();
        let slots = Slots::new(functions, params.batch.map_or(1, |batch| batch.slots));
        let levels = vec![Squares::default(); functions.gadget.levels as usize];
        Self {
            keys,
            functions: functions.clone(),
            slots,
            reading: batch_reading(params, params.row_size),
            found: Found { levels, ..Found::default() },
        }
    }

    /// Returns the number of lists of a batch, and of values of a full list.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        let params = self.keys.key.params();
        (params.batch.map_or(0, |batch| batch.rows), params.row_size)
    }

    /// Looks `count` lists of `len` values up as selectors, with gates and halves of the values
    /// beside them, and judges all. `index` tells batches apart.
    ///
    /// # Errors
    /// None in practice: the lists fit together.
    pub fn batch(&mut self, lists: (usize, usize), index: u64) -> Result<()> {
        self.judged(lists, index).map(drop)
    }

    /// The same; returns the noise of the selectors.
    ///
    /// # Errors
    /// None in practice: the lists fit together.
    pub fn batch_and_selectors(
        &mut self,
        lists: (usize, usize),
        index: u64,
    ) -> Result<SelectorNoise> {
        let (m, integers) = self.judged(lists, index)?;
        let Keys { key, cpu, .. } = self.keys;
        let noise = Noise::new(key.params());
        let kind = noise.batch_selectors(&self.functions.integers);
        let kind = kind.unwrap_or_else(|| noise.fresh_selectors());
        let what = format!("selectors of {} values from a batch", lists.1);
        let of = (kind, self.functions.unit(1));
        SelectorNoise::measure(key, cpu, (&what, &m), &integers, of)
    }

    /// Judges a batch; returns the selectors and the integers that they should have.
    fn judged(
        &mut self,
        (count, len): (usize, usize),
        index: u64,
    ) -> Result<(Selectors, Vec<Vec<i32>>)> {
        let Keys { key, cpu, .. } = self.keys;
        let n = key.params().row_size;
        let tables = [self.functions.gate.clone(), self.functions.half.clone()];
        let Listed { values, phases, lists } = Listed::new(key, cpu, (count, len), index)?;
        let (m, rows) = cpu.lookup_selectors(&values, &self.functions.integers, &tables, &lists)?;
        // Full batches of values are gigabytes.
        drop(values);
        let beside = decrypt(key, &rows)?;
        let levels = 1..=self.functions.gadget.levels;
        let units: Vec<f64> = levels.map(|level| self.functions.unit(level)).collect();
        let levels = Levels::read(key, cpu, &m, &units)?;
        let mut integers = vec![vec![0; n]; count];
        for (i, &phase) in phases.iter().enumerate() {
            let (list, at) = (i / len, i % len);
            let of_table = |t: usize| beside[(2 * list + t) * n + at];
            let of_levels: Vec<u64> = levels.integers.iter().map(|x| x[list * n + at]).collect();
            integers[list][at] = self.judge(phase, &of_levels, of_table(0), of_table(1));
        }
        Ok((m, integers))
    }

    /// Judges one value by its phase and what came out; returns the integer that should have.
    fn judge(&mut self, phase: u64, levels: &[u64], gate: u64, half: u64) -> i32 {
        let (found, functions) = (&mut self.found, &self.functions);
        found.values += 1;
        let slot = self.slots.read(half);
        let error = slot as f64 * self.slots.width() - from_torus(phase);
        let distance = error.abs() / self.reading.sqrt();
        found.farthest = found.farthest.max(distance);
        let exact = self.slots.at(slot).filter(|_| distance <= FAR);
        let Some((integer, exact_gate)) = exact else {
            found.wrong_integers += 1;
            return 0;
        };
        found.reading.add(error);
        let errors: Vec<f64> = levels
            .iter()
            .zip(1..)
            .map(|(x, level)| {
                let exact = to_torus(f64::from(integer) * functions.unit(level));
                from_torus(x.wrapping_sub(exact))
            })
            .collect();
        let is_right = |(error, level): (&f64, u32)| error.abs() < functions.unit(level) / 2.0;
        if errors.iter().zip(1..).all(is_right) {
            found.levels.iter_mut().zip(&errors).for_each(|(level, error)| level.add(*error));
        } else {
            found.wrong_integers += 1;
        }
        let error = from_torus(gate.wrapping_sub(exact_gate));
        if error.abs() < 0.125 {
            found.gate.add(error);
        } else {
            found.wrong_gates += 1;
        }
        integer
    }

    /// Returns what was found.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Returns the noise of the reading, of the rows of each level from the top one on, and of the
    /// gates.
    #[must_use]
    pub fn noise(&self) -> Vec<Compared> {
        let noise = Noise::new(self.keys.key.params());
        let reading = Compared::new("reading of a batch", self.found.reading, self.reading);
        let levels = self.found.levels.iter().zip(1..).map(|(squares, level)| {
            let predicted = self.functions.level_noise(&noise, level);
            Compared::new(format!("rows of integers, level {level}"), *squares, predicted)
        });
        let gate = batch_noise(&noise, &self.functions.gate);
        let gate = Compared::new("rows of gates", self.found.gate, gate);
        std::iter::once(reading).chain(levels).chain([gate]).collect()
    }
}
