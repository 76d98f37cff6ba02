#![doc = include_str!("../README.md")]

pub mod activation;
mod config;
mod conv2d;
mod dense;
mod error;
pub mod geometry;
mod layer_errors;
mod network;
mod plan;
pub mod promotable;
pub mod public;
mod scores;

pub use config::{LayerConfig, NetworkConfig};
pub use conv2d::{
    CONSTANTS, Conv2d, GradientErrors, GradientInput, LayerInput, Transposed, WeightGradient,
};
pub use dense::Dense;
pub use error::{Error, Result};
pub use geometry::{Geometry, Shape};
pub use layer_errors::LayerErrors;
pub use network::{Network, Trace};
pub use plan::{HiddenLayer, NetworkPlan};
pub use promotable::Promotable;
pub use scores::argmax;
