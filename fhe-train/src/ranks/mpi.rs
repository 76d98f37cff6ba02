//! Ranks by MPI, the message passing interface of clusters.

use ::mpi::Threading;
use ::mpi::collective::{CommunicatorCollectives, SystemOperation};
use ::mpi::environment::Universe;
use ::mpi::topology::{Communicator, SimpleCommunicator};
use fhe_core::Cpu;
use fhe_core::engine::cpu::Rows;

use super::Ranks;
use crate::{Error, Result};

/// Numbers that are added up at a time: 8 MB. A message has fewer than 2^31 of them.
const NUMBERS: usize = 1 << 20;

/// The processes that `mpirun` started.
///
/// An error of MPI itself ends all of them, as MPI does. A rank that ends for a reason of its own
/// says [`Mpi::abort`], or else the others wait for it.
pub struct Mpi {
    world: SimpleCommunicator,
    _universe: Universe,
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rank, count) = (self.world.rank(), self.world.size());
        write!(f, "Mpi(rank {rank} of {count})")
    }
}

impl Mpi {
    /// Joins the processes that were started together; only the thread that calls this may use it.
    /// A process that `mpirun` did not start is the only one.
    ///
    /// # Errors
    /// [`Error::Mpi`] if this process joined before.
    pub fn join() -> Result<Self> {
        // Other threads compute, and this one alone talks.
        let joined = ::mpi::initialize_with_threading(Threading::Funneled);
        let (universe, _) = joined.ok_or(Error::Mpi { problem: "it was begun before" })?;
        Ok(Self { world: universe.world(), _universe: universe })
    }

    /// Ends all processes with an exit status.
    pub fn abort(&self, status: i32) -> ! {
        self.world.abort(status)
    }
}

impl Ranks<Cpu> for Mpi {
    fn rank(&self) -> usize {
        usize::try_from(self.world.rank()).unwrap_or(0)
    }

    fn count(&self) -> usize {
        usize::try_from(self.world.size()).unwrap_or(1)
    }

    fn sum(&self, numbers: &mut [u64]) -> Result<()> {
        let mut sums = vec![0; numbers.len().min(NUMBERS)];
        for numbers in numbers.chunks_mut(NUMBERS) {
            let sums = &mut sums[..numbers.len()];
            self.world.all_reduce_into(&*numbers, sums, SystemOperation::sum());
            numbers.copy_from_slice(sums);
        }
        Ok(())
    }

    fn sum_rows(&self, rows: &mut Rows) -> Result<()> {
        let mut elements = rows.elements().to_vec();
        self.sum(&mut elements)?;
        let unfit = Error::Mpi { problem: "rows of another length came back" };
        *rows = Rows::from_elements(rows.size(), elements).ok_or(unfit)?;
        Ok(())
    }
}
