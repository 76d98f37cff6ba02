use crate::table::narrowest_run;
use crate::{Error, Result, Table};

/// One number that a function reads: of which table, and how far beyond the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Index of the table.
    pub table: usize,
    /// Distance from the value, as a torus element of `[0, 1/2)`.
    pub beyond: u64,
}

/// What one lookup reads of a value: some tables, each at the value or at distances from it.
///
/// A blind rotation has one polynomial of N coefficients for it. It holds r tables of N / r slots
/// each, interleaved: coefficient `i r + t` is slot i of table t, and r is the number of tables or
/// the next power of two. The rotation takes the value's slot to coefficient 0, so that coefficient
/// `i r + t` of the rotated polynomial is table t read i slots beyond the value. All that is read
/// shares the noise with which the value is read.
///
/// - [`TestPolynomial::new`]: one table, read at the value.
/// - [`TestPolynomial::interleaved`]: several tables, each read at the value, which is read r times
///   more coarsely (PBSmanyLUT: Chillotti, Ligier, Orfila, Tap, eprint 2021/729, section 3.3).
/// - [`TestPolynomial::at_offsets`]: one table, read at several distances from the value, as finely
///   as one table is read.
///
/// In a batch each read is a function of its own, read as finely as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestPolynomial {
    /// At least one.
    tables: Vec<Table>,
    reads: Vec<Read>,
}

impl TestPolynomial {
    /// One table, read at the value.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { tables: vec![table], reads: vec![Read { table: 0, beyond: 0 }] }
    }

    /// Several tables, each read at the value.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are none.
    ///
    /// ```
    /// use fhe_core::{Table, TestPolynomial};
    /// # fn main() -> fhe_core::Result<()> {
    /// let sign = Table::new(2048, |x| if x < 0.0 { -0.125 } else { 0.125 })?;
    /// let half = Table::new(2048, |x| x / 2.0)?;
    /// let both = TestPolynomial::interleaved(vec![sign, half])?;
    /// assert_eq!((both.tables().len(), both.reads().len()), (2, 2));
    /// assert!(TestPolynomial::interleaved(Vec::new()).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn interleaved(tables: Vec<Table>) -> Result<Self> {
        if tables.is_empty() {
            return Err(Error::Shape { op: "lookup", what: "tables", got: 0, expected: 1 });
        }
        let reads = (0..tables.len()).map(|table| Read { table, beyond: 0 }).collect();
        Ok(Self { tables, reads })
    }

    /// One table, read so many slots beyond the value: several steps of one function, or functions
    /// that are stretches of one. Beyond the half torus it is read by the negacyclic rule, also if
    /// it has the promise that values stay inside.
    ///
    /// # Errors
    /// [`Error::Index`] if an offset is not below the number of slots.
    ///
    /// ```
    /// use fhe_core::{Table, TestPolynomial};
    /// # fn main() -> fhe_core::Result<()> {
    /// // Whether a value is above 0, and whether it is above -1/8.
    /// let sign = Table::new(2048, |x| if x < 0.0 { -0.125 } else { 0.125 })?;
    /// let both = TestPolynomial::at_offsets(sign, vec![0, 512])?;
    /// assert_eq!(both.reads()[1].beyond, fhe_core::to_torus(0.125));
    /// # Ok(())
    /// # }
    /// ```
    pub fn at_offsets(table: Table, offsets: Vec<usize>) -> Result<Self> {
        let len = table.slots();
        if let Some(&index) = offsets.iter().find(|&&offset| offset >= len) {
            return Err(Error::Index { op: "lookup", index, len });
        }
        let read = |offset: usize| Read { table: 0, beyond: table.slot() * offset as u64 };
        let reads = offsets.into_iter().map(read).collect();
        Ok(Self { tables: vec![table], reads })
    }

    /// Returns the tables.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Returns what is read.
    #[must_use]
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// Returns whether all tables have the promise that values stay in the half torus.
    #[must_use]
    pub fn is_within_half_torus(&self) -> bool {
        self.tables.iter().all(Table::is_within_half_torus)
    }

    /// Returns the function whose values in a batch this one's reads are. Several tables are read
    /// at the value, and that is this function. Reads of one table are values of their own, each at
    /// its distance. A distance leads out of the half torus, so that the promise does not count.
    pub(crate) fn in_batch(&self) -> Self {
        match &self.tables[..] {
            [table] if self.reads.iter().any(|read| read.beyond > 0) => {
                Self::new(table.without_promise())
            }
            [table] => Self::new(table.clone()),
            _ => self.clone(),
        }
    }

    /// Returns the number r of tables that the polynomial has place for.
    pub(crate) fn interleaving(&self) -> usize {
        self.tables.len().next_power_of_two()
    }

    /// Returns the polynomial of n coefficients before the rotation; where there is no table, 0.
    pub(crate) fn coefficients(&self, n: usize) -> Vec<u64> {
        let count = self.interleaving();
        let entry = |c: usize| {
            let table = self.tables.get(c % count)?.entries();
            table.get(c / count * (table.len() * count / n)).copied()
        };
        (0..n).map(|c| entry(c).unwrap_or(0)).collect()
    }

    /// Returns which of the n coefficients of the rotated polynomial are extracted.
    pub(crate) fn extracted(&self, n: usize) -> Vec<usize> {
        let count = self.interleaving();
        let shift = 63 - (n / count).ilog2();
        self.reads.iter().map(|read| (read.beyond >> shift) as usize * count + read.table).collect()
    }

    /// Returns what a blind rotation of n coefficients reads at a phase: with the slot nearest to
    /// it, and the negacyclic rule.
    pub(crate) fn at(&self, phase: u64, n: usize) -> impl Iterator<Item = u64> {
        let (slots, shift) = (n / self.interleaving(), 63 - (n / self.interleaving()).ilog2());
        let at = slot(phase, slots) as u64;
        self.reads
            .iter()
            .map(move |read| self.tables[read.table].at(middle(at + (read.beyond >> shift), slots)))
    }

    /// Returns for each read what a batch of t slots reads at each slot. Slot i is the phase
    /// `i / t` or, if all tables have the promise, the two phases `i / 2t` and `i / 2t + 1/2`.
    pub(crate) fn batch_entries(&self, t: usize) -> Vec<Vec<u64>> {
        let half = self.is_within_half_torus();
        // The phase of a slot, that of [-1/4, 1/4) if there are two.
        let phase = |i: usize| match half {
            true => (((i as u64) << (64 - t.ilog2())) as i64 >> 1) as u64,
            false => (i as u64) << (64 - t.ilog2()),
        };
        let read = |read: &Read| {
            (0..t).map(|i| self.tables[read.table].at(phase(i).wrapping_add(read.beyond))).collect()
        };
        self.reads.iter().map(read).collect()
    }

    /// Returns the slot, below t, as which a batch reads a phase: the nearest one.
    pub(crate) fn batch_slot(&self, phase: u64, t: usize) -> usize {
        let doubled = if self.is_within_half_torus() { phase << 1 } else { phase };
        let shift = 64 - t.ilog2();
        (doubled.wrapping_add(1 << (shift - 1)) >> shift) as usize
    }

    /// Returns the width of the narrowest run of equal entries in a batch of t slots, as a fraction
    /// of the torus.
    pub(crate) fn batch_plateau(&self, t: usize) -> f64 {
        let torus = if self.is_within_half_torus() { 0.5 } else { 1.0 };
        let run = |entries: &Vec<u64>| narrowest_run(entries, entries.first() == entries.last());
        let narrowest = self.batch_entries(t).iter().map(run).min().unwrap_or(t);
        torus * narrowest as f64 / t as f64
    }
}

/// Returns the slot nearest to a phase, of so many of `[-1/4, 1/4)`; those of the rest follow.
fn slot(phase: u64, slots: usize) -> usize {
    let shift = 63 - slots.ilog2();
    // Adding 1/4 makes the range start at slot 0; adding half a slot rounds to the nearest.
    (phase.wrapping_add(1 << 62).wrapping_add(1 << (shift - 1)) >> shift) as usize
}

/// Returns the phase in the middle of a slot.
fn middle(slot: u64, slots: usize) -> u64 {
    (slot << (63 - slots.ilog2())).wrapping_sub(1 << 62)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_torus, to_torus};

    fn square(slots: usize) -> Table {
        Table::new(slots, |x| x * x + x / 8.0).unwrap()
    }

    /// A rotation by the value's slot brings what is read to the extracted coefficients.
    #[test]
    fn what_is_read_is_what_a_rotation_extracts() {
        let n = 256;
        let offsets = TestPolynomial::at_offsets(square(n), vec![0, 7, 255]).unwrap();
        for tables in [1, 2, 3, 5] {
            for slots in [n / 4, n / 2, n, 2 * n] {
                if slots * usize::next_power_of_two(tables) < n {
                    continue;
                }
                let negated = |t: usize| Table::new(slots, |x| x * x - x * t as f64).unwrap();
                let several = TestPolynomial::interleaved((0..tables).map(negated).collect());
                for function in [&several.unwrap(), &offsets] {
                    let r = function.interleaving();
                    for phase in (0..97).map(|i| to_torus(f64::from(i) / 97.0)) {
                        let mut x = function.coefficients(n);
                        // The slot's coefficient comes to 0: minus as many steps.
                        let steps = slot(phase, n / r) * r;
                        crate::polynomial::rotate(&mut x, (2 * n - steps) % (2 * n));
                        let extracted = function.extracted(n);
                        let got: Vec<u64> = extracted.iter().map(|&c| x[c]).collect();
                        assert_eq!(got, function.at(phase, n).collect::<Vec<_>>());
                    }
                }
            }
        }
    }

    /// A finer table is read at every so many of its slots.
    #[test]
    fn a_finer_table_is_the_same_table() {
        let both = |slots| TestPolynomial::interleaved(vec![square(slots), square(slots)]).unwrap();
        assert_eq!(both(128).coefficients(256), both(1024).coefficients(256));
        assert_eq!(square(128).plateau(), square(1024).plateau_at(128));
    }

    #[test]
    fn a_batch_reads_twice_as_finely_what_is_promised_to_stay_inside() {
        let t = 64;
        let function = |promise: bool| {
            let table = square(256);
            TestPolynomial::new(if promise { table.within_half_torus() } else { table })
        };
        let read = |f: &TestPolynomial, x: f64| {
            let phase = to_torus(x);
            from_torus(f.batch_entries(t)[0][f.batch_slot(phase, t)])
        };
        let f = |x: f64| x * x + x / 8.0;
        let near = |got: f64, x: f64, slot: f64| {
            let x = (x / slot).round() * slot;
            assert!((got - f(x)).abs() < 1e-12, "{x}: {got}");
        };
        let (plain, promised) = (function(false), function(true));
        for x in (-31..32).map(|i| f64::from(i) / 129.0) {
            near(read(&promised, x), x, 1.0 / 128.0);
            near(read(&plain, x), x, 1.0 / 64.0);
            assert_eq!(read(&promised, x), read(&promised, x + 0.5), "periodic");
            assert_eq!(read(&plain, x), -read(&plain, x + 0.5), "negacyclic");
        }
        // One table without the promise, and a lookup has none.
        let mixed = vec![square(256).within_half_torus(), square(256)];
        assert!(!TestPolynomial::interleaved(mixed).unwrap().is_within_half_torus());
    }

    /// Reads beyond the half torus are negacyclic, whatever is promised of the values.
    #[test]
    fn reads_beyond_a_value_are_negacyclic_in_a_batch_too() {
        let sign = Table::new(256, |x| if x < 0.0 { -0.125 } else { 0.125 }).unwrap();
        let reads = TestPolynomial::at_offsets(sign.within_half_torus(), vec![0, 128]).unwrap();
        let entries = reads.batch_entries(64);
        let at = |x: f64| {
            let slot = reads.batch_slot(to_torus(x), 64);
            [0, 1].map(|read: usize| from_torus(entries[read][slot]))
        };
        assert_eq!(at(-0.2), [-0.125, 0.125]);
        assert_eq!(at(0.2), [0.125, 0.125]);
        assert_eq!(reads.batch_plateau(64), 0.25);
    }
}
