//! What a finished training reports.

use serde::{Deserialize, Serialize};

use crate::{State, Stretch};

/// What a finished training reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The public state.
    #[serde(flatten)]
    pub state: State,
    /// Name of the parameter set.
    pub parameter_set: String,
    /// Seconds of training of all parts.
    pub wall_seconds: f64,
    /// Wall time over `lookups * raw / threads`: 1 means that nothing but lookups costs time. It is
    /// 0 if nothing was measured.
    pub efficiency: f64,
    /// Threads of the last part, of all its processes.
    pub threads: usize,
}

impl Report {
    /// Adds the stretches of a training up.
    pub(crate) fn new(state: &State, parameter_set: String) -> Self {
        let parts = &state.parts;
        let wall_seconds = parts.iter().map(|p| p.wall_seconds).sum::<f64>();
        let threads = |part: &Stretch| part.threads.saturating_mul(part.ranks);
        let ideal = |p: &Stretch| p.lookups as f64 * p.raw_seconds / threads(p) as f64;
        let ideal = parts.iter().map(ideal).sum::<f64>();
        let threads = parts.last().map_or(0, threads);
        let efficiency = if ideal > 0.0 { wall_seconds / ideal } else { 0.0 };
        Self { state: state.clone(), parameter_set, wall_seconds, efficiency, threads }
    }
}
