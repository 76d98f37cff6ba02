//! The price of a program before it runs: an engine that holds no values, counts moves, and carries
//! the noise along.

mod price;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use price::{Price, PriceList, Reading, UnitCosts};

use crate::engine::path::{self, Group, Paths};
use crate::engine::{Coefficients, Engine, List, Slot, Term, check, outputs};
use crate::noise::{Noise, SelectorKind};
use crate::params::BatchSpec;
use crate::{IntegerTable, Params, Result, Table, TestPolynomial};

/// A list of so many values or rows, of which the noisiest has this variance (torus squared).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metered {
    /// Number of values or rows.
    pub len: usize,
    /// Largest variance of their noise.
    pub variance: f64,
}

/// A list of so many selectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeteredSelectors {
    /// Number of selectors.
    pub len: usize,
    /// Mean of the sum of squares of a selector's integers.
    pub squared_norm: f64,
    /// Gadget and noise.
    pub kind: SelectorKind,
}

impl List for Metered {
    fn len(&self) -> usize {
        self.len
    }
}

impl List for MeteredSelectors {
    fn len(&self) -> usize {
        self.len
    }
}

/// Counts moves and predicts noise.
///
/// ```
/// use fhe_core::engine::meter::Metered;
/// use fhe_core::{Engine, Meter, Params, Table};
///
/// # fn main() -> fhe_core::Result<()> {
/// let meter = Meter::new(&Params::secure128()?);
/// // Signs of 100 fresh values: their range is cut into two plateaus of a quarter of the torus.
/// let x = meter.fresh(100);
/// let sign = Table::new(2048, |x| if x < 0.0 { -0.125 } else { 0.125 })?;
/// meter.lookup(&x, &[sign])?;
/// let list = meter.list();
/// assert_eq!(list.price.lookups, 100);
/// // A value in the middle of a plateau is read on the wrong one with a probability below 1e-50.
/// assert!(list.failure() < 1e-50);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Meter {
    noise: Noise,
    params: Params,
    list: Mutex<PriceList>,
}

impl Meter {
    /// Returns a meter at zero.
    #[must_use]
    pub fn new(params: &Params) -> Self {
        let (noise, params) = (Noise::new(params), params.clone());
        Self { noise, params, list: Mutex::default() }
    }

    /// Returns the price of what was done so far.
    #[must_use]
    pub fn price(&self) -> Price {
        self.lock().price
    }

    /// Returns everything that was noted so far.
    #[must_use]
    pub fn list(&self) -> PriceList {
        self.lock().clone()
    }

    /// Returns values or rows as a client encrypts them.
    #[must_use]
    pub fn fresh(&self, len: usize) -> Metered {
        Metered { len, variance: self.noise.fresh() }
    }

    /// Returns selectors as a client encrypts them, with a mean sum of squares of their integers.
    #[must_use]
    pub fn fresh_selectors(&self, len: usize, squared_norm: f64) -> MeteredSelectors {
        MeteredSelectors { len, squared_norm, kind: self.noise.fresh_selectors() }
    }

    fn lock(&self) -> MutexGuard<'_, PriceList> {
        // A panic elsewhere leaves the counts whole.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes so many moves of a kind. Lengths are the caller's: a count stops at its largest
    /// number.
    fn note_count(&self, of: impl Fn(&mut Price) -> &mut u64, more: usize) {
        let mut list = self.lock();
        let count = of(&mut list.price);
        *count = count.saturating_add(more as u64);
    }

    /// Notes lookups of `len` values of a variance one at a time, by functions of so many tables.
    fn note_single(&self, len: usize, variance: f64, tables: usize, functions: &[TestPolynomial]) {
        let slots = self.params.row_size / tables;
        let std = (variance + self.noise.lookup_input(tables)).sqrt();
        let all = functions.iter().flat_map(TestPolynomial::tables);
        let plateau = all.map(|table| table.plateau_at(slots)).fold(0.5, f64::min);
        let lookups = len as u64;
        let mut list = self.lock();
        list.price.lookups = list.price.lookups.saturating_add(lookups);
        list.read(Reading { lookups, slots, std, plateau });
    }

    /// Notes batches of so many rows, the longest of `longest` values, and `len` values in all.
    fn note_batches(
        &self,
        batch: &BatchSpec,
        (rows, longest, len): (usize, usize, usize),
        variance: f64,
        function: &TestPolynomial,
    ) {
        let half = function.is_within_half_torus();
        let std = (variance + self.noise.batch_reading(longest, half)).sqrt();
        let slots = if half { batch.slots } else { batch.slots / 2 };
        let (lookups, plateau) = (len as u64, function.batch_plateau(batch.slots));
        let mut list = self.lock();
        let price = &mut list.price;
        price.batches = price.batches.saturating_add(rows.div_ceil(batch.rows) as u64);
        price.batched = price.batched.saturating_add(lookups);
        list.read(Reading { lookups, slots, std, plateau });
    }

    /// Notes batches into lists.
    fn note_lists(&self, batch: &BatchSpec, x: &Metered, f: &TestPolynomial, lists: &[Vec<Slot>]) {
        let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
        let len = lists.iter().map(Vec::len).sum();
        self.note_batches(batch, (lists.len(), longest, len), x.variance, f);
    }

    /// Notes a move and what comes out of it.
    fn values(&self, name: &'static str, len: usize, variance: f64) -> Metered {
        let mut list = self.lock();
        list.price.write(len, 8 * (self.params.row_size + 1));
        list.note(name, variance);
        Metered { len, variance }
    }

    /// Notes selectors of `longest` integers each. These are taken to fill half of what a digit can
    /// hold, uniformly.
    fn selectors(
        &self,
        name: &'static str,
        len: usize,
        longest: usize,
        kind: SelectorKind,
    ) -> MeteredSelectors {
        let gadget = kind.gadget;
        let mut list = self.lock();
        list.price.write(len, 32 * gadget.levels as usize * self.params.row_size);
        list.note(name, kind.rows);
        let half_digit = 2f64.powi(gadget.base_log as i32 - 2);
        let squared_norm = longest as f64 * half_digit * half_digit / 3.0;
        MeteredSelectors { len, squared_norm, kind }
    }

    fn rows(&self, name: &'static str, len: usize, variance: f64) -> Metered {
        let mut list = self.lock();
        list.price.write(len, 16 * self.params.row_size);
        list.note(name, variance);
        Metered { len, variance }
    }
}

impl Engine for Meter {
    type Values = Metered;
    type Rows = Metered;
    type Selectors = MeteredSelectors;

    fn params(&self) -> &Params {
        &self.params
    }

    fn zero_rows(&self, count: usize) -> Metered {
        Metered { len: count, variance: 0.0 }
    }

    fn products(
        &self,
        selectors: &MeteredSelectors,
        rows: &Metered,
        terms: &[Vec<Term>],
    ) -> Result<Metered> {
        check::terms(terms, selectors.len, rows.len)?;
        let count: usize = terms.iter().map(Vec::len).sum();
        let most = terms.iter().map(Vec::len).max().unwrap_or(0);
        let norms = most as f64 * selectors.squared_norm;
        self.note_count(|price| &mut price.products, count);
        let variance = norms * rows.variance + self.noise.products(selectors.kind, most, norms);
        Ok(self.rows("products", terms.len(), variance))
    }

    fn dots(&self, selectors: &MeteredSelectors, rows: &Metered) -> Result<Metered> {
        let len = selectors.len.saturating_mul(rows.len);
        self.note_count(|price| &mut price.products, len);
        let norm = selectors.squared_norm;
        let added = self.noise.products(selectors.kind, 1, norm);
        Ok(self.values("dots", len, norm * rows.variance + added))
    }

    fn reflect(&self, rows: &Metered) -> Result<Metered> {
        self.note_count(|price| &mut price.reflections, rows.len);
        Ok(self.rows("reflect", rows.len, rows.variance + self.noise.reflect()))
    }

    /// The variance noted is the mean of all coefficients.
    fn expand(&self, rows: &Metered, parts: usize) -> Result<Metered> {
        check::expansion(&self.params, parts)?;
        let len = rows.len.saturating_mul(parts);
        self.note_count(|price| &mut price.expansions, len);
        let levels = parts.ilog2();
        // Of a part's coefficients, only each `parts`th is one of what was there.
        let kept = (rows.variance + self.noise.expansion(levels, levels)) / parts as f64;
        Ok(self.rows("expand", len, kept + self.noise.expansion_beside(levels)))
    }

    fn extract(&self, rows: &Metered, positions: &[(usize, usize)]) -> Result<Metered> {
        check::positions(positions, rows.len, self.params.row_size)?;
        Ok(Metered { len: positions.len(), ..*rows })
    }

    fn public_rows(&self, phases: &[u64]) -> Result<Metered> {
        check::whole_rows(phases.len(), self.params.row_size)?;
        Ok(self.zero_rows(phases.len() / self.params.row_size))
    }

    fn public_values(&self, phases: &[u64]) -> Metered {
        Metered { len: phases.len(), variance: 0.0 }
    }

    fn gather_rows(&self, rows: &Metered, picks: &[usize]) -> Result<Metered> {
        picks.iter().try_for_each(|&i| check::index("gather_rows", i, rows.len))?;
        Ok(Metered { len: picks.len(), ..*rows })
    }

    fn join_rows(&self, lists: &[&Metered]) -> Result<Metered> {
        let len = lists.iter().map(|x| x.len).sum();
        Ok(Metered { len, variance: lists.iter().map(|x| x.variance).fold(0.0, f64::max) })
    }

    fn gather_selectors(&self, x: &MeteredSelectors, picks: &[usize]) -> Result<MeteredSelectors> {
        picks.iter().try_for_each(|&i| check::index("gather_selectors", i, x.len))?;
        Ok(MeteredSelectors { len: picks.len(), ..*x })
    }

    fn add_selectors(&self, x: &mut MeteredSelectors, y: &MeteredSelectors) -> Result<()> {
        check::same("add_selectors", y.len, x.len)?;
        check::same_gadget("add_selectors", y.kind.gadget, x.kind.gadget)?;
        x.kind.rows += y.kind.rows;
        x.squared_norm += y.squared_norm;
        Ok(())
    }

    fn rotate_selectors(&self, _x: &mut MeteredSelectors, degree: usize) -> Result<()> {
        check::index("rotate_selectors", degree, 2 * self.params.row_size)
    }

    fn gather(&self, lists: &[&Metered], picks: &[(usize, usize)]) -> Result<Metered> {
        check::picks(&lists.iter().map(|x| x.len).collect::<Vec<_>>(), picks)?;
        let variance = lists.iter().map(|x| x.variance).fold(0.0, f64::max);
        Ok(Metered { len: picks.len(), variance })
    }

    fn lookup_each(
        &self,
        x: &Metered,
        functions: &[TestPolynomial],
        of: &[usize],
    ) -> Result<Metered> {
        let n = self.params.row_size;
        let (tables, reads) = check::functions(functions, of, x.len, n)?;
        let paths = Paths::new(&self.params, functions, of, reads);
        let mut variance: f64 = 0.0;
        if !paths.single.is_empty() {
            self.note_single(paths.single.len(), x.variance, tables, functions);
            variance = self.noise.lookup();
        }
        for Group { function, entries } in &paths.batched {
            let Some(batch) = self.params.batch else { continue };
            let len = entries.len();
            self.note_batches(&batch, (len.div_ceil(n), n.min(len), len), x.variance, function);
            variance = variance.max(self.noise.batch_variance(function));
        }
        Ok(self.values("lookup", x.len.saturating_mul(reads), variance))
    }

    fn lookup_rows(&self, x: &Metered, tables: &[Table], lists: &[Vec<Slot>]) -> Result<Metered> {
        let Some(batch) = path::in_place(&self.params, x.len, lists.len()) else {
            return outputs::rows_by_moves(self, x, tables, lists);
        };
        let function = check::lookup_lists(&self.params, x.len, None, tables, lists)?;
        self.note_lists(&batch, x, &function, lists);
        let variance = self.noise.batch_variance(&function);
        Ok(self.rows("lookup", lists.len() * tables.len(), variance))
    }

    fn lookup_selectors(
        &self,
        x: &Metered,
        integers: &IntegerTable,
        tables: &[Table],
        lists: &[Vec<Slot>],
    ) -> Result<(MeteredSelectors, Metered)> {
        let Some(batch) = path::in_place(&self.params, x.len, lists.len()) else {
            return outputs::selectors_by_moves(self, x, integers, tables, lists);
        };
        let function = check::lookup_lists(&self.params, x.len, Some(integers), tables, lists)?;
        self.note_lists(&batch, x, &function, lists);
        let kind = self.noise.batch_selectors(integers);
        let kind = kind.ok_or_else(|| check::no_lists("lookup", &self.params))?;
        let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
        let variance = self.noise.batch_variance(&function);
        let rows = self.rows("lookup", lists.len() * tables.len(), variance);
        Ok((self.selectors("lookup_selectors", lists.len(), longest, kind), rows))
    }

    fn lookup_coefficients(
        &self,
        x: &Metered,
        integers: Option<&IntegerTable>,
        tables: &[Table],
    ) -> Result<Coefficients<Self>> {
        let Some(batch) = self.params.batch else {
            return outputs::coefficients_by_moves(self, x, integers, tables);
        };
        let Some(function) = check::lookup_coefficients(&self.params, integers, tables)? else {
            return Ok((None, Vec::new()));
        };
        let n = self.params.row_size;
        self.note_batches(&batch, (x.len, 0, x.len.saturating_mul(n)), x.variance, &function);
        let kind = integers.and_then(|integers| self.noise.batch_selectors(integers));
        let selectors = kind.map(|kind| self.selectors("lookup_selectors", x.len, n, kind));
        let of_table = |table: &Table| {
            let function = TestPolynomial::new(table.clone());
            self.rows("lookup", x.len, self.noise.batch_variance(&function))
        };
        Ok((selectors, tables.iter().map(of_table).collect()))
    }

    fn pack(&self, x: &Metered, lists: &[Vec<Slot>]) -> Result<Metered> {
        check::slots("pack", lists, x.len, self.params.row_size)?;
        self.params.lists.ok_or_else(|| check::no_lists("pack", &self.params))?;
        self.note_count(|price| &mut price.packed_lists, lists.len());
        let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
        let added = self.noise.pack_list(longest) + self.noise.pack_list_rounding();
        Ok(self.rows("pack", lists.len(), x.variance + added))
    }

    fn promote(&self, x: &Metered, tables: usize, lists: &[Vec<Slot>]) -> Result<MeteredSelectors> {
        let gadget = check::promotion(&self.params, x.len, tables, lists)?;
        let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
        let kind = self
            .noise
            .promoted_selectors(longest, x.variance)
            .ok_or_else(|| check::no_lists("promote", &self.params))?;
        self.lock().price.promoted_levels += lists.len() as u64 * u64::from(gadget.levels);
        Ok(self.selectors("promote", lists.len(), longest, kind))
    }

    /// The variance noted is that of all coefficients together, spread evenly: the constant one has
    /// the value's noise, the others only the key's. A product with a selector of squared norm m
    /// then gives each coefficient m times this.
    fn pack_constants(&self, x: &Metered) -> Result<Metered> {
        self.note_count(|price| &mut price.packed_constants, x.len);
        let n = self.params.row_size as f64;
        let constant = (x.variance + self.noise.pack_rounding()) / n;
        Ok(self.rows("pack_constants", x.len, constant + self.noise.pack_constant()))
    }

    fn weighted_sums(
        &self,
        x: &Metered,
        windows: &[Vec<Option<usize>>],
        weights: &[Vec<i32>],
    ) -> Result<Metered> {
        let len = check::windows(windows, weights, x.len)?;
        self.lock().price.weighted += (windows.len() * weights.len() * len) as u64;
        let squares = |w: &Vec<i32>| w.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>();
        let largest = weights.iter().map(squares).fold(0.0, f64::max);
        Ok(self.values("weighted_sums", windows.len() * weights.len(), x.variance * largest))
    }

    fn add_scaled_values(&self, x: &mut Metered, y: &Metered, k: i64) -> Result<()> {
        check::same("add_scaled_values", y.len, x.len)?;
        x.variance += y.variance * (k as f64).powi(2);
        Ok(())
    }

    fn add_scaled_rows(&self, x: &mut Metered, y: &Metered, k: i64) -> Result<()> {
        check::same("add_scaled_rows", y.len, x.len)?;
        x.variance += y.variance * (k as f64).powi(2);
        Ok(())
    }

    fn shift_values(&self, _x: &mut Metered, _by: impl Fn(usize) -> u64) {}

    fn rotate_rows(&self, _x: &mut Metered, degree: usize) -> Result<()> {
        check::index("rotate_rows", degree, 2 * self.params.row_size)
    }
}
