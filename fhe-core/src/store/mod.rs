//! Files and messages: one container format for keys, encrypted data sets, queries, scores and
//! checkpoints.

mod client_key;
mod container;
mod dataset;
mod evaluation_keys;
mod lock;
mod message;
mod pieces;
mod query;
pub(crate) mod stored;
mod value_layout;
mod values;
mod whole;

#[doc(hidden)]
pub use ::serde;
pub use container::{ChunkReader, ChunkWriter, Header, read_file, read_from, write_file, write_to};
pub use dataset::{Dataset, DatasetShape, DatasetWriter, Lanes};
pub use lock::Lock;
pub use message::{Message, Opened, deserialize, serialize};
pub use pieces::{Incoming, Pieces};
pub use query::EncryptedQuery;
pub use value_layout::ValueLayout;
pub use values::EncryptedValues;
pub use whole::{Secrecy, create_folder, flush_folder, write_whole};
