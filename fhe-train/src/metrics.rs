//! How good predictions are.

use ndarray::Array2;

use crate::head_recipe::MOST_CLASSES;
use crate::{Error, Result};

/// Returns how many samples of each class (row) are taken for each class (column).
///
/// # Errors
/// [`Error::Data`] if the lists differ in length, or there are more than 1,000 classes;
/// [`Error::Label`] for a label or a prediction that is no class.
///
/// # Examples
/// ```
/// let counts = fhe_train::confusion(2, &[0, 1, 1], &[0, 0, 1])?;
/// assert_eq!((counts[[1, 0]], fhe_train::accuracy(&counts)), (1, 2.0 / 3.0));
/// # Ok::<_, fhe_train::Error>(())
/// ```
pub fn confusion(classes: usize, labels: &[u32], predicted: &[u32]) -> Result<Array2<u32>> {
    let op = "confusion";
    if labels.len() != predicted.len() {
        let (what, got) = ("the number of predictions", predicted.len());
        return Err(Error::Data { op, what, got, expected: labels.len().to_string() });
    }
    if classes > MOST_CLASSES {
        let expected = format!("at most {MOST_CLASSES}");
        return Err(Error::Data { op, what: "the number of classes", got: classes, expected });
    }
    let mut counts = Array2::zeros((classes, classes));
    for (index, (&label, &class)) in labels.iter().zip(predicted).enumerate() {
        match counts.get_mut([label as usize, class as usize]) {
            Some(count) => *count += 1,
            None => return Err(Error::Label { op, index, classes }),
        }
    }
    Ok(counts)
}

/// Returns the share of samples on the diagonal; 0 of none.
#[must_use]
pub fn accuracy(confusion: &Array2<u32>) -> f64 {
    let right: u64 = confusion.diag().iter().map(|&count| u64::from(count)).sum();
    let all: u64 = confusion.iter().map(|&count| u64::from(count)).sum();
    right as f64 / all.max(1) as f64
}

/// Returns the share of predictions that equal the labels; 0 of none.
pub(crate) fn share_right(labels: &[u32], predicted: &[u32]) -> f64 {
    let right = labels.iter().zip(predicted).filter(|(label, class)| label == class).count();
    right as f64 / labels.len().max(1) as f64
}
