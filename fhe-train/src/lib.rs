#![doc = include_str!("../README.md")]

pub mod head;
pub mod loss;
pub mod provenance;
pub mod schedule;
pub mod trainer;

mod error;

pub use error::{Error, Result};
pub use head::{ClearSource, Head, ShapeSource, Source};
pub use loss::OneVsAll;
pub use provenance::Provenance;
pub use schedule::Recipe;
pub use trainer::{Checkpoint, Event, Part, Report, Trainer, TrainerOptions};
