//! Labelled images in memory.

use std::fmt;

use crate::{Error, Result};

/// Rows, and columns, of an RGB image in pixels.
pub const SIDE_PIXELS: usize = 32;
/// Colour planes of an RGB image: red, green, blue.
pub const CHANNELS: usize = 3;
/// Bytes of one colour plane.
pub const PLANE_BYTES: usize = SIDE_PIXELS * SIDE_PIXELS;
/// Bytes of an RGB image: planes R, G, B, each row-major.
pub const IMAGE_BYTES: usize = CHANNELS * PLANE_BYTES;
/// Classes of every data set here; labels are below this.
pub const NUM_CLASSES: usize = 10;

/// The shape of one image: planes, each row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Colour planes: 3 for red, green, blue; 1 for grey.
    pub channels: usize,
    /// Rows in pixels.
    pub height: usize,
    /// Columns in pixels.
    pub width: usize,
}

impl ImageShape {
    /// 32x32 RGB: CIFAR-10 and the built-in set, what the encoder takes.
    pub const RGB32: Self = Self { channels: CHANNELS, height: SIDE_PIXELS, width: SIDE_PIXELS };
    /// 28x28 grey: MNIST.
    pub const GREY28: Self = Self { channels: 1, height: 28, width: 28 };

    /// Returns the bytes of an image.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.channels * self.height * self.width
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// A list of images of one shape with their labels.
///
/// # Values
/// Pixels in `0..=255`, labels in `0..=9`; the constructors check both lengths and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSet {
    name: String,
    shape: ImageShape,
    images: Vec<u8>,
    labels: Vec<u8>,
}

impl ImageSet {
    /// Joins 32x32 RGB `images` (`n * 3072` bytes) with `labels` (`n` bytes).
    ///
    /// # Errors
    /// As [`ImageSet::with_shape`].
    pub fn new(name: impl Into<String>, images: Vec<u8>, labels: Vec<u8>) -> Result<Self> {
        Self::with_shape(name, ImageShape::RGB32, images, labels)
    }

    /// Joins `images` (`n * shape.bytes()` bytes) with `labels` (`n` bytes).
    ///
    /// # Errors
    /// [`Error::PixelCount`] if the lengths do not match; [`Error::Label`] for a label above 9.
    pub fn with_shape(
        name: impl Into<String>,
        shape: ImageShape,
        images: Vec<u8>,
        labels: Vec<u8>,
    ) -> Result<Self> {
        let wanted = labels.len() * shape.bytes();
        if images.len() != wanted {
            return Err(Error::PixelCount {
                op: "ImageSet::with_shape",
                got: images.len(),
                wanted,
            });
        }
        let name = name.into();
        for (record, &label) in labels.iter().enumerate() {
            if usize::from(label) >= NUM_CLASSES {
                return Err(Error::Label { file: name.into(), record, got: label });
            }
        }
        Ok(Self { name, shape, images, labels })
    }

    /// Joins 32x32 RGB parts whose lengths and labels are right by construction.
    pub(crate) fn from_checked(name: String, images: Vec<u8>, labels: Vec<u8>) -> Self {
        debug_assert_eq!(images.len(), labels.len() * IMAGE_BYTES);
        Self { name, shape: ImageShape::RGB32, images, labels }
    }

    /// Checks that the images have the shape `wanted`.
    pub(crate) fn require_shape(&self, op: &'static str, wanted: ImageShape) -> Result<()> {
        if self.shape == wanted {
            Ok(())
        } else {
            Err(Error::Shape { op, got: self.shape, wanted })
        }
    }

    /// Returns where the images come from, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the shape of each image.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        self.shape
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

    /// Returns all pixels, `[n, channels, height, width]`.
    #[must_use]
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// Returns all labels, `[n]`.
    #[must_use]
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Returns the pixels of image `i`, `[channels, height, width]`.
    ///
    /// # Panics
    /// If `i >= len()`, as indexing a slice does.
    #[must_use]
    pub fn image(&self, i: usize) -> &[u8] {
        let size = self.shape.bytes();
        &self.images[i * size..(i + 1) * size]
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
            shape: self.shape,
            images: self.images[..n * self.shape.bytes()].to_vec(),
            labels: self.labels[..n].to_vec(),
        }
    }

    /// Returns the mirror images, left and right exchanged, with the same labels.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        Self {
            name: format!("{}, mirrored", self.name),
            shape: self.shape,
            images: mirror(&self.images, self.shape.width.max(1)).collect(),
            labels: self.labels.clone(),
        }
    }
}

/// Returns the pixels of images with rows of `width` pixels, left and right exchanged.
pub(crate) fn mirror(images: &[u8], width: usize) -> impl Iterator<Item = u8> {
    images.chunks_exact(width).flat_map(|row| row.iter().rev().copied())
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
        assert_eq!(set.shape(), ImageShape::RGB32);
        assert!(matches!(
            ImageSet::new("x", vec![7; IMAGE_BYTES - 1], vec![0]),
            Err(Error::PixelCount { got: 3071, wanted: 3072, .. })
        ));
        assert!(matches!(
            ImageSet::new("x", vec![7; 2 * IMAGE_BYTES], vec![0, 10]),
            Err(Error::Label { record: 1, got: 10, .. })
        ));
    }

    #[test]
    fn other_shapes_have_images_of_their_size() {
        let shape = ImageShape { channels: 2, height: 1, width: 3 };
        let pixels = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let set = ImageSet::with_shape("x", shape, pixels, vec![4, 5]).unwrap();
        assert_eq!((set.image(1), set.shape()), (&[7, 8, 9, 10, 11, 12][..], shape));
        assert_eq!(set.head(1).images(), [1, 2, 3, 4, 5, 6]);
        let mirrored = set.mirrored();
        assert_eq!(mirrored.image(0), [3, 2, 1, 6, 5, 4]);
        assert_eq!((mirrored.labels(), mirrored.name()), (&[4, 5][..], "x, mirrored"));
        assert_eq!(mirrored.mirrored().images(), set.images());
        let error = ImageSet::with_shape("x", ImageShape::GREY28, vec![0; 783], vec![1]);
        assert!(matches!(error, Err(Error::PixelCount { got: 783, wanted: 784, .. })));
    }
}
