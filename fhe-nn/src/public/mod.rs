//! Networks with public integer weights, evaluated on encrypted images.

pub mod client;
mod config;
mod conv2d;
mod error;
pub mod file;
mod geometry;
mod levels;
mod memory;
mod network;
mod pixels;
mod plan;
mod pool;
mod run;
mod server;
mod staircase;
mod summary;
mod twins;

pub use config::{LayerWeights, Pool, PublicLayerConfig, PublicNetworkConfig};
pub use conv2d::PublicConv2d;
pub use error::{PublicError, Result};
pub use file::{from_bytes, read, to_bytes, write};
pub use geometry::PublicGeometry;
pub use levels::{Counting, Levels};
pub use network::PublicNetwork;
pub use plan::{PlannedLayer, PublicPlan};
pub use staircase::Staircase;
pub use summary::{PublicLayerSummary, PublicSummary};
