//! What can go wrong with a network whose weights are public.

use std::path::PathBuf;

use safetensors::SafeTensorError;

/// A result of this module.
pub type Result<T, E = PublicError> = std::result::Result<T, E>;

/// What can go wrong with a network whose weights are public: in its numbers, its file or its
/// images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublicError {
    /// An error of the arithmetic.
    #[error(transparent)]
    Core(#[from] fhe_core::Error),
    /// A number of the network as a whole is out of bounds.
    #[error("network: {what} is {got}, expected {expected}")]
    Network {
        /// The number.
        what: &'static str,
        /// Its value.
        got: String,
        /// What would fit.
        expected: String,
    },
    /// A layer does not fit: into the network, or to its weights.
    #[error("layer {layer}: {what} is {got}, expected {expected}")]
    Layer {
        /// The layer.
        layer: String,
        /// What of the layer.
        what: &'static str,
        /// Its value.
        got: String,
        /// What would fit.
        expected: String,
    },
    /// Images, or their scores, are not those of the network.
    #[error("{what} is {got}, expected {expected}")]
    Images {
        /// What was counted or looked at.
        what: &'static str,
        /// Its value.
        got: String,
        /// What would fit.
        expected: String,
    },
    /// A tensor of a file has another shape, another type or other numbers than its layer needs.
    #[error("tensor {tensor}: {what} is {got}, expected {expected}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What of the tensor.
        what: &'static str,
        /// Its value.
        got: String,
        /// What would fit.
        expected: String,
    },
    /// A tensor that a layer needs is not in the file.
    #[error("no tensor {tensor}; there are {}", listed(there))]
    NoTensor {
        /// The tensor.
        tensor: String,
        /// The tensors that are in the file.
        there: Vec<String>,
    },
    /// The file has tensors that belong to no layer.
    #[error("no layer has a tensor {}", listed(tensors))]
    UnknownTensors {
        /// The tensors.
        tensors: Vec<String>,
    },
    /// The tensors have more bytes than those of the network that the file describes can have.
    #[error("the tensors have {got} bytes, expected at most {expected}")]
    TooLarge {
        /// The size of its tensors.
        got: u64,
        /// The largest size that makes sense.
        expected: u64,
    },
    /// The bytes are no safetensors file, or not all of one.
    #[error("no whole safetensors file: {0}")]
    Safetensors(#[from] SafeTensorError),
    /// The file does not say which network it is of.
    #[error("no entry \"network\" in the metadata: expected the network's layers as JSON")]
    NoConfig,
    /// What the file says about its network cannot be read.
    #[error("metadata \"network\": {0}")]
    Config(#[from] serde_json::Error),
    /// The system refused to read or write, or compressed bytes are damaged.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Something is wrong with a file.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Box<PublicError>,
    },
}

impl PublicError {
    /// An error of a layer, with what was found and what was expected in words.
    pub(super) fn layer(
        layer: &str,
        what: &'static str,
        got: impl ToString,
        expected: impl ToString,
    ) -> Self {
        let (got, expected) = (got.to_string(), expected.to_string());
        Self::Layer { layer: escaped(layer), what, got, expected }
    }

    /// An error of the network as a whole.
    pub(super) fn network(what: &'static str, got: impl ToString, expected: impl ToString) -> Self {
        Self::Network { what, got: got.to_string(), expected: expected.to_string() }
    }

    /// An error of images.
    pub(super) fn images(what: &'static str, got: impl ToString, expected: impl ToString) -> Self {
        Self::Images { what, got: got.to_string(), expected: expected.to_string() }
    }

    /// An error of a tensor.
    pub(super) fn tensor(
        tensor: &str,
        what: &'static str,
        got: impl ToString,
        expected: impl ToString,
    ) -> Self {
        let (got, expected) = (got.to_string(), expected.to_string());
        Self::Tensor { tensor: escaped(tensor), what, got, expected }
    }
}

/// Returns a name of a file's own with its control characters escaped, and not all of a long one.
pub(super) fn escaped(name: &str) -> String {
    const MOST: usize = 100;
    let escaped: String = name.chars().take(MOST).flat_map(char::escape_debug).collect();
    if name.chars().nth(MOST).is_some() { escaped + "..." } else { escaped }
}

/// Returns the first names of a list, and how many more there are.
fn listed(names: &[String]) -> String {
    const MOST: usize = 12;
    let first: Vec<String> = names.iter().take(MOST).map(|name| escaped(name)).collect();
    match names.len().saturating_sub(MOST) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
