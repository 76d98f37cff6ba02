//! CIFAR-10 in its official binary layout.
//!
//! A record is 1 label byte and 3072 pixel bytes (planes R, G, B, row-major); a file is 10,000
//! records; `data_batch_1.bin` to `data_batch_5.bin` are for training, `test_batch.bin` for
//! testing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use liblzma::stream::{CONCATENATED, Stream};
use tar::EntryType;

use crate::tar_names::Names;
use crate::{Error, IMAGE_BYTES, ImageSet, Result, Split, file};
use fhe_files::Gunzip;

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
/// Bytes at most that are read of a data file: one record more than it has tells that it is longer.
const MOST_BYTES: u64 = ((RECORDS_PER_FILE + 1) * RECORD_BYTES) as u64;
/// Bytes at most that an archive unpacks to: nearly three times the six files.
const MOST_UNPACKED_BYTES: u64 = 512 << 20;
/// Bytes of memory at most that unpacking xz may take: the largest of xz's presets takes 65 MiB.
const MOST_XZ_BYTES: u64 = 256 << 20;

/// Reads all 60,000 images from a folder or an archive.
///
/// `path` is a folder that holds the six files, directly or in `cifar-10-batches-bin/`, or an
/// archive of them that ends in `.tar.gz`, `.tgz` or `.tar.xz`, and unpacks to at most 512 MiB. An
/// archive may have several gzip members or xz streams, and zeros behind them.
///
/// # Errors
/// [`Error::Io`], [`Error::UnknownFormat`], [`Error::MissingFile`], [`Error::Content`] or
/// [`Error::Field`] for what no archive of the six files needs, [`Error::Truncated`],
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
            unpack(path, Gunzip::new(open()?))
        } else if name.ends_with(".tar.xz") {
            let (file, stream) = (open()?, Stream::new_stream_decoder(MOST_XZ_BYTES, CONCATENATED));
            let stream = stream.map_err(|error| Error::io("unpacking", path)(error.into()))?;
            unpack(path, liblzma::bufread::XzDecoder::new_stream(file, stream))
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
                file::read(&file, MOST_BYTES)
            }
            Self::Archive(files) => files.get(name).cloned().ok_or_else(missing),
        }
    }
}

/// Keeps the data files of a tar stream, by file name.
fn unpack(path: &Path, stream: impl Read) -> Result<Source> {
    let mut archive = tar::Archive::new(stream.take(MOST_UNPACKED_BYTES));
    let files = data_files(path, &mut archive);
    if archive.into_inner().limit() == 0 {
        let (got, wanted) = ("more than 512 MiB unpacked", "the six files of CIFAR-10");
        return Err(Error::Content { file: path.to_path_buf(), got, wanted });
    }
    files.map(Source::Archive)
}

fn data_files(
    path: &Path,
    archive: &mut tar::Archive<impl Read>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let io = || Error::io("unpacking", path);
    let (mut files, mut names) = (BTreeMap::new(), Names::new(path));
    for entry in archive.entries().map_err(io())?.raw(true) {
        let mut entry = entry.map_err(io())?;
        let Some(name) = names.of(&mut entry)? else { continue };
        let name = String::from_utf8_lossy(&name);
        let name = name.trim_end_matches('\0');
        let name = name.rsplit('/').next().unwrap_or_default().to_owned();
        if !TRAIN_FILES.contains(&name.as_str()) && name != TEST_FILE {
            continue;
        }
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            let (file, got) = (path.join(name), "a link, a sparse file or a device");
            return Err(Error::Content { file, got, wanted: "a file" });
        }
        file::check_size(&path.join(&name), entry.size(), MOST_BYTES)?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(io())?;
        files.insert(name, bytes);
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
