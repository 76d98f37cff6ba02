//! The processes of a training: this one, or those that `mpirun` started.

use anyhow::Result;
use fhe_core::Cpu;
use fhe_train::{Alone, Ranks};

use crate::output;

/// What launchers tell the processes that they start: Open MPI, MPICH, Slurm with PMIx.
const STARTED: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"];

/// This process, or those that were started together.
#[derive(Debug)]
pub enum Processes {
    /// This one.
    One,
    /// All that `mpirun` started.
    #[cfg(feature = "mpi")]
    Many(fhe_train::Mpi),
}

impl Processes {
    /// Joins the others, if there are any. All but rank 0 say nothing but errors from then on.
    ///
    /// # Errors
    /// If this process has others beside it, and was built without the feature `mpi`.
    pub fn join() -> Result<Self> {
        if !STARTED.iter().any(|name| std::env::var_os(name).is_some()) {
            return Ok(Self::One);
        }
        let all = Self::join_others()?;
        if all.ranks().rank() > 0 {
            output::mute();
        }
        Ok(all)
    }

    #[cfg(feature = "mpi")]
    fn join_others() -> Result<Self> {
        Ok(Self::Many(fhe_train::Mpi::join()?))
    }

    #[cfg(not(feature = "mpi"))]
    fn join_others() -> Result<Self> {
        anyhow::bail!(
            "started by mpirun, and this program was built without the feature `mpi`: cargo build \
             --release --features fhe-examples/mpi --examples"
        )
    }

    /// Returns the ranks.
    #[must_use]
    pub fn ranks(&self) -> &dyn Ranks<Cpu> {
        match self {
            Self::One => &Alone,
            #[cfg(feature = "mpi")]
            Self::Many(mpi) => mpi,
        }
    }

    /// Returns how the program ends. If it failed, and there are others, it says why and ends all of
    /// them, which would wait for it.
    ///
    /// # Errors
    /// What is given, of a process that is alone or was asked to stop.
    pub fn end(self, result: Result<()>) -> Result<()> {
        #[cfg(feature = "mpi")]
        if let (Self::Many(mpi), Err(error)) = (&self, &result)
            && !error.is::<crate::signals::Stopped>()
        {
            let rank = self.ranks().rank();
            crate::failure::say(&anyhow::anyhow!("rank {rank}: {error:#}"));
            mpi.abort(1);
        }
        result
    }
}
