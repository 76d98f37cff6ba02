//! NumPy's array files.
//!
//! A file is the bytes `\x93NUMPY`, a version, the length of the header, the header, a line of
//! Python as `{'descr': '<f8', 'fortran_order': False, 'shape': (1797, 64), }`, and the numbers.
//! Source: `numpy.lib.format`, "A simple format for saving numpy arrays to disk", NEP 1.

use std::fs;
use std::path::Path;

use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use super::Features;
use super::number::{NUMBER_TYPES, Number};
use crate::{Error, Result};

/// Reads the samples of a NumPy array file, versions 1 to 3.
///
/// # Shapes
/// `[n, ..]`, in C or Fortran order: the first axis counts samples, the others are flattened. A
/// file of one axis has one feature a sample.
///
/// # Values
/// Booleans, integers of 8 to 64 bits, floats of 16 to 64 bits, of either byte order.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] for a damaged header; [`Error::NumberType`] for another
/// type, as complex numbers or Python objects; [`Error::LargeInteger`] for an integer beyond 2^53,
/// which would be rounded; [`Error::Field`] if the file is shorter or longer
/// than its header says.
pub fn read_npy(path: &Path) -> Result<Features> {
    let array = read_array(path)?;
    features(array).ok_or_else(|| Error::Malformed { file: path.to_path_buf(), field: "shape" })
}

/// Flattens all axes but the first; `None` without an axis.
pub(super) fn features(array: ArrayD<f64>) -> Option<Features> {
    let (&count, sample_shape) = array.shape().split_first()?;
    let sample_shape = match sample_shape {
        [] => vec![1],
        shape => shape.to_vec(),
    };
    let width = sample_shape.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis))?;
    let flat = array.as_standard_layout().into_owned();
    let values = flat.into_shape_with_order((count, width)).ok()?;
    Some(Features { values, sample_shape, names: Vec::new(), labels: None })
}

/// Reads the array of a file.
pub(super) fn read_array(path: &Path) -> Result<ArrayD<f64>> {
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    let malformed = |field| Error::Malformed { file: path.to_path_buf(), field };
    let (text, data) = split(&bytes).ok_or_else(|| malformed("npy header"))?;
    let descr = quoted(entry(text, "descr").ok_or_else(|| malformed("descr"))?);
    let (number, big_endian) = descr.and_then(number_type).ok_or_else(|| Error::NumberType {
        file: path.to_path_buf(),
        got: descr.unwrap_or("a structure").to_owned(),
        wanted: NUMBER_TYPES,
    })?;
    let fortran = match entry(text, "fortran_order") {
        Some(rest) if rest.starts_with("True") => true,
        Some(rest) if rest.starts_with("False") => false,
        _ => return Err(malformed("fortran_order")),
    };
    let shape = entry(text, "shape").and_then(dimensions).ok_or_else(|| malformed("shape"))?;
    let length = shape.iter().try_fold(number.size(), |product, &axis| product.checked_mul(axis));
    if length != Some(data.len()) {
        return Err(Error::Field {
            file: path.to_path_buf(),
            field: "length of the data in bytes",
            got: data.len() as u64,
            wanted: length.map_or_else(|| "less than 2^64".into(), |length| length.to_string()),
        });
    }
    let values = number.decode(path, data, big_endian)?;
    let shape = IxDyn(&shape).set_f(fortran);
    ArrayD::from_shape_vec(shape, values).map_err(|_| malformed("shape"))
}

/// Returns the header's text and the data.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (&[major, _], rest) = rest.split_first_chunk()?;
    let (length, rest) = match major {
        1 => {
            let (word, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_le_bytes(*word)), rest)
        }
        2 | 3 => {
            let (word, rest) = rest.split_first_chunk()?;
            (u32::from_le_bytes(*word) as usize, rest)
        }
        _ => return None,
    };
    let (text, data) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(text).ok()?, data))
}

/// Returns what follows a key of the header.
fn entry<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let quoted = ['\'', '"'].map(|quote| format!("{quote}{key}{quote}"));
    let rest = quoted.iter().find_map(|key| text.split_once(key.as_str()))?.1;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// Returns the text between the quotes with which `text` begins.
fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    Some(text[1..].split_once(quote)?.0)
}

/// Returns the number type of a description such as `<f8`, and whether it is big-endian.
fn number_type(descr: &str) -> Option<(Number, bool)> {
    let (order, kind) = descr.split_at_checked(1)?;
    let big_endian = match order {
        "<" | "|" => false,
        ">" => true,
        "=" => cfg!(target_endian = "big"),
        _ => return None,
    };
    let number = match kind {
        "b1" => Number::Bool,
        "i1" => Number::I8,
        "i2" => Number::I16,
        "i4" => Number::I32,
        "i8" => Number::I64,
        "u1" => Number::U8,
        "u2" => Number::U16,
        "u4" => Number::U32,
        "u8" => Number::U64,
        "f2" => Number::F16,
        "f4" => Number::F32,
        "f8" => Number::F64,
        _ => return None,
    };
    Some((number, big_endian))
}

/// Returns the numbers of a tuple such as `(3, 4)` or `(3,)`.
fn dimensions(text: &str) -> Option<Vec<usize>> {
    let (inner, _) = text.strip_prefix('(')?.split_once(')')?;
    let axes = inner.split(',').map(str::trim).filter(|axis| !axis.is_empty());
    axes.map(|axis| axis.parse().ok()).collect()
}
