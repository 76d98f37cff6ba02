//! Decisions from scores.

/// Returns the index of the largest score, of equal ones the first, and 0 if there are none.
///
/// Scores are compared by `>`: one that is not a number is chosen only if it is the first one.
///
/// # Examples
/// ```
/// assert_eq!(fhe_nn::argmax([0.5, 2.0, -1.0, 2.0]), 1);
/// assert_eq!(fhe_nn::argmax::<f64>([]), 0);
/// ```
#[must_use]
pub fn argmax<T: PartialOrd>(scores: impl IntoIterator<Item = T>) -> usize {
    let mut scores = scores.into_iter().enumerate();
    let Some((mut index, mut largest)) = scores.next() else { return 0 };
    for (i, score) in scores {
        if score > largest {
            (index, largest) = (i, score);
        }
    }
    index
}
