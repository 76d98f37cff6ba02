#![doc = include_str!("../README.md")]

pub mod activation;
mod config;
mod conv2d;
mod dense;
mod error;
pub mod geometry;
mod network;
mod output_errors;
mod plan;
mod promotable;
pub mod public;
mod scores;

pub use config::{LayerConfig, NetworkConfig};
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use error::{Error, Result};
pub use geometry::{Cells, Geometry, Shape};
pub use network::{Network, ScoreErrors, Trace};
pub use output_errors::OutputErrors;
pub use plan::{HiddenLayer, NetworkPlan};
pub use promotable::Promotable;
pub use scores::argmax;
