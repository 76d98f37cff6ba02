use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of the arithmetic.
    #[error(transparent)]
    Core(#[from] fhe_core::Error),
    /// A layer that cannot be.
    #[error("layer {layer}: {problem}")]
    Layer {
        /// The layer.
        layer: String,
        /// What does not fit, and what would.
        problem: String,
    },
    /// A file that is no network.
    #[error("{}: {problem}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}
