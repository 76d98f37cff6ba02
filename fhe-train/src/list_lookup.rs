//! How a list of values is looked up: what follows from its length, as the engines decide it.

use fhe_core::noise::{BatchNoise, Noise};
use fhe_core::params::LookupPath;
use fhe_core::{IntegerTable, Params, Table, TestPolynomial};

/// Where a lookup reads its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Slots of the half torus.
    pub(crate) slots: usize,
    /// Whether a table goes on periodically outside the half torus; else it is negacyclic.
    pub(crate) periodic: bool,
}

/// Functions that a list is looked up by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Functions {
    /// Tables that are read together.
    pub(crate) tables: usize,
    /// Whether all of them have the promise that values stay in the half torus.
    pub(crate) within_half_torus: bool,
}

/// A lookup of a list of values.
#[derive(Clone, Debug)]
pub(crate) struct ListLookup {
    noise: Noise,
    path: LookupPath,
    grid: Grid,
    reading: f64,
}

/// Variances of integers that a lookup gives, times fractions of the torus.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntegerNoise {
    fixed: f64,
    /// Of integers times 1, beside the rest.
    slope: f64,
}

impl IntegerNoise {
    /// Returns the variance of the integers times a fraction.
    pub(crate) fn times(self, fraction: f64) -> f64 {
        self.fixed + self.slope * fraction * fraction
    }
}

impl ListLookup {
    /// Of so many values in their order.
    pub(crate) fn in_order(params: &Params, values: usize, functions: Functions) -> Self {
        let longest = values.min(params.row_size);
        Self::new(params, params.lookup_path(values), Some(longest), functions)
    }

    /// Of all coefficients of rows, where they stand.
    pub(crate) fn in_place(params: &Params, functions: Functions) -> Self {
        Self::new(params, LookupPath::Batch, None, functions)
    }

    /// Values are packed into lists of at most `longest` before, if they are not in rows already.
    fn new(
        params: &Params,
        path: LookupPath,
        longest: Option<usize>,
        functions: Functions,
    ) -> Self {
        let (noise, Functions { tables, within_half_torus }) = (Noise::new(params), functions);
        // As many as a bootstrap interleaves.
        let tables = tables.next_power_of_two();
        let blind = Grid { slots: params.row_size / tables, periodic: false };
        let (grid, reading) = match (path, params.batch) {
            (LookupPath::Batch, Some(batch)) => {
                let slots = if within_half_torus { batch.slots } else { batch.slots / 2 };
                let packing = longest.map_or(0.0, |longest| noise.batch_packing(longest));
                let grid = Grid { slots, periodic: within_half_torus };
                (grid, packing + noise.batch_input(within_half_torus))
            }
            _ => (blind, noise.lookup_input(tables)),
        };
        Self { noise, path, grid, reading }
    }

    /// Returns where the tables are read.
    pub(crate) fn grid(&self) -> Grid {
        self.grid
    }

    /// Returns the variance with which values are read.
    pub(crate) fn reading(&self) -> f64 {
        self.reading
    }

    /// Returns the variance of what a table gives: in a batch the mean over its slots.
    pub(crate) fn output(&self, table: Table) -> f64 {
        match self.path {
            LookupPath::BlindRotation => self.noise.lookup(),
            LookupPath::Batch => {
                let reads = self.noise.batch_output(&TestPolynomial::new(table));
                reads.first().map_or(0.0, BatchNoise::mean)
            }
        }
    }

    /// Returns the variances of integers: what depends on a batch's table grows with its square.
    pub(crate) fn integers(&self, integers: &IntegerTable) -> IntegerNoise {
        if self.path == LookupPath::BlindRotation {
            return IntegerNoise { fixed: self.noise.lookup(), slope: 0.0 };
        }
        // Half a digit of seven bits, and less, times this stays in the torus.
        let unit = 1.0 / 256.0;
        let fixed = self.output(integers.times(0.0));
        IntegerNoise { fixed, slope: (self.output(integers.times(unit)) - fixed) / (unit * unit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written_as_its_path_does() {
        // Sixteen values take a batch.
        let params = Params::toy_insecure_batch().unwrap();
        let noise = Noise::new(&params);
        let staircase = IntegerTable::new(params.row_size, |x| (60.0 * x).round() as i32).unwrap();
        for (promise, values) in [(false, 15), (false, 600), (true, 15), (true, 600)] {
            let integers = match promise {
                true => staircase.clone().within_half_torus(),
                false => staircase.clone(),
            };
            let table = integers.times(1.0 / 128.0);
            let function = TestPolynomial::new(table.clone());
            let functions = Functions { tables: 1, within_half_torus: promise };
            let lookup = ListLookup::in_order(&params, values, functions);
            let read = noise.lookup_each_input(std::slice::from_ref(&function), &vec![0; values]);
            assert_eq!(lookup.reading(), read);
            let (slots, output) = match (values, promise) {
                (15, _) => (512, noise.lookup()),
                (_, true) => (128, noise.batch_output(&function)[0].mean()),
                (_, false) => (64, noise.batch_output(&function)[0].mean()),
            };
            assert_eq!(lookup.grid(), Grid { slots, periodic: promise && values > 15 });
            assert_eq!(lookup.output(table), output);
            for fraction in [1.0 / 128.0, 1.0 / 2048.0, 1e-6] {
                let (of, one) = (lookup.integers(&integers), integers.times(fraction));
                assert!((of.times(fraction) / lookup.output(one) - 1.0).abs() < 1e-6);
            }
        }
    }
}
