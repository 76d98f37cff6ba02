//! Encoded samples.

use std::path::Path;

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::LIMIT;
use super::store::Tensors;
use crate::{Error, Result};

/// Identifies stored encodings.
const KIND: &str = "fhe-data encoded";

/// Samples as rows of small integers, `[n, width]`.
///
/// # Values
/// `-7..=7`; the constructors check them.
///
/// ```
/// use fhe_data::Encoded;
/// use ndarray::array;
///
/// let encoded = Encoded::try_from(array![[1i8, -7], [0, 4]])?;
/// assert_eq!((encoded.len(), encoded.width()), (2, 2));
/// assert_eq!(encoded.view().column(1), array![-7i8, 4]);
/// # Ok::<(), fhe_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    width: usize,
    values: Vec<i8>,
}

/// What is stored beside the values.
#[derive(Deserialize, Serialize)]
struct Shape {
    width: usize,
    rows: usize,
}

impl Encoded {
    /// Takes `values` as rows of `width` numbers.
    ///
    /// # Errors
    /// [`Error::Config`] if the length is not a multiple of `width`; [`Error::EncodedValue`] for a
    /// value outside `-7..=7`.
    pub fn new(width: usize, values: Vec<i8>) -> Result<Self> {
        if width == 0 || !values.len().is_multiple_of(width) {
            let wanted = "a divisor of the number of values";
            return Err(Error::Config { field: "width", got: width as f64, wanted });
        }
        if let Some(at) = values.iter().position(|v| !(-LIMIT..=LIMIT).contains(v)) {
            let (row, column, got) = (at / width, at % width, values[at]);
            return Err(Error::EncodedValue { op: "Encoded::new", row, column, got });
        }
        Ok(Self { width, values })
    }

    /// Adds the rows of another encoding.
    ///
    /// # Errors
    /// [`Error::Config`] if its rows have another width.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        if other.width != self.width {
            let wanted = "the width of the rows that are there";
            return Err(Error::Config { field: "width", got: other.width as f64, wanted });
        }
        self.values.extend(&other.values);
        Ok(())
    }

    /// Returns the numbers of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns all values, row by row.
    #[must_use]
    pub fn values(&self) -> &[i8] {
        &self.values
    }

    /// Returns all values as a matrix, `[n, width]`.
    #[must_use]
    pub fn view(&self) -> ArrayView2<'_, i8> {
        // The constructors leave whole rows only, so that the shape always fits.
        ArrayView2::from_shape((self.len(), self.width), &self.values)
            .unwrap_or_else(|_| ArrayView2::from(&[[0i8; 0]; 0]))
    }

    /// Returns the encodings, one sample after another.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[i8]> {
        self.values.chunks_exact(self.width)
    }

    /// Returns the encoding of sample `i`; `None` beyond the last one.
    #[must_use]
    pub fn row(&self, i: usize) -> Option<&[i8]> {
        self.rows().nth(i)
    }

    /// Returns the mean over rows of the sum of squares; 0 without rows.
    #[must_use]
    pub fn mean_square_norm(&self) -> f64 {
        let sum: i64 = self.values.iter().map(|&v| i64::from(v) * i64::from(v)).sum();
        sum as f64 / self.len().max(1) as f64
    }

    /// Writes the encodings to a file that only its owner can read.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors = Tensors::default();
        tensors.push_i8("values", [self.len(), self.width], &self.values);
        tensors.save(path, KIND, &Shape { width: self.width, rows: self.len() })
    }

    /// Reads encodings that [`Encoded::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`], [`Error::Version`] or [`Error::Checksum`] for a file
    /// that is unreadable, truncated, of another version or changed.
    pub fn load(path: &Path) -> Result<Self> {
        let (tensors, shape): (_, Shape) = Tensors::load(path, KIND)?;
        let values = tensors.i8(path, "values", [shape.rows, shape.width])?;
        Self::new(shape.width, values)
    }
}

impl TryFrom<Array2<i8>> for Encoded {
    type Error = Error;

    /// Takes the rows of a matrix, `[n, width]`.
    ///
    /// # Errors
    /// As [`Encoded::new`].
    fn try_from(matrix: Array2<i8>) -> Result<Self> {
        let width = matrix.ncols();
        Self::new(width, matrix.iter().copied().collect())
    }
}
