#![doc = include_str!("../README.md")]

mod dense;
mod error;
pub mod geometry;

pub use dense::Dense;
pub use error::{Error, Result};
pub use geometry::{Geometry, Shape};
