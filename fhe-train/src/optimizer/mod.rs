//! Optimizers: rules by which the gradient of a mini-batch changes weights.
//!
//! A rule is a file here. Its numbers are public, and come from [`crate::step_plan`]. It is a
//! multiple of the weight that is added to the gradient's phase, a table of the sum, and a multiple
//! of what the table gives: so it is followed on ciphertexts and in floating point alike.

mod sgd;

pub(crate) use sgd::{CLIP, Sgd};
