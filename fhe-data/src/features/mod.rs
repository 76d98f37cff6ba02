//! Features and labels from files of other programs: NumPy's npy, CSV and safetensors.

mod csv;
mod label_file;
mod labels;
mod npy;
mod number;
mod safetensors;

use std::path::Path;
use std::str::FromStr;

use ndarray::Array2;

use crate::{Error, Result};

pub use csv::read_csv;
pub use label_file::read_labels;
pub use labels::Labels;
pub use npy::read_npy;
pub use safetensors::read_safetensors;

/// Samples as rows of numbers, and what their file says of them.
///
/// They are doubles. Integers beyond 2^53, which these would round, are refused by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// The numbers, `[n, features]`.
    pub values: Array2<f64>,
    /// The shape of one sample in the file, whose product is `features`: `[8, 8]` for an array of
    /// `[n, 8, 8]`, flattened with the last axis fastest.
    pub sample_shape: Vec<usize>,
    /// The name of each feature; empty if the file names none.
    pub names: Vec<String>,
    /// The labels, if a column of the file holds them.
    pub labels: Option<Labels>,
}

/// A column of a CSV file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// By its name in the header line.
    Name(String),
    /// By its number, from 1.
    Number(usize),
}

impl FromStr for Column {
    type Err = std::convert::Infallible;

    /// Takes an integer for a number, and anything else for a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Number))
    }
}

/// Which part of a file is wanted; the default is what most files need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The tensor of a safetensors file; may be left out if there is only one.
    pub tensor: Option<String>,
    /// The column of a CSV file that holds the labels.
    pub label_column: Option<Column>,
    /// Whether the first line of a CSV file is a header; if left out, it is one if none of its
    /// cells, the label's apart, is a number.
    pub header: Option<bool>,
}

impl Selection {
    /// Refuses what a format does not have.
    fn check(&self, path: &Path, tensors: bool, columns: bool) -> Result<()> {
        let refused = [
            ("tensor", self.tensor.is_some() && !tensors),
            ("label column", self.label_column.is_some() && !columns),
            ("header line", self.header.is_some() && !columns),
        ];
        match refused.into_iter().find(|(_, refused)| *refused) {
            Some((part, _)) => Err(Error::NoSuchPart { file: path.to_path_buf(), part }),
            None => Ok(()),
        }
    }
}

/// Reads features from a file whose name ends in `.npy`, `.csv`, `.tsv` or `.safetensors`.
///
/// # Errors
/// [`Error::UnknownFormat`] for another ending; [`Error::NoSuchPart`] for a selection that the
/// format does not have; else as [`read_npy`], [`read_csv`] and [`read_safetensors`].
pub fn read_features(path: &Path, selection: &Selection) -> Result<Features> {
    match extension(path).as_str() {
        "npy" => {
            selection.check(path, false, false)?;
            read_npy(path)
        }
        "csv" | "tsv" => {
            selection.check(path, false, true)?;
            read_csv(path, selection.label_column.as_ref(), selection.header)
        }
        "safetensors" => {
            selection.check(path, true, false)?;
            read_safetensors(path, selection.tensor.as_deref())
        }
        _ => {
            let wanted = ".npy, .csv, .tsv or .safetensors";
            Err(Error::UnknownFormat { file: path.to_path_buf(), wanted })
        }
    }
}

/// Returns the ending of a file's name, in small letters.
fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}
