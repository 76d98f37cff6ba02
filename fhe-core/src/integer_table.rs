use crate::params::Gadget;
use crate::{Error, Result, Table, TestPolynomial, to_torus};

/// A function from the half torus to small integers, as a lookup applies it.
///
/// It is a [`Table`] whose entries are integers in place of torus elements, and is read as one:
/// negacyclically, and with the promise of [`Table::within_half_torus`] if it carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegerTable {
    /// Entry m stands as the 64-bit integer m.
    raw: Table,
}

impl IntegerTable {
    /// Samples `f` at the middle of `slots` slots of `[-1/4, 1/4)`.
    ///
    /// # Errors
    /// [`Error::Shape`] as for [`Table::new`].
    ///
    /// ```
    /// use fhe_core::{IntegerTable, params::Gadget, to_torus};
    /// # fn main() -> fhe_core::Result<()> {
    /// let step = IntegerTable::new(1024, |x| (8.0 * x).round() as i32)?;
    /// let levels = step.levels(Gadget { base_log: 7, levels: 3 })?;
    /// assert_eq!(levels[1].at(to_torus(0.2)), to_torus(2.0 / 16384.0));
    /// assert_eq!(step.times(0.25).at(to_torus(0.2)), to_torus(0.5));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(slots: usize, f: impl Fn(f64) -> i32) -> Result<Self> {
        Ok(Self { raw: Table::from_elements(slots, |x| i64::from(f(x)) as u64)? })
    }

    /// Promises that values stay in the half torus: see [`Table::within_half_torus`].
    #[must_use]
    pub fn within_half_torus(self) -> Self {
        Self { raw: self.raw.within_half_torus() }
    }

    /// Returns the table of the integers times a torus fraction, with the same promise.
    #[must_use]
    pub fn times(&self, fraction: f64) -> Table {
        self.raw.map(|m| to_torus(m as i64 as f64 * fraction))
    }

    /// Returns a table for each level of a gadget: table j gives `m / B^(j+1)`, which is what
    /// [`crate::Engine::promote`] takes.
    ///
    /// # Errors
    /// [`Error::Shape`] if the gadget keeps more than 64 bits.
    pub fn levels(&self, gadget: Gadget) -> Result<Vec<Table>> {
        let got = (gadget.base_log as usize).saturating_mul(gadget.levels as usize);
        if got > 64 || gadget.levels > 64 {
            let (op, what) = ("table", "bits of a gadget (at most)");
            let got = got.max(gadget.levels as usize);
            return Err(Error::Shape { op, what, got, expected: 64 });
        }
        let unit = |level: u32| 2f64.powi(-((gadget.base_log * level) as i32));
        Ok((1..=gadget.levels).map(|level| self.times(unit(level))).collect())
    }

    /// Returns what a batch reads: the integers, m as the torus element `m / 2^64`, then tables.
    pub(crate) fn beside(&self, tables: &[Table]) -> Result<TestPolynomial> {
        let mut all = vec![self.raw.clone()];
        all.extend_from_slice(tables);
        TestPolynomial::interleaved(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gadgets_of_too_many_bits_are_refused() {
        let one = IntegerTable::new(64, |_| 1).unwrap();
        for (base_log, levels) in [(u32::MAX, u32::MAX), (0, u32::MAX), (9, 8)] {
            assert!(one.levels(Gadget { base_log, levels }).is_err());
        }
        assert_eq!(one.levels(Gadget { base_log: 7, levels: 0 }).unwrap().len(), 0);
        assert!(IntegerTable::new(3, |_| 1).is_err());
    }

    #[test]
    fn multiples_keep_the_promise() {
        let table = IntegerTable::new(64, |x| (64.0 * x).round() as i32).unwrap();
        assert!(!table.times(0.5).is_within_half_torus());
        let promised = table.within_half_torus();
        let levels = promised.levels(Gadget { base_log: 7, levels: 3 }).unwrap();
        assert!(levels.iter().all(Table::is_within_half_torus));
        assert_eq!(levels[2], promised.times(2f64.powi(-21)));
        let fine = Table::new(64, |x| (64.0 * x).round() * 2f64.powi(-21)).unwrap();
        assert_eq!(levels[2], fine.within_half_torus());
    }
}
