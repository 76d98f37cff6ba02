//! Small files that appear whole or not at all.

use std::path::Path;

use anyhow::{Context, Result};
use fhe_core::store::{Secrecy, write_whole};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads JSON; `what` says in an error what the file should hold.
///
/// # Errors
/// If the file is absent or says something else.
pub fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} holds no {what}", path.display()))
}

/// Writes JSON for everybody to read, whole or not at all.
///
/// # Errors
/// Those of the system.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    write(path, &json, Secrecy::Public)
}

/// As [`write_whole`].
///
/// # Errors
/// Those of the system, with the file; a former file is then as it was.
pub fn write(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<()> {
    Ok(write_whole(path, bytes, secrecy)?)
}
