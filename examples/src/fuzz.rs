//! What was found by giving changed files to readers, as a file.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use fhe_train::Provenance;
use serde::{Deserialize, Serialize};

use crate::{file, results};

/// What was found by giving changed files to one reader.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The reader.
    pub reader: String,
    /// The first seed, `FUZZ_SEED`: processes that share the inputs of a reader begin apart.
    #[serde(default)]
    pub seed: u64,
    /// Changed files that it got.
    pub inputs: u64,
    /// Of these, how many it took for good ones.
    pub taken: u64,
    /// Panics, and inputs that took more time or memory than they may. The first one ends a run.
    pub failures: u64,
    /// Seconds of the run, with the making of the files.
    pub seconds: f64,
    /// Seconds of all processors for the slowest input.
    pub slowest_seconds: f64,
    /// Largest memory that an input took.
    pub largest_bytes: u64,
}

impl Found {
    /// What was found together with another run of the same reader.
    fn and(&self, other: &Self) -> Self {
        Self {
            reader: self.reader.clone(),
            seed: self.seed.min(other.seed),
            inputs: self.inputs + other.inputs,
            taken: self.taken + other.taken,
            failures: self.failures + other.failures,
            seconds: self.seconds + other.seconds,
            slowest_seconds: self.slowest_seconds.max(other.slowest_seconds),
            largest_bytes: self.largest_bytes.max(other.largest_bytes),
        }
    }
}

/// What was found by one build on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fuzzed {
    /// What was run. The memory is that of the largest process.
    pub provenance: Provenance,
    /// The readers, in the order of their names and first seeds.
    pub readers: Vec<Found>,
}

impl Fuzzed {
    /// Returns what was found of each reader, all of its runs together.
    #[must_use]
    pub fn of_readers(&self) -> Vec<Found> {
        let runs = self.readers.chunk_by(|a, b| a.reader == b.reader);
        runs.filter_map(|runs| runs.iter().cloned().reduce(|a, b| a.and(&b))).collect()
    }
}

/// Notes what was found of a reader, beside what the same build found of others. What another build
/// or machine found is replaced.
///
/// # Errors
/// Those of the file.
pub fn write(path: &Path, found: &Found) -> Result<()> {
    // Several processes may note what they find at once.
    let lock = std::env::temp_dir().join("fhe-fuzz.lock");
    let lock = File::create(&lock).with_context(|| format!("creating {}", lock.display()))?;
    lock.lock().context("waiting for other processes")?;
    let mut here = results::here();
    let features = if cfg!(feature = "onnx") { " --features fhe-fuzz/onnx" } else { "" };
    here.command = format!("cargo test --release --workspace{features} --test fuzz");
    let earlier = path.exists().then(|| file::read_json::<Fuzzed>(path, "results")).transpose()?;
    let same = |earlier: &Fuzzed| {
        let there = &earlier.provenance;
        (&there.commit, &there.machine) == (&here.commit, &here.machine)
    };
    let mut readers = Vec::new();
    if let Some(earlier) = earlier.filter(same) {
        readers = earlier.readers;
        here.peak_memory_bytes = here.peak_memory_bytes.max(earlier.provenance.peak_memory_bytes);
    }
    let of = |found: &Found| (found.reader.clone(), found.seed);
    readers.retain(|earlier| of(earlier) != of(found));
    readers.push(found.clone());
    readers.sort_by_key(of);
    file::write_json(path, &Fuzzed { provenance: here, readers })
}
