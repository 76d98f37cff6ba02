//! Networks with public integer weights, evaluated on encrypted images.

mod config;
mod conv2d;
pub mod file;
mod network;
mod pool;
mod staircase;
mod summary;

pub use config::{LayerWeights, Pool, PublicLayerConfig, PublicNetworkConfig};
pub use conv2d::{PublicConv2d, PublicGeometry};
pub use file::{read, write};
pub use network::PublicNetwork;
pub use staircase::{Levels, Staircase};
pub use summary::{PublicLayerSummary, PublicSummary};
