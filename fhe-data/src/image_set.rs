//! Labelled images in memory.

use std::fmt;

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::{Error, Result, image_file};

/// Rows, and columns, of an RGB image in pixels.
pub const SIDE_PIXELS: usize = 32;
/// Colour planes of an RGB image: red, green, blue.
pub const CHANNELS: usize = 3;
/// Bytes of one colour plane.
pub const PLANE_BYTES: usize = SIDE_PIXELS * SIDE_PIXELS;
/// Bytes of an RGB image: planes R, G, B, each row-major.
pub const IMAGE_BYTES: usize = CHANNELS * PLANE_BYTES;

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

    /// Returns the bytes of an image; what `usize` cannot hold becomes its largest value.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
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
/// Pixels in `0..=255`; labels count classes from 0, of which a [`Split`] has the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSet {
    name: String,
    shape: ImageShape,
    images: Vec<u8>,
    labels: Vec<u32>,
}

impl ImageSet {
    /// Joins 32x32 RGB `images` (`n * 3072` bytes) with `n` labels.
    ///
    /// # Errors
    /// As [`ImageSet::with_shape`].
    pub fn new(name: impl Into<String>, images: Vec<u8>, labels: Vec<u32>) -> Result<Self> {
        Self::with_shape(name, ImageShape::RGB32, images, labels)
    }

    /// Joins `images` (`n * shape.bytes()` bytes) with `n` labels.
    ///
    /// # Errors
    /// [`Error::PixelCount`] if the lengths do not match.
    pub fn with_shape(
        name: impl Into<String>,
        shape: ImageShape,
        images: Vec<u8>,
        labels: Vec<u32>,
    ) -> Result<Self> {
        let wanted = labels.len().saturating_mul(shape.bytes());
        if images.len() != wanted {
            return Err(Error::PixelCount {
                op: "ImageSet::with_shape",
                got: images.len(),
                wanted,
            });
        }
        Ok(Self { name: name.into(), shape, images, labels })
    }

    /// Joins 32x32 RGB parts whose lengths are right by construction.
    pub(crate) fn from_checked(name: String, images: Vec<u8>, labels: Vec<u32>) -> Self {
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

    /// Returns all pixels as a matrix, `[n, channels * height * width]`: features for a
    /// [`crate::Quantizer`].
    #[must_use]
    pub fn view(&self) -> ArrayView2<'_, u8> {
        // The constructors check the length, so that the shape always fits.
        ArrayView2::from_shape((self.len(), self.shape.bytes()), &self.images)
            .unwrap_or_else(|_| ArrayView2::from(&[[0u8; 0]; 0]))
    }

    /// Returns all labels, `[n]`.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Returns the pixels of image `i`, `[channels, height, width]`; `None` beyond the last one.
    #[must_use]
    pub fn image(&self, i: usize) -> Option<&[u8]> {
        let size = self.shape.bytes();
        let start = i.checked_mul(size).filter(|_| i < self.len())?;
        self.images.get(start..start + size)
    }

    /// Returns the label of image `i`; `None` beyond the last one.
    #[must_use]
    pub fn label(&self, i: usize) -> Option<u32> {
        self.labels.get(i).copied()
    }

    /// Returns images by their numbers, in that order, also repeatedly; numbers beyond the last
    /// image are left out.
    #[must_use]
    pub fn select(&self, order: &[usize]) -> Self {
        let there = || order.iter().copied().filter(|&i| i < self.len());
        Self {
            name: self.name.clone(),
            shape: self.shape,
            images: there().filter_map(|i| self.image(i)).flatten().copied().collect(),
            labels: there().filter_map(|i| self.label(i)).collect(),
        }
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

    /// Returns the last `n` images, or all if there are fewer.
    #[must_use]
    pub fn tail(&self, n: usize) -> Self {
        let first = self.len().saturating_sub(n);
        Self {
            name: self.name.clone(),
            shape: self.shape,
            images: self.images[first * self.shape.bytes()..].to_vec(),
            labels: self.labels[first..].to_vec(),
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

impl ImageSet {
    /// Returns the images in another shape, cropped and resized as [`image_file::read`] does: those
    /// of any data set for an encoder, which takes one shape. Grey images become three equal
    /// planes, and RGB ones their brightness, where the number of channels differs.
    ///
    /// # Errors
    /// [`Error::ShapeOfFiles`] if either shape has not 1 or 3 channels and 1 to 4096 rows and
    /// columns.
    pub fn resized(&self, shape: ImageShape) -> Result<Self> {
        image_file::check_shape(self.shape)?;
        image_file::check_shape(shape)?;
        if shape == self.shape {
            return Ok(self.clone());
        }
        let images: Vec<Vec<u8>> = self
            .images
            .par_chunks_exact(self.shape.bytes())
            .map(|image| image_file::resize(image, self.shape, shape))
            .collect();
        Self::with_shape(self.name.clone(), shape, images.concat(), self.labels.clone())
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
    pub class_names: Vec<String>,
}

impl Split {
    /// Joins two sets whose labels count the classes that are named.
    ///
    /// # Errors
    /// [`Error::Shape`] if the sets have images of different shapes; [`Error::Label`] for a label
    /// without a name.
    pub fn new(train: ImageSet, test: ImageSet, class_names: Vec<String>) -> Result<Self> {
        test.require_shape("Split::new", train.shape)?;
        for set in [&train, &test] {
            let unnamed = |&label: &u32| label as usize >= class_names.len();
            if let Some(record) = set.labels.iter().position(unnamed) {
                return Err(Error::label(&set.name, record, set.labels[record], class_names.len()));
            }
        }
        Ok(Self { train, test, class_names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constructor_checks_lengths_and_labels() {
        let set = ImageSet::new("x", vec![7; 2 * IMAGE_BYTES], vec![0, 9]).unwrap();
        assert_eq!((set.len(), set.label(1), set.image(1).unwrap()[3071]), (2, Some(9), 7));
        assert_eq!((set.label(2), set.image(2), set.image(usize::MAX)), (None, None, None));
        assert_eq!(set.head(1).len(), 1);
        assert_eq!(set.shape(), ImageShape::RGB32);
        assert!(matches!(
            ImageSet::new("x", vec![7; IMAGE_BYTES - 1], vec![0]),
            Err(Error::PixelCount { got: 3071, wanted: 3072, .. })
        ));
        let names: Vec<String> = (0..9).map(|class| class.to_string()).collect();
        let error = Split::new(set.head(1), set.clone(), names.clone()).unwrap_err().to_string();
        assert_eq!(error, "x: record 1: label 9, expected 0 to 8");
        assert!(Split::new(set.head(1), set.head(1), names.clone()).is_ok());
        let grey = ImageSet::with_shape("y", ImageShape::GREY28, vec![0; 784], vec![1]).unwrap();
        assert!(matches!(Split::new(set.head(1), grey, names), Err(Error::Shape { .. })));
    }

    #[test]
    fn other_shapes_have_images_of_their_size() {
        let shape = ImageShape { channels: 2, height: 1, width: 3 };
        let pixels = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let set = ImageSet::with_shape("x", shape, pixels, vec![4, 5]).unwrap();
        assert_eq!((set.image(1), set.shape()), (Some(&[7, 8, 9, 10, 11, 12][..]), shape));
        assert_eq!(set.head(1).images(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(set.select(&[1, 7, 0]).labels(), [5, 4]);
        assert_eq!(set.select(&[1]).images(), [7, 8, 9, 10, 11, 12]);
        let mirrored = set.mirrored();
        assert_eq!(mirrored.image(0), Some(&[3, 2, 1, 6, 5, 4][..]));
        assert_eq!((mirrored.labels(), mirrored.name()), (&[4, 5][..], "x, mirrored"));
        assert_eq!(mirrored.mirrored().images(), set.images());
        let error = ImageSet::with_shape("x", ImageShape::GREY28, vec![0; 783], vec![1]);
        assert!(matches!(error, Err(Error::PixelCount { got: 783, wanted: 784, .. })));
    }
}
