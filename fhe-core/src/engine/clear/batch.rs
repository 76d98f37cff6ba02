//! Batch lookups in the clear.

use super::{Clear, Selectors};
use crate::engine::Slot;
use crate::noise::BatchNoise;
use crate::params::BatchSpec;
use crate::{IntegerTable, TestPolynomial};

impl Clear {
    /// Looks values up in batches: for each list a row for each read of a function.
    pub(super) fn batch(
        &self,
        batch: &BatchSpec,
        x: &[u64],
        function: &TestPolynomial,
        lists: &[Vec<Slot>],
    ) -> Vec<Vec<u64>> {
        self.read_batch(batch, x, function, lists, (0, true))
    }

    /// The same, but the first `exact` reads without the noise of the outputs, and of what is
    /// `packed` or in rows already.
    pub(super) fn read_batch(
        &self,
        batch: &BatchSpec,
        x: &[u64],
        function: &TestPolynomial,
        lists: &[Vec<Slot>],
        (exact, packed): (usize, bool),
    ) -> Vec<Vec<u64>> {
        let half = function.is_within_half_torus();
        let entries = function.batch_entries(batch.slots);
        let noise: Vec<Option<BatchNoise>> = entries
            .iter()
            .enumerate()
            .map(|(i, entries)| {
                (i >= exact && self.rng.is_some()).then(|| self.noise.batch_table(entries))
            })
            .collect();
        let mut rows = Vec::with_capacity(lists.len() * entries.len());
        for list in lists {
            let mut held: Vec<u64> = list.iter().map(|slot| x[slot.value]).collect();
            self.disturb(&mut held, |noise| match packed {
                true => noise.batch_reading(list.len(), half),
                false => noise.batch_input(half),
            });
            for (entries, noise) in entries.iter().zip(&noise) {
                let mut row = vec![0; self.params.row_size];
                // Coefficients that no slot names are read where the table is calm.
                let mut variances = vec![noise.as_ref().map_or(0.0, BatchNoise::least); row.len()];
                for (slot, &x) in list.iter().zip(&held) {
                    let at = function.batch_slot(x, batch.slots);
                    row[slot.coefficient] = entries[at];
                    variances[slot.coefficient] = noise.as_ref().map_or(0.0, |noise| noise.at(at));
                }
                if noise.is_some() {
                    self.disturb_each(&mut row, &variances);
                }
                rows.push(row);
            }
        }
        rows
    }

    /// Selectors of integers that a batch gave, each as a 64-bit number. They have the noise of the
    /// slots that a function reads phases as.
    pub(super) fn looked_up_selectors(
        &self,
        of: &IntegerTable,
        (function, phases): (&TestPolynomial, &[u64]),
        rows: Vec<Vec<u64>>,
    ) -> Selectors {
        let slots = self.params.batch.map_or(1, |batch| batch.slots);
        let kind = self.noise.batch_integers(of).and_then(|noise| {
            let at = phases.iter().map(|&x| noise.at(function.batch_slot(x, slots)));
            self.noise.batch_selectors_of(at.sum::<f64>() / phases.len().max(1) as f64)
        });
        let kind = kind.unwrap_or_else(|| self.noise.fresh_selectors());
        let integers = |row: Vec<u64>| row.into_iter().map(|m| m as i64 as i32).collect();
        Selectors { integers: rows.into_iter().map(integers).collect(), kind }
    }
}
