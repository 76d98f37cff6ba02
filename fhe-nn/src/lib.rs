#![doc = include_str!("../README.md")]

mod dense;

pub use dense::Dense;
