//! The results as a file.

use fhe_train::Provenance;
use serde::{Deserialize, Serialize};

use super::blind_rotation::BlindRotation;
use super::cost::Cost;
use super::integers::Integers;
use super::keys::Keys;
use super::noise::Compared;
use super::products::SelectorNoise;

/// Batch lookups, measured. Noise is log2 of a standard deviation, in fractions of the torus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchResults {
    /// Milliseconds of cores for a value of a full batch: packing, and two functions as rows.
    pub core_ms_per_value: f64,
    /// Packing alone, of values that are near in memory: the least that it can take.
    pub packing_core_ms: f64,
    /// The part of it that the system takes.
    pub system_core_ms: f64,
    /// Milliseconds on the wall for such a value.
    pub wall_ms_per_value: f64,
    /// Functions of these batches.
    pub functions: usize,
    /// Values of these batches.
    pub timed_values: u64,
    /// Name and seconds of cores of each stage of a batch, once each: a table and its rows are
    /// there for each function.
    pub stages: Vec<(String, f64)>,
    /// Milliseconds of cores for a value of today's lookup of four tables, in the same run.
    pub lookup_core_ms: f64,
    /// `lookup_core_ms / core_ms_per_value`.
    pub ratio_to_lookup: f64,
    /// Values of today's lookup.
    pub lookups: usize,
    /// Seconds of tfhe's own key switch and bootstrap at today's set on one thread while all do the
    /// same.
    pub raw_seconds: f64,

    /// Slots t in which a value is read.
    pub slots: usize,
    /// Values whose integers were judged.
    pub values: u64,
    /// Of these, integers that were wrong.
    pub wrong_integers: u64,
    /// The same of gates.
    pub wrong_gates: u64,
    /// Largest distance of a value from the slot as which it was read, in predicted standard
    /// deviations of the reading.
    pub farthest_reading: f64,
    /// Noise of the top gadget row of integers.
    pub top_row_noise_log2: f64,
    /// Noise with which a batch reads.
    pub reading_noise_log2: f64,
    /// Noise with which today's lookup of four tables reads.
    pub lookup_reading_noise_log2: f64,
    /// Noise of a product of selectors from a batch, with as many values as `lookups`.
    pub product_noise_log2: f64,
    /// The same of promoted selectors.
    pub promoted_product_noise_log2: f64,
    /// Noise of such a product without the rounding of the other factor: what selectors from a
    /// batch add to it.
    pub selector_noise_log2: f64,
    /// The same of promoted selectors.
    pub promoted_selector_noise_log2: f64,
    /// All noise beside its prediction.
    pub noise: Vec<Compared>,

    /// Bytes of the evaluation keys as a message.
    pub key_bytes: u64,
    /// Seconds to make them.
    pub key_seconds: f64,
    /// Seconds to open them.
    pub engine_seconds: f64,
    /// Memory of the engine once they are open.
    pub engine_bytes: u64,
    /// Largest resident memory of the run, in which the keys were made and opened.
    pub memory_bytes: u64,
    /// The same of the batches alone, with the keys open.
    pub batch_memory_bytes: u64,

    /// Name of the parameter set.
    pub parameter_set: String,
    /// Name of that of today's lookups.
    pub lookup_parameter_set: String,
    /// Threads.
    pub threads: usize,
    /// Seed of the keys.
    pub seed: u64,
    /// Command.
    pub command: String,
    /// Commit.
    pub commit: String,
    /// Machine.
    pub machine: String,
}

/// What a run measured.
#[derive(Debug)]
pub struct Measured<'a> {
    /// Seed of the keys.
    pub seed: u64,
    /// Today's lookups.
    pub one: BlindRotation,
    /// Keys and engine of batches.
    pub keys: &'a Keys,
    /// Times of batches.
    pub cost: Cost,
    /// Times of the stages of a batch.
    pub stages: Vec<(String, f64)>,
    /// Integers of batches.
    pub integers: Integers<'a>,
    /// Noise of selectors with full lists.
    pub full: SelectorNoise,
    /// Noise of selectors with lists as short as today's.
    pub few: SelectorNoise,
    /// Largest memory before the batches.
    pub memory_before: u64,
    /// Where the figures come from, with the largest memory of the batches.
    pub here: Provenance,
}

impl BatchResults {
    /// Puts together what a run measured.
    #[must_use]
    pub fn new(measured: Measured<'_>) -> Self {
        let Measured { seed, one, keys, cost, stages, integers, full, few, memory_before, here } =
            measured;
        let (params, found) = (keys.key.params(), integers.found());
        let core_ms = cost.ms(cost.whole.core);
        let of = integers.noise();
        let log2 = |compared: &Compared| compared.measured_log2;
        let [reading, top] = [0, 1].map(|i| of.get(i).map_or(0.0, log2));
        Self {
            core_ms_per_value: core_ms,
            packing_core_ms: cost.ms(cost.packing.core),
            system_core_ms: cost.ms(cost.whole.system),
            wall_ms_per_value: cost.ms(cost.whole.wall),
            functions: cost.functions,
            timed_values: cost.values,
            stages,
            lookup_core_ms: one.core_ms,
            ratio_to_lookup: one.core_ms / core_ms,
            lookups: one.values,
            raw_seconds: one.raw_seconds,
            slots: params.batch.map_or(0, |batch| batch.slots),
            values: found.values,
            wrong_integers: found.wrong_integers,
            wrong_gates: found.wrong_gates,
            farthest_reading: found.farthest,
            top_row_noise_log2: top,
            reading_noise_log2: reading,
            lookup_reading_noise_log2: log2(&one.reading),
            product_noise_log2: log2(&few.products),
            promoted_product_noise_log2: log2(&one.selectors.products),
            selector_noise_log2: log2(&few.own),
            promoted_selector_noise_log2: log2(&one.selectors.own),
            noise: of
                .into_iter()
                .chain([one.reading, full.rows, few.rows, one.selectors.rows])
                .chain([full.products, few.products, one.selectors.products])
                .chain([full.own, few.own, one.selectors.own])
                .collect(),
            key_bytes: keys.bytes,
            key_seconds: keys.seconds,
            engine_seconds: keys.engine_seconds,
            engine_bytes: keys.engine_bytes,
            memory_bytes: here.peak_memory_bytes.max(memory_before),
            batch_memory_bytes: here.peak_memory_bytes,
            parameter_set: params.name.clone(),
            lookup_parameter_set: one.parameter_set,
            threads: rayon::current_num_threads(),
            seed,
            command: here.command,
            commit: here.commit,
            machine: here.machine,
        }
    }
}
