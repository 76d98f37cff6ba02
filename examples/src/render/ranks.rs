//! Trainings by several processes, as a section of the book.

use fhe_train::Provenance;
use serde::{Deserialize, Serialize};

use super::facts;

/// Trainings of one run by several numbers of processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankRuns {
    /// Whether all models are the same, bit for bit.
    pub same: bool,
    /// Cores of the machine.
    pub cores: u64,
    /// Each training.
    pub runs: Vec<RankRun>,
    /// One that lost a process.
    pub killed: Killed,
    /// Where this was made.
    pub provenance: Provenance,
}

/// A training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankRun {
    /// Processes.
    pub ranks: u64,
    /// Threads of each.
    pub threads: u64,
    /// Seconds of training.
    pub wall_seconds: f64,
    /// Lookups.
    pub lookups: u64,
    /// Hash of the encrypted weights.
    pub model: String,
}

/// A training of which a process was killed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Killed {
    /// Processes, of which one was killed.
    pub ranks: u64,
    /// Steps of the checkpoint that was left.
    pub step: usize,
    /// Processes that went on.
    pub resumed_by: u64,
    /// Hash of the encrypted weights at the end.
    pub model: String,
}

impl RankRuns {
    /// Returns core-seconds of the first training over those of another.
    fn efficiency(&self, run: &RankRun) -> f64 {
        let spent =
            |run: &RankRun| run.wall_seconds * self.cores.min(run.ranks * run.threads) as f64;
        self.runs.first().map_or(0.0, |first| spent(first) / spent(run))
    }

    /// Returns the results as a section of the book.
    #[must_use]
    pub fn section(&self, name: &str) -> String {
        let same = if self.same { "the same, bit for bit" } else { "different" };
        let killed = &self.killed;
        let mut rows = vec![
            ("models of all trainings", same.to_owned()),
            (
                "one process killed",
                format!(
                    "one of {} after step {}; {} processes went on from the checkpoint",
                    killed.ranks, killed.step, killed.resumed_by
                ),
            ),
            ("machine", self.provenance.machine.clone()),
            ("command", format!("`{}`", self.provenance.command)),
            ("commit", format!("`{}`", self.provenance.commit)),
        ];
        if let Some(first) = self.runs.first() {
            rows.insert(0, ("lookups", first.lookups.to_string()));
        }
        let mut text = facts(name, &rows);
        text.push_str("\n| processes | threads of each | seconds | efficiency | model |\n");
        text.push_str("|---|---|---|---|---|\n");
        for run in &self.runs {
            text.push_str(&format!(
                "| {} | {} | {:.1} | {:.2} | `{}` |\n",
                run.ranks,
                run.threads,
                run.wall_seconds,
                self.efficiency(run),
                &run.model[..run.model.len().min(12)]
            ));
        }
        text
    }
}
