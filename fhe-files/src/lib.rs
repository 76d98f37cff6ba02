#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod gunzip;
mod safetensors;

pub use gunzip::Gunzip;
pub use safetensors::safetensors;
