//! What the folders of a run must hold before a program can work on them.

use std::path::Path;

use anyhow::{Result, bail};
use fhe_core::client::is_reproducible;

use crate::output;

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

/// Warns of a key that anyone can derive, by its public name.
///
/// # Errors
/// If nothing can be written.
pub fn warn_of_reproducible(key_id: &str) -> Result<()> {
    if is_reproducible(key_id) {
        let text = "the key of this run was made of --seed by --reproducible-key: anyone can \
                    derive it, and nothing that it encrypts is secret";
        output::warning(text)?;
    }
    Ok(())
}
