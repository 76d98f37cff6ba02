//! One-vs-all logistic loss.

use std::ops::Range;

use fhe_core::{Engine, IntegerTable, List, Result, Table, to_torus};
use fhe_nn::{OutputErrors, Promotable};

use crate::MiniBatch;

/// Half the largest integer of an error of the last layer: half a promotion's digit of 6 bits holds
/// twice this.
pub const ERROR_LIMIT: i32 = 15;
/// Amplitudes of errors are multiples of this, so that labels are integer multiples of their unit.
pub(crate) const AMPLITUDE_STEP: f64 = 1.0 / 16_777_216.0;

/// log2 of the torus fraction of a label of a head, whose amplitude is a step of the learning
/// rate.
pub(crate) const HEAD_LABEL_LOG2: i32 = -31;
/// The same of a deep network, whose errors are integers: multiples of it are large, so it has
/// little noise to spare. It is the unit of the fourth level of a promotion; a fifth one has the
/// labels' part rounded away, which is no more than what a gadget of four levels does not see.
pub(crate) const DEEP_LABEL_LOG2: i32 = -24;
/// One unit of amplitude.
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
    /// Returns the torus element that encodes whether a sample is of a class, plus or minus
    /// `2^log2`.
    ///
    /// `log2` is -64 to -2: beyond, both are one element of the torus.
    #[must_use]
    pub fn label(is_of_class: bool, log2: i32) -> u64 {
        let unit = 2f64.powi(log2);
        to_torus(if is_of_class { unit } else { -unit })
    }

    /// Returns the errors times the learning rate, `A (tanh(z/2)/2 - y/2)`, with
    /// `A = 2 amplitude 2^-31`.
    ///
    /// # Shapes
    /// The pre-activations are those of a range of samples, a value a class, sample after sample.
    /// If the parameter set expands, the range is a unit of [`fhe_core::store::ValueLayout`], and
    /// errors come in rows, where the labels of the unit stand; a batch of lookups leaves them
    /// there.
    ///
    /// # Cost
    /// One lookup a pre-activation.
    ///
    /// # Errors
    /// [`crate::Error::Data`] if there are more or fewer labels; those of the engine.
    pub fn error<E: Engine>(
        &self,
        engine: &E,
        z: &E::Values,
        (mini_batch, range): (&MiniBatch<E>, Range<usize>),
        amplitude: i64,
    ) -> crate::Result<OutputErrors<E>> {
        let half = amplitude as f64 * UNITS;
        let scale = 4.0 * self.logit_range;
        let (params, classes) = (engine.params(), mini_batch.classes);
        mini_batch.check(engine, classes)?;
        let (op, what, got) = ("the errors of a mini-batch", "the number of scores", z.len());
        if range.len().checked_mul(classes) != Some(got) || range.end > mini_batch.samples {
            let expected = format!("{classes} for each of {} samples", range.len());
            return Err(crate::Error::Data { op, what, got, expected });
        }
        let table = Table::new(params.row_size, |x| half * (x * scale / 2.0).tanh())?;
        let tables = std::slice::from_ref(&table);
        if OutputErrors::<E>::are_in_rows(params) {
            let lists = OutputErrors::<E>::lists(params, range.len(), classes);
            let mut errors = engine.lookup_rows(z, tables, &lists)?;
            let labels = mini_batch.label_rows(engine, range.start)?;
            engine.add_scaled_rows(&mut errors, &labels, -amplitude)?;
            return Ok(OutputErrors::Rows(errors));
        }
        let mut errors = engine.lookup(z, tables)?;
        engine.add_scaled_values(
            &mut errors,
            &mini_batch.label_values(engine, range)?,
            -amplitude,
        )?;
        Ok(OutputErrors::Values(errors))
    }

    /// Returns the errors as integers `round(L tanh(z/2)) - L y`, [`ERROR_LIMIT`] being L, which is
    /// 2 L times the logistic error. Beside the levels of each is it times `amplitude`, a multiple
    /// of `2^-24`.
    ///
    /// # Shapes
    /// As many labels as pre-activations, as many errors.
    ///
    /// # Cost
    /// One lookup a pre-activation.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if the lists differ in length.
    pub fn integer_error<E: Engine>(
        &self,
        engine: &E,
        z: &E::Values,
        labels: &E::Values,
        amplitude: f64,
    ) -> fhe_nn::Result<Promotable<E>> {
        let limit = f64::from(ERROR_LIMIT);
        let integers = self.integers(engine.params().row_size)?;
        let of_scores = Promotable::lookup(engine, z, &integers, &integers.times(amplitude))?;
        let labels_in = |unit: f64| (limit * unit * 2f64.powi(-DEEP_LABEL_LOG2)).round() as i64;
        of_scores.add_in_units(engine, labels, amplitude, |unit| -labels_in(unit))
    }

    /// Returns the table of the first part of these errors.
    pub(crate) fn integers(&self, slots: usize) -> Result<IntegerTable> {
        IntegerTable::new(slots, |x| self.integer_at(x) as i32)
    }

    /// Returns its integer at a phase.
    pub(crate) fn integer_at(&self, x: f64) -> f64 {
        (f64::from(ERROR_LIMIT) * (x * (4.0 * self.logit_range) / 2.0).tanh()).round()
    }
}
