//! Optimizers: rules by which the gradient of a mini-batch changes weights.
//!
//! A rule is a file here. It is written once, over [`Arithmetic`], and is followed on ciphertexts
//! and in floating point alike. Its numbers are public, and come from [`crate::step_plan`].
//!
//! A rule with a state, such as a momentum, takes the state of a block as one more list and
//! returns it changed. Who follows it keeps the state beside the weights, and saves it with them.

mod sgd;

pub(crate) use sgd::Sgd;

use crate::Result;

/// What a rule can do with the weights of a layer, or of a block of its outputs.
pub(crate) trait Arithmetic {
    /// A number for each weight, in the order output, channel, row, column; or one a filter.
    type List;

    /// Returns the weights.
    fn weights(&self) -> Result<Self::List>;

    /// Adds `k y` to `x`, number by number.
    fn add_scaled(&self, x: &mut Self::List, y: &Self::List, k: i64) -> Result<()>;

    /// Returns a function of each number: phases of the half torus to torus fractions.
    ///
    /// # Cost
    /// A lookup a number.
    fn lookup(&mut self, x: Self::List, f: impl Fn(f64) -> f64) -> Result<Self::List>;

    /// Returns the numbers of a filter.
    fn window(&self) -> usize;

    /// Returns `k` times the sum of each filter's numbers.
    fn filter_sums(&self, x: &Self::List, k: i64) -> Result<Self::List>;

    /// Subtracts a number a filter from all of the filter's.
    fn subtract_from_filters(&self, x: &mut Self::List, y: &Self::List) -> Result<()>;
}
