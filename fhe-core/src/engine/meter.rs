//! The price of a program: an engine that holds no values and counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Term, check};
use crate::{Params, Result, Table};

/// What a program costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Blind rotations, each with its key switch.
    pub lookups: u64,
    /// Gadget products of a selector and a row.
    pub products: u64,
    /// Values packed into constant rows.
    pub packed_constants: u64,
    /// Passes of list packing.
    pub packed_lists: u64,
    /// Reflections.
    pub reflections: u64,
}

/// Counts moves. `Values`, `Rows` and `Selectors` are only their lengths.
#[derive(Debug)]
pub struct Meter {
    params: Params,
    lookups: AtomicU64,
    products: AtomicU64,
    packed_constants: AtomicU64,
    packed_lists: AtomicU64,
    reflections: AtomicU64,
}

impl Meter {
    /// A meter at zero.
    #[must_use]
    pub fn new(params: &Params) -> Self {
        Self {
            params: params.clone(),
            lookups: AtomicU64::new(0),
            products: AtomicU64::new(0),
            packed_constants: AtomicU64::new(0),
            packed_lists: AtomicU64::new(0),
            reflections: AtomicU64::new(0),
        }
    }

    /// Returns what was counted so far.
    #[must_use]
    pub fn price(&self) -> Price {
        Price {
            lookups: self.lookups.load(Relaxed),
            products: self.products.load(Relaxed),
            packed_constants: self.packed_constants.load(Relaxed),
            packed_lists: self.packed_lists.load(Relaxed),
            reflections: self.reflections.load(Relaxed),
        }
    }
}

impl Engine for Meter {
    type Values = usize;
    type Rows = usize;
    type Selectors = usize;

    fn params(&self) -> &Params {
        &self.params
    }

    fn values_len(&self, x: &usize) -> usize {
        *x
    }

    fn rows_len(&self, x: &usize) -> usize {
        *x
    }

    fn selectors_len(&self, x: &usize) -> usize {
        *x
    }

    fn zero_rows(&self, count: usize) -> usize {
        count
    }

    fn products(&self, selectors: &usize, rows: &usize, terms: &[Vec<Term>]) -> Result<usize> {
        check::terms(terms, *selectors, *rows)?;
        self.products.fetch_add(terms.iter().map(|t| t.len() as u64).sum(), Relaxed);
        Ok(terms.len())
    }

    fn dots(&self, selectors: &usize, rows: &usize) -> Result<usize> {
        self.products.fetch_add((selectors * rows) as u64, Relaxed);
        Ok(selectors * rows)
    }

    fn reflect(&self, rows: &usize) -> Result<usize> {
        self.reflections.fetch_add(*rows as u64, Relaxed);
        Ok(*rows)
    }

    fn extract(&self, rows: &usize, positions: &[(usize, usize)]) -> Result<usize> {
        check::positions(positions, *rows, self.params.row_size)?;
        Ok(positions.len())
    }

    fn lookup(&self, x: &usize, tables: &[Table]) -> Result<usize> {
        check::tables(tables, self.params.row_size)?;
        self.lookups.fetch_add(*x as u64, Relaxed);
        Ok(x * tables.len())
    }

    fn pack(&self, x: &usize) -> Result<usize> {
        check::at_most("pack", *x, self.params.row_size)?;
        self.packed_lists.fetch_add(1, Relaxed);
        Ok(1)
    }

    fn pack_constants(&self, x: &usize) -> Result<usize> {
        self.packed_constants.fetch_add(*x as u64, Relaxed);
        Ok(*x)
    }

    fn add_scaled_values(&self, x: &mut usize, y: &usize, _k: i64) -> Result<()> {
        check::same("add_scaled_values", *y, *x)
    }

    fn add_scaled_rows(&self, x: &mut usize, y: &usize, _k: i64) -> Result<()> {
        check::same("add_scaled_rows", *y, *x)
    }

    fn shift_values(&self, _x: &mut usize, _by: u64) {}

    fn rotate_rows(&self, _x: &mut usize, degree: usize) -> Result<()> {
        check::index("rotate_rows", degree, 2 * self.params.row_size)
    }
}
