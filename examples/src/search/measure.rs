//! Measurements: our lookup beside tfhe's own key switch and bootstrap.

use std::time::Instant;

use fhe_core::client::ClientKey;
use fhe_core::{Cpu, Engine, Params, Result, Seed, Table, from_torus, to_torus};
use serde::{Deserialize, Serialize};

/// Seed of the keys.
pub const SEED: u64 = 1;
/// Timed rounds of a measurement; one before them warms up.
pub const ROUNDS: u32 = 5;
/// What the measured table holds everywhere.
const OUTPUT: f64 = 0.125;

/// Times and noise of one candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Our lookup.
    pub lookup: Times,
    /// tfhe's own key switch and bootstrap with the same short key and gadgets, one key bit a step.
    pub raw: Times,
    /// Lookup over raw, least times.
    pub ratio_of_minimums: f64,
    /// Lookup over raw, mean times.
    pub ratio_of_means: f64,
    /// Noise of the outputs, log2 of the standard deviation.
    pub output_log2_std: f64,
}

/// Milliseconds of one core for one value while all threads work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Least.
    pub minimum_ms: f64,
    /// Mean.
    pub mean_ms: f64,
}

impl Measurement {
    /// Times lookups and tfhe's own functions in turn, so that both meet the same disturbances.
    ///
    /// # Errors
    /// None in practice: the lists fit together.
    pub fn make(params: &Params, values: u32, timed: impl Fn()) -> Result<Self> {
        let key = ClientKey::new(params, Seed::from_number(SEED));
        let cpu = Cpu::new(&key.evaluation_keys());
        let threads = rayon::current_num_threads() as u32;
        let (mut lookups, mut raws, mut squares) = (Vec::new(), Vec::new(), 0.0);
        for round in 0..=ROUNDS {
            let (lookup, round_squares) = lookups_of(&key, &cpu, values, round.into())?;
            let raw = cpu.raw_seconds(values.div_ceil(threads) as usize);
            squares += round_squares;
            if round > 0 {
                lookups.push(lookup);
                raws.push(raw);
                timed();
            }
        }
        let (lookup, raw) = (Times::new(&lookups), Times::new(&raws));
        let variance = squares / f64::from(values) / f64::from(ROUNDS + 1);
        Ok(Self {
            ratio_of_minimums: lookup.minimum_ms / raw.minimum_ms,
            ratio_of_means: lookup.mean_ms / raw.mean_ms,
            lookup,
            raw,
            output_log2_std: variance.log2() / 2.0,
        })
    }
}

impl Times {
    fn new(seconds: &[f64]) -> Self {
        Self {
            minimum_ms: 1e3 * seconds.iter().copied().fold(f64::INFINITY, f64::min),
            mean_ms: 1e3 * seconds.iter().sum::<f64>() / seconds.len() as f64,
        }
    }
}

/// Returns the seconds of one core for one lookup, and the sum of the squared errors.
fn lookups_of(key: &ClientKey, cpu: &Cpu, values: u32, round: u64) -> Result<(f64, f64)> {
    // So far from the ends of the range that the reading noise does not leave it.
    let phase = |i| to_torus(0.3 * (f64::from(i) + 0.5) / f64::from(values) - 0.15);
    let phases: Vec<u64> = (0..values).map(phase).collect();
    // Encrypted, as the exponents of a blind rotation must be random.
    let x = key.deterministic("parameter search").encrypt_values(&phases, round)?.open(cpu)?;
    let table = [Table::new(key.params().row_size, |_| OUTPUT)?];
    let start = Instant::now();
    let y = cpu.lookup(&x, &table)?;
    let seconds = start.elapsed().as_secs_f64();
    let squared = |y: u64| (from_torus(y) - OUTPUT).powi(2);
    let squares = key.decrypt_values(&y)?.into_iter().map(squared).sum();
    Ok((seconds * rayon::current_num_threads() as f64 / f64::from(values), squares))
}
