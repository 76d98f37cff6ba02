//! Where CIFAR-10 is if nobody says so: in `data`. It is fetched if it is not there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const FOLDER: &str = "data";
const ARCHIVE: &str = "cifar-10-binary.tar.gz";

/// Returns the path of the unpacked folder or of the archive.
///
/// # Errors
/// Those of the download, with what to do by hand.
pub fn find() -> Result<PathBuf> {
    let folder = Path::new(FOLDER);
    let unpacked = folder.join("cifar-10-batches-bin");
    let archive = folder.join(ARCHIVE);
    for path in [unpacked, archive] {
        if path.exists() {
            return Ok(path);
        }
    }
    fetch(folder).with_context(|| {
        format!(
            "CIFAR-10 could not be fetched; run again to go on, or put \
             https://www.cs.toronto.edu/~kriz/{ARCHIVE} at {FOLDER}/{ARCHIVE} by hand"
        )
    })
}

/// Fetches the official archive and checks it; goes on with what an interrupted call left.
#[cfg(feature = "download")]
fn fetch(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let show = crate::progress::stages("MiB");
    let mebibytes = |bytes: u64| bytes >> 20;
    let path = fhe_data::download::cifar10(folder, &|p| {
        show(fhe_data::Progress { done: mebibytes(p.done), total: mebibytes(p.total), ..p });
    })?;
    Ok(path)
}

/// Says why nothing is fetched.
#[cfg(not(feature = "download"))]
fn fetch(_folder: &Path) -> Result<PathBuf> {
    anyhow::bail!("this program was built without the feature `download`")
}
