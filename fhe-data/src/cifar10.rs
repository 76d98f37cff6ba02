//! CIFAR-10 in its official binary layout.
//!
//! A record is 1 label byte and 3072 pixel bytes (planes R, G, B, row-major); a file is 10,000
//! records; `data_batch_1.bin` to `data_batch_5.bin` are for training, `test_batch.bin` for
//! testing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use crate::{Error, IMAGE_BYTES, ImageSet, Result, Split};

/// The classes, by label.
pub const CLASS_NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Bytes of a record: the label and the pixels.
pub const RECORD_BYTES: usize = 1 + IMAGE_BYTES;
/// Records of each official file.
pub const RECORDS_PER_FILE: usize = 10_000;

const TRAIN_FILES: [&str; 5] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
];
const TEST_FILE: &str = "test_batch.bin";
const INNER_FOLDER: &str = "cifar-10-batches-bin";

/// Reads all 60,000 images from a folder or an archive.
///
/// `path` is a folder that holds the six files, directly or in `cifar-10-batches-bin/`, or an
/// archive of them that ends in `.tar.gz`, `.tgz` or `.tar.xz`.
///
/// # Errors
/// [`Error::Io`], [`Error::UnknownFormat`], [`Error::MissingFile`], [`Error::Truncated`],
/// [`Error::RecordCount`] or [`Error::Label`]; each names the file.
pub fn read(path: &Path) -> Result<Split> {
    read_with(path, RECORDS_PER_FILE)
}

fn read_with(path: &Path, records_per_file: usize) -> Result<Split> {
    let source = if path.is_dir() { Source::folder(path) } else { Source::archive(path)? };
    let mut images = Vec::new();
    let mut labels = Vec::new();
    for name in TRAIN_FILES {
        append(path, name, &source.bytes(path, name)?, records_per_file, &mut images, &mut labels)?;
    }
    let train = ImageSet::new("CIFAR-10 train", images, labels)?;
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    let bytes = source.bytes(path, TEST_FILE)?;
    append(path, TEST_FILE, &bytes, records_per_file, &mut images, &mut labels)?;
    let test = ImageSet::new("CIFAR-10 test", images, labels)?;
    Split::new(train, test, CLASS_NAMES.map(str::to_owned).to_vec())
}

/// Checks the records of one file and appends them.
fn append(
    place: &Path,
    name: &str,
    bytes: &[u8],
    wanted: usize,
    images: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<()> {
    let file = || place.join(name);
    if !bytes.len().is_multiple_of(RECORD_BYTES) {
        return Err(Error::Truncated {
            file: file(),
            got: bytes.len(),
            record_bytes: RECORD_BYTES,
        });
    }
    let got = bytes.len() / RECORD_BYTES;
    if got != wanted {
        return Err(Error::RecordCount { file: file(), got, wanted });
    }
    for (record, bytes) in bytes.chunks_exact(RECORD_BYTES).enumerate() {
        if usize::from(bytes[0]) >= CLASS_NAMES.len() {
            return Err(Error::label(file(), record, bytes[0], CLASS_NAMES.len()));
        }
        labels.push(bytes[0].into());
        images.extend_from_slice(&bytes[1..]);
    }
    Ok(())
}

/// Where the files lie.
enum Source {
    Folder(std::path::PathBuf),
    Archive(BTreeMap<String, Vec<u8>>),
}

impl Source {
    fn folder(path: &Path) -> Self {
        let inner = path.join(INNER_FOLDER);
        Self::Folder(if inner.is_dir() { inner } else { path.to_path_buf() })
    }

    fn archive(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy();
        let open = || File::open(path).map(BufReader::new).map_err(Error::io("opening", path));
        if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
            unpack(path, flate2::read::MultiGzDecoder::new(open()?))
        } else if name.ends_with(".tar.xz") {
            unpack(path, liblzma::read::XzDecoder::new_multi_decoder(open()?))
        } else {
            // A path that does not exist is a missing file, whatever its name.
            open()?;
            let wanted = "a folder, .tar.gz or .tar.xz";
            Err(Error::UnknownFormat { file: path.to_path_buf(), wanted })
        }
    }

    fn bytes(&self, place: &Path, name: &str) -> Result<Vec<u8>> {
        let missing = || Error::MissingFile { place: place.to_path_buf(), field: name.to_owned() };
        match self {
            Self::Folder(folder) => {
                let file = folder.join(name);
                if !file.is_file() {
                    return Err(missing());
                }
                fs::read(&file).map_err(Error::io("reading", file))
            }
            Self::Archive(files) => files.get(name).cloned().ok_or_else(missing),
        }
    }
}

/// Keeps the data files of a tar stream, by file name.
fn unpack(path: &Path, stream: impl Read) -> Result<Source> {
    let io = || Error::io("unpacking", path);
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().map_err(io())? {
        let mut entry = entry.map_err(io())?;
        let inner = entry.path().map_err(io())?.into_owned();
        let name = inner.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if TRAIN_FILES.contains(&name.as_str()) || name == TEST_FILE {
            // The length in the header is not trusted: a file never needs more than this.
            let mut bytes = Vec::new();
            let most = (RECORDS_PER_FILE + 1) * RECORD_BYTES;
            entry.by_ref().take(most as u64).read_to_end(&mut bytes).map_err(io())?;
            files.insert(name, bytes);
        }
    }
    Ok(Source::Archive(files))
}

#[cfg(test)]
mod tests;
