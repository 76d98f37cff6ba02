//! Every integer of many batches, against the exact one.
//!
//! In the same lookup as the integers a table gives half of the value. It tells as which slot the
//! value was read, because a slot is far wider than the noise of outputs. So the exact integer is
//! known, and no value is too near to a step to be judged. How far that slot is from the decrypted
//! value is the noise of the reading.

use fhe_core::engine::cpu::Selectors;
use fhe_core::noise::{BatchNoise, Noise, SelectorKind};
use fhe_core::{Engine, Result, TestPolynomial, from_torus, to_torus};

use super::functions::{Functions, Slots};
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
    /// Predicted noise of the rows of each level, and of gates.
    predicted: Vec<BatchNoise>,
    /// Predicted noise of selectors.
    kind: SelectorKind,
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
    /// Of the rows of each level, and of gates.
    rows: Vec<Squares>,
    /// Sums of the predicted variances of the same numbers.
    predicted: Vec<f64>,
}

impl<'a> Integers<'a> {
    /// Of an engine whose secret key is known.
    #[must_use]
    pub fn new(keys: &'a Keys, functions: &Functions) -> Self {
        let params = keys.key.params();
        let (noise, t) = (Noise::new(params), params.batch.map_or(1, |batch| batch.slots));
        let levels = (1..=functions.gadget.levels).map(|level| functions.level(level));
        let tables = levels.chain([functions.gate.clone()]);
        let predicted: Vec<_> =
            tables.flat_map(|table| noise.batch_output(&TestPolynomial::new(table))).collect();
        let rows = vec![Squares::default(); predicted.len()];
        Self {
            keys,
            functions: functions.clone(),
            slots: Slots::new(functions, t),
            reading: batch_reading(params, params.row_size),
            predicted,
            kind: noise
                .batch_selectors(&functions.integers)
                .unwrap_or_else(|| noise.fresh_selectors()),
            found: Found { predicted: vec![0.0; rows.len()], rows, ..Found::default() },
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
        self.noise_of(&m, &integers, lists.1)
    }

    /// Returns the noise of selectors with lists of `len` values, looked up as a layer does it,
    /// with gates beside them. Their integers are read from their top rows, and not judged.
    ///
    /// # Errors
    /// None in practice: the lists fit together.
    pub fn selectors(&self, (count, len): (usize, usize), index: u64) -> Result<SelectorNoise> {
        let Keys { key, cpu, .. } = self.keys;
        let listed = Listed::new(key, cpu, (count, len), index)?;
        let (m, _) = cpu.lookup_selectors(
            &listed.values,
            &self.functions.integers,
            std::slice::from_ref(&self.functions.gate),
            &listed.lists,
        )?;
        let levels = Levels::read(key, cpu, &m, self.functions.gadget)?;
        let top = levels.integers.first().map_or(&[][..], Vec::as_slice);
        let unit = self.functions.unit(1);
        let mut integers: Vec<Vec<i32>> = top
            .chunks_exact(key.params().row_size)
            .map(|row| row.iter().map(|&x| (from_torus(x) / unit).round() as i32).collect())
            .collect();
        // All others should be 0.
        integers.iter_mut().flat_map(|m| m.iter_mut().skip(len)).for_each(|m| *m = 0);
        self.noise_of(&m, &integers, len)
    }

    fn noise_of(&self, m: &Selectors, integers: &[Vec<i32>], len: usize) -> Result<SelectorNoise> {
        let what = format!("selectors of {len} values from a batch");
        SelectorNoise::measure(&self.keys.key, &self.keys.cpu, (&what, m), integers, self.kind)
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
        let levels = Levels::read(key, cpu, &m, self.functions.gadget)?;
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
        let exact = levels.iter().zip(1..).map(|(x, level)| {
            (*x, to_torus(f64::from(integer) * functions.unit(level)), functions.unit(level) / 2.0)
        });
        let all = exact.chain([(gate, exact_gate, 0.125)]);
        let errors: Vec<(f64, bool)> = all
            .map(|(x, exact, bound)| {
                let error = from_torus(x.wrapping_sub(exact));
                (error, error.abs() < bound)
            })
            .collect();
        let right_levels = errors.iter().take(levels.len()).all(|(_, is_right)| *is_right);
        found.wrong_integers += u64::from(!right_levels);
        found.wrong_gates += u64::from(!errors.iter().skip(levels.len()).all(|(_, r)| *r));
        let index = slot.rem_euclid(self.slots.count() as i64) as usize;
        let sums = found.rows.iter_mut().zip(&mut found.predicted).zip(&self.predicted);
        for ((error, is_right), ((squares, sum), predicted)) in errors.into_iter().zip(sums) {
            if is_right {
                squares.add(error);
                *sum += predicted.at(index);
            }
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
        let found = &self.found;
        let reading = Compared::new("reading of a batch", found.reading, self.reading);
        let rows = found.rows.iter().zip(&found.predicted).enumerate();
        let rows = rows.map(|(i, (squares, sum))| {
            let predicted = sum / squares.numbers.max(1) as f64;
            let what = match i as u32 + 1 {
                level if level <= self.functions.gadget.levels => {
                    format!("rows of integers, level {level}")
                }
                _ => "rows of gates".into(),
            };
            Compared::new(what, *squares, predicted)
        });
        std::iter::once(reading).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhe_core::params::{BatchSpec, Limbs};
    use fhe_core::{Params, ParamsSpec};

    /// Four rows of 512, without any security.
    fn params() -> Params {
        let spec = (*Params::secure128_deep_v3().unwrap()).clone();
        let batch = spec.batch.unwrap();
        let batch = BatchSpec {
            rows: 4,
            slots: 512,
            overflow: 24,
            squarings: 6,
            table: Limbs { count: 9, ..batch.table },
            exponential: Limbs { count: 10, ..batch.exponential },
            ..batch
        };
        let name = "insecure-four-rows".into();
        let (batch, security_bits) = (Some(batch), 0);
        let (short_dimension, short_noise_bits, row_size) = (66, 40, 512);
        Params::new(ParamsSpec {
            name,
            security_bits,
            short_dimension,
            short_noise_bits,
            row_size,
            batch,
            ..spec
        })
        .unwrap()
    }

    #[test]
    fn batches_are_right_and_as_noisy_as_predicted() {
        let params = params();
        let (keys, functions) = (Keys::make(&params, 1).unwrap(), Functions::new(&params).unwrap());
        let mut integers = Integers::new(&keys, &functions);
        assert_eq!(integers.shape(), (4, 512));
        integers.batch((4, 512), 0).unwrap();
        let full = integers.batch_and_selectors((4, 512), 1).unwrap();
        let few = integers.selectors((4, 60), 2).unwrap();
        let found = integers.found();
        let counts = [found.values, found.wrong_integers, found.wrong_gates];
        assert_eq!(counts, [4096, 0, 0]);
        assert!((3.0..FAR).contains(&found.farthest), "{}", found.farthest);
        let all =
            integers.noise().into_iter().chain([full.rows, few.rows, full.products, full.own]);
        for Compared { what, numbers, measured_log2, predicted_log2 } in
            all.chain([few.products, few.own])
        {
            let off = measured_log2 - predicted_log2;
            assert!(numbers >= 4096 && off.abs() < 1.0, "{what}: {measured_log2} {predicted_log2}");
        }
        faults_are_counted(&mut integers);
    }

    /// Plants one fault after another.
    fn faults_are_counted(integers: &mut Integers<'_>) {
        let before = integers.found().clone();
        // In the middle of slot 50, which is that of an integer above zero with an open gate.
        let phase = to_torus(50.0 * integers.slots.width());
        let (m, gate) = integers.slots.at(50).unwrap();
        let units = [1, 2, 3].map(|level| integers.functions.unit(level));
        let levels = |fault: usize| -> Vec<u64> {
            let off = |i: usize| if i == fault { 1.0 } else { 0.0 };
            let level = |(i, unit): (usize, f64)| to_torus((f64::from(m) + off(i)) * unit);
            units.into_iter().enumerate().map(level).collect()
        };
        let half = phase / 2;
        assert_eq!(integers.judge(phase, &levels(9), gate, half), m);
        let wrong = |found: &Found| [found.wrong_integers, found.wrong_gates];
        assert_eq!(wrong(integers.found()), wrong(&before));
        for level in 0..3 {
            integers.judge(phase, &levels(level), gate, half);
        }
        assert_eq!(wrong(integers.found()), [before.wrong_integers + 3, before.wrong_gates]);
        integers.judge(phase, &levels(9), gate ^ (1 << 62), half);
        assert_eq!(wrong(integers.found()), [before.wrong_integers + 3, before.wrong_gates + 1]);
        // A slot that is far from the value, though everything fits to it.
        integers.judge(phase.wrapping_add(to_torus(0.1)), &levels(9), gate, half);
        assert_eq!(wrong(integers.found()), [before.wrong_integers + 4, before.wrong_gates + 1]);
        assert_eq!(integers.found().values, before.values + 6);
    }
}
