//! The text files that come with the pictures: names of classes, and ground truths.

use std::path::{Path, PathBuf};

use super::file;
use crate::{Error, Result};

/// Returns the first of the files that lies in one of the folders.
pub(super) fn find(folders: &[PathBuf], names: &[&str]) -> Option<PathBuf> {
    let mut paths = names.iter().flat_map(|name| folders.iter().map(move |at| at.join(name)));
    paths.find(|path| path.is_file())
}

/// Reads the lines that are not empty, without spaces around them, and their numbers from 1.
pub(super) fn lines(path: &Path) -> Result<Vec<(u64, String)>> {
    let bytes = file::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
    Ok(lines.map(|(number, line)| (number, line.to_owned())).collect())
}

/// Returns the error of a line that begins with something else than what is wanted.
pub(super) fn wrong(file: &Path, line: u64, got: &str, wanted: &'static str) -> Error {
    // A line may be the whole of a file that is no text.
    let got = got.chars().take(80).collect();
    Error::Cell { file: file.to_path_buf(), line, column: 1, got, wanted }
}
