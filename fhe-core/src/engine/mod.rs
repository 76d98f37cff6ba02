//! One program, several interpreters.
//!
//! A layer, a loss or an optimizer is generic over one parameter, `E: Engine`, and sees only
//! [`Engine::Values`], [`Engine::Rows`] and [`Engine::Selectors`]:
//!
//! | kind | holds |
//! |---|---|
//! | `Values` | single torus elements |
//! | `Rows` | polynomials of N torus elements modulo X^N + 1 |
//! | `Selectors` | polynomials of N small integers, which can multiply rows |
//!
//! [`Clear`] is the specification: the same torus arithmetic on phases. [`Cpu`] computes on
//! ciphertexts. [`Meter`] holds nothing and counts.
//!
//! # For authors of an engine
//!
//! An engine implements the required methods of [`Engine`], and keeps these rules:
//!
//! - It checks before it computes, by the functions of `engine/check.rs`, which all engines share.
//!   What one engine refuses every engine refuses, with the same error. Nothing panics on lengths,
//!   indices or tables.
//! - It computes what [`Clear::exact`] computes, plus noise of at most the variance that
//!   [`crate::noise`] predicts. Moves that are documented as exact add none.
//! - It never branches on hidden numbers. Lengths, indices, tables and weights are public.
//! - It takes the way of a lookup that [`Params::lookup_path`](crate::Params::lookup_path) names,
//!   by the functions of `engine/path.rs`, if its keys allow both.
//! - The same inputs give the same outputs, bit for bit, on any number of threads: a training that
//!   was interrupted ends as one that was not.
//! - A list that a method returns is ready for the next method.
//! - It holds no secret key and offers no way to decrypt.
//!
//! A provided method is overridden to be quicker, or to look up in batches.
//!
//! `tests/conformance` has a function for each move and a table that names those that an engine
//! runs; a new engine adds its own table, and takes part in `engines_refuse_the_same_programs` and
//! `empty_lists_go_through_every_move`. `benches/moves.rs` measures each move.

pub(crate) mod check;
pub mod clear;
pub mod cpu;
pub mod meter;
pub(crate) mod outputs;
pub(crate) mod path;

pub use clear::Clear;
pub use cpu::Cpu;
pub use meter::Meter;
pub use outputs::{LookedUp, Outputs};

#[cfg(doc)]
use crate::Error;
use crate::{IntegerTable, Params, Result, Table, TestPolynomial};

/// One term of a sum of products: which selector times which row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Index into the selectors.
    pub selector: usize,
    /// Index into the rows.
    pub row: usize,
}

/// Where a value goes in a polynomial: value `value` of a list becomes coefficient `coefficient`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Index into the values.
    pub value: usize,
    /// Coefficient of the polynomial.
    pub coefficient: usize,
}

/// A list of hidden numbers, as an engine holds it. Its length is public.
pub trait List: Send + Sync {
    /// Returns the number of elements.
    fn len(&self) -> usize;

    /// Returns whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Send + Sync> List for Vec<T> {
    fn len(&self) -> usize {
        self.len()
    }
}

/// What a lookup of all coefficients of rows gives: selectors, if integers are wanted, and rows of
/// each table.
pub type Coefficients<E> = (Option<<E as Engine>::Selectors>, Vec<<E as Engine>::Rows>);

/// Evaluates lists of hidden torus elements.
///
/// # Noise
/// Every method but the linear ones adds noise; [`crate::noise`] has the formulas.
pub trait Engine: Send + Sync {
    /// A list of single values.
    type Values: List;
    /// A list of polynomials.
    type Rows: List;
    /// A list of polynomials of small integers that can multiply rows.
    type Selectors: List;

    /// Returns the parameter set.
    fn params(&self) -> &Params;

    /// Returns rows of zeros: public constants, without noise.
    fn zero_rows(&self, count: usize) -> Self::Rows;

    /// Returns rows of public torus elements, N each, without noise and without secrecy.
    ///
    /// # Errors
    /// [`Error::Shape`] if they do not fill the last row.
    fn public_rows(&self, phases: &[u64]) -> Result<Self::Rows>;

    /// Returns values of public torus elements, without noise and without secrecy.
    fn public_values(&self, phases: &[u64]) -> Self::Values;

    /// Returns the sums of products `out[o] = sum_t selectors[t.selector] * rows[t.row]` modulo
    /// X^N + 1, one row for each list of terms.
    ///
    /// # Cost
    /// One gadget product a term; no lookup.
    ///
    /// # Errors
    /// [`Error::Index`] if a term points outside a list.
    fn products(
        &self,
        selectors: &Self::Selectors,
        rows: &Self::Rows,
        terms: &[Vec<Term>],
    ) -> Result<Self::Rows>;

    /// Returns coefficient 0 of each of the sums of [`Engine::products`].
    ///
    /// # Cost
    /// One gadget product a term; no lookup.
    ///
    /// # Errors
    /// Those of [`Engine::products`].
    fn dot_products(
        &self,
        selectors: &Self::Selectors,
        rows: &Self::Rows,
        terms: &[Vec<Term>],
    ) -> Result<Self::Values> {
        let sums = self.products(selectors, rows, terms)?;
        self.extract(&sums, &(0..terms.len()).map(|row| (row, 0)).collect::<Vec<_>>())
    }

    /// Returns coefficient 0 of the product of every selector with every row: value
    /// `s * rows + r` is `(selectors[s] * rows[r])_0`.
    ///
    /// With a [reflected](Engine::reflect) row, `w(1/X)`, this is the inner product of the two
    /// coefficient vectors.
    ///
    /// # Cost
    /// One gadget product a pair; no lookup.
    ///
    /// # Errors
    /// None for lists of this engine.
    fn dots(&self, selectors: &Self::Selectors, rows: &Self::Rows) -> Result<Self::Values>;

    /// Returns `r(1/X)` of each row: the automorphism X -> X^-1, then a key switch.
    ///
    /// # Errors
    /// None for lists of this engine.
    fn reflect(&self, rows: &Self::Rows) -> Result<Self::Rows>;

    /// Parts each row into `parts` rows, a power of two: row `r parts + j` is
    /// `sum_i x_(j + i parts) X^(i parts)`, x being row r. With N parts each coefficient has a
    /// constant row of its own.
    ///
    /// # Cost
    /// An automorphism with its key switch a row that comes out.
    ///
    /// # Errors
    /// [`Error::NoLists`] if the parameter set has no gadget for it, [`Error::Shape`] if `parts` is
    /// no power of two, or more than N.
    ///
    /// # Examples
    /// ```
    /// use fhe_core::{Clear, Engine, Params};
    ///
    /// # fn main() -> fhe_core::Result<()> {
    /// let engine = Clear::exact(&Params::secure128_deep_v4()?);
    /// let row = engine.public_rows(&(0..2048).collect::<Vec<u64>>())?;
    /// let parts = engine.expand(&row, 1024)?;
    /// // Coefficients 3 and 1027 are in part 3.
    /// let read = [(3, 0), (3, 1024), (3, 3)];
    /// assert_eq!(engine.extract(&parts, &read)?, [3, 1027, 0]);
    /// # Ok(())
    /// # }
    /// ```
    fn expand(&self, rows: &Self::Rows, parts: usize) -> Result<Self::Rows>;

    /// Returns single coefficients, `(row, coefficient)`. Free, and exact.
    ///
    /// # Errors
    /// [`Error::Index`] if a position does not exist.
    fn extract(&self, rows: &Self::Rows, positions: &[(usize, usize)]) -> Result<Self::Values>;

    /// Returns values of several lists in any order, `(list, index)`, also repeatedly. Free, and
    /// exact.
    ///
    /// # Errors
    /// [`Error::Index`] if a pick does not exist.
    fn gather(&self, lists: &[&Self::Values], picks: &[(usize, usize)]) -> Result<Self::Values>;

    /// Returns values of one list in any order, also repeatedly. Free, and exact.
    ///
    /// # Errors
    /// [`Error::Index`] if a pick does not exist.
    fn take(
        &self,
        x: &Self::Values,
        picks: impl IntoIterator<Item = usize>,
    ) -> Result<Self::Values> {
        self.gather(&[x], &picks.into_iter().map(|i| (0, i)).collect::<Vec<_>>())
    }

    /// Returns rows in any order, also repeatedly. Free, and exact.
    ///
    /// # Errors
    /// [`Error::Index`] if a pick does not exist.
    fn gather_rows(&self, rows: &Self::Rows, picks: &[usize]) -> Result<Self::Rows>;

    /// Returns the rows of several lists, one list after the other. Free, and exact.
    ///
    /// # Errors
    /// [`Error::Shape`] if a list was made under a parameter set with another row size.
    fn join_rows(&self, lists: &[&Self::Rows]) -> Result<Self::Rows>;

    /// Returns selectors in any order, also repeatedly. Free, and exact.
    ///
    /// # Errors
    /// [`Error::Index`] if a pick does not exist.
    fn gather_selectors(&self, x: &Self::Selectors, picks: &[usize]) -> Result<Self::Selectors>;

    /// Adds selector by selector: the integers of `x[i]` become those of `x[i]` and `y[i]` added.
    /// Their noise is added, too.
    ///
    /// # Errors
    /// [`Error::Shape`] if the lists differ in length, or their selectors in their gadgets.
    fn add_selectors(&self, x: &mut Self::Selectors, y: &Self::Selectors) -> Result<()>;

    /// Multiplies each selector by the monomial `X^degree`, `0 <= degree < 2 N`.
    ///
    /// # Errors
    /// [`Error::Index`] if the degree is out of range.
    fn rotate_selectors(&self, x: &mut Self::Selectors, degree: usize) -> Result<()>;

    /// Looks all coefficients of rows up, each where it stands: returns integers as a selector of
    /// each row, if they are wanted, and for each table a list of rows.
    ///
    /// # Cost
    /// One lookup a coefficient. In batches, one batch for every R rows, and neither packing nor
    /// promotion.
    ///
    /// # Errors
    /// Those of [`Engine::lookup_selectors`] and [`Engine::lookup_rows`].
    ///
    /// # Examples
    /// ```
    /// use fhe_core::{Clear, Engine, IntegerTable, Params, Table, from_torus, to_torus};
    ///
    /// # fn main() -> fhe_core::Result<()> {
    /// let params = Params::secure128_deep_v4()?;
    /// let engine = Clear::exact(&params);
    /// let n = params.row_size;
    /// let row = engine.public_rows(&vec![to_torus(0.1); n])?;
    /// let integers = IntegerTable::new(n, |x| (40.0 * x).round() as i32)?;
    /// let half = Table::new(n, |x| x / 2.0)?;
    /// let (selectors, rows) = engine.lookup_coefficients(&row, Some(&integers), &[half])?;
    /// assert_eq!(selectors.map(|m| m.integers[0][7]), Some(4));
    /// assert!((from_torus(engine.extract(&rows[0], &[(0, 7)])?[0]) - 0.05).abs() < 1e-3);
    /// # Ok(())
    /// # }
    /// ```
    fn lookup_coefficients(
        &self,
        x: &Self::Rows,
        integers: Option<&IntegerTable>,
        tables: &[Table],
    ) -> Result<Coefficients<Self>>
    where
        Self: Sized,
    {
        outputs::coefficients_by_moves(self, x, integers, tables)
    }

    /// Applies a function of its own to each value, with fresh noise: output `i each + e` is what
    /// `functions[of[i]]` reads of value i in place e. All of them read equally often.
    ///
    /// # Cost
    /// One lookup (key switch and bootstrap) a value, whatever is read of it.
    ///
    /// # Errors
    /// [`Error::Shape`] if `of` is not as long as the values, or a function has not as many reads
    /// as the first, or not as many tables, rounded up to a power of two r, or a table of less than
    /// N / r slots; [`Error::Index`] if `of` names a function that is not there.
    fn lookup_each(
        &self,
        x: &Self::Values,
        functions: &[TestPolynomial],
        of: &[usize],
    ) -> Result<Self::Values>;

    /// Applies the same tables to each value, with fresh noise: output `i tables + t` is table `t`
    /// of value `i`. With r tables, rounded up to a power of two, a blind rotation reads the input
    /// at N / r slots of the half torus.
    ///
    /// # Cost
    /// One lookup a value.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are no tables, more than N of them, or one of less than N / r
    /// slots.
    fn lookup(&self, x: &Self::Values, tables: &[Table]) -> Result<Self::Values> {
        let function = TestPolynomial::interleaved(tables.to_vec())?;
        self.lookup_each(x, &[function], &vec![0; x.len()])
    }

    /// Looks values up and gives what is wanted of them, each where it is wanted: as selectors, as
    /// rows, as values.
    ///
    /// It is one lookup, promotion and packing. A list that is long enough for batches
    /// ([`Params::lookup_path`]) is looked up in the order of the first lists, if these take no
    /// more batches than the values need. What is wanted there then needs neither promotion nor
    /// packing.
    ///
    /// # Cost
    /// One lookup a value. Promotion and packing where they are needed; values are free.
    ///
    /// # Errors
    /// Those of [`Engine::lookup`], [`Engine::promote`] and [`Engine::pack`].
    ///
    /// # Examples
    /// ```
    /// use fhe_core::{Clear, Engine, IntegerTable, Outputs, Params, Slot, Table};
    /// use fhe_core::{from_torus, to_torus};
    ///
    /// # fn main() -> fhe_core::Result<()> {
    /// let params = Params::secure128_deep()?;
    /// let engine = Clear::exact(&params);
    /// // The integer round(40 x) as a selector, and half of x as a value.
    /// let x = vec![to_torus(0.1), to_torus(-0.2)];
    /// let integers = IntegerTable::new(params.row_size, |x| (40.0 * x).round() as i32)?;
    /// let list = (0..2).map(|i| Slot { value: i, coefficient: 3 * i }).collect();
    /// let outputs = Outputs {
    ///     selectors: Some((integers, vec![list])),
    ///     values: vec![Table::new(params.row_size, |x| x / 2.0)?],
    ///     ..Outputs::default()
    /// };
    /// let mut out = engine.lookup_into(&x, &outputs)?;
    /// assert_eq!(out.selectors()?.integers[0][..4], [4, 0, 0, -8]);
    /// assert!((from_torus(out.values()?[1]) + 0.1).abs() < 1e-3);
    /// # Ok(())
    /// # }
    /// ```
    fn lookup_into(&self, x: &Self::Values, outputs: &Outputs) -> Result<LookedUp<Self>>
    where
        Self: Sized,
    {
        outputs::all(self, x, outputs)
    }

    /// Looks values up and puts the outputs into rows: row `l tables + t` is
    /// `sum_s f_t(x[s.value]) X^s.coefficient` over the slots s of list l. Coefficients that no
    /// slot names are 0. A value may stand in several slots.
    ///
    /// # Cost
    /// One lookup a value and a packed list a row. In batches, one for every R lists, and no
    /// packed lists of outputs.
    ///
    /// # Errors
    /// Those of [`Engine::lookup`] and [`Engine::pack`].
    fn lookup_rows(
        &self,
        x: &Self::Values,
        tables: &[Table],
        lists: &[Vec<Slot>],
    ) -> Result<Self::Rows>
    where
        Self: Sized,
    {
        outputs::rows_by_moves(self, x, tables, lists)
    }

    /// Looks integers up as selectors, one for each list, `sum_s m(x[s.value]) X^s.coefficient`,
    /// and tables beside them as [`Engine::lookup_rows`] does. There may be no tables.
    ///
    /// # Cost
    /// One lookup a value, a promotion a list and a packed list a row. In batches, one for every R
    /// lists, and no promotions.
    ///
    /// # Errors
    /// Those of [`Engine::lookup`], [`Engine::promote`] and [`Engine::pack`].
    fn lookup_selectors(
        &self,
        x: &Self::Values,
        integers: &IntegerTable,
        tables: &[Table],
        lists: &[Vec<Slot>],
    ) -> Result<(Self::Selectors, Self::Rows)>
    where
        Self: Sized,
    {
        outputs::selectors_by_moves(self, x, integers, tables, lists)
    }

    /// Packs lists of values, each into one row: `sum_s x[s.value] X^s.coefficient`.
    ///
    /// # Cost
    /// One packed list a row, whatever the number of its values. Several lists in one call share
    /// the way of the key from memory.
    ///
    /// # Errors
    /// [`Error::Index`] if a slot points outside, [`Error::Repeated`] if two slots of a list share
    /// a coefficient, [`Error::NoLists`] if the parameter set has no gadgets for lists.
    fn pack(&self, x: &Self::Values, lists: &[Vec<Slot>]) -> Result<Self::Rows>;

    /// Promotes lists of small integers to selectors, each of `sum_s m[s.value] X^s.coefficient`.
    ///
    /// Value `v tables + j`, for `j` below the number l of levels of the set's gadget for
    /// promotion, must hold `m[v] / B^(j+1)`: what [`IntegerTable::levels`] and any further tables
    /// give in one lookup. (Packed circuit bootstrapping: Chillotti, Gama, Georgieva, Izabachene,
    /// Journal of Cryptology 2020, section 4.3, for all coefficients at a time.)
    ///
    /// # Cost
    /// `l` promoted levels a selector, each about a packed list. No lookup of its own.
    ///
    /// # Errors
    /// As for [`Engine::pack`], and [`Error::Shape`] if `tables` is less than l or does not divide
    /// the number of values.
    fn promote(
        &self,
        x: &Self::Values,
        tables: usize,
        lists: &[Vec<Slot>],
    ) -> Result<Self::Selectors>;

    /// Packs each value into a constant row of its own: `x[i] + 0 X + 0 X^2 + ...`.
    ///
    /// # Cost
    /// `N * levels * 2 N` integer multiply-adds a value; the key is streamed once for the list.
    ///
    /// # Errors
    /// None for lists of this engine.
    fn pack_constants(&self, x: &Self::Values) -> Result<Self::Rows>;

    /// Returns sums of values with public integer weights: value `p * filters + o` is
    /// `sum_j weights[o][j] * x[windows[p][j]]`, where nothing is added for `None`. A convolution
    /// with public filters, over values; exact, with no noise but that of the values.
    ///
    /// # Cost
    /// No lookup and no product; N additions a term.
    ///
    /// # Errors
    /// [`Error::Index`] if a window points outside, [`Error::Shape`] if a window and a filter
    /// differ in length.
    fn weighted_sums(
        &self,
        x: &Self::Values,
        windows: &[Vec<Option<usize>>],
        weights: &[Vec<i32>],
    ) -> Result<Self::Values>;

    /// Adds value by value: `x[i] += k * y[i]`, with a public integer k.
    ///
    /// # Errors
    /// [`Error::Shape`] if the lists differ in length.
    fn add_scaled_values(&self, x: &mut Self::Values, y: &Self::Values, k: i64) -> Result<()>;

    /// Returns `k x[i]` for each value, with a public integer k.
    ///
    /// # Errors
    /// None for lists of this engine.
    fn scaled_values(&self, x: &Self::Values, k: i64) -> Result<Self::Values> {
        let mut out = self.public_values(&vec![0; x.len()]);
        self.add_scaled_values(&mut out, x, k)?;
        Ok(out)
    }

    /// Adds row by row: `x[i] += k * y[i]`, with a public integer k.
    ///
    /// # Errors
    /// [`Error::Shape`] if the lists differ in length.
    fn add_scaled_rows(&self, x: &mut Self::Rows, y: &Self::Rows, k: i64) -> Result<()>;

    /// Adds a public torus element to every value: `by(i)` to value i.
    fn shift_values(&self, x: &mut Self::Values, by: impl Fn(usize) -> u64);

    /// Multiplies each row by the monomial `X^degree`, `0 <= degree < 2 N`.
    ///
    /// # Errors
    /// [`Error::Index`] if the degree is out of range.
    fn rotate_rows(&self, x: &mut Self::Rows, degree: usize) -> Result<()>;
}
