//! Integers that a lookup gave so that they can be promoted to selectors.

use fhe_core::params::Gadget;
use fhe_core::{Engine, IntegerTable, List, Params, Slot, Table};

use crate::Result;

/// Integers in the form in which they can be added and promoted, each with one more value.
///
/// They are for integers that something is added to before they are promoted. Others are selectors
/// as soon as they are looked up ([`Engine::lookup_into`]).
///
/// With the base B and the l levels of the gadget of promotions, an integer m is the l values
/// `m / B` to `m / B^l`. One more value stands beside them: of an error it is the error times an
/// amplitude. One lookup gives all of them.
///
/// # Shapes
/// A list of k integers has (l + 1) k values: value `(l + 1) i + j` is table j of integer i.
///
/// # Examples
/// ```
/// use fhe_core::{Clear, IntegerTable, Params, Slot, Table, from_torus, to_torus};
/// use fhe_nn::Promotable;
///
/// # fn main() -> fhe_nn::Result<()> {
/// let params = Params::secure128_deep_v4()?;
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
pub struct Promotable<E: Engine> {
    values: E::Values,
    gadget: Gadget,
}

impl<E: Engine> std::fmt::Debug for Promotable<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Promotable(hidden)")
    }
}

impl<E: Engine> List for Promotable<E> {
    /// Returns the number of integers.
    fn len(&self) -> usize {
        self.values.len() / self.tables()
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
    /// [`fhe_core::Error::NoLists`] if the parameter set cannot promote.
    pub fn lookup(
        engine: &E,
        x: &E::Values,
        integers: &IntegerTable,
        extra: &Table,
    ) -> Result<Self> {
        let gadget = gadget(engine.params())?;
        let mut tables = integers.levels(gadget)?;
        tables.push(extra.clone());
        Ok(Self { values: engine.lookup(x, &tables)?, gadget })
    }

    /// Returns the number of values of an integer.
    fn tables(&self) -> usize {
        self.gadget.levels as usize + 1
    }

    /// Returns the value beside the levels of each integer.
    ///
    /// # Errors
    /// None: the table is there.
    pub fn extra(&self, engine: &E) -> Result<E::Values> {
        self.table(engine, self.tables() - 1)
    }

    fn table(&self, engine: &E, table: usize) -> Result<E::Values> {
        let tables = self.tables();
        Ok(engine.take(&self.values, (0..self.len()).map(|i| tables * i + table))?)
    }

    /// Promotes the integers to selectors.
    ///
    /// # Cost
    /// That of [`Engine::promote`]; no lookup.
    ///
    /// # Errors
    /// Those of [`Engine::promote`].
    pub fn promote(&self, engine: &E, lists: &[Vec<Slot>]) -> Result<E::Selectors> {
        Ok(engine.promote(&self.values, self.tables(), lists)?)
    }

    /// Adds `k(unit) y` to the values whose unit is `unit`, for each integer and each table: an
    /// integer m is m units of its table, `1 / B^(j+1)` for level j and `amplitude` for the value
    /// beside them.
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
        let (base_log, levels) = (self.gadget.base_log as i32, self.gadget.levels as i32);
        let level = |level: i32| 2f64.powi(-base_log * (level + 1));
        let units: Vec<f64> = (0..levels).map(level).chain([amplitude]).collect();
        let mut tables = Vec::with_capacity(units.len());
        for (t, unit) in units.into_iter().enumerate() {
            let mut values = self.table(engine, t)?;
            engine.add_scaled_values(&mut values, y, k(unit))?;
            tables.push(values);
        }
        let (count, tables_of) = (self.len(), tables.len());
        let picks: Vec<_> = (0..count).flat_map(|i| (0..tables_of).map(move |t| (t, i))).collect();
        let values = engine.gather(&tables.iter().collect::<Vec<_>>(), &picks)?;
        Ok(Self { values, gadget: self.gadget })
    }
}

/// Returns the gadget of promotions, of a set that can expand rows, too.
pub(crate) fn gadget(params: &Params) -> Result<Gadget> {
    let none = || fhe_core::Error::NoLists {
        op: "a network of several layers",
        name: params.name.clone(),
    };
    let lists = params.lists.ok_or_else(none)?;
    lists.expand.ok_or_else(none)?;
    Ok(lists.selector)
}
