//! Networks with public integer weights, evaluated on encrypted images.

mod config;
mod conv2d;
mod error;
mod exact;
pub mod file;
mod geometry;
mod levels;
mod network;
mod pixels;
mod plan;
mod pool;
mod run;
mod staircase;
mod summary;

pub use config::{LayerWeights, Pool, PublicLayerConfig, PublicNetworkConfig};
pub use conv2d::PublicConv2d;
pub use error::{PublicError, Result};
pub use file::{from_bytes, read, to_bytes, write};
pub use geometry::{Filter, PublicGeometry};
pub use levels::{Counting, Levels};
pub use network::PublicNetwork;
pub use plan::{PlannedLayer, PublicPlan};
pub use staircase::Staircase;
pub use summary::{PublicLayerSummary, PublicSummary};
