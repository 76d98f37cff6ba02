use crate::{Error, Result, Table};

/// What one bootstrap reads of a value: a polynomial of N entries, and which of its coefficients
/// are extracted once it is rotated by the value.
///
/// A polynomial holds r tables of N / r slots each, interleaved: coefficient `i r + t` is slot i of
/// table t. The rotation takes the value's slot to coefficient 0, so that coefficient `i r + t` of
/// the rotated polynomial is table t read i slots beyond the value. All that is extracted shares
/// the noise with which the value is read.
///
/// - [`TestPolynomial::new`]: one table, read at the value.
/// - [`TestPolynomial::interleaved`]: several tables, each read at the value, which is read r times
///   more coarsely (PBSmanyLUT: Chillotti, Ligier, Orfila, Tap, eprint 2021/729, section 3.3).
/// - [`TestPolynomial::at_offsets`]: one table, read at several distances from the value, as finely
///   as one table is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestPolynomial {
    /// A power of two of them, each of as many slots.
    tables: Vec<Table>,
    /// Each below N.
    extracted: Vec<usize>,
}

impl TestPolynomial {
    /// One table, read at the value.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { tables: vec![table], extracted: vec![0] }
    }

    /// Several tables, each read at the value.
    ///
    /// # Errors
    /// [`Error::Shape`] if their number is no power of two, or one has not as many slots as the
    /// first.
    ///
    /// ```
    /// use fhe_core::{Table, TestPolynomial};
    /// # fn main() -> fhe_core::Result<()> {
    /// let sign = Table::new(1024, |x| if x < 0.0 { -0.125 } else { 0.125 })?;
    /// let half = Table::new(1024, |x| x / 2.0)?;
    /// let both = TestPolynomial::interleaved(vec![sign.clone(), half])?;
    /// assert_eq!((both.size(), both.extracted()), (2048, &[0, 1][..]));
    /// assert!(TestPolynomial::interleaved(vec![sign; 3]).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn interleaved(tables: Vec<Table>) -> Result<Self> {
        let op = "lookup";
        let count = tables.len();
        if !count.is_power_of_two() {
            let what = "tables (a power of two is needed)";
            let expected = count.next_power_of_two();
            return Err(Error::Shape { op, what, got: count, expected });
        }
        let expected = tables[0].slots();
        if let Some(other) = tables.iter().find(|table| table.slots() != expected) {
            return Err(Error::Shape { op, what: "slots a table", got: other.slots(), expected });
        }
        Ok(Self { tables, extracted: (0..count).collect() })
    }

    /// One table, read so many slots beyond the value: several steps of one function, or functions
    /// that are stretches of one.
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
    /// assert_eq!(both.extracted(), [0, 512]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn at_offsets(table: Table, offsets: Vec<usize>) -> Result<Self> {
        let len = table.slots();
        match offsets.iter().find(|&&offset| offset >= len) {
            Some(&index) => Err(Error::Index { op: "lookup", index, len }),
            None => Ok(Self { tables: vec![table], extracted: offsets }),
        }
    }

    /// Returns the tables.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Returns which coefficients of the rotated polynomial are extracted.
    #[must_use]
    pub fn extracted(&self) -> &[usize] {
        &self.extracted
    }

    /// Returns the number N of coefficients.
    #[must_use]
    pub fn size(&self) -> usize {
        self.tables.iter().map(Table::slots).sum()
    }

    /// Returns the coefficients before the rotation.
    pub(crate) fn coefficients(&self) -> Vec<u64> {
        let count = self.tables.len();
        (0..self.size()).map(|c| self.tables[c % count].entries()[c / count]).collect()
    }

    /// Returns what is read at a phase, with the slot nearest to it and the negacyclic rule.
    pub(crate) fn at(&self, phase: u64) -> impl Iterator<Item = u64> {
        let count = self.tables.len();
        self.extracted.iter().map(move |c| {
            let table = &self.tables[c % count];
            table.at(phase.wrapping_add(table.slot() * (c / count) as u64))
        })
    }
}
