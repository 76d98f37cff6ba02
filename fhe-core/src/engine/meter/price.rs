//! What a meter notes, in numbers for people.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a program costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Blind rotations, each with its key switch.
    pub lookups: u64,
    /// Batches of lookups, each as dear as a full one, with the packing of its values.
    #[serde(default)]
    pub batches: u64,
    /// Values that were looked up in batches.
    #[serde(default)]
    pub batched: u64,
    /// Gadget products of a selector and a row.
    pub products: u64,
    /// Values packed into constant rows.
    pub packed_constants: u64,
    /// Lists packed into rows.
    pub packed_lists: u64,
    /// Lists promoted to one level of a selector.
    #[serde(default)]
    pub promoted_levels: u64,
    /// Values added with a public weight.
    #[serde(default)]
    pub weighted: u64,
    /// Reflections.
    pub reflections: u64,
    /// Rows that came out of expansions.
    #[serde(default)]
    pub expansions: u64,
    /// Bytes of the ciphertexts that moves wrote.
    pub bytes: u64,
}

/// Seconds of one core for one move of each kind, measured on a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitCosts {
    /// A lookup among others.
    pub lookup: f64,
    /// A batch of lookups, full or not, with the packing of its values.
    #[serde(default)]
    pub batch: f64,
    /// A gadget product.
    pub product: f64,
    /// A value packed into a constant row, among others.
    pub packed_constant: f64,
    /// A list packed into a row, among others.
    pub packed_list: f64,
    /// A list promoted to one level of a selector, among others.
    pub promoted_level: f64,
    /// A value added with a public weight, among others.
    #[serde(default)]
    pub weighted: f64,
    /// A reflection.
    pub reflection: f64,
    /// A row out of an expansion, among others.
    #[serde(default)]
    pub expansion: f64,
}

impl Price {
    /// Notes ciphertexts of so many bytes each.
    pub(super) fn write(&mut self, count: usize, bytes: usize) {
        let bytes = (count as u64).saturating_mul(bytes as u64);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Returns the predicted seconds on so many threads, at least one.
    #[must_use]
    pub fn seconds(&self, costs: &UnitCosts, threads: usize) -> f64 {
        let core = self.lookups as f64 * costs.lookup
            + self.batches as f64 * costs.batch
            + self.products as f64 * costs.product
            + self.packed_constants as f64 * costs.packed_constant
            + self.packed_lists as f64 * costs.packed_list
            + self.promoted_levels as f64 * costs.promoted_level
            + self.weighted as f64 * costs.weighted
            + self.reflections as f64 * costs.reflection
            + self.expansions as f64 * costs.expansion;
        core / threads.max(1) as f64
    }
}

/// How a group of lookups reads its input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Number of lookups.
    pub lookups: u64,
    /// Slots of the half torus.
    pub slots: usize,
    /// Standard deviation of the input's noise and the reading's together, as a fraction of the
    /// torus.
    pub std: f64,
    /// Width of the narrowest run of equal entries, as a fraction of the torus.
    pub plateau: f64,
}

impl Reading {
    /// Returns the probability that a value in the middle of the narrowest plateau is read outside
    /// it, `erfc(plateau / (2 sqrt(2) std))`.
    #[must_use]
    pub fn failure(&self) -> f64 {
        if self.std == 0.0 { 0.0 } else { libm::erfc(self.plateau / (8f64.sqrt() * self.std)) }
    }

    /// Returns whether the table has plateaus that are meant to be hit: one lookup in a million or
    /// fewer misses. Any other lookup is read with noise, and its table should be smooth.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.failure() <= 1e-6
    }
}

/// Everything that a meter noted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PriceList {
    /// Counts.
    pub price: Price,
    /// For each kind of move the largest standard deviation that came out of it.
    pub noise: BTreeMap<String, f64>,
    /// For each combination of slots and plateau, the noisiest reading.
    pub readings: Vec<Reading>,
}

impl PriceList {
    pub(super) fn note(&mut self, name: &str, variance: f64) {
        let std = variance.sqrt();
        match self.noise.get_mut(name) {
            Some(largest) => *largest = largest.max(std),
            None => drop(self.noise.insert(name.to_owned(), std)),
        }
    }

    pub(super) fn read(&mut self, new: Reading) {
        let alike = |old: &&mut Reading| (old.slots, old.plateau) == (new.slots, new.plateau);
        match self.readings.iter_mut().find(alike) {
            Some(old) => {
                old.lookups = old.lookups.saturating_add(new.lookups);
                old.std = old.std.max(new.std);
            }
            None => self.readings.push(new),
        }
    }

    /// Returns a bound on the probability that any exact lookup misses its plateau.
    #[must_use]
    pub fn failure(&self) -> f64 {
        let exact = self.readings.iter().filter(|r| r.is_exact());
        exact.map(|r| r.lookups as f64 * r.failure()).fold(0.0, |sum: f64, p| sum + p).min(1.0)
    }
}

impl fmt::Display for PriceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = &self.price;
        writeln!(f, "  lookups            {:>14}", p.lookups)?;
        if p.batches > 0 {
            writeln!(f, "  batches            {:>14}", p.batches)?;
            writeln!(f, "  values in batches  {:>14}", p.batched)?;
        }
        writeln!(f, "  products           {:>14}", p.products)?;
        writeln!(f, "  packed constants   {:>14}", p.packed_constants)?;
        writeln!(f, "  packed lists       {:>14}", p.packed_lists)?;
        writeln!(f, "  promoted levels    {:>14}", p.promoted_levels)?;
        writeln!(f, "  weighted terms     {:>14}", p.weighted)?;
        writeln!(f, "  reflections        {:>14}", p.reflections)?;
        if p.expansions > 0 {
            writeln!(f, "  expanded rows      {:>14}", p.expansions)?;
        }
        writeln!(f, "  ciphertexts, GB    {:>14.1}", p.bytes as f64 / 1e9)?;
        for (name, std) in &self.noise {
            writeln!(f, "  noise, {name:<14} {:>9}", format!("2^{:.1}", std.log2()))?;
        }
        for r in &self.readings {
            let slots = r.std * 2.0 * r.slots as f64;
            let kind = if r.is_exact() {
                format!("exact, {:.0e} each miss", r.failure())
            } else {
                "with noise".into()
            };
            writeln!(
                f,
                "  {} lookups read {kind}: std {slots:.1} of {} slots",
                r.lookups,
                2 * r.slots
            )?;
        }
        write!(f, "  failure of any exact lookup: at most {:.0e}", self.failure())
    }
}
