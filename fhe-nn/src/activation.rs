//! Activations and their gates: what a lookup does between two layers.

use fhe_core::params::Gadget;
use fhe_core::{Engine, List, Table};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Tables of one lookup: the levels of a promotion, and one more.
pub const TABLES: usize = 4;

/// The function between a pre-activation and its level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `clamp(round(levels z / range), 0, levels)`; open where `0 < z < range`.
    #[default]
    Relu,
    /// `clamp(round(levels z / range), -levels, levels)`; open where `|z| < range`.
    ClippedIdentity,
    /// `levels` where `z >= 0`, else `-levels`; open where `|z| < range` (straight-through estimator: Hubara et
    /// al., "Binarized Neural Networks", NeurIPS 2016, equation 4).
    Sign,
}

/// An activation with few levels: `a = spacing (level(z) - offset)`.
///
/// The integers are spaced so that weights, whose phase is `1 / (4 z_range spacing)` a unit, stay small
/// beside the errors' range on the way back. The offset centres them.
///
/// The gate, 1 where it is open and 0 elsewhere, is the derivative (straight through the rounding).
///
/// # Values
/// [`Activation::range`], to be within half a digit of the promotion's gadget.
///
/// # Examples
/// ```
/// use fhe_nn::activation::{Activation, Kind};
///
/// let relu = Activation { kind: Kind::Relu, levels: 7, range: 3.5, offset: 1, spacing: 3 };
/// assert_eq!([-1.0, 1.0, 9.0].map(|z| relu.at(z)), [-3, 3, 18]);
/// let sign = Activation { kind: Kind::Sign, levels: 1, range: 1.0, offset: 0, spacing: 1 };
/// assert_eq!([-0.1, 0.0].map(|z| sign.at(z)), [-1, 1]);
/// assert!(sign.gate(-0.1) && !sign.gate(1.5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// The function.
    #[serde(default)]
    pub kind: Kind,
    /// Largest level.
    pub levels: i32,
    /// Pre-activation of the highest level.
    pub range: f64,
    /// Level that becomes the integer zero.
    #[serde(default)]
    pub offset: i32,
    /// Integers from one level to the next.
    #[serde(default = "one")]
    pub spacing: i32,
}

fn one() -> i32 {
    1
}

impl Activation {
    /// Returns the integer of a pre-activation.
    #[must_use]
    pub fn at(&self, z: f64) -> i32 {
        let level = (f64::from(self.levels) * z / self.range).round() as i32;
        let level = match self.kind {
            Kind::Relu => level.clamp(0, self.levels),
            Kind::ClippedIdentity => level.clamp(-self.levels, self.levels),
            Kind::Sign if z < 0.0 => -self.levels,
            Kind::Sign => self.levels,
        };
        self.spacing * (level - self.offset)
    }

    /// Returns the derivative's stand-in.
    #[must_use]
    pub fn gate(&self, z: f64) -> bool {
        let from = if self.kind == Kind::Relu { 0.0 } else { -self.range };
        from < z && z < self.range
    }

    /// Returns what is wrong with the numbers, if something is.
    pub(crate) fn problem(&self) -> Option<String> {
        let small = 1..=1023;
        let fits = small.contains(&self.levels)
            && small.contains(&self.spacing)
            && (-1023..=1023).contains(&self.offset)
            && self.range.is_finite()
            && self.range > 0.0;
        (!fits).then(|| {
            format!(
                "activation of {} levels to {}, offset {}, spacing {}: expected levels and spacing of 1 to 1023, an offset to 1023, a range of more than 0",
                self.levels, self.range, self.offset, self.spacing
            )
        })
    }

    /// Returns the smallest and the largest integer.
    #[must_use]
    pub fn range(&self) -> (i32, i32) {
        (self.at(f64::NEG_INFINITY), self.at(f64::INFINITY))
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
        tables.push(Table::new(slots, |x| if self.gate(x * scale) { 0.25 } else { 0.0 })?);
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
        let mut u = engine.take(gates, 0..gates.len())?;
        engine.add_scaled_values(&mut u, errors, self.scale)?;
        engine.shift_values(&mut u, |_| fhe_core::to_torus(-0.125));
        let mut tables = levels(engine, slots, |x| self.at(x))?;
        tables.push(Table::new(slots, |x| f64::from(self.at(x)) * self.amplitude)?);
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
    let count = values.len() / TABLES;
    Ok(engine.take(values, (0..count).map(|i| TABLES * i + t))?)
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
    Ok(Table::levels(slots, gadget(engine)?, f)?)
}
