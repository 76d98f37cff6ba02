//! Measurements of batch lookups: time, memory, every integer and every noise, beside predictions
//! and beside the blind rotation in the same run.
//!
//! They are a client's measurements: everything is decrypted.

pub mod blind_rotation;
pub mod clock;
pub mod cost;
pub mod functions;
pub mod integers;
pub mod keys;
pub mod noise;
pub mod prediction;
pub mod products;
pub mod results;
pub mod values;
