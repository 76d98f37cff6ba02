//! A lock file: one process at a time works in a folder.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::{Error, Result};

/// An exclusive lock on a file, held until it is dropped. The system releases it whatever ends the
/// process, so a lock file that is left behind does no harm.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("lock");
/// use fhe_core::store::Lock;
/// let lock = Lock::take(&path)?;
/// assert!(Lock::take(&path).is_err());
/// drop(lock);
/// Lock::take(&path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock, or fails at once.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is held, [`Error::Io`]; also if the path is a symbolic link.
    pub fn take(path: &Path) -> Result<Self> {
        // What a link points to, and what is in the file, is left alone.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(Error::io("creating", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { path: path.into() }),
            Err(std::fs::TryLockError::Error(source)) => Err(Error::io("locking", path)(source)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child process that another thread has just begun to start shares
        // the open file, and with it the lock, until it runs its own program.
        let _ = self.0.unlock();
    }
}
