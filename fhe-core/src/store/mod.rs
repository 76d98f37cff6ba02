//! Files: one container format for keys, encrypted data sets and checkpoints.

mod container;
mod dataset;
mod key_files;
mod lock;

pub use container::{ChunkReader, ChunkWriter, Header, Secrecy, read_file, write_file};
pub use dataset::{Dataset, DatasetShape, DatasetWriter};
pub use lock::Lock;
