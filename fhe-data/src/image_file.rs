//! PNG and JPEG files as images of a given shape.
//!
//! Images of any size and colour type are taken: grey, RGB, palettes, 16 bits, with transparency.
//! An orientation that the file states, as telephones do, is applied.

mod jpeg;

use std::io::Cursor;
use std::path::Path;

use image::error::{LimitError, LimitErrorKind};
use image::imageops::{self, FilterType};
use image::{
    DynamicImage, GenericImageView, GrayImage, ImageBuffer, ImageDecoder, ImageError, ImageReader,
    Luma, Pixel, Rgb, RgbImage,
};

use crate::{Error, ImageShape, Result, file};

/// Bytes at most of a file, and of what it is decoded to: headers are not trusted. That is room for
/// 89 million pixels of three bytes, and several files are decoded side by side.
const MOST_BYTES: u64 = 256 << 20;
/// Rows, and columns, at most of the images that files become.
const MOST_SIDE: usize = 4096;

/// Reads a PNG or JPEG file that has the size of `shape`.
///
/// # Errors
/// As for [`read`], and [`Error::ImageSize`].
pub fn read_unscaled(path: &Path, shape: ImageShape) -> Result<Vec<u8>> {
    check_shape(shape)?;
    let picture = decode(path)?;
    let (width, height) = picture.dimensions();
    if (width as usize, height as usize) != (shape.width, shape.height) {
        return Err(Error::ImageSize {
            file: path.to_path_buf(),
            got: (width, height),
            wanted: (shape.width, shape.height),
        });
    }
    Ok(pixels(picture, shape))
}

/// Reads a PNG or JPEG file of any size: cropped to the largest centred part that has the
/// proportions of `shape` (a square for square shapes), then resized to it.
///
/// Where pixels are transparent, the image lies on black or on white, whichever differs more from
/// the mean brightness of what is visible.
///
/// # Shapes
/// `[h, w] -> [channels, height, width]`, planes R, G, B or one of grey, row-major.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Field`] for a file of more than 256 MiB;
/// [`Error::Image`] if it is no image that is known, or has more than 256 MiB decoded, which are 89
/// million pixels of three bytes; [`Error::CutImage`] for a JPEG file that ends within its image;
/// [`Error::FourColours`] for a JPEG file in cyan, magenta, yellow and black;
/// [`Error::ShapeOfFiles`] for a shape that has not 1 or 3 channels and 1 to 4096 rows and columns.
pub fn read(path: &Path, shape: ImageShape) -> Result<Vec<u8>> {
    check_shape(shape)?;
    Ok(pixels(decode(path)?, shape))
}

/// Checks that files can become images of the shape.
pub(crate) fn check_shape(shape: ImageShape) -> Result<()> {
    let side = 1..=MOST_SIDE;
    let fits = side.contains(&shape.height) && side.contains(&shape.width);
    if fits && matches!(shape.channels, 1 | 3) {
        Ok(())
    } else {
        Err(Error::ShapeOfFiles { got: shape })
    }
}

/// Reads the bytes of a file.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    file::read(path, MOST_BYTES)
}

/// Decodes a file that is not in four colours.
fn decode(path: &Path) -> Result<DynamicImage> {
    let bytes = bytes(path)?;
    if has_four_colours(path, &bytes)? {
        return Err(Error::FourColours { file: path.to_path_buf() });
    }
    upright(path, &bytes)
}

/// Decodes what a file of this name holds. Grey values become three equal ones, and four colours
/// become three, each times black, `(c, m, y) k / 255` of the values as stored, in which 255 is no
/// ink.
///
/// # Errors
/// [`Error::Image`] if it is no image that is known, or has more than 256 MiB as RGB;
/// [`Error::CutImage`].
pub(crate) fn rgb(file: &Path, bytes: &[u8]) -> Result<RgbImage> {
    has_four_colours(file, bytes)?;
    Ok(upright(file, bytes)?.into_rgb8())
}

/// Decodes an image as it is meant to be seen: its orientation is applied, and transparency lies on
/// a ground.
fn upright(file: &Path, bytes: &[u8]) -> Result<DynamicImage> {
    let decoded = || {
        let mut decoder = decoder(bytes)?;
        let orientation = decoder.orientation()?;
        let mut picture = DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok(picture)
    };
    let picture = decoded().map_err(image_error(file))?;
    Ok(if picture.color().has_alpha() { on_ground(picture).into() } else { picture })
}

/// Returns whether a file is a JPEG file in four colours, and refuses those that are cut.
fn has_four_colours(file: &Path, bytes: &[u8]) -> Result<bool> {
    match jpeg::markers(bytes) {
        Some(markers) if !markers.whole => Err(Error::CutImage { file: file.to_path_buf() }),
        markers => Ok(markers.is_some_and(|markers| markers.four_colours)),
    }
}

fn image_error(file: &Path) -> impl FnOnce(ImageError) -> Error {
    let file = file.to_path_buf();
    |source| Error::Image { file, source }
}

/// Reads the header of an image, and refuses one that is too large.
fn decoder(bytes: &[u8]) -> Result<impl ImageDecoder, ImageError> {
    let decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.into_decoder()?;
    let (width, height) = decoder.dimensions();
    let as_rgb = u64::from(width).saturating_mul(height.into()).saturating_mul(3);
    if decoder.total_bytes().max(as_rgb) > MOST_BYTES { Err(too_large()) } else { Ok(decoder) }
}

/// Returns the error of an image that needs more memory than is allowed.
pub(crate) fn too_large() -> ImageError {
    ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
}

/// Lays a transparent image on black or white, so that what is visible differs from the ground.
fn on_ground(picture: DynamicImage) -> RgbImage {
    let picture = picture.into_rgba8();
    let (mut light, mut visible) = (0u64, 0u64);
    for pixel in picture.pixels() {
        let alpha = u64::from(pixel.0[3]);
        light += alpha * u64::from(pixel.to_luma().0[0]);
        visible += alpha * 255;
    }
    let ground: u32 = if 2 * light < visible { 255 } else { 0 };
    let (width, height) = picture.dimensions();
    // In place: a large picture is not held twice.
    let mut bytes = picture.into_raw();
    let pixels = bytes.len() / 4;
    for at in 0..pixels {
        let alpha = u32::from(bytes[4 * at + 3]);
        for colour in 0..3 {
            let c = u32::from(bytes[4 * at + colour]);
            // A mean of two bytes, rounded, is a byte.
            bytes[3 * at + colour] = ((alpha * c + (255 - alpha) * ground + 127) / 255) as u8;
        }
    }
    bytes.truncate(3 * pixels);
    // The bytes are those of as many pixels.
    RgbImage::from_raw(width, height, bytes).unwrap_or_default()
}

/// Crops and resizes the planes of an image of a checked shape to another checked shape.
pub(crate) fn resize(image: &[u8], from: ImageShape, shape: ImageShape) -> Vec<u8> {
    let plane = from.height * from.width;
    let value = |channel: usize, x: u32, y: u32| {
        image[channel % from.channels * plane + y as usize * from.width + x as usize]
    };
    // The sides of checked shapes are at most a few thousand pixels.
    let (width, height) = (from.width as u32, from.height as u32);
    let picture: DynamicImage = if from.channels == 1 {
        GrayImage::from_fn(width, height, |x, y| Luma([value(0, x, y)])).into()
    } else {
        RgbImage::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|c| value(c, x, y)))).into()
    };
    pixels(picture, shape)
}

/// Returns the planes of an image of `shape`.
fn pixels(picture: DynamicImage, shape: ImageShape) -> Vec<u8> {
    if shape.channels == 1 {
        planes(&picture.into_luma8(), shape)
    } else {
        planes(&picture.into_rgb8(), shape)
    }
}

/// Crops the largest centred part of the shape's proportions, resizes it and splits it into planes.
pub(crate) fn planes<P>(picture: &ImageBuffer<P, Vec<u8>>, shape: ImageShape) -> Vec<u8>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let (width, height) = picture.dimensions();
    // The sides of shapes are at most a few thousand pixels.
    let target = (shape.width as u32, shape.height as u32);
    let scaled = |side: u32, (to, from): (u32, u32)| {
        let side = u64::from(side) * u64::from(to) / u64::from(from);
        u32::try_from(side).unwrap_or(u32::MAX).max(1)
    };
    let part = (
        width.min(scaled(height, (target.0, target.1))),
        height.min(scaled(width, (target.1, target.0))),
    );
    let (left, top) = ((width - part.0) / 2, (height - part.1) / 2);
    let part = imageops::crop_imm(picture, left, top, part.0, part.1);
    let small = if part.dimensions() == target {
        part.to_image()
    } else {
        imageops::resize(&*part, target.0, target.1, FilterType::CatmullRom)
    };
    let plane = shape.width * shape.height;
    let mut planes = vec![0; shape.bytes()];
    for (position, pixel) in small.as_raw().chunks_exact(shape.channels).enumerate() {
        for (channel, &value) in pixel.iter().enumerate() {
            planes[channel * plane + position] = value;
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    #[test]
    fn exact_size_keeps_every_pixel() {
        let picture = RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8, y as u8, 200]));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        picture.save(&file).unwrap();
        let planes = read(&file, ImageShape::RGB32).unwrap();
        assert_eq!(planes[3 * 32 + 5], 5);
        assert_eq!(planes[1024 + 3 * 32 + 5], 3);
        assert_eq!(planes[2048 + 3 * 32 + 5], 200);
    }

    #[test]
    fn another_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        RgbImage::new(32, 31).save(&file).unwrap();
        let error = read_unscaled(&file, ImageShape::RGB32).unwrap_err().to_string();
        assert!(error.ends_with("a.png: 32x31 pixels, expected 32x32"), "{error}");
        RgbImage::new(32, 32).save(&file).unwrap();
        assert_eq!(read_unscaled(&file, ImageShape::RGB32).unwrap().len(), 3072);
    }

    #[test]
    fn grey_images_have_one_plane() {
        let picture =
            RgbImage::from_fn(56, 56, |x, _| if x < 28 { Rgb([0; 3]) } else { Rgb([255; 3]) });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        picture.save(&file).unwrap();
        let plane = read(&file, ImageShape::GREY28).unwrap();
        assert_eq!((plane.len(), plane[28 + 2], plane[28 + 25]), (784, 0, 255));
    }

    #[test]
    fn wide_images_lose_their_sides() {
        // 64 red columns left and right of a blue square of 128.
        let picture = RgbImage::from_fn(256, 128, |x, _| {
            if (64..192).contains(&x) { Rgb([0, 0, 250]) } else { Rgb([250, 0, 0]) }
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.jpg");
        picture.save(&file).unwrap();
        let planes = read(&file, ImageShape::RGB32).unwrap();
        assert!(planes[1024 - 16] < 30 && planes[2048 + 1024 - 16] > 220);
    }

    #[test]
    fn a_text_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        std::fs::write(&file, "no image").unwrap();
        assert!(matches!(read(&file, ImageShape::RGB32), Err(Error::Image { .. })));
        assert!(matches!(
            read(&folder.path().join("b.png"), ImageShape::GREY28),
            Err(Error::Io { .. })
        ));
    }
}
