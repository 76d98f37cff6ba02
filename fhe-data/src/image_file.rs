//! PNG and JPEG files as 32x32 images.

use std::path::Path;

use image::imageops::{self, FilterType};
use image::{ImageReader, RgbImage};

use crate::{CHANNELS, Error, IMAGE_BYTES, PLANE_BYTES, Result, SIDE_PIXELS};

/// Reads a PNG or JPEG file of any size: centre crop to a square, then resize to 32x32.
///
/// # Shapes
/// `[h, w] -> [3, 32, 32]`, planes R, G, B, row-major.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Image`] if it is no image that is known.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let picture = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(Error::io("opening", path))?
        .decode()
        .map_err(|source| Error::Image { file: path.to_path_buf(), source })?;
    Ok(planes(&picture.to_rgb8()))
}

/// Crops the largest centred square, resizes it and splits it into planes.
fn planes(picture: &RgbImage) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    let side = width.min(height);
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let square = imageops::crop_imm(picture, left, top, side, side).to_image();
    const TARGET: u32 = 32;
    const { assert!(TARGET as usize == SIDE_PIXELS) };
    let small = if side == TARGET {
        square
    } else {
        imageops::resize(&square, TARGET, TARGET, FilterType::CatmullRom)
    };
    let mut planes = vec![0; IMAGE_BYTES];
    for (position, pixel) in small.as_raw().chunks_exact(CHANNELS).enumerate() {
        for (channel, &value) in pixel.iter().enumerate() {
            planes[channel * PLANE_BYTES + position] = value;
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn exact_size_keeps_every_pixel() {
        let picture = RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8, y as u8, 200]));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        picture.save(&file).unwrap();
        let planes = read(&file).unwrap();
        assert_eq!(planes[3 * 32 + 5], 5);
        assert_eq!(planes[1024 + 3 * 32 + 5], 3);
        assert_eq!(planes[2048 + 3 * 32 + 5], 200);
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
        let planes = read(&file).unwrap();
        assert!(planes[1024 - 16] < 30 && planes[2048 + 1024 - 16] > 220);
    }

    #[test]
    fn a_text_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        std::fs::write(&file, "no image").unwrap();
        assert!(matches!(read(&file), Err(Error::Image { .. })));
        assert!(matches!(read(&folder.path().join("b.png")), Err(Error::Io { .. })));
    }
}
