//! The checks that every engine makes, so that all refuse the same programs alike.

use super::{Slot, Term};
use crate::params::{Gadget, ListGadgets};
use crate::{Error, IntegerTable, Params, Result, Table, TestPolynomial};

pub(crate) fn terms(terms: &[Vec<Term>], selectors: usize, rows: usize) -> Result<()> {
    for t in terms.iter().flatten() {
        index("products (selector)", t.selector, selectors)?;
        index("products (row)", t.row, rows)?;
    }
    Ok(())
}

pub(crate) fn index(op: &'static str, index: usize, len: usize) -> Result<()> {
    if index < len { Ok(()) } else { Err(Error::Index { op, index, len }) }
}

/// Refuses lists that were made under a parameter set with another row size.
pub(crate) fn row_size(op: &'static str, got: usize, expected: usize) -> Result<()> {
    let what = "coefficients (N)";
    if got == expected { Ok(()) } else { Err(Error::Shape { op, what, got, expected }) }
}

pub(crate) fn same(op: &'static str, got: usize, expected: usize) -> Result<()> {
    let what = "elements";
    if got == expected { Ok(()) } else { Err(Error::Shape { op, what, got, expected }) }
}

pub(crate) fn slots(op: &'static str, lists: &[Vec<Slot>], values: usize, n: usize) -> Result<()> {
    let mut filled_by = vec![usize::MAX; n];
    for (i, list) in lists.iter().enumerate() {
        for slot in list {
            index(op, slot.value, values)?;
            index(op, slot.coefficient, n)?;
            if std::mem::replace(&mut filled_by[slot.coefficient], i) == i {
                return Err(Error::Repeated { op, coefficient: slot.coefficient });
            }
        }
    }
    Ok(())
}

pub(crate) fn no_lists(op: &'static str, params: &Params) -> Error {
    Error::NoLists { op, name: params.name.clone() }
}

/// Returns the gadgets for lists.
pub(crate) fn list_gadgets(op: &'static str, params: &Params) -> Result<ListGadgets> {
    params.lists.ok_or_else(|| no_lists(op, params))
}

/// Refuses a number of parts that no expansion has.
pub(crate) fn expansion(params: &Params, parts: usize) -> Result<()> {
    let op = "expand";
    list_gadgets(op, params)?.expand.ok_or_else(|| no_lists(op, params))?;
    let what = "parts (a power of two, N at most)";
    let expected = parts.clamp(1, params.row_size).next_power_of_two();
    if parts == expected { Ok(()) } else { Err(Error::Shape { op, what, got: parts, expected }) }
}

/// Refuses to add selectors of different gadgets.
pub(crate) fn same_gadget(op: &'static str, got: Gadget, expected: Gadget) -> Result<()> {
    let what = "bits of the gadget of its selectors";
    let bits = |g: Gadget| (g.base_log * g.levels) as usize;
    let (got_bits, expected_bits) = (bits(got), bits(expected));
    if got == expected {
        Ok(())
    } else {
        Err(Error::Shape { op, what, got: got_bits, expected: expected_bits })
    }
}

/// Returns what a lookup into lists reads: the levels of the integers, then the tables.
pub(crate) fn lookup_lists(
    params: &Params,
    values: usize,
    integers: Option<&IntegerTable>,
    tables: &[Table],
    lists: &[Vec<Slot>],
) -> Result<TestPolynomial> {
    let gadget = list_gadgets("lookup", params)?.selector;
    let mut all = integers.map_or_else(|| Ok(Vec::new()), |m| m.levels(gadget))?;
    all.extend_from_slice(tables);
    let function = [TestPolynomial::interleaved(all)?];
    functions(&function, &[], 0, params.row_size)?;
    slots("lookup", lists, values, params.row_size)?;
    let [function] = function;
    Ok(function)
}

/// Returns what a batch reads of all coefficients of rows: the integers, if they are wanted, then
/// the tables; `None` if there is nothing to read.
pub(crate) fn lookup_coefficients(
    params: &Params,
    integers: Option<&IntegerTable>,
    tables: &[Table],
) -> Result<Option<TestPolynomial>> {
    if integers.is_none() && tables.is_empty() {
        return Ok(None);
    }
    lookup_lists(params, 0, integers, tables, &[])?;
    Ok(Some(match integers {
        Some(integers) => integers.beside(tables)?,
        None => TestPolynomial::interleaved(tables.to_vec())?,
    }))
}

/// Returns the gadget of the selectors.
pub(crate) fn promotion(
    params: &Params,
    values: usize,
    tables: usize,
    lists: &[Vec<Slot>],
) -> Result<Gadget> {
    let op = "promote";
    let gadget = list_gadgets(op, params)?.selector;
    let levels = gadget.levels as usize;
    if tables < levels {
        let what = "tables (at least the levels)";
        return Err(Error::Shape { op, what, got: tables, expected: levels });
    }
    if !values.is_multiple_of(tables) {
        let (got, expected) = (values, values.next_multiple_of(tables));
        return Err(Error::Shape { op, what: "values", got, expected });
    }
    slots(op, lists, values / tables, params.row_size)?;
    Ok(gadget)
}

/// Returns the length of windows and filters.
pub(crate) fn windows(
    windows: &[Vec<Option<usize>>],
    weights: &[Vec<i32>],
    values: usize,
) -> Result<usize> {
    let (op, what) = ("weighted_sums", "weights of a filter, or places of a window");
    let expected = weights.first().map_or(0, Vec::len);
    let lens = weights.iter().map(Vec::len).chain(windows.iter().map(Vec::len));
    for got in lens {
        if got != expected {
            return Err(Error::Shape { op, what, got, expected });
        }
    }
    for &i in windows.iter().flatten().flatten() {
        index(op, i, values)?;
    }
    Ok(expected)
}

pub(crate) fn whole_rows(len: usize, n: usize) -> Result<()> {
    let (op, what, expected) = ("public_rows", "coefficients", len.next_multiple_of(n));
    if len == expected { Ok(()) } else { Err(Error::Shape { op, what, got: len, expected }) }
}

pub(crate) fn picks(lens: &[usize], picks: &[(usize, usize)]) -> Result<()> {
    for &(list, i) in picks {
        index("gather (list)", list, lens.len())?;
        index("gather", i, lens[list])?;
    }
    Ok(())
}

pub(crate) fn positions(positions: &[(usize, usize)], rows: usize, n: usize) -> Result<()> {
    for &(row, coefficient) in positions {
        index("extract (row)", row, rows)?;
        index("extract (coefficient)", coefficient, n)?;
    }
    Ok(())
}

/// Returns the number of tables that each function has place for, and of reads.
pub(crate) fn functions(
    functions: &[TestPolynomial],
    of: &[usize],
    len: usize,
    n: usize,
) -> Result<(usize, usize)> {
    let op = "lookup";
    let fail = |what, got, expected| Err(Error::Shape { op, what, got, expected });
    same(op, of.len(), len)?;
    of.iter().try_for_each(|&i| index(op, i, functions.len()))?;
    let Some(first) = functions.first() else { return Ok((1, 0)) };
    let (tables, reads) = (first.interleaving(), first.reads().len());
    if tables > n {
        return fail("tables a function", first.tables().len(), n);
    }
    for function in functions {
        let got = function.interleaving();
        if got != tables {
            return fail("tables a function", got, tables);
        }
        if let Some(short) = function.tables().iter().find(|table| table.slots() < n / tables) {
            return fail("slots a table", short.slots(), n / tables);
        }
        let got = function.reads().len();
        if got != reads {
            return fail("reads a function", got, reads);
        }
    }
    Ok((tables, reads))
}
