//! What was done.

use std::ops::AddAssign;

/// What a step, or a part of it, did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Samples it saw.
    pub samples: usize,
    /// Lookups it made.
    pub lookups: usize,
}

impl AddAssign for Work {
    fn add_assign(&mut self, more: Self) {
        self.samples += more.samples;
        self.lookups += more.lookups;
    }
}
