//! What the example programs share: the folders of a run, presets, progress bars.
//!
//! The client's code and the server's lie apart: [`client`] may name secret keys, [`server`] cannot.

pub mod client;
pub mod preset;
pub mod progress;
pub mod server;
