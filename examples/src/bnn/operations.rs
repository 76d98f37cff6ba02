//! The measured operations of the bench `operations`, as a file.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fhe_train::Provenance;
use serde::{Deserialize, Serialize};

/// The groups of the bench.
const GROUPS: [&str; 3] = ["comparison", "relu", "convolution"];

/// Times of the operations of binarized inference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operations {
    /// Threads.
    pub threads: usize,
    /// Group, name and mean seconds.
    pub operations: Vec<(String, String, f64)>,
    /// Where the figures come from.
    pub provenance: Provenance,
}

#[derive(Deserialize)]
struct Benchmark {
    group_id: String,
    function_id: String,
}

#[derive(Deserialize)]
struct Estimates {
    mean: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

impl Operations {
    /// Collects what criterion left in a folder, `target/criterion` for most.
    ///
    /// # Errors
    /// If nothing of the bench is there, or a file says something else.
    pub fn collect(folder: &Path) -> Result<Self> {
        let mut operations = Vec::new();
        for group in GROUPS {
            let folder = folder.join(group);
            let list = std::fs::read_dir(&folder).with_context(|| {
                format!(
                    "reading {}: run `cargo bench -p fhe-benches --bench operations` first",
                    folder.display()
                )
            })?;
            for entry in list {
                let new = entry?.path().join("new");
                if !new.join("benchmark.json").exists() {
                    continue;
                }
                let of: Benchmark =
                    crate::file::read_json(&new.join("benchmark.json"), "benchmark")?;
                let times: Estimates =
                    crate::file::read_json(&new.join("estimates.json"), "estimates")?;
                operations.push((of.group_id, of.function_id, times.mean.point_estimate / 1e9));
            }
        }
        ensure!(!operations.is_empty(), "{}: no operations", folder.display());
        operations.sort_by(|a, b| {
            (&a.0, a.2).partial_cmp(&(&b.0, b.2)).unwrap_or(std::cmp::Ordering::Equal)
        });
        let threads = rayon::current_num_threads();
        let command = "cargo bench -p fhe-benches --bench operations".into();
        Ok(Self {
            threads,
            operations,
            provenance: Provenance { command, ..crate::results::here() },
        })
    }
}
