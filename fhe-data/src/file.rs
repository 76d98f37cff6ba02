//! Files: read within a limit, and put in their places for good.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::{Error, Result};

/// Reads a file of at most so many bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io("opening", path))?;
    let mut bytes = Vec::new();
    // The size that the system states is not asked: it may be none, and a file may grow.
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
    check_size(path, read.map_err(Error::io("reading", path))? as u64, most)?;
    Ok(bytes)
}

/// Refuses a file of more bytes.
pub(crate) fn check_size(file: &Path, bytes: u64, most: u64) -> Result<()> {
    if bytes <= most {
        return Ok(());
    }
    let (file, wanted) = (file.to_path_buf(), format!("at most {most}"));
    Err(Error::Field { file, field: "size in bytes", got: bytes, wanted })
}

/// Flushes the folder in which a file got its name: without it, a name may be lost with the power.
pub(crate) fn flush_name(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    flush(folder).map_err(Error::io("flushing", folder))
}

#[cfg(unix)]
fn flush(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Folders cannot be opened as files, and are flushed by the system.
#[cfg(not(unix))]
fn flush(_folder: &Path) -> io::Result<()> {
    Ok(())
}
