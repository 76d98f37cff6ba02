//! One-vs-all logistic loss.

use fhe_core::{Engine, Result, Table, to_torus};

/// One unit of amplitude: labels are encrypted as +-2^-31 of the torus.
pub(crate) const UNITS: f64 = 1.0 / 2_147_483_648.0;

/// The logistic loss of each class against all others.
///
/// With `y in {-1, +1}` and the loss `log(1 + exp(-y z))`, the error is
/// `dL/dz = sigmoid(z) - (y + 1)/2 = tanh(z/2)/2 - y/2`. The first part is a lookup; it is odd and
/// saturates, so a `z` that leaves the range by less than the range itself is still read with the
/// right sign. The second part is linear in the encrypted label. The learning rate is the
/// amplitude of both, so it needs neither a client nor a multiplication.
#[derive(Clone, Copy, Debug)]
pub struct OneVsAll {
    /// Logits at the end of the lookup's range.
    pub logit_range: f64,
}

impl OneVsAll {
    /// Returns the torus element that encodes whether a sample is of a class.
    #[must_use]
    pub fn label(is_of_class: bool) -> u64 {
        to_torus(if is_of_class { UNITS } else { -UNITS })
    }

    /// Returns the errors times the learning rate, `A (tanh(z/2)/2 - y/2)`, with
    /// `A = 2 amplitude 2^-31`.
    ///
    /// # Shapes
    /// As many labels as pre-activations, as many errors.
    ///
    /// # Cost
    /// One lookup a pre-activation.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if the lists differ in length.
    pub fn error<E: Engine>(
        &self,
        engine: &E,
        z: &E::Values,
        labels: &E::Values,
        amplitude: i64,
    ) -> Result<E::Values> {
        let half = amplitude as f64 * UNITS;
        let scale = 4.0 * self.logit_range;
        let table = Table::new(engine.params().row_size, |x| half * (x * scale / 2.0).tanh());
        let mut errors = engine.lookup(z, std::slice::from_ref(&table))?;
        engine.add_scaled_values(&mut errors, labels, -amplitude)?;
        Ok(errors)
    }
}
