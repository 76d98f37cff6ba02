//! Pictures that features are made of.

use std::path::{Path, PathBuf};

use image::RgbImage;

use crate::imagenet::{Preparation, RawPicture};
use crate::{Error, ImageSet, ImageShape, LabelledFile, Result, image_file};

/// A picture of any size, in memory or in a file.
///
/// It is cropped to the largest centred part that has the proportions of the shape that is wanted,
/// then resized by bicubic interpolation (Catmull and Rom), both as [`image_file::read`] does. Only
/// a [`RawPicture`] goes another way.
pub trait Picture: Sync {
    /// Returns the pixels, `[3, height, width]`, planes red, green, blue, each row-major.
    ///
    /// # Errors
    /// Those of [`image_file::read`] for files; [`Error::ShapeOfFiles`] for a picture without
    /// pixels, or of a number of channels that is neither 1 nor 3.
    fn planes(&self, shape: ImageShape) -> Result<Vec<u8>>;

    /// Returns the BLAKE3 hash of the content: equal hashes mean equal pictures.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read.
    fn digest(&self) -> Result<[u8; 32]>;
}

impl Picture for RgbImage {
    fn planes(&self, shape: ImageShape) -> Result<Vec<u8>> {
        let (width, height) = self.dimensions();
        if width == 0 || height == 0 {
            let got = ImageShape { channels: 3, height: height as usize, width: width as usize };
            return Err(Error::ShapeOfFiles { got });
        }
        Ok(image_file::planes(self, shape))
    }

    fn digest(&self) -> Result<[u8; 32]> {
        let (width, height) = self.dimensions();
        Ok(content("rgb", &[u64::from(width), u64::from(height)], self.as_raw()))
    }
}

/// The path of a PNG or JPEG file.
impl Picture for PathBuf {
    fn planes(&self, shape: ImageShape) -> Result<Vec<u8>> {
        image_file::read(self, shape)
    }

    fn digest(&self) -> Result<[u8; 32]> {
        let path: &Path = self;
        Ok(content("file", &[], &image_file::bytes(path)?))
    }
}

/// A picture whose class is known.
pub trait LabelledPicture: Picture {
    /// Returns the number of the class, from 0.
    fn label(&self) -> u32;
}

impl Picture for LabelledFile {
    fn planes(&self, shape: ImageShape) -> Result<Vec<u8>> {
        self.path.planes(shape)
    }

    fn digest(&self) -> Result<[u8; 32]> {
        self.path.digest()
    }
}

impl LabelledPicture for LabelledFile {
    fn label(&self) -> u32 {
        self.label
    }
}

/// The file of a picture of ImageNet, decoded by [`RawPicture::decode`] and prepared as ImageNet's
/// pictures are, by [`Preparation::scaled`]. The shape that is wanted must be square.
impl Picture for RawPicture {
    fn planes(&self, shape: ImageShape) -> Result<Vec<u8>> {
        let wanted = ImageShape { channels: 3, height: shape.height, width: shape.height };
        if shape != wanted {
            return Err(Error::Shape { op: "RawPicture::planes", got: shape, wanted });
        }
        Preparation::scaled(shape.height)?.apply(&self.decode()?)
    }

    fn digest(&self) -> Result<[u8; 32]> {
        Ok(content("imagenet upright", &[], self.bytes()))
    }
}

impl LabelledPicture for RawPicture {
    fn label(&self) -> u32 {
        Self::label(self)
    }
}

/// An image of an [`ImageSet`]; a grey one becomes three equal planes.
#[derive(Clone, Copy, Debug)]
pub struct SetPicture<'a> {
    pixels: &'a [u8],
    shape: ImageShape,
}

impl Picture for SetPicture<'_> {
    fn planes(&self, shape: ImageShape) -> Result<Vec<u8>> {
        image_file::check_shape(self.shape)?;
        Ok(image_file::resize(self.pixels, self.shape, shape))
    }

    fn digest(&self) -> Result<[u8; 32]> {
        let ImageShape { channels, height, width } = self.shape;
        let sizes = [channels, height, width].map(|size| size as u64);
        Ok(content("planes", &sizes, self.pixels))
    }
}

/// Returns the images of a set as pictures.
///
/// ```
/// use fhe_data::backbone::{Picture, set_pictures};
/// use fhe_data::{ImageShape, builtin};
///
/// let set = builtin(1, 3, 1).train;
/// let pictures = set_pictures(&set);
/// let shape = ImageShape { channels: 3, height: 48, width: 48 };
/// assert_eq!((pictures.len(), pictures[0].planes(shape)?.len()), (3, 3 * 48 * 48));
/// # Ok::<(), fhe_data::Error>(())
/// ```
#[must_use]
pub fn set_pictures(set: &ImageSet) -> Vec<SetPicture<'_>> {
    let shape = set.shape();
    (0..set.len()).filter_map(|i| set.image(i)).map(|pixels| SetPicture { pixels, shape }).collect()
}

/// Hashes sizes and bytes of a kind of picture.
fn content(kind: &str, sizes: &[u64], bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind.as_bytes());
    hasher.update(&[0]);
    sizes.iter().for_each(|size| {
        hasher.update(&size.to_le_bytes());
    });
    hasher.update(bytes);
    *hasher.finalize().as_bytes()
}
