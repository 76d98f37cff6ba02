#![doc = include_str!("../README.md")]

mod batch;
pub mod client;
pub mod engine;
pub mod noise;
pub mod params;
pub mod server;
pub mod store;

mod error;
mod integer_table;
mod polynomial;
mod seed;
mod table;
mod test_polynomial;
mod torus;

pub use engine::{Clear, Cpu, Engine, List, LookedUp, Meter, Outputs, Slot, Term};
pub use error::{Error, Result};
pub use integer_table::IntegerTable;
pub use params::{Params, ParamsSpec};
pub use seed::Seed;
pub use table::Table;
pub use test_polynomial::{Read, TestPolynomial};
pub use torus::{from_torus, to_torus};
