//! Lists of values looked up in batches.
//!
//! Values are packed into rows, and coefficients of rows are looked up all at a time. What comes out
//! are rows again, with each output where its value was.

use super::{Cpu, Rows, Selectors, Values, list_packing, product};
use crate::batch::{Batch, Function};
use crate::engine::Slot;
use crate::params::Gadget;
use crate::{TestPolynomial, from_torus};

/// The functions that a test polynomial reads, at each of t slots.
fn functions(of: &TestPolynomial, t: usize) -> Vec<Function> {
    let entries = of.batch_entries(t);
    let halves = |entries: Vec<u64>| entries.into_iter().map(|x| 2.0 * from_torus(x)).collect();
    entries.into_iter().map(|entries| Function { values: halves(entries), levels: 1 }).collect()
}

/// Where all functions are constant for the longest stretch of slots: its middle, as a phase.
fn calmest(functions: &[Function], within_half_torus: bool) -> (usize, u64) {
    let t = functions.first().map_or(1, |f| f.values.len());
    let same = |i: usize| functions.iter().all(|f| f.values[i % t] == f.values[(i + 1) % t]);
    let (mut best, mut len) = ((0, 0), 0);
    for i in 0..2 * t {
        len = if same(i) { (len + 1).min(t) } else { 0 };
        if len > best.1 {
            best = (i + 1, len);
        }
    }
    let slot = (best.0 + t - best.1 / 2) % t;
    let phase = (slot as u64) << (64 - t.ilog2());
    (slot, if within_half_torus { (phase as i64 >> 1) as u64 } else { phase })
}

impl Cpu {
    /// Packs lists and looks all their coefficients up: for each function and each of its levels the
    /// rows of all lists. Coefficients that no slot names become 0.
    pub(super) fn looked_up(
        &self,
        batch: &Batch,
        key: &list_packing::ListKey,
        x: &Values,
        functions: &[Function],
        within_half_torus: bool,
        lists: &[Vec<Slot>],
    ) -> Vec<Vec<u64>> {
        let n = self.params.row_size;
        let mut rows = list_packing::pack(self, key, x, lists);
        // What no slot names is read where the functions are calm, and taken away again.
        let (slot, phase) = calmest(functions, within_half_torus);
        let empty: Vec<Vec<bool>> = lists
            .iter()
            .map(|list| {
                let mut empty = vec![true; n];
                list.iter().for_each(|slot| empty[slot.coefficient] = false);
                empty
            })
            .collect();
        let shift = |rows: &mut [u64], by: u64| {
            for (row, empty) in rows.chunks_exact_mut(2 * n).zip(&empty) {
                for (x, empty) in row[n..].iter_mut().zip(empty) {
                    *x = x.wrapping_add(if *empty { by } else { 0 });
                }
            }
        };
        shift(&mut rows.data, phase);
        let mut out = batch.lookup(&self.transform, &rows.data, within_half_torus, functions);
        let selector = self.params.lists.map_or(0, |lists| lists.selector.base_log);
        let mut outputs = out.iter_mut();
        for f in functions {
            for (level, rows) in (0..f.levels as i32).zip(&mut outputs) {
                let value = f.values[slot] / 2.0 * 2f64.powi(-(selector as i32) * level);
                shift(rows, crate::to_torus(-value));
            }
        }
        out
    }
}
