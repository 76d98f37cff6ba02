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

/// What was found by one build on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fuzzed {
    /// What was run. The memory is that of the largest process.
    pub provenance: Provenance,
    /// The readers, in the order of their names.
    pub readers: Vec<Found>,
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
    here.command = "cargo test --release --workspace --test fuzz".into();
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
    readers.retain(|earlier| earlier.reader != found.reader);
    readers.push(found.clone());
    readers.sort_by(|a, b| a.reader.cmp(&b.reader));
    file::write_json(path, &Fuzzed { provenance: here, readers })
}
