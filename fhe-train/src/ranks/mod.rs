//! Processes that train one model together.
//!
//! Each has the evaluation keys, the data set and the model, and takes its part of every mini-batch:
//! whole units of work, which do not depend on the number of ranks. What they find is added up as
//! integers modulo 2^64, which have no order and no rounding. So the model is the same, bit for bit,
//! for any number of ranks.
//!
//! [`Alone`] is the single process. With the feature `mpi` there is [`Mpi`], for the processes that
//! `mpirun` starts, on one machine or on many.

#[cfg(feature = "mpi")]
mod mpi;
mod shares;

use fhe_core::Engine;

#[cfg(feature = "mpi")]
pub use self::mpi::Mpi;
pub use self::shares::Shares;
use crate::{Error, Result};

/// The processes that train one model together.
///
/// All of them make the same calls in the same order, with lists of the same lengths.
pub trait Ranks<E: Engine> {
    /// Returns the number of this process, from 0 on. Rank 0 writes the files.
    fn rank(&self) -> usize;

    /// Returns the number of processes, at least 1.
    fn count(&self) -> usize;

    /// Makes each number the sum of those of all ranks, modulo 2^64.
    ///
    /// # Errors
    /// Those of the way between the processes.
    fn sum(&self, numbers: &mut [u64]) -> Result<()>;

    /// Makes each row the sum of those of all ranks, element by element.
    ///
    /// # Errors
    /// Those of the way between the processes.
    fn sum_rows(&self, rows: &mut E::Rows) -> Result<()>;

    /// Returns whether this process takes a unit of work.
    fn takes(&self, unit: usize) -> bool {
        unit % self.count() == self.rank()
    }

    /// Refuses ranks that do not hold the same numbers.
    ///
    /// # Errors
    /// [`Error::Ranks`].
    fn agree(&self, what: &'static str, numbers: &[u64]) -> Result<()> {
        let mut sums = numbers.to_vec();
        self.sum(&mut sums)?;
        let count = self.count() as u64;
        let same = sums.iter().zip(numbers).all(|(sum, x)| *sum == x.wrapping_mul(count));
        if same { Ok(()) } else { Err(Error::Ranks { what, rank: self.rank() }) }
    }
}

/// A process that trains alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alone;

impl<E: Engine> Ranks<E> for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        1
    }

    fn sum(&self, _: &mut [u64]) -> Result<()> {
        Ok(())
    }

    fn sum_rows(&self, _: &mut E::Rows) -> Result<()> {
        Ok(())
    }
}
