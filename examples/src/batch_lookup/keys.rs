//! Keys and the engine, with what they take.

use std::io::{self, Write};

use fhe_core::client::ClientKey;
use fhe_core::store::Message;
use fhe_core::{Cpu, Params, Result, Seed};

use super::clock::{Clock, resident_bytes};

/// A client's key, and an engine with its evaluation keys.
#[derive(Debug)]
pub struct Keys {
    /// The key.
    pub key: ClientKey,
    /// The engine.
    pub cpu: Cpu,
    /// Seconds to make the evaluation keys.
    pub seconds: f64,
    /// Bytes of the evaluation keys as a message.
    pub bytes: u64,
    /// Seconds to open them.
    pub engine_seconds: f64,
    /// Memory that the engine holds once they are open.
    pub engine_bytes: u64,
}

/// Counts bytes.
#[derive(Debug, Default)]
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Keys {
    /// Makes and opens the keys of a seed.
    ///
    /// # Errors
    /// None in practice: a count takes all bytes.
    pub fn make(params: &Params, seed: u64) -> Result<Self> {
        let before = resident_bytes();
        let key = ClientKey::new(params, Seed::from_number(seed));
        let clock = Clock::start();
        let evaluation = key.evaluation_keys();
        let seconds = clock.spent().wall;
        let mut count = Count::default();
        evaluation.write_to(&mut count)?;
        let clock = Clock::start();
        let cpu = Cpu::new(&evaluation);
        let engine_seconds = clock.spent().wall;
        drop(evaluation);
        let engine_bytes = resident_bytes().saturating_sub(before);
        Ok(Self { key, cpu, seconds, bytes: count.0, engine_seconds, engine_bytes })
    }
}
