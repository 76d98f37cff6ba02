//! Activations and their gates: what a lookup does between two layers.

use fhe_core::params::Gadget;
use fhe_core::{Engine, Table};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Tables of one lookup: the levels of a promotion, and one more.
pub const TABLES: usize = 4;

/// A rectifier with few levels: `a = spacing (min(levels, round(levels z / range)) - offset)` for z > 0, and
/// `-spacing offset` else.
///
/// The integers are spaced so that weights, whose phase is `1 / (4 z_range spacing)` a unit, stay small
/// beside the errors' range on the way back. The offset centres them.
///
/// The gate, `1` where `0 < z < range` and `0` elsewhere, is the derivative (straight through the rounding).
///
/// # Values
/// `-spacing offset ..= spacing (levels - offset)`, to be within half a digit of the promotion's gadget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu {
    /// Number of levels above zero.
    pub levels: i32,
    /// Pre-activation of the highest level.
    pub range: f64,
    /// Level that becomes the integer zero.
    pub offset: i32,
    /// Integers from one level to the next.
    pub spacing: i32,
}

impl Relu {
    /// Returns the integer of a pre-activation.
    #[must_use]
    pub fn at(&self, z: f64) -> i32 {
        let level = (f64::from(self.levels) * z / self.range).round().max(0.0) as i32;
        self.spacing * (level.min(self.levels) - self.offset)
    }

    /// Returns the derivative's stand-in.
    #[must_use]
    pub fn gate(&self, z: f64) -> bool {
        0.0 < z && z < self.range
    }

    /// Looks activations and gates up: value `4 i + j` is level j of activation i for j < 3, and value
    /// `4 i + 3` is a quarter where the gate is open. The half torus is `-z_range..z_range`.
    ///
    /// # Cost
    /// One lookup a value.
    ///
    /// # Errors
    /// [`crate::Error::Core`] if the parameter set has no gadgets for lists of three levels.
    pub fn lookup<E: Engine>(&self, engine: &E, z: &E::Values, z_range: f64) -> Result<E::Values> {
        let slots = engine.params().row_size / TABLES;
        let scale = 4.0 * z_range;
        let mut tables = levels(engine, slots, |x| self.at(x * scale))?;
        tables.push(Table::new(slots, |x| if self.gate(x * scale) { 0.25 } else { 0.0 }));
        Ok(engine.lookup(z, &tables)?)
    }
}

/// The gate and the rounding of errors on the way back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorGate {
    /// Errors reach from `-limit` to `limit` integers, which is an eighth of the torus.
    pub limit: i32,
    /// The errors' phase is multiplied by this.
    pub scale: i64,
    /// Torus fraction of one integer in the fourth table.
    pub amplitude: f64,
}

impl ErrorGate {
    /// Looks gated errors up from `dL/da` and gates: `u = scale e + gate - 1/8` is read as 0 below
    /// zero, and as the integer `round(8 limit (u - 1/8))` from zero on. Value `4 i + j` is level j of
    /// error i for j < 3, and value `4 i + 3` is it times the amplitude.
    ///
    /// # Cost
    /// One lookup a value.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if there are not as many gates as errors.
    pub fn lookup<E: Engine>(
        &self,
        engine: &E,
        errors: &E::Values,
        gates: &E::Values,
    ) -> Result<E::Values> {
        let slots = engine.params().row_size / TABLES;
        let mut u = engine.gather(&[gates], &all(engine.values_len(gates)))?;
        engine.add_scaled_values(&mut u, errors, self.scale)?;
        engine.shift_values(&mut u, fhe_core::to_torus(-0.125));
        let mut tables = levels(engine, slots, |x| self.at(x))?;
        tables.push(Table::new(slots, |x| f64::from(self.at(x)) * self.amplitude));
        Ok(engine.lookup(&u, &tables)?)
    }

    /// Returns the integer of a phase.
    #[must_use]
    pub fn at(&self, u: f64) -> i32 {
        if u < 0.0 { 0 } else { ((u - 0.125) * 8.0 * f64::from(self.limit)).round() as i32 }
    }
}

/// Returns every fourth value: table `t` of each.
///
/// # Errors
/// None for values of a lookup with four tables.
pub fn table<E: Engine>(engine: &E, values: &E::Values, t: usize) -> Result<E::Values> {
    let count = engine.values_len(values) / TABLES;
    let picks: Vec<_> = (0..count).map(|i| (0, TABLES * i + t)).collect();
    Ok(engine.gather(&[values], &picks)?)
}

fn all(len: usize) -> Vec<(usize, usize)> {
    (0..len).map(|i| (0, i)).collect()
}

/// The gadget of promotions; three levels, so that four tables are enough.
pub(crate) fn gadget<E: Engine>(engine: &E) -> Result<Gadget> {
    let params = engine.params();
    let name = params.name.clone();
    let gadget = params.lists.ok_or(fhe_core::Error::NoLists { op: "activation", name })?.selector;
    if gadget.levels as usize + 1 == TABLES {
        Ok(gadget)
    } else {
        Err(crate::Error::Layer {
            layer: "activation".into(),
            problem: format!("promotions have {} levels, expected 3", gadget.levels),
        })
    }
}

/// Tables of the levels of an integer.
pub fn levels<E: Engine>(engine: &E, slots: usize, f: impl Fn(f64) -> i32) -> Result<Vec<Table>> {
    Ok(Table::levels(slots, gadget(engine)?, f))
}
