//! Integers that a lookup gave so that they can be promoted to selectors.

use fhe_core::params::Gadget;
use fhe_core::{Engine, IntegerTable, List, Params, Slot, Table};

use crate::{Error, Result, Shape};

/// Levels of a promotion.
pub const LEVELS: usize = 3;

/// Tables of one lookup: the levels of a promotion, and one more.
pub const TABLES: usize = LEVELS + 1;

/// The table beside the levels.
const EXTRA: usize = LEVELS;

/// Integers in the form in which they can be added and promoted, each with one more value.
///
/// They are for integers that something is added to before they are promoted. Others are selectors
/// as soon as they are looked up ([`Engine::lookup_into`]).
///
/// With the base B of the gadget of promotions, an integer m is the three values `m / B`, `m / B^2`
/// and `m / B^3`. The fourth value is free: of an activation it is the gate, of an error it is the
/// error times an amplitude. One lookup gives all four, because it can read four tables.
///
/// # Shapes
/// A list of k integers has 4 k values: value `4 i + j` is table j of integer i.
///
/// # Examples
/// ```
/// use fhe_core::{Clear, IntegerTable, Params, Slot, Table, from_torus, to_torus};
/// use fhe_nn::Promotable;
///
/// # fn main() -> fhe_nn::Result<()> {
/// let params = Params::secure128_deep()?;
/// let engine = Clear::exact(&params);
/// // The integer round(40 x), and half of x beside it.
/// let x = vec![to_torus(0.1), to_torus(-0.2)];
/// let integers = IntegerTable::new(params.row_size, |x| (40.0 * x).round() as i32)?;
/// let half = Table::new(params.row_size, |x| x / 2.0)?;
/// let list = Promotable::lookup(&engine, &x, &integers, &half)?;
/// let slots = (0..2).map(|i| Slot { value: i, coefficient: i }).collect();
/// let selectors = list.promote(&engine, &[slots])?;
/// assert_eq!(selectors.integers[0][..2], [4, -8]);
/// let halves = list.extra(&engine)?;
/// assert!((from_torus(halves[1]) + 0.1).abs() < 1e-3);
/// # Ok(())
/// # }
/// ```
pub struct Promotable<E: Engine>(E::Values);

impl<E: Engine> std::fmt::Debug for Promotable<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Promotable(hidden)")
    }
}

impl<E: Engine> List for Promotable<E> {
    /// Returns the number of integers.
    fn len(&self) -> usize {
        self.0.len() / TABLES
    }
}

impl<E: Engine> Promotable<E> {
    /// Looks up an integer, and one more torus fraction, of each value. The tables are sampled at N
    /// slots.
    ///
    /// # Cost
    /// One lookup a value.
    ///
    /// # Errors
    /// [`fhe_core::Error::NoLists`] if the parameter set cannot promote,
    /// [`Error::PromotionLevels`] if it does with another number of levels.
    pub fn lookup(
        engine: &E,
        x: &E::Values,
        integers: &IntegerTable,
        extra: &Table,
    ) -> Result<Self> {
        let mut tables = integers.levels(gadget(engine.params())?)?;
        tables.push(extra.clone());
        Ok(Self(engine.lookup(x, &tables)?))
    }

    /// Takes values that are in this form already.
    ///
    /// # Errors
    /// [`Error::Count`] if they are no multiple of four.
    pub fn from_values(values: E::Values) -> Result<Self> {
        let got = values.len();
        if got.is_multiple_of(TABLES) {
            return Ok(Self(values));
        }
        let expected = got.next_multiple_of(TABLES);
        Err(Error::Count { layer: "promotion".into(), what: "values", got, expected })
    }

    /// Returns the value beside the levels of each integer.
    ///
    /// # Errors
    /// None: the table is there.
    pub fn extra(&self, engine: &E) -> Result<E::Values> {
        self.table(engine, EXTRA)
    }

    /// Returns the finest level of each integer, `m / B^3`.
    ///
    /// # Errors
    /// None: the table is there.
    pub fn finest(&self, engine: &E) -> Result<E::Values> {
        self.table(engine, LEVELS - 1)
    }

    fn table(&self, engine: &E, table: usize) -> Result<E::Values> {
        Ok(engine.take(&self.0, (0..self.len()).map(|i| TABLES * i + table))?)
    }

    /// Promotes the integers to selectors.
    ///
    /// # Cost
    /// That of [`Engine::promote`]; no lookup.
    ///
    /// # Errors
    /// Those of [`Engine::promote`].
    pub fn promote(&self, engine: &E, lists: &[Vec<Slot>]) -> Result<E::Selectors> {
        Ok(engine.promote(&self.0, TABLES, lists)?)
    }

    /// Adds other integers, and the values beside their levels.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if the lists differ in length.
    pub fn add(&mut self, engine: &E, other: &Self) -> Result<()> {
        Ok(engine.add_scaled_values(&mut self.0, &other.0, 1)?)
    }

    /// Adds `k(unit) y` to the values whose unit is `unit`, for each integer and each table: an
    /// integer m is m units of its table, `1 / B^(j+1)` for level j and `amplitude` for the fourth.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if `y` has another length.
    pub fn add_in_units(
        self,
        engine: &E,
        y: &E::Values,
        amplitude: f64,
        k: impl Fn(f64) -> i64,
    ) -> Result<Self> {
        let base_log = gadget(engine.params())?.base_log as i32;
        let mut tables = Vec::with_capacity(TABLES);
        for t in 0..TABLES {
            let unit = if t == EXTRA { amplitude } else { 2f64.powi(-base_log * (t as i32 + 1)) };
            let mut values = self.table(engine, t)?;
            engine.add_scaled_values(&mut values, y, k(unit))?;
            tables.push(values);
        }
        let count = self.len();
        let picks: Vec<_> = (0..count).flat_map(|i| (0..TABLES).map(move |t| (t, i))).collect();
        Ok(Self(engine.gather(&tables.iter().collect::<Vec<_>>(), &picks)?))
    }

    /// Adds the integers of each window of `side` rows and columns of maps of a shape.
    pub(crate) fn pool(self, engine: &E, shape: Shape, side: usize) -> Result<Self> {
        if side == 1 {
            return Ok(self);
        }
        let (height, width) = (shape.height / side, shape.width / side);
        let maps = self.len() / shape.area();
        let mut sum = engine.public_values(&vec![0; TABLES * maps * height * width]);
        for (dy, dx) in (0..side).flat_map(|dy| (0..side).map(move |dx| (dy, dx))) {
            let picks = (0..maps * height * width).flat_map(|i| {
                let (map, y, x) = (i / (height * width), i / width % height, i % width);
                let at = (map * shape.height + y * side + dy) * shape.width + x * side + dx;
                (0..TABLES).map(move |t| TABLES * at + t)
            });
            engine.add_scaled_values(&mut sum, &engine.take(&self.0, picks)?, 1)?;
        }
        Ok(Self(sum))
    }
}

/// Returns the torus fraction of one at the finest level.
pub(crate) fn finest_unit(params: &Params) -> Result<f64> {
    let gadget = gadget(params)?;
    Ok(2f64.powi(-((gadget.base_log * gadget.levels) as i32)))
}

/// Returns the gadget of promotions, which has as many levels as a lookup gives.
pub(crate) fn gadget(params: &Params) -> Result<Gadget> {
    let name = || params.name.clone();
    let none = || fhe_core::Error::NoLists { op: "a network of several layers", name: name() };
    let gadget = params.lists.ok_or_else(none)?.selector;
    let (got, expected) = (gadget.levels as usize, LEVELS);
    if got == expected {
        Ok(gadget)
    } else {
        Err(Error::PromotionLevels { set: name(), got, expected })
    }
}
