//! An engine that computes on ciphertexts and looks at every move with the secret key.
//!
//! It is a client's instrument, for measuring the noise of a training on real ciphertexts. A server
//! cannot have it. Each move is made by [`Cpu`]. Then, if it adds noise, its output is decrypted
//! and compared with what [`Clear`] makes of the decrypted inputs. The prediction is a sample of
//! the same size: what [`Clear::noisy`] makes of them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use fhe_core::client::ClientKey;
use fhe_core::engine::Coefficients;
use fhe_core::engine::clear::{self, Row};
use fhe_core::engine::cpu;
use fhe_core::{
    Clear, Cpu, Engine, IntegerTable, List, Params, Result, Slot, Table, Term, TestPolynomial,
    from_torus, to_torus,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Ciphertexts and their phases.
#[derive(Clone)]
pub struct Seen<C, P> {
    cipher: C,
    /// Phases of what was decrypted, noise included; of selectors their integers.
    plain: P,
}

impl<C, P> Seen<C, P> {
    /// Returns the phases.
    pub fn plain(&self) -> &P {
        &self.plain
    }
}

impl<C: List, P: List> List for Seen<C, P> {
    fn len(&self) -> usize {
        self.plain.len()
    }
}

impl<C, P> std::fmt::Debug for Seen<C, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen(hidden)")
    }
}

/// Noise of the moves of one kind, as root mean squares in fractions of the torus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveNoise {
    /// Numbers compared.
    pub numbers: u64,
    /// What was found.
    pub measured: f64,
    /// What noise of the predicted variance makes of the same inputs.
    pub predicted: f64,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Findings {
    /// For each kind of move its noise.
    pub noise: BTreeMap<String, MoveNoise>,
    /// For each kind of move the server's seconds.
    pub seconds: BTreeMap<String, f64>,
    /// Lookups made.
    pub lookups: u64,
}

/// Sums of products of a call that are compared with those in the clear.
const COMPARED: usize = 4;

/// One of so many expansions is compared with that in the clear, and the products with it.
const COMPARED_EVERY: usize = 16;

/// The engine.
pub struct Audit<'a> {
    cpu: &'a Cpu,
    key: &'a ClientKey,
    exact: Clear,
    noisy: Clear,
    /// Sums of squares until [`Audit::findings`].
    found: Mutex<Findings>,
    told: Box<dyn Fn(u64) + Send + Sync + 'a>,
    /// Made so far.
    expansions: AtomicUsize,
}

impl std::fmt::Debug for Audit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

type Values = Seen<cpu::Values, clear::Values>;
type Rows = Seen<cpu::Rows, Vec<Row>>;
type Selectors = Seen<cpu::Selectors, clear::Selectors>;

impl<'a> Audit<'a> {
    /// Watches an engine whose secret key is known; `told` hears how many lookups were made so far.
    ///
    /// `seed` is that of the noise with which the prediction is sampled.
    pub fn new(
        cpu: &'a Cpu,
        key: &'a ClientKey,
        seed: u64,
        told: impl Fn(u64) + Send + Sync + 'a,
    ) -> Self {
        let params = cpu.params();
        Self {
            cpu,
            key,
            exact: Clear::exact(params),
            noisy: Clear::noisy(params, seed),
            found: Mutex::default(),
            told: Box::new(told),
            expansions: AtomicUsize::new(0),
        }
    }

    /// Returns the engine that computes.
    #[must_use]
    pub fn server(&self) -> &Cpu {
        self.cpu
    }

    /// Joins encrypted selectors and the integers that they are known to hold.
    #[must_use]
    pub fn selectors(&self, cipher: cpu::Selectors, integers: Vec<Vec<i32>>) -> Selectors {
        Seen { cipher, plain: self.exact.selectors(integers) }
    }

    /// Decrypts rows, once, at the start.
    ///
    /// # Errors
    /// Rows of another key's dimension.
    pub fn decrypted(&self, cipher: cpu::Rows) -> Result<Rows> {
        let plain = self.decrypt_rows(&cipher)?;
        Ok(Seen { cipher, plain })
    }

    /// Returns what was found so far.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let mut found = self.lock().clone();
        for noise in found.noise.values_mut() {
            noise.measured =
                crate::results::published((noise.measured / noise.numbers.max(1) as f64).sqrt());
            noise.predicted = (noise.predicted / noise.numbers.max(1) as f64).sqrt();
        }
        found
    }

    /// Forgets what was found so far.
    pub fn forget(&self) {
        *self.lock() = Findings::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Findings> {
        // A poisoned lock only means that another thread stopped between two additions.
        self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes a move on ciphertexts, on the clock.
    fn timed<T>(&self, name: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let out = run()?;
        let seconds = start.elapsed().as_secs_f64();
        *self.lock().seconds.entry(name.to_owned()).or_default() += seconds;
        Ok(out)
    }

    /// Counts lookups, and tells their number.
    fn tell(&self, more: usize) {
        let told = {
            let mut found = self.lock();
            found.lookups += more as u64;
            found.lookups
        };
        (self.told)(told);
    }

    fn note(&self, name: &str, got: &[u64], exact: &[u64], noisy: &[u64]) {
        let squares = |x: &[u64]| -> f64 {
            let error = |(x, want): (&u64, &u64)| from_torus(x.wrapping_sub(*want)).powi(2);
            x.iter().zip(exact).map(error).sum()
        };
        let mut found = self.lock();
        let noise = found.noise.entry(name.to_owned()).or_default();
        noise.numbers += got.len() as u64;
        noise.measured += squares(got);
        noise.predicted += squares(noisy);
    }

    fn note_rows(&self, name: &str, got: &[Row], exact: &[Row], noisy: &[Row]) {
        let n = self.params().row_size;
        for ((got, exact), noisy) in got.iter().zip(exact).zip(noisy) {
            // A constant row of the clear engine has nothing but its constant to compare.
            let compared = if matches!(exact, Row::Constant(..)) { 1 } else { n };
            let cut = |row: &Row| row.coefficients(n)[..compared].to_vec();
            self.note(name, &cut(got), &cut(exact), &cut(noisy));
        }
    }

    fn decrypt_rows(&self, rows: &cpu::Rows) -> Result<Vec<Row>> {
        let n = self.params().row_size;
        rows.elements()
            .par_chunks_exact(2 * n)
            .map(|row| {
                let one = cpu::Rows::from_elements(n, row.to_vec());
                let one = one.unwrap_or_else(|| self.cpu.zero_rows(1));
                Ok(Row::Full(self.key.decrypt_rows(&one)?))
            })
            .collect()
    }

    fn name_of(&self, what: &str, m: &Selectors, terms: &[Vec<Term>]) -> String {
        let is_fresh = m.plain.kind().gadget == self.params().selector;
        let fresh = if is_fresh { "fresh" } else { "looked-up" };
        let length = terms.first().map_or(0, Vec::len);
        format!("{what} of {fresh} selectors, sums of {length}")
    }

    /// Reads the integers of selectors from their products with a row of 1/256.
    fn integers(&self, m: &cpu::Selectors) -> Result<Vec<Vec<i32>>> {
        let mut unit = vec![0; self.params().row_size];
        unit[..1].fill(to_torus(1.0 / 256.0));
        let terms: Vec<_> = (0..m.len()).map(|selector| vec![Term { selector, row: 0 }]).collect();
        let products = self.cpu.products(m, &self.cpu.public_rows(&unit)?, &terms)?;
        let integer = |&x: &u64| (256.0 * from_torus(x)).round() as i32;
        let rows = self.key.decrypt_rows(&products)?;
        Ok(rows.chunks(unit.len()).map(|row| row.iter().map(integer).collect()).collect())
    }

    /// Joins new rows and what was decrypted of them, and notes their noise.
    fn rows(
        &self,
        name: &str,
        cipher: cpu::Rows,
        clear: impl Fn(&Clear) -> Result<Vec<Row>>,
    ) -> Result<Rows> {
        let plain = self.decrypt_rows(&cipher)?;
        self.note_rows(name, &plain, &clear(&self.exact)?, &clear(&self.noisy)?);
        Ok(Seen { cipher, plain })
    }
}

impl Engine for Audit<'_> {
    type Values = Values;
    type Rows = Rows;
    type Selectors = Selectors;

    fn params(&self) -> &Params {
        self.cpu.params()
    }

    fn zero_rows(&self, count: usize) -> Rows {
        Seen { cipher: self.cpu.zero_rows(count), plain: self.exact.zero_rows(count) }
    }

    fn public_rows(&self, phases: &[u64]) -> Result<Rows> {
        let (cipher, plain) = (self.cpu.public_rows(phases)?, self.exact.public_rows(phases)?);
        Ok(Seen { cipher, plain })
    }

    fn public_values(&self, phases: &[u64]) -> Values {
        Seen { cipher: self.cpu.public_values(phases), plain: phases.to_vec() }
    }

    fn products(&self, m: &Selectors, rows: &Rows, terms: &[Vec<Term>]) -> Result<Rows> {
        let cipher =
            self.timed("products", || self.cpu.products(&m.cipher, &rows.cipher, terms))?;
        let plain = self.decrypt_rows(&cipher)?;
        // Rows that were expanded and not decrypted have no noise to compare.
        if rows.plain.iter().all(|row| matches!(row, Row::Full(_))) {
            let name = self.name_of("products", m, terms);
            // Products of full rows in the clear take longer than on ciphertexts.
            let shown: Vec<usize> = (0..terms.len().min(COMPARED)).collect();
            let clear = |engine: &Clear| -> Result<Vec<Row>> {
                let rows = shown.par_iter().map(|&i| {
                    engine.products(&m.plain, &rows.plain, std::slice::from_ref(&terms[i]))
                });
                Ok(rows.collect::<Result<Vec<_>>>()?.concat())
            };
            let got: Vec<Row> = shown.iter().map(|&i| plain[i].clone()).collect();
            self.note_rows(&name, &got, &clear(&self.exact)?, &clear(&self.noisy)?);
        }
        Ok(Seen { cipher, plain })
    }

    fn dot_products(&self, m: &Selectors, rows: &Rows, terms: &[Vec<Term>]) -> Result<Values> {
        let cipher =
            self.timed("products", || self.cpu.dot_products(&m.cipher, &rows.cipher, terms))?;
        let plain = self.key.decrypt_values(&cipher)?;
        let clear = |engine: &Clear| -> Result<Vec<u64>> {
            let parts = terms.par_chunks(64);
            let parts = parts.map(|terms| engine.dot_products(&m.plain, &rows.plain, terms));
            Ok(parts.collect::<Result<Vec<_>>>()?.concat())
        };
        let name = self.name_of("dot products", m, terms);
        self.note(&name, &plain, &clear(&self.exact)?, &clear(&self.noisy)?);
        Ok(Seen { cipher, plain })
    }

    fn dots(&self, m: &Selectors, rows: &Rows) -> Result<Values> {
        let cipher = self.timed("dots", || self.cpu.dots(&m.cipher, &rows.cipher))?;
        let plain = self.key.decrypt_values(&cipher)?;
        let clear = |engine: &Clear| engine.dots(&m.plain, &rows.plain);
        self.note("dots", &plain, &clear(&self.exact)?, &clear(&self.noisy)?);
        Ok(Seen { cipher, plain })
    }

    fn reflect(&self, rows: &Rows) -> Result<Rows> {
        let cipher = self.timed("reflect", || self.cpu.reflect(&rows.cipher))?;
        self.rows("reflect", cipher, |engine| engine.reflect(&rows.plain))
    }

    fn expand(&self, rows: &Rows, parts: usize) -> Result<Rows> {
        let cipher = self.timed("expand", || self.cpu.expand(&rows.cipher, parts))?;
        // One row in the clear takes as long as the key switches of many, and what follows takes
        // longer: one call of some is compared.
        if !self.expansions.fetch_add(1, Ordering::Relaxed).is_multiple_of(COMPARED_EVERY) {
            return Ok(Seen { cipher, plain: self.exact.expand(&rows.plain, parts)? });
        }
        let plain = self.decrypt_rows(&cipher)?;
        let expanded = |engine: &Clear| engine.expand(&rows.plain, parts);
        self.note_rows("expand", &plain, &expanded(&self.exact)?, &expanded(&self.noisy)?);
        Ok(Seen { cipher, plain })
    }

    fn join_rows(&self, lists: &[&Rows]) -> Result<Rows> {
        let ciphers: Vec<_> = lists.iter().map(|x| &x.cipher).collect();
        let plains: Vec<_> = lists.iter().map(|x| &x.plain).collect();
        let cipher = self.timed("linear", || self.cpu.join_rows(&ciphers))?;
        Ok(Seen { cipher, plain: self.exact.join_rows(&plains)? })
    }

    fn gather_selectors(&self, x: &Selectors, picks: &[usize]) -> Result<Selectors> {
        let cipher = self.timed("linear", || self.cpu.gather_selectors(&x.cipher, picks))?;
        Ok(Seen { cipher, plain: self.exact.gather_selectors(&x.plain, picks)? })
    }

    fn add_selectors(&self, x: &mut Selectors, y: &Selectors) -> Result<()> {
        self.timed("linear", || self.cpu.add_selectors(&mut x.cipher, &y.cipher))?;
        self.exact.add_selectors(&mut x.plain, &y.plain)
    }

    fn rotate_selectors(&self, x: &mut Selectors, degree: usize) -> Result<()> {
        self.timed("linear", || self.cpu.rotate_selectors(&mut x.cipher, degree))?;
        self.exact.rotate_selectors(&mut x.plain, degree)
    }

    fn lookup_coefficients(
        &self,
        x: &Rows,
        integers: Option<&IntegerTable>,
        tables: &[Table],
    ) -> Result<Coefficients<Self>> {
        let (m, ciphers) =
            self.timed("lookup", || self.cpu.lookup_coefficients(&x.cipher, integers, tables))?;
        self.tell(x.plain.len() * self.params().row_size);
        let (exact, exact_rows) = self.exact.lookup_coefficients(&x.plain, integers, tables)?;
        let (_, noisy_rows) = self.noisy.lookup_coefficients(&x.plain, integers, tables)?;
        let mut rows = Vec::with_capacity(ciphers.len());
        for ((cipher, exact), noisy) in ciphers.into_iter().zip(exact_rows).zip(noisy_rows) {
            let plain = self.decrypt_rows(&cipher)?;
            self.note_rows("lookup of coefficients, reading included", &plain, &exact, &noisy);
            rows.push(Seen { cipher, plain });
        }
        let selectors = match (m, exact) {
            (Some(cipher), Some(mut plain)) => {
                plain.integers = self.integers(&cipher)?;
                Some(Seen { cipher, plain })
            }
            _ => None,
        };
        Ok((selectors, rows))
    }

    fn extract(&self, rows: &Rows, positions: &[(usize, usize)]) -> Result<Values> {
        let cipher = self.timed("linear", || self.cpu.extract(&rows.cipher, positions))?;
        Ok(Seen { cipher, plain: self.exact.extract(&rows.plain, positions)? })
    }

    fn gather(&self, lists: &[&Values], picks: &[(usize, usize)]) -> Result<Values> {
        let ciphers: Vec<_> = lists.iter().map(|x| &x.cipher).collect();
        let plains: Vec<_> = lists.iter().map(|x| &x.plain).collect();
        let cipher = self.timed("linear", || self.cpu.gather(&ciphers, picks))?;
        Ok(Seen { cipher, plain: self.exact.gather(&plains, picks)? })
    }

    fn gather_rows(&self, rows: &Rows, picks: &[usize]) -> Result<Rows> {
        let cipher = self.timed("linear", || self.cpu.gather_rows(&rows.cipher, picks))?;
        Ok(Seen { cipher, plain: self.exact.gather_rows(&rows.plain, picks)? })
    }

    fn lookup_each(
        &self,
        x: &Values,
        functions: &[TestPolynomial],
        of: &[usize],
    ) -> Result<Values> {
        let cipher = self.timed("lookup", || self.cpu.lookup_each(&x.cipher, functions, of))?;
        let plain = self.key.decrypt_values(&cipher)?;
        let exact = self.exact.lookup_each(&x.plain, functions, of)?;
        let noisy = self.noisy.lookup_each(&x.plain, functions, of)?;
        if let [function] = functions {
            let count = function.reads().len();
            for t in 0..count {
                let of_table =
                    |x: &[u64]| -> Vec<u64> { x.iter().skip(t).step_by(count).copied().collect() };
                let name = format!("lookup, table {} of {count}, reading included", t + 1);
                self.note(&name, &of_table(&plain), &of_table(&exact), &of_table(&noisy));
            }
        } else {
            self.note("lookup of a table each, reading included", &plain, &exact, &noisy);
        }
        self.tell(x.plain.len());
        Ok(Seen { cipher, plain })
    }

    fn lookup_rows(&self, x: &Values, tables: &[Table], lists: &[Vec<Slot>]) -> Result<Rows> {
        let cipher = self.timed("lookup", || self.cpu.lookup_rows(&x.cipher, tables, lists))?;
        self.tell(x.plain.len());
        let clear = |engine: &Clear| engine.lookup_rows(&x.plain, tables, lists);
        self.rows("lookup into rows, reading included", cipher, clear)
    }

    fn lookup_selectors(
        &self,
        x: &Values,
        integers: &IntegerTable,
        tables: &[Table],
        lists: &[Vec<Slot>],
    ) -> Result<(Selectors, Rows)> {
        let (m, cipher) =
            self.timed("lookup", || self.cpu.lookup_selectors(&x.cipher, integers, tables, lists))?;
        self.tell(x.plain.len());
        let clear = |engine: &Clear| engine.lookup_selectors(&x.plain, integers, tables, lists);
        let mut plain = clear(&self.exact)?.0;
        plain.integers = self.integers(&m)?;
        let rows = |engine: &Clear| Ok(clear(engine)?.1);
        let rows = self.rows("rows beside selectors, reading included", cipher, rows)?;
        Ok((Seen { cipher: m, plain }, rows))
    }

    fn pack(&self, x: &Values, lists: &[Vec<Slot>]) -> Result<Rows> {
        let cipher = self.timed("pack", || self.cpu.pack(&x.cipher, lists))?;
        let length = lists.first().map_or(0, Vec::len);
        let name = format!("pack a list of {length}");
        self.rows(&name, cipher, |engine| engine.pack(&x.plain, lists))
    }

    fn promote(&self, x: &Values, tables: usize, lists: &[Vec<Slot>]) -> Result<Selectors> {
        let cipher = self.timed("promote", || self.cpu.promote(&x.cipher, tables, lists))?;
        Ok(Seen { cipher, plain: self.exact.promote(&x.plain, tables, lists)? })
    }

    fn pack_constants(&self, x: &Values) -> Result<Rows> {
        let cipher = self.timed("pack constants", || self.cpu.pack_constants(&x.cipher))?;
        self.rows("pack constants", cipher, |engine| engine.pack_constants(&x.plain))
    }

    fn weighted_sums(
        &self,
        x: &Values,
        windows: &[Vec<Option<usize>>],
        weights: &[Vec<i32>],
    ) -> Result<Values> {
        let cipher =
            self.timed("linear", || self.cpu.weighted_sums(&x.cipher, windows, weights))?;
        Ok(Seen { cipher, plain: self.exact.weighted_sums(&x.plain, windows, weights)? })
    }

    fn add_scaled_values(&self, x: &mut Values, y: &Values, k: i64) -> Result<()> {
        self.timed("linear", || self.cpu.add_scaled_values(&mut x.cipher, &y.cipher, k))?;
        self.exact.add_scaled_values(&mut x.plain, &y.plain, k)
    }

    fn add_scaled_rows(&self, x: &mut Rows, y: &Rows, k: i64) -> Result<()> {
        self.timed("linear", || self.cpu.add_scaled_rows(&mut x.cipher, &y.cipher, k))?;
        self.exact.add_scaled_rows(&mut x.plain, &y.plain, k)
    }

    fn shift_values(&self, x: &mut Values, by: impl Fn(usize) -> u64) {
        self.cpu.shift_values(&mut x.cipher, &by);
        self.exact.shift_values(&mut x.plain, by);
    }

    fn rotate_rows(&self, x: &mut Rows, degree: usize) -> Result<()> {
        self.timed("linear", || self.cpu.rotate_rows(&mut x.cipher, degree))?;
        self.exact.rotate_rows(&mut x.plain, degree)
    }
}
