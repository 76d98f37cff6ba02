//! Files of named tensors.

use std::fs;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};

use super::Features;
use super::npy::features;
use super::number::{NUMBER_TYPES, Number};
use crate::{Error, Result};

/// Reads the samples of one tensor of a safetensors file: the one of that name, or the only one.
///
/// # Shapes
/// `[n, ..]`: the first axis counts samples, the others are flattened. A tensor of one axis has one
/// feature a sample.
///
/// # Values
/// Booleans, integers of 8 to 64 bits, floats of 16 to 64 bits, bfloat16.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] for a damaged file; [`Error::NoTensor`], with the names that
/// there are; [`Error::NumberType`] for another type; [`Error::LargeInteger`] for an integer beyond
/// 2^53, which would be rounded.
pub fn read_safetensors(path: &Path, tensor: Option<&str>) -> Result<Features> {
    let array = read_array(path, tensor)?;
    features(array).ok_or_else(|| Error::Malformed { file: path.to_path_buf(), field: "shape" })
}

/// Reads one tensor of a file.
pub(super) fn read_array(path: &Path, tensor: Option<&str>) -> Result<ArrayD<f64>> {
    let malformed = |field| Error::Malformed { file: path.to_path_buf(), field };
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    let file =
        SafeTensors::deserialize(&bytes).map_err(|_| malformed("safetensors header or length"))?;
    let mut names = file.names();
    names.sort_unstable();
    let name = match (tensor, names.as_slice()) {
        (Some(wanted), names) if names.contains(&wanted) => wanted,
        (None, [only]) => only,
        _ => {
            let known = names.join(", ");
            let tensor = tensor.map(str::to_owned);
            return Err(Error::NoTensor { file: path.to_path_buf(), tensor, known });
        }
    };
    let view = file.tensor(name).map_err(|_| malformed("tensors"))?;
    let number = number_type(view.dtype()).ok_or_else(|| Error::NumberType {
        file: path.to_path_buf(),
        got: format!("{:?}", view.dtype()),
        wanted: NUMBER_TYPES,
    })?;
    let values = number.decode(path, view.data(), false)?;
    ArrayD::from_shape_vec(IxDyn(view.shape()), values).map_err(|_| malformed("shape"))
}

fn number_type(dtype: Dtype) -> Option<Number> {
    Some(match dtype {
        Dtype::BOOL => Number::Bool,
        Dtype::I8 => Number::I8,
        Dtype::I16 => Number::I16,
        Dtype::I32 => Number::I32,
        Dtype::I64 => Number::I64,
        Dtype::U8 => Number::U8,
        Dtype::U16 => Number::U16,
        Dtype::U32 => Number::U32,
        Dtype::U64 => Number::U64,
        Dtype::F16 => Number::F16,
        Dtype::BF16 => Number::Bf16,
        Dtype::F32 => Number::F32,
        Dtype::F64 => Number::F64,
        _ => return None,
    })
}
