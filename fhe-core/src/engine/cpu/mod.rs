//! The engine on ciphertexts: tfhe's key material and transforms, our products and packing.

mod automorphism;
mod batch;
mod batch_stages;
mod blind_rotation;
mod blocks;
mod ciphertexts;
mod constant_packing;
mod cost;
pub(crate) mod fourier;
pub(crate) mod huge_pages;
mod list_packing;
mod lookup;
pub(crate) mod memory;
mod product;
mod weighted_sums;

use rayon::prelude::*;
use tfhe::core_crypto::commons::math::random::Seed as Seed128;
use tfhe::core_crypto::prelude::*;

use crate::batch::Batch;
use crate::engine::path::{self, Paths};
use crate::engine::{Coefficients, Engine, List, Slot, Term, check, outputs};
use crate::server::{EvaluationKeys, SeededRows};
use crate::{Error, IntegerTable, Params, Result, Table, TestPolynomial, polynomial};
use fourier::{Transform, multiply};

pub use batch_stages::{BatchStage, BatchStages};
pub use ciphertexts::{Ciphertexts, Glwe, Lwe, Rows, Selectors, Values};
pub use lookup::RawBootstrap;

/// The engine on ciphertexts. It holds evaluation keys only, and has no way to decrypt:
///
/// ```compile_fail,E0599
/// fn peek(engine: &fhe_core::Cpu, x: &fhe_core::engine::cpu::Values) {
///     let _ = engine.decrypt_values(x);
/// }
/// ```
///
/// Clear numbers and ciphertexts do not mix:
///
/// ```compile_fail,E0308
/// use fhe_core::{Cpu, Engine};
/// fn mix(engine: &Cpu, x: &mut fhe_core::engine::cpu::Values, clear: &Vec<u64>) {
///     let _ = engine.add_scaled_values(x, clear, 1);
/// }
/// ```
pub struct Cpu {
    params: Params,
    key_id: String,
    transform: Transform,
    key_switch: Vec<u32>,
    blind_rotation: blind_rotation::BlindRotationKey,
    constants: constant_packing::ConstantsKey,
    lists: Option<list_packing::ListKey>,
    /// Of batch lookups, with the key that packs their inputs.
    batch: Option<(Batch, list_packing::ListKey)>,
    reflect: automorphism::AutomorphismKey,
    /// Of each level of an expansion.
    expand: Vec<automorphism::AutomorphismKey>,
}

impl std::fmt::Debug for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cpu").field("params", &self.params.name).finish_non_exhaustive()
    }
}

impl Cpu {
    /// Expands evaluation keys to the forms that the moves use.
    #[must_use]
    pub fn new(keys: &EvaluationKeys) -> Self {
        let params = keys.params.clone();
        let n = params.row_size;
        let transform = Transform::new(n);
        let modulus = CiphertextModulus::new_native();

        let seeded = SeededLweKeyswitchKey::from_container(
            &keys.key_switch.bodies[..],
            DecompositionBaseLog(params.key_switch.base_log as usize),
            DecompositionLevelCount(params.key_switch.levels as usize),
            LweDimension(params.short_dimension).to_lwe_size(),
            Seed128(keys.key_switch.seed).into(),
            modulus,
        );
        let mut full = LweKeyswitchKey::new(
            0u64,
            seeded.decomposition_base_log(),
            seeded.decomposition_level_count(),
            LweDimension(n),
            LweDimension(params.short_dimension),
            modulus,
        );
        decompress_seeded_lwe_keyswitch_key::<_, _, _, DefaultRandomGenerator>(&mut full, &seeded);
        // 32 bits are enough for a noise of 2^-15; rounding to them adds 2^-33 at most.
        let key_switch =
            full.as_ref().iter().map(|&x| (x.wrapping_add(1 << 31) >> 32) as u32).collect();

        let blind_rotation =
            blind_rotation::BlindRotationKey::new(&params, &transform, &keys.blind_rotation);

        let automorphism = |gadget, exponent, stored| {
            automorphism::AutomorphismKey::new(&transform, gadget, exponent, stored)
        };
        let reflect = automorphism(params.reflect, 2 * n - 1, &keys.reflect);
        let of_levels = params.lists.and_then(|lists| lists.expand).zip(Some(&keys.expand));
        let expand = of_levels.map_or_else(Vec::new, |(gadget, keys)| {
            let levels = (0u32..).zip(keys);
            let of = |(level, key)| automorphism(gadget, polynomial::expansion(n, level), key);
            levels.map(of).collect()
        });
        let constants = constant_packing::ConstantsKey::new(&params, &keys.pack);
        let lists = params.lists.map(|lists| {
            let [values, times_key] = &keys.lists;
            list_packing::ListKey::new(lists.pack, &transform, values, Some(times_key))
        });
        let of_batch = params.batch.zip(keys.batch.as_ref());
        let batch = of_batch.and_then(|(spec, keys)| {
            let pack = list_packing::ListKey::new(spec.pack, &transform, keys.pack(), None);
            Some((Batch::new(&params, &spec, keys)?, pack))
        });
        Self {
            params,
            key_id: keys.key_id.clone(),
            transform,
            key_switch,
            blind_rotation,
            constants,
            lists,
            batch,
            reflect,
            expand,
        }
    }

    /// Returns the public name of the client key that this engine's keys belong to.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Expands stored selectors and transforms them.
    ///
    /// # Errors
    /// [`Error::Shape`] if a stored list has another length than a selector of this parameter set.
    pub(crate) fn open_selectors(&self, stored: &[SeededRows]) -> Result<Selectors> {
        let (op, what) = ("open_selectors", "elements of a selector");
        let expected = 2 * self.params.selector.levels as usize * self.params.row_size;
        match stored.iter().map(|stored| stored.bodies.len()).find(|&got| got != expected) {
            Some(got) => Err(Error::Shape { op, what, got, expected }),
            None => Ok(product::open(self, stored)),
        }
    }

    /// Applies one table to one value by tfhe's own key switch and programmable bootstrap (one key
    /// bit a step), on the calling thread: the cost that efficiency is measured against.
    #[must_use]
    pub fn raw_bootstrap(&self) -> RawBootstrap {
        lookup::raw(self)
    }
}

impl Engine for Cpu {
    type Values = Values;
    type Rows = Rows;
    type Selectors = Selectors;

    fn params(&self) -> &Params {
        &self.params
    }

    fn zero_rows(&self, count: usize) -> Rows {
        Rows::new(self.params.row_size, count)
    }

    fn products(&self, selectors: &Selectors, rows: &Rows, terms: &[Vec<Term>]) -> Result<Rows> {
        self.fits("products", selectors.size())?;
        self.fits("products", rows.n)?;
        check::terms(terms, selectors.len(), rows.len())?;
        Ok(product::sums(self, selectors, rows, terms))
    }

    fn dot_products(
        &self,
        selectors: &Selectors,
        rows: &Rows,
        terms: &[Vec<Term>],
    ) -> Result<Values> {
        self.fits("products", selectors.size())?;
        self.fits("products", rows.n)?;
        check::terms(terms, selectors.len(), rows.len())?;
        Ok(product::dot_products(self, selectors, rows, terms))
    }

    fn dots(&self, selectors: &Selectors, rows: &Rows) -> Result<Values> {
        self.fits("dots", selectors.size())?;
        self.fits("dots", rows.n)?;
        Ok(product::dots(self, selectors, rows))
    }

    fn reflect(&self, rows: &Rows) -> Result<Rows> {
        self.fits("reflect", rows.n)?;
        Ok(automorphism::reflect(self, rows))
    }

    fn expand(&self, rows: &Rows, parts: usize) -> Result<Rows> {
        self.fits("expand", rows.n)?;
        check::expansion(&self.params, parts)?;
        Ok(automorphism::expand(self, rows, parts))
    }

    fn extract(&self, rows: &Rows, positions: &[(usize, usize)]) -> Result<Values> {
        self.fits("extract", rows.n)?;
        check::positions(positions, rows.len(), rows.n)?;
        let mut out = Values::new(rows.n, positions.len());
        let chunks = out.data.par_chunks_exact_mut(rows.n + 1);
        chunks.zip(positions).for_each(|(value, &(row, coefficient))| {
            let start = 2 * rows.n * row;
            product::extract_one(value, &rows.data[start..start + 2 * rows.n], coefficient);
        });
        Ok(out)
    }

    fn public_rows(&self, phases: &[u64]) -> Result<Rows> {
        let n = self.params.row_size;
        check::whole_rows(phases.len(), n)?;
        let mut out = Rows::new(n, phases.len() / n);
        for (row, x) in out.data.chunks_exact_mut(2 * n).zip(phases.chunks_exact(n)) {
            row[n..].copy_from_slice(x);
        }
        Ok(out)
    }

    fn public_values(&self, phases: &[u64]) -> Values {
        let n = self.params.row_size;
        let mut out = Values::new(n, phases.len());
        for (value, &x) in out.data.chunks_exact_mut(n + 1).zip(phases) {
            value[n] = x;
        }
        out
    }

    fn gather_rows(&self, rows: &Rows, picks: &[usize]) -> Result<Rows> {
        self.fits("gather_rows", rows.n)?;
        picks.iter().try_for_each(|&i| check::index("gather_rows", i, rows.len()))?;
        let mut out = Rows::new(rows.n, picks.len());
        for (out, &i) in out.data.chunks_exact_mut(2 * rows.n).zip(picks) {
            out.copy_from_slice(&rows.data[2 * rows.n * i..][..2 * rows.n]);
        }
        Ok(out)
    }

    fn join_rows(&self, lists: &[&Rows]) -> Result<Rows> {
        Rows::concat(self.params.row_size, lists)
    }

    fn gather_selectors(&self, x: &Selectors, picks: &[usize]) -> Result<Selectors> {
        self.fits("gather_selectors", x.size())?;
        picks.iter().try_for_each(|&i| check::index("gather_selectors", i, x.len()))?;
        let mut out = Selectors::new(x.gadget, self.transform.points(), picks.len());
        out.divided = x.divided;
        let picked = out.data.par_chunks_exact_mut(x.stride).zip(picks);
        picked.for_each(|(out, &i)| out.copy_from_slice(&x.data[x.stride * i..][..x.stride]));
        Ok(out)
    }

    fn add_selectors(&self, x: &mut Selectors, y: &Selectors) -> Result<()> {
        self.fits("add_selectors", x.size())?;
        self.fits("add_selectors", y.size())?;
        check::same("add_selectors", y.len(), x.len())?;
        check::same_gadget("add_selectors", y.gadget, x.gadget)?;
        let mut other = None;
        match (x.divided, y.divided) {
            (false, true) => product::divide(self, x),
            (true, false) => {
                let mut copy = self.gather_selectors(y, &(0..y.len()).collect::<Vec<_>>())?;
                product::divide(self, &mut copy);
                other = Some(copy);
            }
            _ => {}
        }
        let y = other.as_ref().unwrap_or(y);
        x.data.par_iter_mut().zip(&y.data[..]).for_each(|(x, y)| *x += y);
        Ok(())
    }

    fn rotate_selectors(&self, x: &mut Selectors, degree: usize) -> Result<()> {
        self.fits("rotate_selectors", x.size())?;
        check::index("rotate_selectors", degree, 2 * x.size())?;
        let mut monomial = vec![0; x.size()];
        monomial[degree % x.size()] = if degree < x.size() { 1 } else { u64::MAX };
        let polynomials = x.data.par_chunks_exact_mut(self.transform.points());
        let factor = self.transform.integer(&monomial);
        polynomials.for_each(|x| multiply(x, &factor));
        Ok(())
    }

    fn gather(&self, lists: &[&Values], picks: &[(usize, usize)]) -> Result<Values> {
        for x in lists {
            self.fits("gather", x.n)?;
        }
        check::picks(&lists.iter().map(|x| x.len()).collect::<Vec<_>>(), picks)?;
        let size = self.params.row_size + 1;
        let mut out = Values::new(self.params.row_size, picks.len());
        out.data.par_chunks_exact_mut(size).zip(picks).for_each(|(out, &(list, i))| {
            out.copy_from_slice(&lists[list].data[i * size..][..size]);
        });
        Ok(out)
    }

    fn lookup_each(
        &self,
        x: &Values,
        functions: &[TestPolynomial],
        of: &[usize],
    ) -> Result<Values> {
        self.fits("lookup", x.n)?;
        let (tables, each) = check::functions(functions, of, x.len(), self.params.row_size)?;
        let Some(batches) = self.batches() else {
            return Ok(lookup::apply(self, x, functions, of, (tables, each)));
        };
        let paths = Paths::new(&self.params, functions, of, each);
        if paths.batched.is_empty() {
            return Ok(lookup::apply(self, x, functions, of, (tables, each)));
        }
        let n = self.params.row_size;
        let mut out = Values::new(n, x.len() * each);
        for group in &paths.batched {
            batches.values(&mut out, x, group);
        }
        let of: Vec<usize> = paths.single.iter().map(|&i| of[i]).collect();
        let x = self.take(x, paths.single.iter().copied())?;
        let single = lookup::apply(self, &x, functions, &of, (tables, each));
        for (&i, value) in paths.single.iter().zip(single.data.chunks_exact((n + 1) * each)) {
            out.data[i * each * (n + 1)..][..each * (n + 1)].copy_from_slice(value);
        }
        Ok(out)
    }

    fn lookup_rows(&self, x: &Values, tables: &[Table], lists: &[Vec<Slot>]) -> Result<Rows> {
        self.fits("lookup", x.n)?;
        let in_place = path::in_place(&self.params, x.len(), lists.len());
        let Some(batches) = in_place.and_then(|_| self.batches()) else {
            return outputs::rows_by_moves(self, x, tables, lists);
        };
        let function = check::lookup_lists(&self.params, x.len(), None, tables, lists)?;
        Ok(batches.rows(x, &function, lists))
    }

    fn lookup_selectors(
        &self,
        x: &Values,
        integers: &IntegerTable,
        tables: &[Table],
        lists: &[Vec<Slot>],
    ) -> Result<(Selectors, Rows)> {
        self.fits("lookup", x.n)?;
        let in_place = path::in_place(&self.params, x.len(), lists.len());
        let Some(batches) = in_place.and_then(|_| self.batches()) else {
            return outputs::selectors_by_moves(self, x, integers, tables, lists);
        };
        check::lookup_lists(&self.params, x.len(), Some(integers), tables, lists)?;
        let function = integers.beside(tables)?;
        Ok(batches.selectors(x, &function, lists))
    }

    fn lookup_coefficients(
        &self,
        x: &Rows,
        integers: Option<&IntegerTable>,
        tables: &[Table],
    ) -> Result<Coefficients<Self>> {
        self.fits("lookup", x.n)?;
        let Some(batches) = self.batches() else {
            return outputs::coefficients_by_moves(self, x, integers, tables);
        };
        let Some(function) = check::lookup_coefficients(&self.params, integers, tables)? else {
            return Ok((None, Vec::new()));
        };
        Ok(batches.coefficients(x, &function, integers.is_some()))
    }

    fn pack(&self, x: &Values, lists: &[Vec<Slot>]) -> Result<Rows> {
        self.fits("pack", x.n)?;
        check::slots("pack", lists, x.len(), self.params.row_size)?;
        let key = self.lists.as_ref().ok_or_else(|| check::no_lists("pack", &self.params))?;
        Ok(list_packing::pack(self, key, x, lists))
    }

    fn promote(&self, x: &Values, tables: usize, lists: &[Vec<Slot>]) -> Result<Selectors> {
        self.fits("promote", x.n)?;
        let selector = check::promotion(&self.params, x.len(), tables, lists)?;
        let key = self.lists.as_ref().ok_or_else(|| check::no_lists("promote", &self.params))?;
        Ok(list_packing::promote(self, key, selector, x, tables, lists))
    }

    fn pack_constants(&self, x: &Values) -> Result<Rows> {
        self.fits("pack_constants", x.n)?;
        Ok(constant_packing::pack(self, x))
    }

    fn weighted_sums(
        &self,
        x: &Values,
        windows: &[Vec<Option<usize>>],
        weights: &[Vec<i32>],
    ) -> Result<Values> {
        self.fits("weighted_sums", x.n)?;
        check::windows(windows, weights, x.len())?;
        Ok(weighted_sums::sums(x, windows, weights))
    }

    fn add_scaled_values(&self, x: &mut Values, y: &Values, k: i64) -> Result<()> {
        self.fits("add_scaled_values", x.n)?;
        self.fits("add_scaled_values", y.n)?;
        check::same("add_scaled_values", y.len(), x.len())?;
        add_scaled(&mut x.data, &y.data, k);
        Ok(())
    }

    fn add_scaled_rows(&self, x: &mut Rows, y: &Rows, k: i64) -> Result<()> {
        self.fits("add_scaled_rows", x.n)?;
        self.fits("add_scaled_rows", y.n)?;
        check::same("add_scaled_rows", y.len(), x.len())?;
        add_scaled(&mut x.data, &y.data, k);
        Ok(())
    }

    fn shift_values(&self, x: &mut Values, by: impl Fn(usize) -> u64) {
        for (i, value) in x.data.chunks_exact_mut(x.n + 1).enumerate() {
            value[x.n] = value[x.n].wrapping_add(by(i));
        }
    }

    fn rotate_rows(&self, x: &mut Rows, degree: usize) -> Result<()> {
        self.fits("rotate_rows", x.n)?;
        check::index("rotate_rows", degree, 2 * x.n)?;
        for part in x.data.chunks_exact_mut(x.n) {
            polynomial::rotate(part, degree);
        }
        Ok(())
    }
}

impl Cpu {
    /// Refuses lists that were made under a parameter set with another row size.
    fn fits(&self, op: &'static str, got: usize) -> Result<()> {
        check::row_size(op, got, self.params.row_size)
    }
}

fn add_scaled(x: &mut [u64], y: &[u64], k: i64) {
    /// Elements that a thread takes at a time.
    const CHUNK: usize = 1 << 14;
    x.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(x, y)| {
        for (x, y) in x.iter_mut().zip(y) {
            *x = x.wrapping_add(y.wrapping_mul(k as u64));
        }
    });
}
