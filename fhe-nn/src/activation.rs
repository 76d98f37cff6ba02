//! Activations and their gates: what a lookup does between two layers.

use fhe_core::{Engine, IntegerTable, List, Result, Table};
use serde::{Deserialize, Serialize};

/// The function between a pre-activation and its level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `clamp(round(levels z / range), 0, levels)`; open where `0 < z < range`.
    #[default]
    Relu,
    /// `clamp(round(levels z / range), -levels, levels)`; open where `|z| < range`.
    ClippedIdentity,
    /// `levels` where `z >= 0`, else `-levels`; open where `|z| < range`. This is the
    /// straight-through estimator of Hubara et al., "Binarized Neural Networks", NeurIPS 2016,
    /// equation 4.
    Sign,
}

/// An activation with few levels: `a = spacing (level(z) - offset)`.
///
/// The integers are spaced so that weights, whose phase is `1 / (4 z_range spacing)` a unit, stay
/// small beside the errors' range on the way back. The offset centres them.
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

    /// Returns the smallest and the largest integer.
    #[must_use]
    pub fn range(&self) -> (i32, i32) {
        (self.at(f64::NEG_INFINITY), self.at(f64::INFINITY))
    }

    /// Returns the tables of the integers and of the gates, a quarter where they are open. The half
    /// torus is `-z_range..z_range`.
    ///
    /// A rectifier promises that pre-activations stay there: beyond, its integers mean nothing. The
    /// two others are odd, if they have no offset, and are read by the negacyclic rule up to twice
    /// the range.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if a lookup cannot have so many slots.
    pub fn tables(&self, slots: usize, z_range: f64) -> Result<(IntegerTable, Table)> {
        let scale = 4.0 * z_range;
        let gate = |x: f64| if self.gate(x * scale) { 0.25 } else { 0.0 };
        let integers = IntegerTable::new(slots, |x| self.at(x * scale))?;
        let gates = Table::new(slots, gate)?;
        Ok(match self.kind {
            Kind::Relu => (integers.within_half_torus(), gates.within_half_torus()),
            Kind::ClippedIdentity | Kind::Sign => (integers, gates),
        })
    }
}

/// The gate and the rounding of errors on the way back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorGate {
    /// Errors reach from `-limit` to `limit` integers, which is an eighth of the torus.
    pub limit: i32,
    /// The errors' phase is multiplied by this.
    pub scale: i64,
    /// Torus fraction of one integer in the value beside the levels.
    pub amplitude: f64,
}

impl ErrorGate {
    /// Returns what gated errors are looked up from, `u = scale e + gate - 1/8`, of errors `dL/da`
    /// and gates.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if there are not as many gates as errors.
    pub fn inputs<E: Engine>(
        &self,
        engine: &E,
        errors: &E::Rows,
        gates: &E::Rows,
    ) -> Result<E::Rows> {
        let eighth = fhe_core::to_torus(-0.125);
        let len = gates.len() * engine.params().row_size;
        let mut u = engine.public_rows(&vec![eighth; len])?;
        engine.add_scaled_rows(&mut u, gates, 1)?;
        engine.add_scaled_rows(&mut u, errors, self.scale)?;
        Ok(u)
    }

    /// Returns the table of gated errors: u is read as 0 below zero, and as the integer
    /// `round(8 limit (u - 1/8))` from zero on.
    ///
    /// It promises that u stays in the half torus. An error that is larger than an eighth of the
    /// torus is read as 0 if its gate is open. If the gate is closed, and the error negative, it is
    /// read as some error, whose sign depends on the path of the lookup.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if a lookup cannot have so many slots.
    pub fn table(&self, slots: usize) -> Result<IntegerTable> {
        Ok(IntegerTable::new(slots, |u| self.at(u))?.within_half_torus())
    }

    /// Returns the integer of a phase.
    #[must_use]
    pub fn at(&self, u: f64) -> i32 {
        if u < 0.0 { 0 } else { ((u - 0.125) * 8.0 * f64::from(self.limit)).round() as i32 }
    }
}
