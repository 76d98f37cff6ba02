//! The specification: the engine's arithmetic on phases, in the clear.

mod batch;
mod lists;

pub use lists::{Row, Selectors, Values};

use std::sync::Mutex;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use lists::{add_product, dot, squared_norm};

use crate::engine::path::{self, Group, Paths};
use crate::engine::{Coefficients, Engine, Slot, Term, check, outputs};
use crate::noise::{Noise, gaussian};
use crate::polynomial;
use crate::{IntegerTable, Params, Result, Table, TestPolynomial, from_torus, to_torus};

/// The engine in the clear: exact, or with Gaussian noise of the predicted variance.
///
/// It is what an encrypted program means. It offers no secrecy at all: values, rows and selectors
/// are plain numbers. It serves tests, documentation and the twin of an encrypted training.
pub struct Clear {
    params: Params,
    noise: Noise,
    rng: Option<Mutex<ChaCha8Rng>>,
}

impl std::fmt::Debug for Clear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clear").field("params", &self.params.name).finish_non_exhaustive()
    }
}

impl Clear {
    /// Returns the exact engine.
    #[must_use]
    pub fn exact(params: &Params) -> Self {
        Self { params: params.clone(), noise: Noise::new(params), rng: None }
    }

    /// Returns the engine with noise: every move adds Gaussian noise of the variance that
    /// [`crate::noise`] predicts, drawn from a ChaCha seed.
    #[must_use]
    pub fn noisy(params: &Params, seed: u64) -> Self {
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
        Self { rng: Some(rng), ..Self::exact(params) }
    }

    /// Returns selectors as a client encrypts them. A move refuses those that have not N integers
    /// each.
    #[must_use]
    pub fn selectors(&self, integers: Vec<Vec<i32>>) -> Selectors {
        Selectors { integers, kind: self.noise.fresh_selectors() }
    }

    /// Refuses rows of another size.
    fn fits(&self, op: &'static str, rows: &[Row]) -> Result<()> {
        let n = self.params.row_size;
        rows.iter().try_for_each(|row| match row {
            Row::Full(x) => check::row_size(op, x.len(), n),
            Row::Constant(..) => Ok(()),
        })
    }

    /// Refuses selectors of another size.
    fn selectors_fit(&self, op: &'static str, m: &Selectors) -> Result<()> {
        let n = self.params.row_size;
        m.integers.iter().try_for_each(|m| check::row_size(op, m.len(), n))
    }

    fn disturb(&self, x: &mut [u64], variance: impl Fn(&Noise) -> f64) {
        let Some(rng) = &self.rng else {
            return;
        };
        let std_dev = variance(&self.noise).sqrt();
        // A poisoned lock only means that another thread stopped between two draws.
        let mut rng = rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for x in x {
            *x = x.wrapping_add(to_torus(std_dev * gaussian(&mut *rng)));
        }
    }

    /// Adds noise of a variance of its own to each number.
    fn disturb_each(&self, x: &mut [u64], variances: &[f64]) {
        for (x, &variance) in x.iter_mut().zip(variances) {
            self.disturb(std::slice::from_mut(x), |_| variance);
        }
    }
}

impl Engine for Clear {
    type Values = Values;
    type Rows = Vec<Row>;
    type Selectors = Selectors;

    fn params(&self) -> &Params {
        &self.params
    }

    fn zero_rows(&self, count: usize) -> Vec<Row> {
        vec![Row::Full(vec![0; self.params.row_size]); count]
    }

    fn products(&self, m: &Selectors, rows: &Vec<Row>, terms: &[Vec<Term>]) -> Result<Vec<Row>> {
        self.selectors_fit("products", m)?;
        self.fits("products", rows)?;
        check::terms(terms, m.integers.len(), rows.len())?;
        let (m, kind) = (&m.integers, m.kind);
        Ok(terms
            .iter()
            .map(|terms| {
                let mut out = vec![0; self.params.row_size];
                for t in terms {
                    add_product(&mut out, &m[t.selector], &rows[t.row]);
                }
                let norms: f64 = terms.iter().map(|t| squared_norm(&m[t.selector])).sum();
                let idle: f64 =
                    terms.iter().map(|t| squared_norm(&m[t.selector]) * rows[t.row].idle()).sum();
                self.disturb(&mut out, |noise| noise.products(kind, terms.len(), norms) + idle);
                Row::Full(out)
            })
            .collect())
    }

    fn dots(&self, m: &Selectors, rows: &Vec<Row>) -> Result<Values> {
        self.selectors_fit("dots", m)?;
        self.fits("dots", rows)?;
        let mut out = Vec::with_capacity(m.integers.len() * rows.len());
        for integers in &m.integers {
            let mut values: Vec<u64> = rows.iter().map(|r| dot(integers, r)).collect();
            self.disturb(&mut values, |noise| noise.products(m.kind, 1, squared_norm(integers)));
            out.extend(values);
        }
        Ok(out)
    }

    fn reflect(&self, rows: &Vec<Row>) -> Result<Vec<Row>> {
        self.fits("reflect", rows)?;
        Ok(rows
            .iter()
            .map(|row| {
                let mut x = row.coefficients(self.params.row_size);
                polynomial::reflect(&mut x);
                self.disturb(&mut x, Noise::reflect);
                Row::Full(x)
            })
            .collect())
    }

    fn expand(&self, rows: &Vec<Row>, parts: usize) -> Result<Vec<Row>> {
        self.fits("expand", rows)?;
        check::expansion(&self.params, parts)?;
        let n = self.params.row_size;
        let levels = parts.ilog2();
        let variance = |c: usize| self.noise.expansion(levels, c.trailing_zeros());
        let variances: Vec<f64> = (0..n).map(variance).collect();
        // Of constants, the noise beside them is drawn in products.
        let idle = match self.rng {
            Some(_) => variances[1..].iter().sum::<f64>() / (n - 1) as f64,
            None => 0.0,
        };
        let mut out = Vec::with_capacity(rows.len() * parts);
        for row in rows {
            let mut x = row.coefficients(n);
            if parts == n {
                self.disturb(&mut x, |noise| noise.expansion(levels, levels));
                out.extend(x.into_iter().map(|x| Row::Constant(x, idle)));
                continue;
            }
            for j in 0..parts {
                let mut part = vec![0; n];
                let kept = part.iter_mut().step_by(parts).zip(x[j..].iter().step_by(parts));
                kept.for_each(|(part, x)| *part = *x);
                if self.rng.is_some() {
                    self.disturb_each(&mut part, &variances);
                }
                out.push(Row::Full(part));
            }
        }
        Ok(out)
    }

    fn dot_products(&self, m: &Selectors, rows: &Vec<Row>, terms: &[Vec<Term>]) -> Result<Values> {
        self.selectors_fit("products", m)?;
        self.fits("products", rows)?;
        check::terms(terms, m.integers.len(), rows.len())?;
        let of_terms = |terms: &Vec<Term>| {
            let dots = terms.iter().map(|t| dot(&m.integers[t.selector], &rows[t.row]));
            let mut sum = [dots.fold(0u64, u64::wrapping_add)];
            let norm = |t: &Term| squared_norm(&m.integers[t.selector]);
            let norms: f64 = terms.iter().map(norm).sum();
            let idle: f64 = terms.iter().map(|t| norm(t) * rows[t.row].idle()).sum();
            self.disturb(&mut sum, |noise| noise.products(m.kind, terms.len(), norms) + idle);
            sum[0]
        };
        Ok(terms.iter().map(of_terms).collect())
    }

    fn extract(&self, rows: &Vec<Row>, positions: &[(usize, usize)]) -> Result<Values> {
        self.fits("extract", rows)?;
        check::positions(positions, rows.len(), self.params.row_size)?;
        Ok(positions
            .iter()
            .map(|&(row, c)| match &rows[row] {
                Row::Constant(x, _) if c == 0 => *x,
                Row::Constant(..) => 0,
                Row::Full(x) => x[c],
            })
            .collect())
    }

    fn public_rows(&self, phases: &[u64]) -> Result<Vec<Row>> {
        let n = self.params.row_size;
        check::whole_rows(phases.len(), n)?;
        Ok(phases.chunks_exact(n).map(|x| Row::Full(x.to_vec())).collect())
    }

    fn public_values(&self, phases: &[u64]) -> Values {
        phases.to_vec()
    }

    fn gather_rows(&self, rows: &Vec<Row>, picks: &[usize]) -> Result<Vec<Row>> {
        self.fits("gather_rows", rows)?;
        picks.iter().try_for_each(|&i| check::index("gather_rows", i, rows.len()))?;
        Ok(picks.iter().map(|&i| rows[i].clone()).collect())
    }

    fn join_rows(&self, lists: &[&Vec<Row>]) -> Result<Vec<Row>> {
        lists.iter().try_for_each(|rows| self.fits("join_rows", rows))?;
        Ok(lists.iter().flat_map(|rows| rows.iter().cloned()).collect())
    }

    fn gather_selectors(&self, x: &Selectors, picks: &[usize]) -> Result<Selectors> {
        self.selectors_fit("gather_selectors", x)?;
        picks.iter().try_for_each(|&i| check::index("gather_selectors", i, x.integers.len()))?;
        let integers = picks.iter().map(|&i| x.integers[i].clone()).collect();
        Ok(Selectors { integers, kind: x.kind })
    }

    fn add_selectors(&self, x: &mut Selectors, y: &Selectors) -> Result<()> {
        self.selectors_fit("add_selectors", x)?;
        self.selectors_fit("add_selectors", y)?;
        check::same("add_selectors", y.integers.len(), x.integers.len())?;
        check::same_gadget("add_selectors", y.kind.gadget, x.kind.gadget)?;
        for (x, y) in x.integers.iter_mut().zip(&y.integers) {
            x.iter_mut().zip(y).for_each(|(x, y)| *x = x.wrapping_add(*y));
        }
        x.kind.rows += y.kind.rows;
        Ok(())
    }

    fn rotate_selectors(&self, x: &mut Selectors, degree: usize) -> Result<()> {
        self.selectors_fit("rotate_selectors", x)?;
        let n = self.params.row_size;
        check::index("rotate_selectors", degree, 2 * n)?;
        for m in &mut x.integers {
            m.rotate_right(degree % n);
            let (wrapped, rest) = m.split_at_mut(degree % n);
            let negated = if degree < n { wrapped } else { rest };
            negated.iter_mut().for_each(|m| *m = m.wrapping_neg());
        }
        Ok(())
    }

    fn gather(&self, lists: &[&Values], picks: &[(usize, usize)]) -> Result<Values> {
        check::picks(&lists.iter().map(|x| x.len()).collect::<Vec<_>>(), picks)?;
        Ok(picks.iter().map(|&(list, i)| lists[list][i]).collect())
    }

    fn lookup_each(
        &self,
        x: &Values,
        functions: &[TestPolynomial],
        of: &[usize],
    ) -> Result<Values> {
        let n = self.params.row_size;
        let (tables, each) = check::functions(functions, of, x.len(), n)?;
        let paths = Paths::new(&self.params, functions, of, each);
        let mut out = vec![0; x.len() * each];

        let mut input: Vec<u64> = paths.single.iter().map(|&i| x[i]).collect();
        self.disturb(&mut input, |noise| noise.lookup_input(tables));
        let read = |(&i, &x): (&usize, &u64)| functions[of[i]].at(x, n).collect::<Vec<u64>>();
        let mut single: Vec<u64> = paths.single.iter().zip(&input).flat_map(read).collect();
        self.disturb(&mut single, Noise::lookup);
        for (at, &i) in paths.single.iter().enumerate() {
            out[i * each..][..each].copy_from_slice(&single[at * each..][..each]);
        }
        for Group { function, entries } in paths.batched {
            let Some(batch) = self.params.batch else { continue };
            let lists = path::in_order(entries.len(), n);
            let x: Vec<u64> =
                entries.iter().map(|entry| x[entry.value].wrapping_add(entry.beyond)).collect();
            let rows = self.batch(&batch, &x, &function, &lists);
            let reads = function.reads().len();
            for (at, entry) in entries.into_iter().enumerate() {
                let (list, coefficient) = (at / n, at % n);
                for read in 0..reads {
                    out[entry.out + read] = rows[list * reads + read][coefficient];
                }
            }
        }
        Ok(out)
    }

    fn lookup_rows(&self, x: &Values, tables: &[Table], lists: &[Vec<Slot>]) -> Result<Vec<Row>> {
        let Some(batch) = path::in_place(&self.params, x.len(), lists.len()) else {
            return outputs::rows_by_moves(self, x, tables, lists);
        };
        let function = check::lookup_lists(&self.params, x.len(), None, tables, lists)?;
        Ok(self.batch(&batch, x, &function, lists).into_iter().map(Row::Full).collect())
    }

    fn lookup_selectors(
        &self,
        x: &Values,
        integers: &IntegerTable,
        tables: &[Table],
        lists: &[Vec<Slot>],
    ) -> Result<(Selectors, Vec<Row>)> {
        let Some(batch) = path::in_place(&self.params, x.len(), lists.len()) else {
            return outputs::selectors_by_moves(self, x, integers, tables, lists);
        };
        check::lookup_lists(&self.params, x.len(), Some(integers), tables, lists)?;
        let both = integers.beside(tables)?;
        let rows = self.read_batch(&batch, x, &both, lists, (1, true));
        let (mut integers_of, mut others) = (Vec::with_capacity(lists.len()), Vec::new());
        for (i, row) in rows.into_iter().enumerate() {
            if i % (tables.len() + 1) == 0 {
                integers_of.push(row);
            } else {
                others.push(Row::Full(row));
            }
        }
        let phases: Vec<u64> = lists.iter().flatten().map(|slot| x[slot.value]).collect();
        Ok((self.looked_up_selectors(integers, (&both, &phases), integers_of), others))
    }

    fn lookup_coefficients(
        &self,
        x: &Vec<Row>,
        integers: Option<&IntegerTable>,
        tables: &[Table],
    ) -> Result<Coefficients<Self>> {
        let Some(batch) = self.params.batch else {
            return outputs::coefficients_by_moves(self, x, integers, tables);
        };
        self.fits("lookup", x)?;
        let Some(function) = check::lookup_coefficients(&self.params, integers, tables)? else {
            return Ok((None, Vec::new()));
        };
        let n = self.params.row_size;
        let values: Vec<u64> = x.iter().flat_map(|row| row.coefficients(n)).collect();
        let exact = usize::from(integers.is_some());
        let lists = path::in_order(values.len(), n);
        let rows = self.read_batch(&batch, &values, &function, &lists, (exact, false));
        let mut reads: Vec<Vec<Vec<u64>>> = vec![Vec::new(); exact + tables.len()];
        for (i, row) in rows.into_iter().enumerate() {
            reads[i % (exact + tables.len())].push(row);
        }
        let mut reads = reads.into_iter();
        let selectors = integers.and_then(|table| {
            Some(self.looked_up_selectors(table, (&function, &values), reads.next()?))
        });
        Ok((selectors, reads.map(|rows| rows.into_iter().map(Row::Full).collect()).collect()))
    }

    fn pack(&self, x: &Values, lists: &[Vec<Slot>]) -> Result<Vec<Row>> {
        let n = self.params.row_size;
        check::slots("pack", lists, x.len(), n)?;
        self.params.lists.ok_or_else(|| check::no_lists("pack", &self.params))?;
        Ok(lists
            .iter()
            .map(|list| {
                let mut held: Vec<u64> = list.iter().map(|slot| x[slot.value]).collect();
                self.disturb(&mut held, Noise::pack_list_rounding);
                let mut row = vec![0; n];
                for (slot, x) in list.iter().zip(held) {
                    row[slot.coefficient] = x;
                }
                self.disturb(&mut row, |noise| noise.pack_list(list.len()));
                Row::Full(row)
            })
            .collect())
    }

    fn promote(&self, x: &Values, tables: usize, lists: &[Vec<Slot>]) -> Result<Selectors> {
        let gadget = check::promotion(&self.params, x.len(), tables, lists)?;
        let base = 2f64.powi(gadget.base_log as i32);
        let integer = |value: usize| (from_torus(x[value * tables]) * base).round() as i32;
        let mut integers = vec![vec![0; self.params.row_size]; lists.len()];
        for (m, list) in integers.iter_mut().zip(lists) {
            for slot in list {
                m[slot.coefficient] = integer(slot.value);
            }
        }
        // The noise that the values have goes into the rows, whatever moves it comes from.
        let off = |value: usize| {
            let m = (from_torus(x[value * tables]) * base).round() / base;
            from_torus(x[value * tables].wrapping_sub(to_torus(m))).powi(2)
        };
        let values = lists.iter().flatten().map(|slot| off(slot.value));
        let count = lists.iter().map(Vec::len).sum::<usize>();
        let variance = values.sum::<f64>() / count.max(1) as f64;
        let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
        let kind = self.noise.promoted_selectors(longest, variance);
        let kind = kind.unwrap_or_else(|| self.noise.fresh_selectors());
        Ok(Selectors { integers, kind })
    }

    fn pack_constants(&self, x: &Values) -> Result<Vec<Row>> {
        let mut x = x.clone();
        self.disturb(&mut x, |noise| noise.pack_constant() + noise.pack_rounding());
        let idle = if self.rng.is_some() { self.noise.pack_constant() } else { 0.0 };
        Ok(x.into_iter().map(|x| Row::Constant(x, idle)).collect())
    }

    fn weighted_sums(
        &self,
        x: &Values,
        windows: &[Vec<Option<usize>>],
        weights: &[Vec<i32>],
    ) -> Result<Values> {
        check::windows(windows, weights, x.len())?;
        let mut out = Vec::with_capacity(windows.len() * weights.len());
        for window in windows {
            let x: Vec<u64> = window.iter().map(|i| i.map_or(0, |i| x[i])).collect();
            out.extend(weights.iter().map(|weights| {
                x.iter().zip(weights).fold(0u64, |sum, (x, &w)| {
                    sum.wrapping_add(x.wrapping_mul(i64::from(w) as u64))
                })
            }));
        }
        Ok(out)
    }

    fn add_scaled_values(&self, x: &mut Values, y: &Values, k: i64) -> Result<()> {
        check::same("add_scaled_values", y.len(), x.len())?;
        for (x, y) in x.iter_mut().zip(y) {
            *x = x.wrapping_add(y.wrapping_mul(k as u64));
        }
        Ok(())
    }

    fn add_scaled_rows(&self, x: &mut Vec<Row>, y: &Vec<Row>, k: i64) -> Result<()> {
        self.fits("add_scaled_rows", x)?;
        self.fits("add_scaled_rows", y)?;
        check::same("add_scaled_rows", y.len(), x.len())?;
        let n = self.params.row_size;
        for (x, y) in x.iter_mut().zip(y) {
            let mut sum = x.coefficients(n);
            self.add_scaled_values(&mut sum, &y.coefficients(n), k)?;
            *x = Row::Full(sum);
        }
        Ok(())
    }

    fn shift_values(&self, x: &mut Values, by: impl Fn(usize) -> u64) {
        for (i, x) in x.iter_mut().enumerate() {
            *x = x.wrapping_add(by(i));
        }
    }

    fn rotate_rows(&self, x: &mut Vec<Row>, degree: usize) -> Result<()> {
        let n = self.params.row_size;
        self.fits("rotate_rows", x)?;
        check::index("rotate_rows", degree, 2 * n)?;
        for row in x {
            let mut coefficients = row.coefficients(n);
            polynomial::rotate(&mut coefficients, degree);
            *row = Row::Full(coefficients);
        }
        Ok(())
    }
}
