//! Which way lookups take: the decisions that all engines share.

use super::Slot;
use crate::params::{BatchSpec, LookupPath};
use crate::{Params, Read, TestPolynomial};

/// The values of a list by the way that they take.
pub(crate) struct Paths {
    /// Indices of the values that are looked up one at a time.
    pub(crate) single: Vec<usize>,
    /// What is looked up in batches.
    pub(crate) batched: Vec<Group>,
}

/// Values that one function is applied to.
pub(crate) struct Group {
    /// All its tables are read at the value.
    pub(crate) function: TestPolynomial,
    pub(crate) entries: Vec<Entry>,
}

/// A value, and where its outputs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Index of the value.
    pub(crate) value: usize,
    /// What is added to it first.
    pub(crate) beyond: u64,
    /// Index of the first output.
    pub(crate) out: usize,
}

impl Paths {
    /// Value i is looked up by function `of[i]`, each of which reads `each` numbers. A batch has
    /// one function, so that it is the number of a function's values that decides. Reads of one
    /// table at distances from the value are as many values with one read.
    pub(crate) fn new(
        params: &Params,
        functions: &[TestPolynomial],
        of: &[usize],
        each: usize,
    ) -> Self {
        if params.batch.is_none() || each == 0 {
            return Self { single: (0..of.len()).collect(), batched: Vec::new() };
        }
        let mut groups: Vec<Group> = Vec::new();
        let group_of: Vec<usize> = functions
            .iter()
            .map(|f| {
                let function = f.in_batch();
                groups.iter().position(|group| group.function == function).unwrap_or_else(|| {
                    groups.push(Group { function, entries: Vec::new() });
                    groups.len() - 1
                })
            })
            .collect();
        let mut values = vec![Vec::new(); groups.len()];
        for (i, &f) in of.iter().enumerate() {
            let (group, out) = (&mut groups[group_of[f]], i * each);
            if group.function.reads().len() == each {
                group.entries.push(Entry { value: i, beyond: functions[f].reads()[0].beyond, out });
            } else {
                let reads = functions[f].reads().iter().enumerate();
                let entry = |(r, read): (usize, &Read)| Entry {
                    value: i,
                    beyond: read.beyond,
                    out: out + r,
                };
                group.entries.extend(reads.map(entry));
            }
            values[group_of[f]].push(i);
        }
        let (mut single, mut batched) = (Vec::new(), Vec::new());
        for (group, values) in groups.into_iter().zip(values) {
            if params.lookup_path(group.entries.len()) == LookupPath::Batch {
                batched.push(group);
            } else {
                single.extend(values);
            }
        }
        single.sort_unstable();
        Self { single, batched }
    }
}

/// Returns the batch part of a set if lists of slots are looked up in their own order
/// ([`Params::looks_up_in_place`]).
pub(crate) fn in_place(params: &Params, values: usize, lists: usize) -> Option<BatchSpec> {
    params.batch.filter(|_| params.looks_up_in_place(values, lists))
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
    use crate::Table;

    #[test]
    fn the_values_of_a_function_decide_on_its_path() {
        // 16 values fill the 128th part of 4 rows of 512.
        let params = Params::toy_insecure_batch().unwrap();
        let of: Vec<usize> = (0..40).map(|i| [0, 1, 1, 2][i % 4]).collect();
        let table = |size: f64| Table::new(512, move |x| size * x).unwrap();
        let functions = [0.1, 0.2, 0.3].map(|size| TestPolynomial::new(table(size)));
        let paths = Paths::new(&params, &functions, &of, 1);
        assert_eq!(paths.single, (0..40).filter(|i| of[*i] != 1).collect::<Vec<_>>());
        let [Group { function, entries }] = &paths.batched[..] else { panic!("one function") };
        assert_eq!(function, &functions[1]);
        let values: Vec<usize> = entries.iter().map(|entry| entry.value).collect();
        assert_eq!(values, (0..40).filter(|i| of[*i] == 1).collect::<Vec<_>>());

        let without = Paths::new(&Params::toy_insecure().unwrap(), &functions, &of, 1);
        assert_eq!((without.single.len(), without.batched.len()), (40, 0));
    }

    /// Functions that read one table at distances of their own share a batch.
    #[test]
    fn reads_at_distances_are_values_of_their_own() {
        let params = Params::toy_insecure_batch().unwrap();
        let table = Table::new(512, |x| x / 2.0).unwrap().within_half_torus();
        let at = |offsets: [usize; 2]| {
            TestPolynomial::at_offsets(table.clone(), offsets.to_vec()).unwrap()
        };
        let functions = [at([0, 5]), at([9, 0]), at([3, 4])];
        let of: Vec<usize> = (0..9).map(|i| i % 3).collect();
        let paths = Paths::new(&params, &functions, &of, 2);
        let [Group { function, entries }] = &paths.batched[..] else { panic!("one table") };
        assert!(paths.single.is_empty() && !function.is_within_half_torus());
        assert_eq!(entries.len(), 18);
        let beyond = table.slot() * 4;
        assert_eq!(entries[11], Entry { value: 5, beyond, out: 11 });
        assert!(Paths::new(&params, &functions, &of[..7], 2).batched.is_empty(), "14 reads");
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
