//! What the example programs share: the folders of a run, presets, progress, how they fail.
//!
//! The client's code and the server's lie apart: [`client`] may name secret keys, [`server`]
//! cannot.

pub mod audit;
pub mod backbone;
pub mod batch_lookup;
pub mod bnn;
pub mod checked;
pub mod client;
pub mod dataset;
pub mod drawn;
pub mod encoder;
pub mod failure;
pub mod fast;
pub mod file;
pub mod folders;
pub mod fuzz;
pub mod imagenet;
pub mod memory;
pub mod output;
pub mod own_data;
pub mod pictures;
pub mod preset;
pub mod processes;
pub mod processor;
pub mod program;
pub mod progress;
pub mod render;
pub mod results;
pub mod rows;
pub mod scale;
pub mod search;
pub mod server;
pub mod signals;
pub mod step;
