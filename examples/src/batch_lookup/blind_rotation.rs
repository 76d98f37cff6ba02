//! Today's lookups in the same run: what batches are compared with.

use fhe_core::noise::Noise;
use fhe_core::{Engine, Params, Result};

use super::clock::{Clock, Spent};
use super::functions::{Functions, Slots};
use super::keys::Keys;
use super::noise::{Compared, Squares};
use super::prediction::lookup_reading;
use super::products::SelectorNoise;
use super::values::Listed;

/// Runs of tfhe's own key switch and bootstrap on each thread.
const RAW_RUNS: usize = 16;

/// What was found.
#[derive(Clone, Debug)]
pub struct BlindRotation {
    /// Name of the parameter set.
    pub parameter_set: String,
    /// Values looked up.
    pub values: usize,
    /// Milliseconds of cores for a value: its key switch and its bootstrap, four tables.
    pub core_ms: f64,
    /// Seconds of tfhe's own key switch and bootstrap on one thread while all do the same.
    pub raw_seconds: f64,
    /// Noise of the reading.
    pub reading: Compared,
    /// Noise of promoted selectors.
    pub selectors: SelectorNoise,
}

impl BlindRotation {
    /// Looks up so many values, at most N, and promotes them as one list.
    ///
    /// # Errors
    /// If the set cannot promote.
    pub fn measure(params: &Params, seed: u64, count: usize) -> Result<Self> {
        let functions = Functions::new(params)?;
        let keys = Keys::make(params, seed)?;
        let (key, cpu) = (&keys.key, &keys.cpu);
        let listed = Listed::new(key, cpu, (1, count), 0)?;
        let tables = functions.four()?;
        // The first ones bring the keys into the caches.
        cpu.lookup(&cpu.take(&listed.values, 0..count.min(4))?, &tables)?;
        let raw_before = cpu.raw_seconds(RAW_RUNS);
        let clock = Clock::start();
        let y = cpu.lookup(&listed.values, &tables)?;
        let Spent { core, .. } = clock.spent();
        let raw_seconds = (raw_before + cpu.raw_seconds(RAW_RUNS)) / 2.0;

        let slots = Slots::new(&functions, params.row_size / tables.len());
        let mut reading = Squares::default();
        let mut integers = vec![0; params.row_size];
        let halves = key.decrypt_values(&cpu.take(&y, (0..count).map(|i| 4 * i + 3))?)?;
        for ((half, &phase), m) in halves.into_iter().zip(&listed.phases).zip(&mut integers) {
            let slot = slots.read(half);
            reading.add(slot as f64 * slots.width() - fhe_core::from_torus(phase));
            *m = slots.at(slot).map_or(0, |(integer, _)| integer);
        }
        let promoted = cpu.promote(&y, tables.len(), &listed.lists)?;
        let noise = Noise::new(params);
        let kind = noise.promoted_selectors(count, noise.lookup());
        let kind = kind.unwrap_or_else(|| noise.fresh_selectors());
        let what = format!("selectors promoted from {count} values");
        Ok(Self {
            parameter_set: params.name.clone(),
            values: count,
            core_ms: 1e3 * core / count.max(1) as f64,
            raw_seconds,
            reading: Compared::new("reading of four tables", reading, lookup_reading(params)),
            selectors: SelectorNoise::measure(key, cpu, (&what, &promoted), &[integers], kind)?,
        })
    }
}
