//! Small files that appear whole or not at all.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fhe_core::store::{Secrecy, write_whole};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes at most of a file of JSON: recipes, reports and results have far fewer.
const MOST_BYTES: u64 = 64 << 20;

/// Reads JSON; `what` says in an error what the file should hold.
///
/// # Errors
/// If the file is absent, says something else, or has more than 64 MiB.
pub fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let reading = || format!("reading {}", path.display());
    let mut text = String::new();
    // One byte more than is taken tells that there are more.
    let mut file = File::open(path).with_context(reading)?.take(MOST_BYTES + 1);
    file.read_to_string(&mut text).with_context(reading)?;
    ensure!(
        text.len() as u64 <= MOST_BYTES,
        "{} has more than {MOST_BYTES} bytes, expected a {what}",
        path.display()
    );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_many_bytes_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MOST_BYTES + 1).unwrap();
        let error = read_json::<u32>(file.path(), "number").unwrap_err().to_string();
        assert!(error.ends_with("has more than 67108864 bytes, expected a number"), "{error}");
        file.as_file().set_len(0).unwrap();
        std::fs::write(file.path(), "7").unwrap();
        assert_eq!(read_json::<u32>(file.path(), "number").unwrap(), 7);
    }
}
