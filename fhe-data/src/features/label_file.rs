//! Files of labels.

use std::fs;
use std::path::Path;

use ndarray::ArrayD;

use super::number::EXACT;
use super::{Labels, Selection, csv, extension, npy, safetensors};
use crate::{Error, Result};

/// Reads labels from a file whose name ends in `.npy` (integers), `.safetensors` (integers), `.csv`
/// or `.tsv` (one column, integers or text), or else from a text file of one label a line.
///
/// The classes are those that occur; [`Labels::with_classes`] numbers them as another set does.
///
/// # Errors
/// As [`super::read_features`]; [`Error::Label`] for a label that is no integer; [`Error::Cell`]
/// for an empty line; [`Error::NoColumn`] for a CSV file of several columns, of which none is
/// selected.
pub fn read_labels(path: &Path, selection: &Selection) -> Result<Labels> {
    match extension(path).as_str() {
        "npy" => {
            selection.check(path, false, false)?;
            integers(path, &npy::read_array(path)?)
        }
        "safetensors" => {
            selection.check(path, true, false)?;
            integers(path, &safetensors::read_array(path, selection.tensor.as_deref())?)
        }
        "csv" | "tsv" => {
            selection.check(path, false, true)?;
            csv::read_label_column(path, selection.label_column.as_ref(), selection.header)
        }
        _ => {
            selection.check(path, false, false)?;
            let text = fs::read_to_string(path).map_err(Error::io("reading", path))?;
            let lines: Vec<&str> =
                text.trim_start_matches('\u{feff}').lines().map(str::trim).collect();
            if let Some(at) = lines.iter().position(|line| line.is_empty()) {
                let (line, got, wanted) = (at as u64 + 1, String::new(), "a label");
                return Err(Error::Cell { file: path.to_path_buf(), line, column: 1, got, wanted });
            }
            Ok(Labels::from_names(&lines))
        }
    }
}

/// Takes numbers without a fraction for labels, whatever their type: `[n]`, or `[n, 1]`.
fn integers(path: &Path, array: &ArrayD<f64>) -> Result<Labels> {
    if array.ndim() == 0 || array.shape().iter().skip(1).any(|&axis| axis != 1) {
        return Err(Error::Malformed { file: path.to_path_buf(), field: "shape" });
    }
    let mut names = Vec::with_capacity(array.len());
    for (record, &x) in array.iter().enumerate() {
        if x.fract() != 0.0 || !(0.0..=EXACT as f64).contains(&x.abs()) {
            let (file, got) = (path.to_path_buf(), x.to_string());
            return Err(Error::Label { file, record, got, wanted: "an integer".into() });
        }
        // Without the sign of a zero.
        names.push(format!("{:.0}", x + 0.0));
    }
    Ok(Labels::from_names(&names))
}
