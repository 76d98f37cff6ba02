//! Safetensors files whose bytes depend on their content alone.

use std::collections::{BTreeMap, HashMap};

use ::safetensors::tensor::TensorView;
use ::safetensors::{SafeTensorError, serialize};
use serde_json::Value;

/// Returns tensors and metadata as the bytes of a safetensors file, the entries of its header in
/// the order of their names. [`serialize`] by itself writes metadata in an order that differs from
/// run to run.
///
/// # Cost
/// The file is held in memory twice.
///
/// # Errors
/// Those of [`serialize`].
///
/// ```
/// use std::collections::HashMap;
///
/// let metadata = || HashMap::from(["b", "a"].map(|name| (name.to_owned(), String::new())));
/// let file = fhe_files::safetensors(Vec::new(), metadata())?;
/// assert_eq!(fhe_files::safetensors(Vec::new(), metadata())?, file);
/// # Ok::<_, safetensors::SafeTensorError>(())
/// ```
pub fn safetensors(
    tensors: Vec<(&str, TensorView<'_>)>,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, SafeTensorError> {
    let file = serialize(tensors, Some(metadata))?;
    let (length, rest) = file.split_first_chunk().ok_or(SafeTensorError::HeaderTooSmall)?;
    let (header, data) = usize::try_from(u64::from_le_bytes(*length))
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or(SafeTensorError::InvalidHeaderLength)?;
    let entries: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_slice(header).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    let mut sorted = serde_json::to_vec(&entries).map_err(SafeTensorError::JsonError)?;
    // The same entries take the same bytes, and the rest of a header is spaces.
    if sorted.len() > header.len() {
        return Err(SafeTensorError::InvalidHeaderLength);
    }
    sorted.resize(header.len(), b' ');
    Ok([&length[..], &sorted, data].concat())
}

#[cfg(test)]
mod tests {
    use ::safetensors::{Dtype, SafeTensors};

    use super::*;

    fn file() -> Vec<u8> {
        let x = TensorView::new(Dtype::U8, vec![3], &[1, 2, 3]).unwrap();
        let metadata = ["kind", "version"].map(|name| (name.to_owned(), format!("the {name}")));
        safetensors(vec![("x", x)], HashMap::from(metadata)).unwrap()
    }

    #[test]
    fn equal_contents_are_equal_files() {
        // The order of two entries would differ in every other file.
        let first = file();
        assert!((0..64).all(|_| file() == first));
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = file();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("x").unwrap().data(), [1, 2, 3]);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["version"], "the version");
    }
}
