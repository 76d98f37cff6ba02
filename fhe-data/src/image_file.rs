//! PNG and JPEG files as images of a given shape.

use std::path::Path;

use image::imageops::{self, FilterType};
use image::{ImageBuffer, ImageReader, Pixel};

use crate::{Error, ImageShape, Result};

/// Reads a PNG or JPEG file that has the size of `shape`.
///
/// # Errors
/// As for [`read`], and [`Error::ImageSize`].
pub fn read_unscaled(path: &Path, shape: ImageShape) -> Result<Vec<u8>> {
    let (width, height) = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(Error::io("opening", path))?
        .into_dimensions()
        .map_err(|source| Error::Image { file: path.to_path_buf(), source })?;
    if (width as usize, height as usize) != (shape.width, shape.height) {
        return Err(Error::ImageSize {
            file: path.to_path_buf(),
            got: (width, height),
            wanted: (shape.width, shape.height),
        });
    }
    read(path, shape)
}

/// Reads a PNG or JPEG file of any size: centre crop to a square, then resize to the side of `shape`.
///
/// # Shapes
/// `[h, w] -> [channels, side, side]`, planes R, G, B or one of grey, row-major.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Image`] if it is no image that is known.
pub fn read(path: &Path, shape: ImageShape) -> Result<Vec<u8>> {
    let picture = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(Error::io("opening", path))?
        .decode()
        .map_err(|source| Error::Image { file: path.to_path_buf(), source })?;
    if shape.channels == 1 {
        Ok(planes(&picture.to_luma8(), shape))
    } else {
        Ok(planes(&picture.to_rgb8(), shape))
    }
}

/// Crops the largest centred square, resizes it and splits it into planes.
fn planes<P>(picture: &ImageBuffer<P, Vec<u8>>, shape: ImageShape) -> Vec<u8>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let (width, height) = picture.dimensions();
    let side = width.min(height);
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let square = imageops::crop_imm(picture, left, top, side, side).to_image();
    // The sides of shapes are a few dozen pixels.
    let target = shape.width as u32;
    let small = if side == target {
        square
    } else {
        imageops::resize(&square, target, target, FilterType::CatmullRom)
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
