//! How a lookup reads a number: on a grid of slots.

use crate::list_lookup::Grid;

/// A table of a lookup, over the whole torus.
///
/// The same as [`fhe_core::Table`], in floating point: an input is read at the nearest of the slots
/// of the half torus. Outside, `f(x + 1/2) = -f(x)`. It is `f(x + 1/2) = f(x)` if a batch reads a
/// table with the promise that values stay inside.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// From -1/4 upwards: the half torus, then the other half.
    entries: Vec<f32>,
    /// Whether the half torus is read again and again outside.
    periodic: bool,
}

impl Reading {
    /// Samples `f` on a grid, whose number of slots is a power of two.
    pub(super) fn new(grid: Grid, f: impl Fn(f64) -> f64) -> Self {
        let slots = grid.slots;
        let half = (0..slots).map(|i| f(-0.25 + 0.5 * i as f64 / slots as f64) as f32);
        let mut entries: Vec<f32> = half.collect();
        entries.extend_from_within(..);
        if !grid.periodic {
            entries[slots..].iter_mut().for_each(|x| *x = -*x);
        }
        Self { entries, periodic: grid.periodic }
    }

    /// Returns the slot of a phase.
    pub(super) fn slot(&self, phase: f32) -> usize {
        let all = self.entries.len();
        // Half the half torus brings -1/4 to slot 0; half a slot rounds to the nearest.
        let position = (phase * all as f32 + (all / 4) as f32 + 0.5).floor();
        position as i64 as usize & (all - 1)
    }

    /// Returns the value of a slot.
    pub(super) fn value(&self, slot: usize) -> f32 {
        self.entries[slot]
    }

    /// Returns the number of slots of a batch that reads the table.
    pub(super) fn slots(&self) -> usize {
        if self.periodic { self.entries.len() / 2 } else { self.entries.len() }
    }

    /// Returns the slot of a batch, which counts from phase 0 on.
    pub(super) fn batch_slot(&self, slot: usize) -> usize {
        let slots = self.slots();
        // From -1/4 to 0 it is a quarter of the torus, half of what a promise leaves.
        (slot % slots + slots - self.entries.len() / 4) % slots
    }

    /// Returns whether a slot lies outside the half torus.
    pub(super) fn is_outside(&self, slot: usize) -> bool {
        slot >= self.entries.len() / 2
    }

    /// Returns the table's value at a phase.
    pub(super) fn at(&self, phase: f32) -> f32 {
        self.value(self.slot(phase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhe_core::{Table, from_torus, to_torus};

    #[test]
    fn readings_are_those_of_a_table() {
        let f = |x: f64| 0.1 * (7.0 * x).sin() + 0.01;
        let grid = Grid { slots: 64, periodic: false };
        let (table, reading) = (Table::new(64, f).unwrap(), Reading::new(grid, f));
        for i in -3000..3000 {
            let x = f64::from(i) / 2048.0 + 1e-5;
            let expected = from_torus(table.at(to_torus(x)));
            assert!((f64::from(reading.at(x as f32)) - expected).abs() < 1e-7, "{x}");
            assert_eq!(reading.is_outside(reading.slot(x as f32)), {
                let y = x - x.round();
                !(-0.25 - 1.0 / 256.0..0.25 - 1.0 / 256.0).contains(&y)
            });
        }
    }

    #[test]
    fn a_batch_counts_its_slots_from_phase_zero_on() {
        for (periodic, slots) in [(false, 128), (true, 64)] {
            let reading = Reading::new(Grid { slots: 64, periodic }, |x| x);
            assert_eq!(reading.slots(), slots);
            for i in -64..64_i32 {
                let slot = reading.slot(i as f32 / 128.0);
                assert_eq!(reading.batch_slot(slot), i.rem_euclid(slots as i32) as usize, "{i}");
            }
        }
    }

    #[test]
    fn a_periodic_reading_is_that_of_a_batch() {
        let f = |x: f64| 0.1 * (7.0 * x).sin() + 0.01;
        let reading = Reading::new(Grid { slots: 64, periodic: true }, f);
        for x in (-40..40).map(|i| (f64::from(i) / 170.0) as f32) {
            assert_eq!(reading.at(x), reading.at(x + 0.5));
            let nearest = (f64::from(x) * 128.0).round() / 128.0;
            assert!((f64::from(reading.at(x)) - f(nearest)).abs() < 1e-7, "{x}");
        }
    }
}
