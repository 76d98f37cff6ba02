//! Lists of values looked up in batches.
//!
//! Values are packed into rows, and coefficients of rows are looked up all at a time. What comes
//! out are rows again, with each output where its value was.

use rayon::prelude::*;

use super::fourier::Transform;
use super::list_packing::{ListKey, pack};
use super::{Cpu, Rows, Selectors, Values, product};
use crate::batch::{Batch, Function};
use crate::engine::Slot;
use crate::engine::path::{Entry, Group};
use crate::params::Gadget;
use crate::polynomial;
use crate::{TestPolynomial, from_torus, to_torus};

/// What batches need of an engine.
pub(super) struct Batches<'a> {
    pub(super) cpu: &'a Cpu,
    pub(super) batch: &'a Batch,
    pub(super) lists: &'a ListKey,
    /// Slots t.
    pub(super) slots: usize,
    /// Of selectors.
    pub(super) selector: Gadget,
}

impl Cpu {
    /// Returns what batches need, if this engine has it.
    pub(super) fn batches(&self) -> Option<Batches<'_>> {
        let (spec, of_lists) = (self.params.batch?, self.params.lists?);
        let (batch, lists) = self.batch.as_ref()?;
        let (slots, selector) = (spec.slots, of_lists.selector);
        Some(Batches { cpu: self, batch, lists, slots, selector })
    }
}

impl Batches<'_> {
    /// The functions that a test polynomial reads, at each slot.
    fn functions(&self, of: &TestPolynomial) -> Vec<Function> {
        let halves = |entries: Vec<u64>| entries.into_iter().map(|x| 2.0 * from_torus(x)).collect();
        let entries = of.batch_entries(self.slots).into_iter();
        entries.map(|entries| Function { values: halves(entries), levels: 1 }).collect()
    }

    /// Looks a group of values up, batch after batch, and writes what is read.
    pub(super) fn values(&self, out: &mut Values, x: &Values, group: &Group) {
        let n = self.cpu.params.row_size;
        let functions = self.functions(&group.function);
        let reads = functions.len();
        let half = group.function.is_within_half_torus();
        let mut targets: Vec<Option<&mut [u64]>> =
            out.data.chunks_exact_mut(n + 1).map(Some).collect();
        for entries in group.entries.chunks(self.batch.rows() * n) {
            let lists: Vec<Vec<Slot>> = entries
                .chunks(n)
                .map(|entries| {
                    let slot = |(coefficient, entry): (usize, &Entry)| Slot {
                        value: entry.value,
                        coefficient,
                    };
                    entries.iter().enumerate().map(slot).collect()
                })
                .collect();
            let beyond: Vec<u64> = entries.iter().map(|entry| entry.beyond).collect();
            let rows = self.looked_up(x, &functions, half, &lists, &beyond);
            let mut places: Vec<(usize, usize, &mut [u64])> = Vec::new();
            for (i, entry) in entries.iter().enumerate() {
                for read in 0..reads {
                    if let Some(target) = targets[entry.out + read].take() {
                        places.push((i, read, target));
                    }
                }
            }
            places.into_par_iter().for_each(|(i, read, target)| {
                product::extract_one(target, &rows[read][i / n * 2 * n..][..2 * n], i % n);
            });
        }
    }

    /// Rows: row `l reads + r` is what list l reads as r.
    pub(super) fn rows(&self, x: &Values, function: &TestPolynomial, lists: &[Vec<Slot>]) -> Rows {
        let functions = self.functions(function);
        let rows = self.looked_up(x, &functions, function.is_within_half_torus(), lists, &[]);
        self.by_list(&rows, lists.len())
    }

    /// Selectors of the integers that a function reads first, and rows of what it reads besides.
    pub(super) fn selectors(
        &self,
        x: &Values,
        function: &TestPolynomial,
        lists: &[Vec<Slot>],
    ) -> (Selectors, Rows) {
        let functions = self.functions_after_integers(function);
        let rows = self.looked_up(x, &functions, function.is_within_half_torus(), lists, &[]);
        let (of_integers, others) = rows.split_at(self.selector.levels as usize);
        (self.promoted(of_integers, lists.len()), self.by_list(others, lists.len()))
    }

    /// What a function reads of all coefficients of rows: selectors of the integers that it reads
    /// first, if it does, and the rows of each of its other reads.
    pub(super) fn coefficients(
        &self,
        x: &Rows,
        function: &TestPolynomial,
        integers: bool,
    ) -> (Option<Selectors>, Vec<Rows>) {
        let (functions, levels) = match integers {
            true => (self.functions_after_integers(function), self.selector.levels as usize),
            false => (self.functions(function), 0),
        };
        let mut rows = self.batch.lookup(&x.data, function.is_within_half_torus(), &functions);
        let others = rows.split_off(levels).into_iter();
        let selectors = integers.then(|| self.promoted(&rows, x.len()));
        (selectors, others.map(|rows| Rows::of(x.n, rows)).collect())
    }

    /// The functions that a test polynomial reads, of which the first gives integers.
    fn functions_after_integers(&self, function: &TestPolynomial) -> Vec<Function> {
        let half = 2f64.powi(self.selector.base_log as i32 - 1);
        let integers =
            |entries: &Vec<u64>| entries.iter().map(|&m| m as i64 as f64 / half).collect();
        let mut functions = self.functions(function);
        if let (Some(first), Some(entries)) =
            (functions.first_mut(), function.batch_entries(self.slots).first())
        {
            let levels = self.selector.levels as usize;
            *first = Function { values: integers(entries), levels };
        }
        functions
    }

    /// Puts rows list after list.
    fn by_list(&self, rows: &[Vec<u64>], lists: usize) -> Rows {
        let size = 2 * self.cpu.params.row_size;
        let mut out = Rows::new(self.cpu.params.row_size, lists * rows.len());
        let from = (0..lists).flat_map(|l| rows.iter().map(move |rows| &rows[l * size..][..size]));
        for (out, row) in out.data.chunks_exact_mut(size).zip(from) {
            out.copy_from_slice(row);
        }
        out
    }

    /// Makes selectors of the rows of their levels.
    fn promoted(&self, rows: &[Vec<u64>], lists: usize) -> Selectors {
        let transform: &Transform = &self.cpu.transform;
        let (n, points) = (self.cpu.params.row_size, transform.points());
        let mut out = Selectors::divided(self.selector, points, lists);
        for (level, rows) in rows.iter().enumerate() {
            let mut times_key = self.batch.times_key(rows);
            times_key.par_chunks_exact_mut(n).for_each(polynomial::times_one_less_x);
            let of_lists = times_key.par_chunks_exact(2 * n).zip(rows.par_chunks_exact(2 * n));
            let stride = out.stride;
            out.data.par_chunks_exact_mut(stride).zip(of_lists).for_each_init(
                || transform.scratch(),
                |scratch, (out, (times_key, row))| {
                    let out = out[4 * level * points..][..4 * points].chunks_exact_mut(points);
                    let parts = times_key.chunks_exact(n).chain(row.chunks_exact(n));
                    for (out, x) in out.zip(parts) {
                        transform.forward_torus(out, x, scratch);
                    }
                },
            );
        }
        out
    }

    /// Packs lists and looks all their coefficients up: for each function and each of its levels
    /// the rows of all lists. Coefficients that no slot names become 0. To the coefficients, row
    /// after row, something may be added first.
    fn looked_up(
        &self,
        x: &Values,
        functions: &[Function],
        within_half_torus: bool,
        lists: &[Vec<Slot>],
        beyond: &[u64],
    ) -> Vec<Vec<u64>> {
        let n = self.cpu.params.row_size;
        let mut rows = pack(self.cpu, self.lists, x, lists);
        for (row, beyond) in rows.data.chunks_exact_mut(2 * n).zip(beyond.chunks(n)) {
            for (x, by) in row[n..].iter_mut().zip(beyond) {
                *x = x.wrapping_add(*by);
            }
        }
        // What no slot names is read where the functions are calm, and taken away again. A reading
        // has a standard deviation of sqrt(N / 48) slots.
        let deviation = (n as f64 / 48.0).sqrt();
        let (slot, phase) = calmest(functions, within_half_torus, deviation);
        let mut empty = vec![true; lists.len() * n];
        for (list, empty) in lists.iter().zip(empty.chunks_exact_mut(n)) {
            list.iter().for_each(|slot| empty[slot.coefficient] = false);
        }
        let shift = |rows: &mut [u64], by: u64| {
            for (row, empty) in rows.chunks_exact_mut(2 * n).zip(empty.chunks_exact(n)) {
                for (x, empty) in row[n..].iter_mut().zip(empty) {
                    *x = x.wrapping_add(if *empty { by } else { 0 });
                }
            }
        };
        shift(&mut rows.data, phase);
        let mut out = self.batch.lookup(&rows.data, within_half_torus, functions);
        let mut outputs = out.iter_mut();
        for f in functions {
            for (level, rows) in (0..f.levels as i32).zip(&mut outputs) {
                let unit = 2f64.powi(-(self.selector.base_log as i32) * level);
                shift(rows, to_torus(-f.values[slot] / 2.0 * unit));
            }
        }
        out
    }
}

/// The slot that may be misread with the least harm, and its phase: the one of the least mean
/// square of what misreading changes. A reading is normal, with `deviation` slots.
fn calmest(functions: &[Function], within_half_torus: bool, deviation: f64) -> (usize, u64) {
    let Some(t) = functions.first().map(|f| f.values.len()) else { return (0, 0) };
    let reach = ((8.0 * deviation).ceil() as usize).min(t / 2);
    let weight = |i: usize| (-0.5 * (i as f64 / deviation).powi(2)).exp();
    let weights: Vec<f64> = (0..=reach).map(weight).collect();
    let harm = |f: &Function, slot: usize| -> f64 {
        let change = |at: usize| (f.values[at % t] - f.values[slot]).powi(2);
        let both = |i: usize| change(slot + i) + change(slot + t - i);
        weights.iter().enumerate().map(|(i, weight)| weight * both(i)).sum()
    };
    let of_slot = |slot: usize| functions.iter().map(|f| harm(f, slot)).sum::<f64>();
    let all: Vec<f64> = (0..t).map(of_slot).collect();
    let least = all.iter().copied().fold(f64::MAX, f64::min);
    // The middle of the longest stretch of such slots.
    let (mut end, mut longest, mut len) = (0, 0, 0);
    for i in 0..2 * t {
        len = if all[i % t] == least { (len + 1).min(t) } else { 0 };
        if len > longest {
            (end, longest) = (i + 1, len);
        }
    }
    let slot = (end + t - longest.div_ceil(2)) % t;
    let phase = (slot as u64) << (64 - t.ilog2());
    (slot, if within_half_torus { (phase as i64 >> 1) as u64 } else { phase })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calmest_slot_is_far_from_every_step() {
        let steps = |at: [usize; 2]| Function {
            values: (0..64).map(|i| if (at[0]..at[1]).contains(&i) { 0.5 } else { 0.0 }).collect(),
            levels: 1,
        };
        // Constant from 30 around the end to 9: 44 slots.
        let both = [steps([10, 20]), steps([15, 30])];
        let (slot, phase) = calmest(&both, false, 1.0);
        assert!((51..=52).contains(&slot), "{slot}");
        assert_eq!(phase, to_torus(slot as f64 / 64.0));
        let (slot, phase) = calmest(&both, true, 1.0);
        assert_eq!(phase, to_torus((slot as f64 / 64.0 - 1.0) / 2.0));
        // Beside a function that is nowhere constant.
        let ramp = Function { values: (0..64).map(|i| f64::from(i) / 256.0).collect(), levels: 1 };
        let (slot, _) = calmest(&[steps([10, 20]), steps([15, 30]), ramp], false, 1.0);
        assert!((38..=55).contains(&slot), "{slot}");
    }
}
