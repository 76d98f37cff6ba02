//! What is looked up: a rectifier of four bits, its gate, and the value itself.

use fhe_core::params::{Gadget, ListGadgets};
use fhe_core::{IntegerTable, Params, Table, from_torus, to_torus};
use fhe_nn::activation::{Activation, Kind};

/// A rectifier with 16 levels, clipped at 4/5 of the range. The offset is the mean level of the
/// values here, as it is in a network.
const ACTIVATION: Activation =
    Activation { kind: Kind::Relu, levels: 15, range: 0.8, offset: 4, spacing: 1 };

/// The functions, with the promise that values stay in the half torus.
#[derive(Clone, Debug)]
pub struct Functions {
    /// The rectifier, -4 to 11.
    pub integers: IntegerTable,
    /// A quarter where the rectifier has a slope, else 0.
    pub gate: Table,
    /// Half of the value: it tells as which slot the value was read.
    pub half: Table,
    /// Gadget of the selectors.
    pub gadget: Gadget,
}

impl Functions {
    /// Returns the functions at the slots of a row.
    ///
    /// # Errors
    /// [`fhe_core::Error::NoLists`] if the set has no selectors of looked up integers.
    pub fn new(params: &Params) -> fhe_core::Result<Self> {
        let name = || params.name.clone();
        let none = || fhe_core::Error::NoLists { op: "batch lookups", name: name() };
        let ListGadgets { selector: gadget, .. } = params.lists.ok_or_else(none)?;
        let (integers, gate) = ACTIVATION.tables(params.row_size, 1.0)?;
        let half = Table::new(params.row_size, |x| x / 2.0)?.within_half_torus();
        Ok(Self { integers, gate, half, gadget })
    }

    /// Returns the torus fraction of an integer's unit at a level, from 1 on.
    #[must_use]
    pub fn unit(&self, level: u32) -> f64 {
        2f64.powi(-((self.gadget.base_log * level) as i32))
    }

    /// Returns the table of the integers at a level, from 1 on.
    #[must_use]
    pub fn level(&self, level: u32) -> Table {
        self.integers.times(self.unit(level))
    }

    /// Returns the tables of the two functions whose time is taken: the top level of the integers,
    /// and the gate.
    #[must_use]
    pub fn two(&self) -> [Table; 2] {
        [self.level(1), self.gate.clone()]
    }

    /// Returns the four tables of a lookup of today: the levels of the integers, and the value.
    ///
    /// # Errors
    /// None in practice: the gadget has few bits.
    pub fn four(&self) -> fhe_core::Result<Vec<Table>> {
        let mut tables = self.integers.levels(self.gadget)?;
        tables.push(self.half.clone());
        Ok(tables)
    }
}

/// Integer and gate of each of so many slots of the half torus.
#[derive(Clone, Debug)]
pub struct Slots {
    entries: Vec<(i32, u64)>,
}

impl Slots {
    /// Reads the tables at every slot.
    #[must_use]
    pub fn new(functions: &Functions, slots: usize) -> Self {
        let [top, gate] = functions.two();
        let entry = |i: usize| {
            let phase = to_torus(i as f64 / (2 * slots) as f64 - 0.25);
            let integer = from_torus(top.at(phase)) / functions.unit(1);
            (integer.round() as i32, gate.at(phase))
        };
        Self { entries: (0..slots).map(entry).collect() }
    }

    /// Returns the number of slots.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Returns the width of a slot, as a fraction of the torus.
    #[must_use]
    pub fn width(&self) -> f64 {
        0.5 / self.entries.len() as f64
    }

    /// Returns as which slot a value was read, counted from the middle, if half of it came out.
    #[must_use]
    pub fn read(&self, half: u64) -> i64 {
        (2.0 * from_torus(half) / self.width()).round() as i64
    }

    /// Returns integer and gate of a slot; `None` outside the half torus.
    #[must_use]
    pub fn at(&self, slot: i64) -> Option<(i32, u64)> {
        let index = slot + self.entries.len() as i64 / 2;
        usize::try_from(index).ok().and_then(|index| self.entries.get(index)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_the_integer_and_the_gate_of_its_middle() {
        let functions = Functions::new(&Params::secure128_deep().unwrap()).unwrap();
        let slots = Slots::new(&functions, 1024);
        for (x, integer, open) in
            [(-0.2, -4, false), (0.1, 4, true), (0.196, 11, true), (0.22, 11, false)]
        {
            let slot = slots.read(to_torus(x / 2.0));
            assert!((slot as f64 * slots.width() - x).abs() <= slots.width() / 2.0);
            let gate = to_torus(if open { 0.25 } else { 0.0 });
            assert_eq!(slots.at(slot), Some((integer, gate)), "{x}");
        }
        assert_eq!((slots.at(512), slots.at(-513)), (None, None));
        assert!(slots.at(511).is_some() && slots.at(-512).is_some());
        assert_eq!(from_torus(functions.level(2).at(to_torus(0.22))), 11.0 / 16384.0);
    }

    #[test]
    fn a_set_without_lists_is_refused() {
        assert!(Functions::new(&Params::secure128().unwrap()).is_err());
    }
}
