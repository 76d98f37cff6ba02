//! The search for the cheapest lookup: candidates, and their measurement.

pub mod candidate;
pub mod measure;

use candidate::{Candidate, Need};
use fhe_train::Provenance;
use serde::{Deserialize, Serialize};

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The default set, whose other parameters all candidates share.
    pub parameter_set: String,
    /// Threads.
    pub threads: usize,
    /// Seed of the keys.
    pub seed: u64,
    /// Lookups of a round.
    pub values: u32,
    /// Timed rounds.
    pub rounds: u32,
    /// What the recipe needs.
    pub need_log2_std: Need,
    /// What computed it.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// Number of candidates predicted.
    pub predicted: usize,
    /// How many of them meet the need.
    pub meeting_need: usize,
    /// Those measured.
    pub candidates: Vec<Candidate>,
}
