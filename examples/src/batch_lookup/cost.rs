//! The time of a batch of two functions.

use fhe_core::engine::cpu::BatchStage;
use fhe_core::{Cpu, Engine, Result};

use super::clock::{Clock, Spent};
use super::functions::Functions;
use super::keys::Keys;
use super::values::Listed;

/// What some batches took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Values.
    pub values: u64,
    /// Functions of each.
    pub functions: usize,
    /// From values to rows of both functions.
    pub whole: Spent,
    /// Packing alone, of the same few values in every row: they are nearer in memory than those of
    /// `whole`, so that this is the least it can take.
    pub packing: Spent,
}

impl Cost {
    /// Takes the time of full batches: values in, a row of the integers' top level and a row of
    /// gates out for each list.
    ///
    /// # Errors
    /// None in practice: the lists fit together.
    pub fn measure(keys: &Keys, functions: &Functions, batches: u64) -> Result<Self> {
        let params = keys.key.params();
        let (rows, n) = (params.batch.map_or(0, |batch| batch.rows), params.row_size);
        let tables = functions.two();
        let mut cost = Self { functions: tables.len(), ..Self::default() };
        let mut stages = keys.cpu.batch_stages();
        for batch in 0..batches {
            let listed = Listed::new(&keys.key, &keys.cpu, (rows, n), batch)?;
            if batch == 0 {
                // The first one takes memory from the operating system, and keeps it for the
                // others.
                keys.cpu.lookup_rows(&listed.values, &tables, &listed.lists)?;
            }
            let clock = Clock::start();
            keys.cpu.lookup_rows(&listed.values, &tables, &listed.lists)?;
            cost.whole += clock.spent();
            let clock = Clock::start();
            stages.iter_mut().for_each(|stages| stages.run(BatchStage::Packing));
            cost.packing += clock.spent();
            cost.values += listed.phases.len() as u64;
        }
        Ok(cost)
    }

    /// Takes the time of each stage of a batch that holds nothing: name and seconds of cores.
    #[must_use]
    pub fn stages(cpu: &Cpu) -> Vec<(String, f64)> {
        let Some(mut stages) = cpu.batch_stages() else { return Vec::new() };
        let mut seconds = |stage: BatchStage| {
            // The first run takes memory.
            stages.run(stage);
            let clock = Clock::start();
            stages.run(stage);
            (stage.name().to_owned(), clock.spent().core)
        };
        BatchStage::ALL.into_iter().map(&mut seconds).collect()
    }

    /// Returns milliseconds of a value.
    #[must_use]
    pub fn ms(&self, seconds: f64) -> f64 {
        1e3 * seconds / self.values.max(1) as f64
    }
}
