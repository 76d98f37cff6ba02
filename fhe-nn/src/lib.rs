#![doc = include_str!("../README.md")]

pub mod activation;
mod conv2d;
mod dense;
mod error;
pub mod geometry;
mod network;
pub mod public;

pub use conv2d::{CONSTANTS, Conv2d, Transposed, WeightGradient};
pub use dense::Dense;
pub use error::{Error, Result};
pub use geometry::{Geometry, Shape};
pub use network::{LayerConfig, Network, NetworkConfig, Trace};
