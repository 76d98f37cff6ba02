#![doc = include_str!("../README.md")]

mod deep;
mod deep_recipe;
mod error;
mod fast;
mod head;
mod initial;
mod layer_noise;
mod loss;
mod model;
mod optimizer;
mod price;
mod provenance;
mod recipe;
mod source;
mod step_plan;
mod summary;
mod trainer;
mod training_plan;
mod work;

pub use deep::Deep;
pub use deep_recipe::{Binary, DeepRecipe, LayerTraining};
pub use error::{Error, Result};
pub use fast::{FastTwin, Wraps};
pub use head::Head;
pub use loss::{ERROR_LIMIT, OneVsAll};
pub use model::Model;
pub use provenance::Provenance;
pub use recipe::{HeadRecipe, Recipe};
pub use source::{ClearSource, ShapeSource, Source};
pub use step_plan::MiniBatches;
pub use summary::{LayerSummary, Summary};
pub use trainer::{Checkpoint, Event, Part, Report, State, Trainer, TrainerOptions};
pub use work::Work;
