//! What is predicted before anything is measured.

use std::fmt::Write as _;

use fhe_core::noise::{BatchNoise, Noise};
use fhe_core::server::EvaluationKeys;
use fhe_core::store::Message;
use fhe_core::{Engine, Meter, Params, Result, TestPolynomial};

use super::functions::Functions;
use super::noise::log2_std;
use super::values::Listed;

/// Tables of a lookup of today.
const TABLES: usize = 4;

/// Returns the variance with which a batch reads the values of lists of `len`, with packing, and
/// with the rounding to a slot.
#[must_use]
pub fn batch_reading(params: &Params, len: usize) -> f64 {
    let noise = Noise::new(params);
    let slot = params.batch.map_or(0.0, |batch| 0.5 / batch.slots as f64);
    noise.batch_packing(len) + noise.batch_input(true) + slot * slot / 12.0
}

/// Returns the variance with which a lookup of four tables reads, with the rounding to a slot.
#[must_use]
pub fn lookup_reading(params: &Params) -> f64 {
    let slot = TABLES as f64 / (2 * params.row_size) as f64;
    Noise::new(params).lookup_input(TABLES) + slot * slot / 12.0
}

/// Says what batches of a set will need and do, and what is predicted of lookups of today's set.
///
/// # Errors
/// If a set cannot do it.
pub fn text(params: &Params, today: &Params) -> Result<String> {
    let (functions, noise) = (Functions::new(params)?, Noise::new(params));
    let (n, rows) = (params.row_size, params.batch.map_or(0, |batch| batch.rows));
    let meter = Meter::new(params);
    let tables = [functions.gate.clone(), functions.half.clone()];
    let lists = Listed::places(rows, n);
    meter.lookup_selectors(&meter.fresh(rows * n), &functions.integers, &tables, &lists)?;
    let top = noise.batch_output(&TestPolynomial::new(functions.level(1)));
    let keys = EvaluationKeys::max_payload(params) as f64 / 1e9;
    let mut text = format!(
        "predicted, as log2 of standard deviations in fractions of the torus:\n  \
         reading of a batch           {:>7.2}\n  \
         reading of four tables       {:>7.2}\n  \
         top row of an integer        {:>7.2}\n",
        log2_std(batch_reading(params, n)),
        log2_std(lookup_reading(today)),
        log2_std(top.first().map_or(0.0, BatchNoise::mean)),
    );
    if let Some(kind) = noise.batch_selectors(&functions.integers) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  both rows of a selector      {:>7.2}", log2_std(kind.rows));
    }
    let _ = write!(text, "keys as a message: {keys:.2} GB\none batch:\n{}", meter.list());
    Ok(text)
}
