use crate::torus::to_torus;
use crate::{Error, Result};

/// Most slots of a table: the largest row size there is.
const MOST_SLOTS: usize = 1 << 14;

/// A function from the half torus to the torus, as a lookup applies it.
///
/// A lookup reads its input as one of some slots of the half torus `[-1/4, 1/4)` and returns the
/// slot's entry. Outside it, every table continues *negacyclically*: `f(x + 1/2) = -f(x)`. An odd
/// function that saturates at the ends therefore reads an input just outside the range correctly.
///
/// How many slots are told apart is the lookup's affair. One table is read by a blind rotation at
/// all N slots of a row, r tables at `N / r`. A table with more slots than a lookup tells apart is
/// read at every so many of its own, which are the same points of the torus. So N slots fit all.
///
/// A table may carry the promise that values stay in the half torus
/// ([`Table::within_half_torus`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// A power of two of them, at most [`MOST_SLOTS`].
    entries: Vec<u64>,
    /// Whether values are promised to stay in the half torus.
    within_half_torus: bool,
}

impl Table {
    /// Samples `f` at the middle of `slots` slots of `[-1/4, 1/4)`; `f` returns torus fractions.
    ///
    /// # Errors
    /// [`Error::Shape`] if `slots` is no power of two, or more than 16,384.
    ///
    /// ```
    /// # fn main() -> fhe_core::Result<()> {
    /// // The sign, with outputs +-1/8.
    /// let sign = fhe_core::Table::new(2048, |x| if x < 0.0 { -0.125 } else { 0.125 })?;
    /// assert_eq!(sign.at(fhe_core::to_torus(0.1)), fhe_core::to_torus(0.125));
    /// assert_eq!(sign.at(fhe_core::to_torus(0.4)), fhe_core::to_torus(-0.125).wrapping_neg());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(slots: usize, f: impl Fn(f64) -> f64) -> Result<Self> {
        Self::from_elements(slots, |x| to_torus(f(x)))
    }

    /// Samples a function that returns torus elements.
    pub(crate) fn from_elements(slots: usize, f: impl Fn(f64) -> u64) -> Result<Self> {
        if !slots.is_power_of_two() || slots > MOST_SLOTS {
            let (op, what) = ("table", "slots (a power of two is needed)");
            let expected = slots.min(MOST_SLOTS).next_power_of_two();
            return Err(Error::Shape { op, what, got: slots, expected });
        }
        let entries = (0..slots).map(|i| f(-0.25 + 0.5 * (i as f64) / (slots as f64))).collect();
        Ok(Self { entries, within_half_torus: false })
    }

    /// Returns the table of a function of each entry, with the same promise.
    pub(crate) fn map(&self, f: impl Fn(u64) -> u64) -> Self {
        let entries = self.entries.iter().map(|&x| f(x)).collect();
        Self { entries, within_half_torus: self.within_half_torus }
    }

    /// Promises that values stay in the half torus `[-1/4, 1/4)`, noise included.
    ///
    /// A batch lookup then tells twice as many slots apart. In return it reads a value outside as
    /// if it were inside, half a torus away: *periodically*, `f(x + 1/2) = f(x)`. A blind rotation
    /// makes nothing of the promise, and reads negacyclically. A caller that does not choose the
    /// path must therefore take either for such a value.
    ///
    /// The promise of a lookup is that of all its tables: it counts if each of them has it.
    ///
    /// ```
    /// # fn main() -> fhe_core::Result<()> {
    /// let square = fhe_core::Table::new(2048, |x| x * x)?.within_half_torus();
    /// assert!(square.is_within_half_torus());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn within_half_torus(self) -> Self {
        Self { within_half_torus: true, ..self }
    }

    /// Takes the promise back.
    pub(crate) fn without_promise(&self) -> Self {
        Self { entries: self.entries.clone(), within_half_torus: false }
    }

    /// Returns whether values are promised to stay in the half torus.
    #[must_use]
    pub fn is_within_half_torus(&self) -> bool {
        self.within_half_torus
    }

    /// Returns the number of slots of the half torus.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.entries.len()
    }

    /// Returns the entries from `-1/4` upwards.
    #[must_use]
    pub fn entries(&self) -> &[u64] {
        &self.entries
    }

    /// Returns the width of the narrowest run of equal entries, as a fraction of the torus. Runs at
    /// the two ends count as they stand, unless the table goes on with the same value by the
    /// negacyclic rule.
    #[must_use]
    pub fn plateau(&self) -> f64 {
        let (first, last) = (self.entries.first(), self.entries.last());
        let goes_on = first.map(|x| x.wrapping_neg()) == last.copied();
        narrowest_run(&self.entries, goes_on) as f64 / (2 * self.entries.len()) as f64
    }

    /// Returns the same of the table as it is read at fewer slots, if they are fewer.
    pub(crate) fn plateau_at(&self, slots: usize) -> f64 {
        let step = (self.entries.len() / slots.max(1)).max(1);
        let entries = self.entries.iter().copied().step_by(step).collect();
        Self { entries, within_half_torus: self.within_half_torus }.plateau()
    }

    /// Returns the width of a slot, as a torus element.
    #[must_use]
    pub fn slot(&self) -> u64 {
        1 << (63 - self.entries.len().ilog2())
    }

    /// Returns the table's value at a phase, with the slot nearest to it and the negacyclic rule.
    #[must_use]
    pub fn at(&self, phase: u64) -> u64 {
        let slots = self.entries.len();
        let shift = 63 - slots.ilog2();
        // Adding 1/4 makes the range start at slot 0; adding half a slot rounds to the nearest.
        let rounded = phase.wrapping_add(1 << 62).wrapping_add(1 << (shift - 1)) >> shift;
        let index = rounded as usize;
        if index < slots { self.entries[index] } else { self.entries[index - slots].wrapping_neg() }
    }
}

/// Returns the length of the shortest run of equal numbers; the two at the ends are one if the list
/// goes on from its last number to its first.
pub(crate) fn narrowest_run(x: &[u64], goes_on: bool) -> usize {
    let mut runs: Vec<usize> = x.chunk_by(|x, y| x == y).map(<[u64]>::len).collect();
    if runs.len() > 1 && goes_on {
        let end = runs.pop().unwrap_or(0);
        runs[0] += end;
    }
    runs.into_iter().min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_no_lookup_has_are_refused() {
        let refused = |slots| Table::new(slots, |x| x).unwrap_err().to_string();
        for (slots, expected) in [(0, 1), (3, 4), (1000, 1024), (1 << 15, 1 << 14)] {
            let text =
                format!("table: got {slots} slots (a power of two is needed), expected {expected}");
            assert_eq!(refused(slots), text);
        }
        assert!(refused(usize::MAX).contains("expected 16384"));
    }

    #[test]
    fn the_largest_table_has_that_many_slots() {
        assert_eq!(Table::new(MOST_SLOTS, |x| x).unwrap().slots(), 1 << 14);
    }

    #[test]
    fn the_smallest_table_has_one_slot() {
        let table = Table::new(1, |_| 0.125).unwrap();
        // Its middle is at -1/4.
        let at = [-0.4, -0.1, 0.1, 0.4].map(|x| table.at(to_torus(x)));
        let eighth = to_torus(0.125);
        assert_eq!(at, [eighth, eighth, eighth.wrapping_neg(), eighth.wrapping_neg()]);
        assert_eq!((table.slot(), table.plateau()), (1 << 63, 0.5));
    }
}
