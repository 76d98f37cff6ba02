use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of the arithmetic or of a file.
    #[error(transparent)]
    Core(#[from] fhe_core::Error),
    /// An error of a network.
    #[error(transparent)]
    Network(#[from] fhe_nn::Error),
    /// A recipe that makes no sense.
    #[error("recipe: {field} is {got}, {rule}")]
    Recipe {
        /// The field at fault.
        field: &'static str,
        /// Its value.
        got: String,
        /// What was expected.
        rule: &'static str,
    },
    /// An error ended a step halfway, and its weights are of no use.
    #[error("step {step} was ended by an error: load the model again to go on")]
    Lost {
        /// The step.
        step: usize,
    },
    /// A checkpoint belongs to another training.
    #[error("{}: the checkpoint was made with {field} {got}, this run has {expected}", path.display())]
    Resume {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// What the checkpoint says.
        got: String,
        /// What this run has.
        expected: String,
    },
    /// The system refused to read or write a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}
