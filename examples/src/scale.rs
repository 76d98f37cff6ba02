//! The price of a training that was simulated, as a file.

use anyhow::{Result, ensure};
use fhe_train::{Provenance, Recipe};
use serde::{Deserialize, Serialize};

use crate::step::StepResults;

/// Cores that a price is named for.
const CORES: [f64; 3] = [2.0, 192.0, 64.0 * 192.0];

/// A simulated training, on drawn features, and what it would cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// What this is: a simulation in the clear on drawn features.
    pub what: String,
    /// Training samples, each counted in every pass.
    pub images: u64,
    /// Samples of a mini-batch.
    pub batch: usize,
    /// Lookups that the encrypted training makes.
    pub lookups: u64,
    /// The exact twin, and twins with noise.
    pub runs: Vec<ScaleRun>,
    /// Core-hours of the encrypted training, from a true mini-batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_hours: Option<f64>,
    /// The public recipe.
    pub recipe: serde_json::Value,
    /// Where this was made.
    pub provenance: Provenance,
    /// The mini-batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepResults>,
}

/// A twin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleRun {
    /// Seed of the noise; none of the exact twin.
    pub seed: Option<u64>,
    /// Share of drawn test samples classified rightly.
    pub accuracy: f64,
}

impl Scale {
    /// Puts together what twins and a mini-batch gave.
    ///
    /// # Errors
    /// If the mini-batch is of another recipe.
    pub fn new(
        recipe: &Recipe,
        batch: usize,
        images: u64,
        runs: Vec<ScaleRun>,
        step: Option<StepResults>,
        provenance: Provenance,
    ) -> Result<Self> {
        let json = serde_json::json!(recipe);
        if let Some(step) = &step {
            let same = |field: &str| step.recipe.get(field) == json.get(field);
            let alike = same("classes") && same("inputs") && step.images == batch;
            ensure!(alike, "the mini-batch is of other classes, features or another size");
        }
        Ok(Self {
            what: "simulation in the clear, on drawn features".into(),
            images,
            batch,
            lookups: images * recipe.classes() as u64,
            runs,
            core_hours: step.as_ref().map(|s| s.core_seconds_per_image * images as f64 / 3600.0),
            recipe: json,
            provenance,
            step,
        })
    }

    /// Says the price.
    #[must_use]
    pub fn price(&self) -> String {
        let Some(hours) = self.core_hours else {
            return format!("{} image-steps, {} lookups", self.images, self.lookups);
        };
        let on = CORES.map(|cores| match hours / cores {
            hours if hours < 1.0 => format!("{:.1} minutes on {cores} cores", 60.0 * hours),
            hours => format!("{hours:.1} hours on {cores} cores"),
        });
        format!("{hours:.0} core-hours, if all cores keep the pace: {}", on.join(", "))
    }
}
