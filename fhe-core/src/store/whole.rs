//! Files that appear whole or not at all.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Anyone: ciphertexts and evaluation keys.
    Public,
    /// Its owner only: mode 0600.
    Secret,
}

impl Secrecy {
    pub(super) fn mode(self) -> u32 {
        match self {
            Self::Public => 0o644,
            Self::Secret => 0o600,
        }
    }
}

/// Writes a file whole or not at all: to a temporary file beside it, which is flushed to the disk
/// and renamed.
///
/// ```
/// use fhe_core::store::{Secrecy, write_whole};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("note");
/// write_whole(&path, b"first", Secrecy::Public)?;
/// write_whole(&path, b"second", Secrecy::Secret)?;
/// assert_eq!(std::fs::read(&path)?, b"second");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Io`]; then the former file, if any, is as it was, and the temporary one is gone.
pub fn write_whole(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<()> {
    replace(path, secrecy, |file| file.write_all(bytes).map_err(Error::io("writing", path)))
}

/// The same for content that `write` makes.
pub(super) fn replace(
    path: &Path,
    secrecy: Secrecy,
    write: impl FnOnce(&mut File) -> Result<()>,
) -> Result<()> {
    let file = written_beside(path, secrecy, write)?;
    file.persist(path).map_err(|e| Error::io("renaming", path)(e.error))?;
    flush_folder(path)
}

/// The same, and never in place of a file that is there.
pub(super) fn create(
    path: &Path,
    secrecy: Secrecy,
    write: impl FnOnce(&mut File) -> Result<()>,
) -> Result<()> {
    let file = written_beside(path, secrecy, write)?;
    file.persist_noclobber(path).map_err(|e| Error::io("creating", path)(e.error))?;
    flush_folder(path)
}

/// Flushes the folder of a file to the disk: without it a name that was given may be lost when the
/// machine fails, though the file's content was flushed.
///
/// # Errors
/// [`Error::Io`].
pub fn flush_folder(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    let opened = File::open(folder).map_err(Error::io("opening", folder))?;
    opened.sync_all().map_err(Error::io("flushing", folder))
}

/// Makes a folder, with those above it that are missing, and flushes the names of all that it made
/// to the disk, as [`flush_folder`] does.
///
/// # Errors
/// [`Error::Io`].
pub fn create_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    std::fs::create_dir_all(path).map_err(Error::io("creating", path))?;
    missing.into_iter().try_for_each(flush_folder)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn written_beside(
    path: &Path,
    secrecy: Secrecy,
    write: impl FnOnce(&mut File) -> Result<()>,
) -> Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".")
        .suffix(".part")
        .permissions(Permissions::from_mode(secrecy.mode()))
        .tempfile_in(folder_of(path))
        .map_err(Error::io("creating", path))?;
    write(file.as_file_mut())?;
    file.as_file().sync_all().map_err(Error::io("flushing", path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_former_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (bytes, secrecy) in [("a", Secrecy::Secret), ("b", Secrecy::Public)] {
            write_whole(&path, bytes.as_bytes(), secrecy).unwrap();
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode & !secrecy.mode(), 0, "{mode:o}");
            assert_eq!(mode & 0o600, 0o600, "{mode:o}");
        }
        let error = replace(&path, Secrecy::Public, |file| {
            file.write_all(b"half").unwrap();
            Err(Error::io("writing", &path)(std::io::Error::other("the disk is full")))
        });
        assert!(error.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(std::fs::read(&path).unwrap(), b"b");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let deep = folder.path().join("a/b/c");
        (0..2).for_each(|_| create_folder(&deep).unwrap());
        assert!(deep.is_dir());
        assert!(create_folder(&path.join("x")).unwrap_err().to_string().starts_with("creating"));
        let nowhere = write_whole(&path.join("x"), b"", Secrecy::Public).unwrap_err();
        assert!(nowhere.to_string().starts_with("creating"), "{nowhere}");
    }
}
