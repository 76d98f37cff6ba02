//! Labelled images in memory.

use crate::{Error, Result};

/// Rows, and columns, of an image in pixels.
pub const SIDE_PIXELS: usize = 32;
/// Colour planes of an image: red, green, blue.
pub const CHANNELS: usize = 3;
/// Bytes of one colour plane.
pub const PLANE_BYTES: usize = SIDE_PIXELS * SIDE_PIXELS;
/// Bytes of an image: planes R, G, B, each row-major.
pub const IMAGE_BYTES: usize = CHANNELS * PLANE_BYTES;
/// Classes of every data set here; labels are below this.
pub const NUM_CLASSES: usize = 10;

/// A list of 32x32 RGB images with their labels.
///
/// # Values
/// Pixels in `0..=255`, labels in `0..=9`; the constructor checks both lengths and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSet {
    name: String,
    images: Vec<u8>,
    labels: Vec<u8>,
}

impl ImageSet {
    /// Joins `images` (`n * 3072` bytes) with `labels` (`n` bytes).
    ///
    /// # Errors
    /// [`Error::PixelCount`] if the lengths do not match; [`Error::Label`] for a label above 9.
    pub fn new(name: impl Into<String>, images: Vec<u8>, labels: Vec<u8>) -> Result<Self> {
        let wanted = labels.len() * IMAGE_BYTES;
        if images.len() != wanted {
            return Err(Error::PixelCount { op: "ImageSet::new", got: images.len(), wanted });
        }
        let name = name.into();
        for (record, &label) in labels.iter().enumerate() {
            if usize::from(label) >= NUM_CLASSES {
                return Err(Error::Label { file: name.into(), record, got: label });
            }
        }
        Ok(Self { name, images, labels })
    }

    /// Joins parts whose lengths and labels are right by construction.
    pub(crate) fn from_checked(name: String, images: Vec<u8>, labels: Vec<u8>) -> Self {
        debug_assert_eq!(images.len(), labels.len() * IMAGE_BYTES);
        Self { name, images, labels }
    }

    /// Returns where the images come from, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how many images there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns whether there are no images.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Returns all pixels, `[n, 3, 32, 32]`.
    #[must_use]
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// Returns all labels, `[n]`.
    #[must_use]
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Returns the pixels of image `i`, `[3, 32, 32]`.
    ///
    /// # Panics
    /// If `i >= len()`, as indexing a slice does.
    #[must_use]
    pub fn image(&self, i: usize) -> &[u8] {
        &self.images[i * IMAGE_BYTES..(i + 1) * IMAGE_BYTES]
    }

    /// Returns the label of image `i`.
    ///
    /// # Panics
    /// If `i >= len()`, as indexing a slice does.
    #[must_use]
    pub fn label(&self, i: usize) -> u8 {
        self.labels[i]
    }

    /// Returns the first `n` images, or all if there are fewer.
    #[must_use]
    pub fn head(&self, n: usize) -> Self {
        let n = n.min(self.len());
        Self {
            name: self.name.clone(),
            images: self.images[..n * IMAGE_BYTES].to_vec(),
            labels: self.labels[..n].to_vec(),
        }
    }
}

/// Images to train on and images to test on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Images to train on.
    pub train: ImageSet,
    /// Images to test on.
    pub test: ImageSet,
    /// The name of each class, by label.
    pub class_names: [&'static str; NUM_CLASSES],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constructor_checks_lengths_and_labels() {
        let set = ImageSet::new("x", vec![7; 2 * IMAGE_BYTES], vec![0, 9]).unwrap();
        assert_eq!((set.len(), set.label(1), set.image(1)[3071]), (2, 9, 7));
        assert_eq!(set.head(1).len(), 1);
        assert!(matches!(
            ImageSet::new("x", vec![7; IMAGE_BYTES - 1], vec![0]),
            Err(Error::PixelCount { got: 3071, wanted: 3072, .. })
        ));
        assert!(matches!(
            ImageSet::new("x", vec![7; 2 * IMAGE_BYTES], vec![0, 10]),
            Err(Error::Label { record: 1, got: 10, .. })
        ));
    }
}
