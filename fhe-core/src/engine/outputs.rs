//! Lookups whose outputs go where the caller wants them.

use super::{Engine, List, Slot, check, path};
use crate::params::LookupPath;
use crate::{Error, IntegerTable, Result, Table};

/// What one lookup of a list of values is to give, each where it is wanted.
///
/// All of it shares the reading of a value. The tables are sampled at N slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Integers as selectors, one for each list: `sum_s m(x[s.value]) X^s.coefficient`.
    pub selectors: Option<(IntegerTable, Vec<Vec<Slot>>)>,
    /// Tables as rows, one for each list: `sum_s f(x[s.value]) X^s.coefficient`.
    pub rows: Vec<(Table, Vec<Vec<Slot>>)>,
    /// Tables as values, in the order of the values that are looked up.
    pub values: Vec<Table>,
}

/// What a lookup gave. Each output is taken once, in the order in which [`Outputs`] lists its kind.
pub struct LookedUp<E: Engine> {
    selectors: Option<E::Selectors>,
    rows: std::vec::IntoIter<E::Rows>,
    values: std::vec::IntoIter<E::Values>,
}

impl<E: Engine> LookedUp<E> {
    /// Takes the selectors, one for each list.
    ///
    /// # Errors
    /// [`Error::Index`] if none were asked for, or they were taken.
    pub fn selectors(&mut self) -> Result<E::Selectors> {
        self.selectors.take().ok_or(Self::nothing("lookup_into (selectors)"))
    }

    /// Takes the rows of the next table, one for each list.
    ///
    /// # Errors
    /// [`Error::Index`] if there is no next one.
    pub fn rows(&mut self) -> Result<E::Rows> {
        self.rows.next().ok_or(Self::nothing("lookup_into (rows)"))
    }

    /// Takes the values of the next table, one for each value that was looked up.
    ///
    /// # Errors
    /// [`Error::Index`] if there is no next one.
    pub fn values(&mut self) -> Result<E::Values> {
        self.values.next().ok_or(Self::nothing("lookup_into (values)"))
    }

    fn nothing(op: &'static str) -> Error {
        Error::Index { op, index: 0, len: 0 }
    }
}

impl<E: Engine> std::fmt::Debug for LookedUp<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LookedUp(hidden)")
    }
}

impl Outputs {
    /// Returns the tables of rows and values.
    fn tables(&self) -> impl Iterator<Item = &Table> {
        self.rows.iter().map(|(table, _)| table).chain(&self.values)
    }

    /// Returns the lists that the other outputs can be taken from, if there are any.
    fn first_lists(&self) -> Option<&[Vec<Slot>]> {
        let of_rows = self.rows.first().map(|(_, lists)| lists);
        self.selectors.as_ref().map(|(_, lists)| lists).or(of_rows).map(Vec::as_slice)
    }
}

/// Gives all outputs. The first lists are looked up in place if that takes no more batches than the
/// values need, and everything else is taken from there. Otherwise values are looked up, and
/// promoted and packed.
pub(crate) fn all<E: Engine>(e: &E, x: &E::Values, outputs: &Outputs) -> Result<LookedUp<E>> {
    let lists = outputs.first_lists().unwrap_or_default();
    let in_place = path::in_place(e.params(), x.len(), lists.len()).is_some();
    match places(lists, x.len()).filter(|_| in_place) {
        Some(places) => from_lists(e, x, outputs, lists, &places),
        None => from_values(e, x, outputs),
    }
}

/// Returns list and coefficient of each value, if all of them have one.
fn places(lists: &[Vec<Slot>], values: usize) -> Option<Vec<(usize, usize)>> {
    let mut places = vec![None; values];
    for (l, slot) in lists.iter().enumerate().flat_map(|(l, list)| list.iter().map(move |s| (l, s)))
    {
        *places.get_mut(slot.value)? = Some((l, slot.coefficient));
    }
    places.into_iter().collect()
}

/// Returns the index of a table, which is added if it is not there.
fn index_of(tables: &mut Vec<Table>, table: &Table) -> usize {
    tables.iter().position(|other| other == table).unwrap_or_else(|| {
        tables.push(table.clone());
        tables.len() - 1
    })
}

fn from_lists<E: Engine>(
    e: &E,
    x: &E::Values,
    outputs: &Outputs,
    lists: &[Vec<Slot>],
    places: &[(usize, usize)],
) -> Result<LookedUp<E>> {
    let mut tables = Vec::new();
    let at: Vec<usize> = outputs.tables().map(|table| index_of(&mut tables, table)).collect();
    let (selectors, looked_up) = match &outputs.selectors {
        Some((integers, _)) => {
            let (selectors, rows) = e.lookup_selectors(x, integers, &tables, lists)?;
            (Some(selectors), rows)
        }
        None => (None, e.lookup_rows(x, &tables, lists)?),
    };
    let count = tables.len();
    let values = |t: usize| {
        let at = places.iter().map(|&(l, coefficient)| (l * count + t, coefficient));
        e.extract(&looked_up, &at.collect::<Vec<_>>())
    };
    let (of_rows, of_values) = at.split_at(outputs.rows.len());
    let rows = outputs.rows.iter().zip(of_rows).map(|((_, wanted), &t)| {
        if wanted == lists {
            let picks: Vec<usize> = (0..lists.len()).map(|l| l * count + t).collect();
            e.gather_rows(&looked_up, &picks)
        } else {
            e.pack(&values(t)?, wanted)
        }
    });
    let rows = rows.collect::<Result<Vec<_>>>()?.into_iter();
    let values = of_values.iter().map(|&t| values(t)).collect::<Result<Vec<_>>>()?.into_iter();
    Ok(LookedUp { selectors, rows, values })
}

fn from_values<E: Engine>(e: &E, x: &E::Values, outputs: &Outputs) -> Result<LookedUp<E>> {
    let params = e.params();
    let gadget = outputs.selectors.as_ref().map(|_| check::list_gadgets("lookup", params));
    let gadget = gadget.transpose()?.map(|lists| lists.selector);
    let mut tables = match outputs.selectors.iter().zip(gadget).next() {
        // A batch reads no more finely for fewer tables, and need not give what nobody wants.
        Some(((_, lists), _)) if lists.is_empty() && is_batch(e, x) => Vec::new(),
        Some(((integers, _), gadget)) => integers.levels(gadget)?,
        None => Vec::new(),
    };
    let at: Vec<usize> = outputs.tables().map(|table| index_of(&mut tables, table)).collect();
    let count = tables.len();
    let y = e.lookup(x, &tables)?;
    let selectors = match outputs.selectors.iter().zip(gadget).next() {
        Some(((_, lists), gadget)) if lists.is_empty() => {
            Some(e.promote(&e.public_values(&[]), gadget.levels as usize, &[])?)
        }
        Some(((_, lists), _)) => Some(e.promote(&y, count, lists)?),
        None => None,
    };
    let (of_rows, of_values) = at.split_at(outputs.rows.len());
    let rows = outputs.rows.iter().zip(of_rows);
    let rows = rows.map(|((_, lists), &t)| pack(e, &y, t..t + 1, count, lists));
    let rows = rows.collect::<Result<Vec<_>>>()?.into_iter();
    let values = of_values.iter().map(|&t| e.take(&y, (0..x.len()).map(|i| i * count + t)));
    let values = values.collect::<Result<Vec<_>>>()?.into_iter();
    Ok(LookedUp { selectors, rows, values })
}

fn is_batch<E: Engine>(e: &E, x: &E::Values) -> bool {
    e.params().lookup_path(x.len()) == LookupPath::Batch
}

/// Rows, by a lookup of values and packing.
pub(crate) fn rows_by_moves<E: Engine>(
    e: &E,
    x: &E::Values,
    tables: &[Table],
    lists: &[Vec<Slot>],
) -> Result<E::Rows> {
    let function = check::lookup_lists(e.params(), x.len(), None, tables, lists)?;
    pack(e, &e.lookup(x, function.tables())?, 0..tables.len(), tables.len(), lists)
}

/// Selectors of integers, and rows beside them, by a lookup of values, promotion and packing.
pub(crate) fn selectors_by_moves<E: Engine>(
    e: &E,
    x: &E::Values,
    integers: &IntegerTable,
    tables: &[Table],
    lists: &[Vec<Slot>],
) -> Result<(E::Selectors, E::Rows)> {
    let function = check::lookup_lists(e.params(), x.len(), Some(integers), tables, lists)?;
    let count = function.tables().len();
    let y = e.lookup(x, function.tables())?;
    let selectors = e.promote(&y, count, lists)?;
    Ok((selectors, pack(e, &y, count - tables.len()..count, count, lists)?))
}

/// All coefficients of rows, by lookups of values into lists.
pub(crate) fn coefficients_by_moves<E: Engine>(
    e: &E,
    x: &E::Rows,
    integers: Option<&IntegerTable>,
    tables: &[Table],
) -> Result<super::Coefficients<E>> {
    let n = e.params().row_size;
    let at: Vec<_> = (0..x.len()).flat_map(|row| (0..n).map(move |c| (row, c))).collect();
    let (values, lists) = (e.extract(x, &at)?, path::in_order(at.len(), n));
    let (selectors, rows) = match integers {
        Some(integers) => {
            let (selectors, rows) = e.lookup_selectors(&values, integers, tables, &lists)?;
            (Some(selectors), rows)
        }
        None if tables.is_empty() => (None, e.zero_rows(0)),
        None => (None, e.lookup_rows(&values, tables, &lists)?),
    };
    let of_table =
        |t: usize| -> Vec<usize> { (0..x.len()).map(|l| l * tables.len() + t).collect() };
    let rows = (0..tables.len()).map(|t| e.gather_rows(&rows, &of_table(t)));
    Ok((selectors, rows.collect::<Result<_>>()?))
}

/// Packs some of the tables that each value has: for each list a row for each of them.
fn pack<E: Engine>(
    e: &E,
    y: &E::Values,
    wanted: std::ops::Range<usize>,
    tables: usize,
    lists: &[Vec<Slot>],
) -> Result<E::Rows> {
    let slot = |s: &Slot, t: usize| Slot { value: s.value * tables + t, ..*s };
    let rows = lists
        .iter()
        .flat_map(|list| wanted.clone().map(move |t| list.iter().map(|s| slot(s, t)).collect()));
    e.pack(y, &rows.collect::<Vec<_>>())
}
