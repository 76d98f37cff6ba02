//! MNIST in its official layout, IDX.
//!
//! A file of images is four big-endian numbers of 32 bits (2051, images, rows, columns) and one
//! byte a pixel, image by image, row-major; a file of labels is two (2049, labels) and one byte a
//! label. Each file may be packed, its name then ends in `.gz`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::{Error, ImageSet, ImageShape, Result, Split};

/// The classes, by label.
pub const CLASS_NAMES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The official files, without `.gz`: images and labels to train on, then those to test on.
pub const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// First number of a file of bytes in three dimensions.
const IMAGES_MAGIC: u32 = 2051;
/// First number of a file of bytes in one dimension.
const LABELS_MAGIC: u32 = 2049;
/// Records at most that a header may announce: a limit to the memory that a damaged header
/// can ask for.
const MOST_RECORDS: u32 = 1_000_000;

/// Reads all images from a folder that holds the four files, plain or as `.gz`. The plain file is
/// taken where there are both.
///
/// # Shapes
/// `[n, 1, 28, 28]`; the official files have 60,000 images to train on and 10,000 to test on.
///
/// # Values
/// Pixels in `0..=255`, 0 for the background; labels in `0..=9`.
///
/// # Errors
/// [`Error::MissingFile`]; [`Error::Io`] for a file that cannot be read or unpacked;
/// [`Error::Field`] for another magic number, another size of images, numbers of images and labels
/// that differ, and a file that is shorter or longer than its header says; [`Error::Label`]. Each
/// names the file.
pub fn read(folder: &Path) -> Result<Split> {
    let [train_images, train_labels, test_images, test_labels] = FILES;
    Ok(Split {
        train: read_part(folder, "MNIST train", train_images, train_labels)?,
        test: read_part(folder, "MNIST test", test_images, test_labels)?,
        class_names: CLASS_NAMES,
    })
}

/// Reads one file of images and its labels.
fn read_part(folder: &Path, name: &str, images: &str, labels: &str) -> Result<ImageSet> {
    let shape = ImageShape::GREY28;
    let mut file = IdxFile::open(folder, images)?;
    let [count, rows, columns] =
        file.header(IMAGES_MAGIC, ["number of images", "rows", "columns"])?;
    file.expect("rows", rows, shape.height)?;
    file.expect("columns", columns, shape.width)?;
    let images = file.records(count, shape.bytes())?;

    let mut file = IdxFile::open(folder, labels)?;
    let [label_count] = file.header(LABELS_MAGIC, ["number of labels"])?;
    file.expect("number of labels", label_count, count as usize)?;
    let labels = file.records(label_count, 1)?;
    if let Some(record) = labels.iter().position(|&label| usize::from(label) >= CLASS_NAMES.len()) {
        return Err(Error::Label { file: file.path, record, got: labels[record] });
    }
    ImageSet::with_shape(name, shape, images, labels)
}

/// A file that is being read.
struct IdxFile {
    path: PathBuf,
    stream: Box<dyn Read>,
    header_bytes: usize,
}

impl IdxFile {
    /// Opens `name`, or else `name.gz`.
    fn open(folder: &Path, name: &str) -> Result<Self> {
        let (plain, packed) = (folder.join(name), folder.join(format!("{name}.gz")));
        let open = |path| File::open(path).map(BufReader::new).map_err(Error::io("opening", path));
        if plain.is_file() {
            let stream = Box::new(open(&plain)?);
            Ok(Self { path: plain, stream, header_bytes: 0 })
        } else if packed.is_file() {
            let stream = Box::new(MultiGzDecoder::new(open(&packed)?));
            Ok(Self { path: packed, stream, header_bytes: 0 })
        } else {
            let field = format!("{name} or {name}.gz");
            Err(Error::MissingFile { place: folder.to_path_buf(), field })
        }
    }

    /// Reads and checks the magic number, then reads the sizes, of which the first is the number
    /// of records.
    fn header<const N: usize>(&mut self, magic: u32, names: [&'static str; N]) -> Result<[u32; N]> {
        let got = self.number("magic number")?;
        self.expect("magic number", got, magic as usize)?;
        let mut sizes = [0; N];
        for (size, name) in sizes.iter_mut().zip(names) {
            *size = self.number(name)?;
        }
        if sizes[0] > MOST_RECORDS {
            return Err(self.wrong(names[0], sizes[0].into(), format!("at most {MOST_RECORDS}")));
        }
        Ok(sizes)
    }

    /// Reads one number of the header.
    fn number(&mut self, field: &'static str) -> Result<u32> {
        let bytes = self.bytes(4)?;
        let got = (self.header_bytes + bytes.len()) as u64;
        let Ok(word) = <[u8; 4]>::try_from(bytes) else {
            let wanted = format!("at least {} to hold the {field}", self.header_bytes + 4);
            return Err(self.wrong("length in bytes", got, wanted));
        };
        self.header_bytes += 4;
        Ok(u32::from_be_bytes(word))
    }

    /// Reads `count` records of `size` bytes each, which must be the rest of the file.
    fn records(&mut self, count: u32, size: usize) -> Result<Vec<u8>> {
        let wanted = count as usize * size;
        let bytes = self.bytes(wanted)?;
        let rest = io::copy(&mut self.stream, &mut io::sink());
        let rest = rest.map_err(Error::io("reading", &self.path))?;
        let length = (self.header_bytes + bytes.len()) as u64 + rest;
        let wanted = self.header_bytes + wanted;
        if length == wanted as u64 {
            return Ok(bytes);
        }
        let wanted = format!("{wanted} for {count} records of {size}");
        Err(self.wrong("length in bytes", length, wanted))
    }

    /// Reads `most` bytes, or what is left of the file.
    fn bytes(&mut self, most: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut part = self.stream.by_ref().take(most as u64);
        part.read_to_end(&mut bytes).map_err(Error::io("reading", &self.path))?;
        Ok(bytes)
    }

    /// Checks one number of the header.
    fn expect(&self, field: &'static str, got: u32, wanted: usize) -> Result<()> {
        if got as usize == wanted {
            Ok(())
        } else {
            Err(self.wrong(field, got.into(), wanted.to_string()))
        }
    }

    fn wrong(&self, field: &'static str, got: u64, wanted: String) -> Error {
        Error::Field { file: self.path.clone(), field, got, wanted }
    }
}

#[cfg(test)]
mod tests;
