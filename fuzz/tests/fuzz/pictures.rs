//! Pictures.

use std::io::Cursor;

use anyhow::Result;
use fhe_data::imagenet::{Preparation, RawPicture};
use fhe_data::{ImageShape, image_file};
use fhe_fuzz::{File, Form, Fuzz, Limits};
use image::{DynamicImage, ImageFormat};

use crate::Folder;

/// A picture may have 256 MiB of pixels, which are in memory as they were read, in other numbers,
/// and scaled.
const LIMITS: Limits = Limits { seconds: 30.0, bytes: 1 << 30 };

fn picture(name: &str, form: Form, format: ImageFormat, image: &DynamicImage) -> Result<File> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format)?;
    Ok(File::new(name, form, bytes.into_inner()))
}

/// A picture in colours.
fn coloured() -> DynamicImage {
    let colour = |x: u32, y: u32| image::Rgb([20 * x as u8, 30 * y as u8, 5]);
    image::RgbImage::from_fn(9, 7, colour).into()
}

/// Reads a picture in every way that there is, of which one is enough.
fn read(folder: &Folder, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.put(name, bytes)?;
    let raw = RawPicture::read(&path, 0)?;
    let picture = raw.decode();
    if let Ok(picture) = &picture {
        assert!(picture.pixels().len() == 3 * picture.width() * picture.height());
        Preparation::new(8, 6)?.apply(picture)?;
    }
    let _ = image_file::read_unscaled(&path, ImageShape { channels: 3, height: 7, width: 9 });
    let scaled = image_file::read(&path, ImageShape { channels: 3, height: 4, width: 4 });
    assert_eq!(scaled.as_ref().map_or(48, Vec::len), 48);
    picture.map(drop).or(scaled.map(drop))?;
    Ok(())
}

#[test]
fn png() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("picture-png").within(LIMITS), Folder::new()?);
    let mut files = Vec::new();
    let image = coloured();
    for image in [
        image.clone(),
        DynamicImage::ImageLumaA8(image.to_luma_alpha8()),
        DynamicImage::ImageRgba16(image.to_rgba16()),
    ] {
        files.push(picture("a.png", Form::Png, ImageFormat::Png, &image)?);
    }
    fuzz.run(&files, |name, bytes| read(&folder, name, bytes))
}

#[test]
fn jpeg() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("picture-jpeg").within(LIMITS), Folder::new()?);
    let image = coloured();
    let grey = DynamicImage::ImageLuma8(image.to_luma8());
    let file = |image| picture("a.jpg", Form::Bytes, ImageFormat::Jpeg, image);
    fuzz.run(&[file(&image)?, file(&grey)?], |name, bytes| read(&folder, name, bytes))
}
