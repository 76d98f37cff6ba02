//! Networks with public integer weights, evaluated on encrypted images.

mod config;
mod conv2d;
pub mod file;
mod network;
mod pool;
mod staircase;
mod summary;

pub use config::{LayerConfig, LayerWeights, NetworkConfig, Pool};
pub use conv2d::{Conv2d, Window};
pub use file::{read, write};
pub use network::Network;
pub use staircase::{Levels, Staircase};
pub use summary::{LayerSummary, Summary};
