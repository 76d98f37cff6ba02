//! IDX, the layout of MNIST and of the data sets made in its likeness: Fashion-MNIST, KMNIST,
//! EMNIST.
//!
//! A file of images is four big-endian numbers of 32 bits (2051, images, rows, columns) and one
//! byte a pixel, image by image, row-major; a file of labels is two (2049, labels) and one byte a
//! label. Each file may be packed, its name then ends in `.gz`.
//! Source: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits".

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::{Error, ImageSet, ImageShape, Labels, Result, Split};
use fhe_files::Gunzip;

/// First number of a file of bytes in three dimensions.
const IMAGES_MAGIC: u32 = 2051;
/// First number of a file of bytes in one dimension.
const LABELS_MAGIC: u32 = 2049;
/// Records at most that a header may announce: a limit to the memory that a damaged header
/// can ask for.
const MOST_RECORDS: u32 = 1_000_000;
/// Bytes at most of all images of a file: three times those of EMNIST, the largest of these sets.
const MOST_BYTES: usize = 2 << 30;
/// Bytes that are read at most behind the records, to say how long a file is.
const MOST_REST: u64 = 1 << 20;
/// Rows, and columns, at most of an image.
const MOST_SIDE: u32 = 4096;

/// The end of the name of the file of training images, without `.gz`.
const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
/// Names of the part to test on: MNIST's, and EMNIST's.
const TEST_PARTS: [&str; 2] = ["t10k", "test"];

/// How pixels lie in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orientation {
    /// Transposed if the names of the files begin with `emnist`, else row by row.
    #[default]
    ByName,
    /// Row by row.
    Rows,
    /// Column by column, as EMNIST is stored: rows and columns are exchanged on reading.
    Columns,
}

/// Which data set of a folder is read, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdxOptions {
    /// What the files' names begin with, as `emnist-letters-`; may be left out if the folder has
    /// one data set only.
    pub prefix: Option<String>,
    /// How pixels lie in the files.
    pub orientation: Orientation,
}

/// Reads a data set of images of any size from a folder.
///
/// The files are `PREFIXtrain-images-idx3-ubyte` and `PREFIXtrain-labels-idx1-ubyte`, and those to
/// test on with `t10k` or `test` in the place of `train`; each plain or as `.gz`. The classes are
/// the labels that occur, sorted; a class's name is its label: labels 1 to 26 become classes 0 to
/// 25 of the names "1" to "26".
///
/// # Shapes
/// `[n, 1, rows, columns]`, 1 to 4096 rows and columns, and at most 2 GiB of pixels a file.
///
/// # Values
/// Pixels in `0..=255`.
///
/// # Errors
/// [`Error::MissingFile`]; [`Error::Field`] for no training image; [`Error::SeveralSets`] where
/// `prefix` has to say which; [`Error::Io`] for a file that cannot be read or unpacked;
/// [`Error::Field`] for another magic number, numbers of images and labels that differ, and a file
/// that is shorter or longer than its header says; [`Error::Shape`] if training and test images
/// differ in size. Each names the file.
pub fn read(folder: &Path, options: &IdxOptions) -> Result<Split> {
    let prefix = match &options.prefix {
        Some(prefix) => prefix.clone(),
        None => find_prefix(folder)?,
    };
    let transposed = match options.orientation {
        Orientation::ByName => prefix.to_ascii_lowercase().starts_with("emnist"),
        Orientation::Rows => false,
        Orientation::Columns => true,
    };
    let test = TEST_PARTS.iter().find(|part| {
        let name = format!("{prefix}{part}-images-idx3-ubyte");
        folder.join(&name).is_file() || folder.join(format!("{name}.gz")).is_file()
    });
    let part = |part: &str, least: u32| {
        let [images, labels] =
            ["images-idx3", "labels-idx1"].map(|kind| format!("{prefix}{part}-{kind}-ubyte"));
        let (shape, pixels, labels, _) = read_pair(folder, &images, &labels, None, least)?;
        Ok(if transposed { transpose(shape, &pixels, labels) } else { (shape, pixels, labels) })
    };
    let (train, test) = (part("train", 1)?, part(test.unwrap_or(&TEST_PARTS[0]), 0)?);
    let occurring: BTreeSet<u8> = train.2.iter().chain(&test.2).copied().collect();
    let names: Vec<String> = occurring.iter().map(u8::to_string).collect();
    let set = |part: &str, (shape, pixels, labels): (ImageShape, Vec<u8>, Vec<u8>)| {
        let labels: Vec<String> = labels.iter().map(u8::to_string).collect();
        let labels = Labels::from_names(&labels).with_classes(&names)?.labels;
        ImageSet::with_shape(format!("{}, {prefix}{part}", folder.display()), shape, pixels, labels)
    };
    let (train, test) = (set("train", train)?, set("test", test)?);
    Split::new(train, test, names)
}

/// Finds what the names of a folder's only data set begin with.
fn find_prefix(folder: &Path) -> Result<String> {
    let listing = || Error::io("listing", folder);
    let mut prefixes = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(listing())? {
        let name = entry.map_err(listing())?.file_name();
        let name = name.to_string_lossy();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        prefixes.extend(plain.strip_suffix(TRAIN_IMAGES).map(str::to_owned));
    }
    let mut found = prefixes.into_iter();
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => {
            let field = format!("*{TRAIN_IMAGES} or *{TRAIN_IMAGES}.gz");
            Err(Error::MissingFile { place: folder.to_path_buf(), field })
        }
        (Some(first), Some(second)) => {
            let known: Vec<String> = [first, second].into_iter().chain(found).collect();
            let known = known.join(", ");
            Err(Error::SeveralSets { place: folder.to_path_buf(), known })
        }
    }
}

/// Exchanges rows and columns of every image.
fn transpose(shape: ImageShape, pixels: &[u8], labels: Vec<u8>) -> (ImageShape, Vec<u8>, Vec<u8>) {
    let (rows, columns) = (shape.height, shape.width);
    let mut turned = Vec::with_capacity(pixels.len());
    for image in pixels.chunks_exact(rows * columns) {
        for column in 0..columns {
            turned.extend(image[column..].iter().step_by(columns));
        }
    }
    (ImageShape { height: columns, width: rows, ..shape }, turned, labels)
}

/// The shape of the images, their pixels, their labels, and the file of labels.
type Pair = (ImageShape, Vec<u8>, Vec<u8>, PathBuf);

/// Reads one file of images and its labels; refuses less than `least` images, and other shapes than
/// the one that is wanted.
pub(crate) fn read_pair(
    folder: &Path,
    images: &str,
    labels: &str,
    wanted: Option<ImageShape>,
    least: u32,
) -> Result<Pair> {
    let mut file = IdxFile::open(folder, images)?;
    let [count, rows, columns] =
        file.header(IMAGES_MAGIC, ["number of images", "rows", "columns"])?;
    if count < least {
        return Err(file.wrong("number of images", count.into(), format!("at least {least}")));
    }
    for (field, got, wanted) in
        [("rows", rows, wanted.map(|s| s.height)), ("columns", columns, wanted.map(|s| s.width))]
    {
        match wanted {
            Some(wanted) => file.expect(field, got, wanted)?,
            None if (1..=MOST_SIDE).contains(&got) => {}
            None => return Err(file.wrong(field, got.into(), format!("1 to {MOST_SIDE}"))),
        }
    }
    let shape = ImageShape { channels: 1, height: rows as usize, width: columns as usize };
    let images = file.records(count, shape.bytes())?;

    let mut file = IdxFile::open(folder, labels)?;
    let [label_count] = file.header(LABELS_MAGIC, ["number of labels"])?;
    file.expect("number of labels", label_count, count as usize)?;
    let labels = file.records(label_count, 1)?;
    Ok((shape, images, labels, file.path))
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
            let stream = Box::new(Gunzip::new(open(&packed)?));
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
        let wanted = (count as usize).saturating_mul(size);
        if wanted > MOST_BYTES {
            let most = format!("at most {MOST_BYTES} bytes of records");
            return Err(self.wrong("size of all records", wanted as u64, most));
        }
        let bytes = self.bytes(wanted)?;
        let rest = io::copy(&mut self.stream.by_ref().take(MOST_REST), &mut io::sink());
        let rest = rest.map_err(Error::io("reading", &self.path))?;
        let length = (self.header_bytes + bytes.len()) as u64 + rest;
        let wanted = self.header_bytes + wanted;
        if length == wanted as u64 {
            return Ok(bytes);
        }
        let wanted = format!("{wanted} for {count} records of {size}");
        let field = match rest {
            MOST_REST => "length in bytes, of which the end was not read,",
            _ => "length in bytes",
        };
        Err(self.wrong(field, length, wanted))
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
