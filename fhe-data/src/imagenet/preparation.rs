//! The standard preparation of pictures for a model: resized, then cropped.

use image::imageops::{self, FilterType};

use super::Picture;
use crate::image_file::{check_shape, too_large};
use crate::{Error, ImageShape, Result};

/// Pixels at most of a picture that is resized and not yet cropped: those of proportions of 1 to
/// 300 at 256 rows.
const MOST_PIXELS: u64 = 20 << 20;

/// Resizes a picture until its shorter side has `resize` pixels, and crops its centre.
///
/// A picture of `h` rows and `w` columns, with `m = min(h, w)`, gets `H = floor(resize h / m)` rows
/// and `W = floor(resize w / m)` columns, by bicubic interpolation (Catmull and Rom's, a = -1/2)
/// that is as wide as the step where it makes pictures smaller. Of these, the `crop` rows from
/// `round((H - crop) / 2)` on are taken, and columns alike, where halves are rounded to even
/// numbers. That is torchvision's `Resize` and `CenterCrop`.
///
/// # Shapes
/// `[h, w, 3] -> [3, crop, crop]`: planes R, G, B, row-major
///
/// ```
/// use fhe_data::imagenet::Preparation;
///
/// assert_eq!(Preparation::new(256, 224)?, Preparation::IMAGENET);
/// assert_eq!(Preparation::scaled(224)?, Preparation::IMAGENET);
/// assert_eq!(Preparation::IMAGENET.shape().bytes(), 3 * 224 * 224);
/// assert!(Preparation::new(64, 65).is_err());
/// # Ok::<(), fhe_data::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparation {
    resize: u32,
    crop: u32,
}

impl Preparation {
    /// The shorter side 256, then 224 x 224: what most models for ImageNet take.
    pub const IMAGENET: Self = Self { resize: 256, crop: 224 };

    /// Takes the length of the shorter side and that of the crop's sides.
    ///
    /// # Errors
    /// [`Error::ShapeOfFiles`] unless `1 <= crop <= resize <= 4096`.
    pub fn new(resize: u32, crop: u32) -> Result<Self> {
        let square =
            |side: u32| ImageShape { channels: 3, height: side as usize, width: side as usize };
        check_shape(square(resize))?;
        // A crop that is larger than the picture has no shape either.
        check_shape(square(if crop <= resize { crop } else { 0 }))?;
        Ok(Self { resize, crop })
    }

    /// Returns [`Preparation::IMAGENET`] for a model that takes another size: of a shorter side of
    /// `round(8 side / 7)`, the centre of `side` rows and columns.
    ///
    /// # Errors
    /// [`Error::ShapeOfFiles`] unless `1 <= side <= 3584`.
    pub fn scaled(side: usize) -> Result<Self> {
        let resize = side.saturating_mul(8).saturating_add(3) / 7;
        let length = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        Self::new(length(resize), length(side))
    }

    /// Returns the shape of the images: `[3, crop, crop]`.
    #[must_use]
    pub const fn shape(self) -> ImageShape {
        ImageShape { channels: 3, height: self.crop as usize, width: self.crop as usize }
    }

    /// Prepares a picture.
    ///
    /// # Errors
    /// [`Error::Image`], naming the file, for a picture that would have more than 20 million pixels
    /// before it is cropped: one of a very long side.
    pub fn apply(self, picture: &Picture) -> Result<Vec<u8>> {
        let image = picture.image();
        let (width, height) = image.dimensions();
        let shorter = u64::from(width.min(height).max(1));
        let scaled = |side: u32| u64::from(self.resize) * u64::from(side) / shorter;
        let (wide, high) = (scaled(width), scaled(height));
        let sides = u32::try_from(wide).ok().zip(u32::try_from(high).ok());
        let fits = wide.saturating_mul(high) <= MOST_PIXELS;
        let Some((wide, high)) = sides.filter(|_| fits) else {
            return Err(Error::Image { file: picture.file().to_path_buf(), source: too_large() });
        };
        let resized = imageops::resize(image, wide, high, FilterType::CatmullRom);
        let (left, top) = (middle(wide - self.crop), middle(high - self.crop));
        let part = imageops::crop_imm(&resized, left, top, self.crop, self.crop).to_image();
        let pixels = part.as_raw();
        let plane = |channel| pixels.iter().skip(channel).step_by(3).copied();
        Ok((0..3).flat_map(plane).collect())
    }
}

/// Returns half of a number, where halves are rounded to even numbers.
fn middle(rest: u32) -> u32 {
    rest / 2 + u32::from(rest % 4 == 3)
}
