#![doc = include_str!("../README.md")]

mod deep;
mod deep_recipe;
mod error;
mod fast;
mod head;
mod head_recipe;
mod layer_noise;
mod loss;
mod model;
mod provenance;
mod recipe;
mod source;
mod summary;
mod trainer;

pub use deep::Deep;
pub use deep_recipe::{Binary, DeepRecipe, LayerTraining};
pub use error::{Error, Result};
pub use fast::{FastTwin, Plan, Wraps};
pub use head::Head;
pub use head_recipe::HeadRecipe;
pub use loss::{ERROR_LIMIT, OneVsAll};
pub use model::{Model, Work};
pub use provenance::Provenance;
pub use recipe::Recipe;
pub use source::{ClearSource, ShapeSource, Source};
pub use summary::{LayerSummary, Summary};
pub use trainer::{Checkpoint, Event, Part, Report, State, Trainer, TrainerOptions};
