//! The engine on ciphertexts: tfhe's key material and transforms, our products and packing.

mod blind_rotation;
mod blocks;
mod constant_packing;
mod cost;
mod fourier;
mod huge_pages;
mod list_packing;
mod lookup;
mod product;
mod weighted_sums;

use rayon::prelude::*;
use tfhe::core_crypto::commons::math::random::Seed as Seed128;
use tfhe::core_crypto::fft_impl::fft64::c64;
use tfhe::core_crypto::prelude::*;

use crate::engine::{Engine, List, Slot, Term, check};
use crate::params::Gadget;
use crate::server::{EvaluationKeys, SeededRows};
use crate::{Error, Params, Result, TestPolynomial};
use fourier::Transform;

/// A list of LWE ciphertexts: masks and bodies in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    dimension: usize,
    data: Vec<u64>,
}

impl Values {
    pub(crate) fn new(dimension: usize, count: usize) -> Self {
        Self { dimension, data: vec![0; (dimension + 1) * count] }
    }

    /// Joins lists of one dimension; lists of another are left out.
    #[must_use]
    pub fn concat(dimension: usize, lists: &[&Self]) -> Self {
        let of_dimension = lists.iter().filter(|x| x.dimension == dimension);
        Self { dimension, data: of_dimension.flat_map(|x| &x.data).copied().collect() }
    }

    /// Takes ciphertexts as they lie in memory; `None` if the length is no multiple of
    /// `dimension + 1`.
    #[must_use]
    pub fn from_elements(dimension: usize, data: Vec<u64>) -> Option<Self> {
        data.len().is_multiple_of(dimension + 1).then_some(Self { dimension, data })
    }

    /// Returns the ciphertexts as they lie in memory.
    #[must_use]
    pub fn elements(&self) -> &[u64] {
        &self.data
    }

    /// Returns the number of mask elements of each value.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Returns the number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len() / (self.dimension + 1)
    }

    /// Returns whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns the values, each as its mask followed by its body.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.data.chunks_exact(self.dimension + 1)
    }
}

/// A list of GLWE ciphertexts of one mask polynomial: mask and body in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    size: usize,
    data: Vec<u64>,
}

impl Rows {
    pub(crate) fn new(size: usize, count: usize) -> Self {
        Self { size, data: vec![0; 2 * size * count] }
    }

    pub(crate) fn extend(&mut self, data: Vec<u64>) {
        self.data.extend(data);
    }

    /// Joins lists of one size; lists of another are left out.
    #[must_use]
    pub fn concat(size: usize, lists: &[&Self]) -> Self {
        let of_size = lists.iter().filter(|x| x.size == size);
        Self { size, data: of_size.flat_map(|x| &x.data).copied().collect() }
    }

    /// Takes ciphertexts as they lie in memory; `None` if the length is no multiple of `2 size`.
    #[must_use]
    pub fn from_elements(size: usize, data: Vec<u64>) -> Option<Self> {
        data.len().is_multiple_of(2 * size).then_some(Self { size, data })
    }

    /// Returns the ciphertexts as they lie in memory.
    #[must_use]
    pub fn elements(&self) -> &[u64] {
        &self.data
    }

    /// Returns the number of coefficients of a row.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len() / (2 * self.size)
    }

    /// Returns whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns the rows, each as its mask followed by its body.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.data.chunks_exact(2 * self.size)
    }
}

/// A list of GGSW ciphertexts in the Fourier domain.
pub struct Selectors {
    gadget: Gadget,
    data: Vec<c64>,
    /// Complex numbers of one selector.
    stride: usize,
}

impl List for Values {
    fn len(&self) -> usize {
        self.len()
    }
}

impl List for Rows {
    fn len(&self) -> usize {
        self.len()
    }
}

impl List for Selectors {
    fn len(&self) -> usize {
        self.data.len() / self.stride
    }
}

impl Selectors {
    fn new(gadget: Gadget, points: usize, count: usize) -> Self {
        let stride = 4 * gadget.levels as usize * points;
        Self { gadget, data: vec![c64::new(0.0, 0.0); stride * count], stride }
    }
}

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
    reflect: Vec<c64>,
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

        let mut scratch = transform.scratch();
        let rows = keys.reflect.expand_rows(n);
        let mut reflect = vec![c64::new(0.0, 0.0); rows.len() / 2];
        for (out, x) in reflect.chunks_exact_mut(n / 2).zip(rows.chunks_exact(n)) {
            transform.forward_torus(out, x, &mut scratch);
        }
        let constants = constant_packing::ConstantsKey::new(&params, &keys.pack);
        let lists = params
            .lists
            .map(|lists| list_packing::ListKey::new(lists.pack, &transform, &keys.lists));
        let key_id = keys.key_id.clone();
        Self { params, key_id, transform, key_switch, blind_rotation, constants, lists, reflect }
    }

    /// Returns the public name of the client key that this engine's keys belong to.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Expands stored selectors and transforms them.
    #[must_use]
    pub fn open_selectors(&self, stored: &[SeededRows]) -> Selectors {
        product::open(self, stored)
    }

    /// Expands stored values.
    #[must_use]
    pub fn open_values(&self, stored: &[SeededRows]) -> Values {
        let n = self.params.row_size;
        let data = stored.iter().flat_map(|s| s.expand_values(n)).collect();
        Values { dimension: n, data }
    }

    /// Applies one table to one value by tfhe's own key switch and programmable bootstrap (one key
    /// bit a step), on the calling thread: the cost that efficiency is measured against.
    #[must_use]
    pub fn raw_bootstrap(&self) -> RawBootstrap {
        lookup::raw(self)
    }
}

pub use lookup::RawBootstrap;

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
        self.fits("products", rows.size)?;
        check::terms(terms, selectors.len(), rows.len())?;
        Ok(product::sums(self, selectors, rows, terms))
    }

    fn dots(&self, selectors: &Selectors, rows: &Rows) -> Result<Values> {
        self.fits("dots", rows.size)?;
        Ok(product::dots(self, selectors, rows))
    }

    fn reflect(&self, rows: &Rows) -> Result<Rows> {
        self.fits("reflect", rows.size)?;
        Ok(product::reflect(self, rows))
    }

    fn extract(&self, rows: &Rows, positions: &[(usize, usize)]) -> Result<Values> {
        check::positions(positions, rows.len(), rows.size)?;
        let mut out = Values::new(rows.size, positions.len());
        let chunks = out.data.chunks_exact_mut(rows.size + 1);
        for (value, &(row, coefficient)) in chunks.zip(positions) {
            let start = 2 * rows.size * row;
            product::extract_one(value, &rows.data[start..start + 2 * rows.size], coefficient);
        }
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
        self.fits("gather_rows", rows.size)?;
        picks.iter().try_for_each(|&i| check::index("gather_rows", i, rows.len()))?;
        let mut out = Rows::new(rows.size, picks.len());
        for (out, &i) in out.data.chunks_exact_mut(2 * rows.size).zip(picks) {
            out.copy_from_slice(&rows.data[2 * rows.size * i..][..2 * rows.size]);
        }
        Ok(out)
    }

    fn gather(&self, lists: &[&Values], picks: &[(usize, usize)]) -> Result<Values> {
        for x in lists {
            self.fits("gather", x.dimension)?;
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
        self.fits("lookup", x.dimension)?;
        let counts = check::functions(functions, of, x.len(), self.params.row_size)?;
        Ok(lookup::apply(self, x, functions, of, counts))
    }

    fn pack(&self, x: &Values, lists: &[Vec<Slot>]) -> Result<Rows> {
        self.fits("pack", x.dimension)?;
        check::slots("pack", lists, x.len(), self.params.row_size)?;
        let key = self.lists.as_ref().ok_or_else(|| check::no_lists("pack", &self.params))?;
        Ok(list_packing::pack(self, key, x, lists))
    }

    fn promote(&self, x: &Values, tables: usize, lists: &[Vec<Slot>]) -> Result<Selectors> {
        self.fits("promote", x.dimension)?;
        let selector = check::promotion(&self.params, x.len(), tables, lists)?;
        let key = self.lists.as_ref().ok_or_else(|| check::no_lists("promote", &self.params))?;
        Ok(list_packing::promote(self, key, selector, x, tables, lists))
    }

    fn pack_constants(&self, x: &Values) -> Result<Rows> {
        self.fits("pack_constants", x.dimension)?;
        Ok(constant_packing::pack(self, x))
    }

    fn weighted_sums(
        &self,
        x: &Values,
        windows: &[Vec<Option<usize>>],
        weights: &[Vec<i32>],
    ) -> Result<Values> {
        self.fits("weighted_sums", x.dimension)?;
        check::windows(windows, weights, x.len())?;
        Ok(weighted_sums::sums(x, windows, weights))
    }

    fn add_scaled_values(&self, x: &mut Values, y: &Values, k: i64) -> Result<()> {
        check::same("add_scaled_values", y.len(), x.len())?;
        add_scaled(&mut x.data, &y.data, k);
        Ok(())
    }

    fn add_scaled_rows(&self, x: &mut Rows, y: &Rows, k: i64) -> Result<()> {
        check::same("add_scaled_rows", y.len(), x.len())?;
        add_scaled(&mut x.data, &y.data, k);
        Ok(())
    }

    fn shift_values(&self, x: &mut Values, by: impl Fn(usize) -> u64) {
        for (i, value) in x.data.chunks_exact_mut(x.dimension + 1).enumerate() {
            value[x.dimension] = value[x.dimension].wrapping_add(by(i));
        }
    }

    fn rotate_rows(&self, x: &mut Rows, degree: usize) -> Result<()> {
        check::index("rotate_rows", degree, 2 * x.size)?;
        for polynomial in x.data.chunks_exact_mut(x.size) {
            crate::polynomial::rotate(polynomial, degree);
        }
        Ok(())
    }
}

impl Cpu {
    /// Refuses lists that were made under a parameter set with another row size.
    fn fits(&self, op: &'static str, got: usize) -> Result<()> {
        let expected = self.params.row_size;
        let what = "coefficients (N)";
        if got == expected { Ok(()) } else { Err(Error::Shape { op, what, got, expected }) }
    }
}

fn add_scaled(x: &mut [u64], y: &[u64], k: i64) {
    for (x, y) in x.iter_mut().zip(y) {
        *x = x.wrapping_add(y.wrapping_mul(k as u64));
    }
}
