//! MNIST, ten classes of handwritten digits, in its official files.

use std::path::Path;

use crate::{Error, ImageSet, ImageShape, Result, Split, idx};

/// The classes, by label.
pub const CLASS_NAMES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The official files, without `.gz`: images and labels to train on, then those to test on.
pub const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Reads all images from a folder that holds the four files, plain or as `.gz`. The plain file is
/// taken where there are both.
///
/// [`idx::read`] reads other data sets of this layout.
///
/// # Shapes
/// `[n, 1, 28, 28]`; the official files have 60,000 images to train on and 10,000 to test on.
///
/// # Values
/// Pixels in `0..=255`, 0 for the background; labels in `0..=9`.
///
/// # Errors
/// [`Error::MissingFile`]; [`Error::Io`] for a file that cannot be read or unpacked;
/// [`Error::Field`] for another magic number, another size of images, no training image, numbers of
/// images and labels that differ, and a file that is shorter or longer than its header says;
/// [`Error::Label`]. Each names the file.
pub fn read(folder: &Path) -> Result<Split> {
    let [train_images, train_labels, test_images, test_labels] = FILES;
    Split::new(
        read_part(folder, "MNIST train", [train_images, train_labels], 1)?,
        read_part(folder, "MNIST test", [test_images, test_labels], 0)?,
        CLASS_NAMES.map(str::to_owned).to_vec(),
    )
}

/// Reads one file of images and its labels.
fn read_part(folder: &Path, name: &str, files: [&str; 2], least: u32) -> Result<ImageSet> {
    let (shape, pixels, labels, file) =
        idx::read_pair(folder, files[0], files[1], Some(ImageShape::GREY28), least)?;
    if let Some(record) = labels.iter().position(|&label| usize::from(label) >= CLASS_NAMES.len()) {
        return Err(Error::label(file, record, labels[record], CLASS_NAMES.len()));
    }
    ImageSet::with_shape(name, shape, pixels, labels.into_iter().map(u32::from).collect())
}

#[cfg(test)]
mod tests;
