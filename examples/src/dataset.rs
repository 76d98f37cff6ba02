//! Where CIFAR-10 and MNIST are if nobody says so: in `data`. They are fetched if they are not
//! there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const FOLDER: &str = "data";
const CIFAR10_ARCHIVE: &str = "cifar-10-binary.tar.gz";

/// Returns the path of CIFAR-10: the unpacked folder or the archive.
///
/// # Errors
/// Those of the download, with what to do by hand.
pub fn cifar10() -> Result<PathBuf> {
    let folder = Path::new(FOLDER);
    let unpacked = folder.join("cifar-10-batches-bin");
    let archive = folder.join(CIFAR10_ARCHIVE);
    if let Some(path) = [unpacked, archive.clone()].into_iter().find(|path| path.exists()) {
        return Ok(path);
    }
    fetch(Set::Cifar10, folder).with_context(|| {
        format!(
            "CIFAR-10 could not be fetched; run again to go on, or put \
             https://www.cs.toronto.edu/~kriz/{CIFAR10_ARCHIVE} at {FOLDER}/{CIFAR10_ARCHIVE} by \
             hand"
        )
    })?;
    Ok(archive)
}

/// Returns the folder of MNIST's four files.
///
/// # Errors
/// Those of the download, with what to do by hand.
pub fn mnist() -> Result<PathBuf> {
    let folder = Path::new(FOLDER).join("mnist");
    let there =
        |file: &str| folder.join(file).exists() || folder.join(format!("{file}.gz")).exists();
    if !fhe_data::mnist::FILES.iter().all(|file| there(file)) {
        fetch(Set::Mnist, &folder).with_context(|| {
            format!(
                "MNIST could not be fetched; run again to go on, or put its four files \
                 (train-images-idx3-ubyte.gz and so on) into {} by hand",
                folder.display()
            )
        })?;
    }
    Ok(folder)
}

#[derive(Clone, Copy)]
enum Set {
    Cifar10,
    Mnist,
}

/// Fetches the official files and checks them; goes on with what an interrupted call left.
#[cfg(feature = "download")]
fn fetch(set: Set, folder: &Path) -> Result<()> {
    fhe_core::store::create_folder(folder)?;
    let show = crate::progress::stages("MiB");
    let mebibytes = |bytes: u64| bytes >> 20;
    let progress = |p: fhe_data::Progress| {
        show(fhe_data::Progress { done: mebibytes(p.done), total: mebibytes(p.total), ..p });
    };
    match set {
        Set::Cifar10 => fhe_data::download::cifar10(folder, &progress).map(drop)?,
        Set::Mnist => fhe_data::download::mnist(folder, &progress)?,
    }
    Ok(())
}

/// Says why nothing is fetched.
#[cfg(not(feature = "download"))]
fn fetch(_set: Set, _folder: &Path) -> Result<()> {
    anyhow::bail!("this program was built without the feature `download`")
}
