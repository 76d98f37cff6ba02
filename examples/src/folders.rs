//! What the folders of a run must hold before a program can work on them.

use std::path::Path;

use anyhow::{Result, bail};

/// Refuses a run in which a file is missing that `setup` writes, and says how to make it.
///
/// # Errors
/// If there is no such file.
pub fn needs_setup(file: &Path, run: &Path) -> Result<()> {
    if !file.try_exists()? {
        bail!(
            "{}: No such file: run setup first: cargo run --release --example setup -- --run '{}'",
            file.display(),
            run.display()
        );
    }
    Ok(())
}
