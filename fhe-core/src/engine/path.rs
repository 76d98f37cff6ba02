//! Which way lookups take: the decisions that all engines share.

use super::Slot;
use crate::Params;
use crate::params::{BatchSpec, LookupPath};

/// The values of a list by the way that they take.
pub(crate) struct Paths {
    /// Indices of the values that are looked up one at a time.
    pub(crate) single: Vec<usize>,
    /// For each function whose values are looked up in batches, its index and theirs.
    pub(crate) batched: Vec<(usize, Vec<usize>)>,
}

impl Paths {
    /// Value i is looked up by function `of[i]`, below `functions`. A batch has one function, so
    /// that it is the number of a function's values that decides.
    pub(crate) fn new(params: &Params, functions: usize, of: &[usize]) -> Self {
        let mut counts = vec![0usize; functions];
        of.iter().for_each(|&f| counts[f] += 1);
        let in_batch: Vec<bool> =
            counts.iter().map(|&count| params.lookup_path(count) == LookupPath::Batch).collect();
        let mut of_function = vec![Vec::new(); functions];
        let mut single = Vec::new();
        for (i, &f) in of.iter().enumerate() {
            if in_batch[f] { of_function[f].push(i) } else { single.push(i) }
        }
        let batched = of_function.into_iter().enumerate().filter(|(_, of)| !of.is_empty());
        Self { single, batched: batched.collect() }
    }
}

/// Returns the batch part of a set if lists of slots are looked up in their own order: if `values`
/// values take batches, and `lists` rows no more of them than the values one after the other.
pub(crate) fn in_place(params: &Params, values: usize, lists: usize) -> Option<BatchSpec> {
    let batch = params.batch.filter(|_| params.lookup_path(values) == LookupPath::Batch)?;
    let needed = values.div_ceil(batch.values(params.row_size));
    (lists.div_ceil(batch.rows) <= needed).then_some(batch)
}

/// Returns lists that take so many values one after the other, n in each.
pub(crate) fn in_order(values: usize, n: usize) -> Vec<Vec<Slot>> {
    let list = |first: usize| {
        (first..values.min(first + n))
            .map(|value| Slot { value, coefficient: value - first })
            .collect()
    };
    (0..values).step_by(n).map(list).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_a_function_decide_on_its_path() {
        // 16 values fill the 128th part of 4 rows of 512.
        let params = Params::toy_insecure_batch().unwrap();
        let of: Vec<usize> = (0..40).map(|i| [0, 1, 1, 2][i % 4]).collect();
        let paths = Paths::new(&params, 3, &of);
        assert_eq!(paths.single, (0..40).filter(|i| of[*i] != 1).collect::<Vec<_>>());
        let [(1, values)] = &paths.batched[..] else { panic!("one function") };
        assert_eq!(*values, (0..40).filter(|i| of[*i] == 1).collect::<Vec<_>>());

        let without = Paths::new(&Params::toy_insecure().unwrap(), 3, &of);
        assert_eq!((without.single.len(), without.batched.len()), (40, 0));
    }

    #[test]
    fn lists_stay_as_they_are_if_they_take_no_more_batches() {
        let params = Params::toy_insecure_batch().unwrap();
        let cases = [(15, 1), (16, 4), (16, 5), (2048, 4), (2049, 5), (2049, 9)];
        let stay = cases.map(|(values, lists)| in_place(&params, values, lists).is_some());
        assert_eq!(stay, [false, true, false, true, true, false]);
        assert!(in_place(&Params::toy_insecure().unwrap(), 2048, 4).is_none());
    }

    #[test]
    fn values_in_order_fill_list_after_list() {
        let lists = in_order(10, 4);
        assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!(lists[2][1], Slot { value: 9, coefficient: 1 });
        assert!(in_order(0, 4).is_empty());
    }
}
