//! Which samples to train on and which to test on.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::{Error, Result};

/// Returns the indices of `count` samples in an order that a seed decides: those to train on, and
/// `round(test_share count)` to test on; one at least stays to train on.
///
/// # Errors
/// [`Error::Config`] for a share that is not 0 to below 1; [`Error::TooFewRows`] for no sample.
///
/// # Examples
/// ```
/// let (train, test) = fhe_data::train_test_split(10, 0.2, 1)?;
/// assert_eq!((train.len(), test.len()), (8, 2));
/// let mut all = [train, test].concat();
/// all.sort();
/// assert!(all.into_iter().eq(0..10));
/// # Ok::<(), fhe_data::Error>(())
/// ```
pub fn train_test_split(
    count: usize,
    test_share: f64,
    seed: u64,
) -> Result<(Vec<usize>, Vec<usize>)> {
    if !(0.0..1.0).contains(&test_share) {
        return Err(Error::Config { field: "test_share", got: test_share, wanted: "0 to below 1" });
    }
    if count == 0 {
        return Err(Error::TooFewRows { op: "train_test_split", got: 0, wanted: 1 });
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let test = ((test_share * count as f64).round() as usize).min(count - 1);
    let train = order.split_off(test);
    Ok((train, order))
}
