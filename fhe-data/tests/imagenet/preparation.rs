//! Pictures that are resized and cropped.

use fhe_data::Error;
use fhe_data::imagenet::{ImageNet, Preparation};
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};

use crate::set::{encoded, options, png, write};

#[test]
fn the_centre_is_cropped() {
    let root = tempfile::tempdir().unwrap();
    // Columns by their number; the middle 8 of 20 are 6 to 13.
    let wide = RgbImage::from_fn(20, 8, |x, y| Rgb([x as u8 * 10, y as u8 * 10, 77]));
    write(&root.path().join("n01440764/a.JPEG"), &encoded(&wide.into(), ImageFormat::Png));
    let tall = RgbImage::from_fn(5, 9, |x, y| Rgb([x as u8, if y < 3 { 0 } else { 250 }, 1]));
    write(&root.path().join("n02119789/a.JPEG"), &encoded(&tall.into(), ImageFormat::Png));
    let set = ImageNet::train(root.path(), &options()).unwrap();
    let pictures: Vec<_> = set.pictures().map(|raw| raw.unwrap().decode().unwrap()).collect();
    // Without a change of size, pixels are copied.
    let same = Preparation::new(8, 8).unwrap().apply(&pictures[0]).unwrap();
    assert_eq!(same.len(), 3 * 64);
    assert_eq!((same[0], same[7], same[63], same[64 + 8], same[128]), (60, 130, 130, 10, 77));
    // Halves of what is left and right are rounded to even numbers: of 15, 17 and 13 columns.
    for (crop, left) in [(5, 8), (3, 8), (7, 6)] {
        let cropped = Preparation::new(8, crop).unwrap().apply(&pictures[0]).unwrap();
        assert_eq!(cropped[0], left * 10, "{crop}");
    }
    // 5 x 9 becomes 10 x 18, of which the rows 4 to 13 are taken: the edge is at 6.
    let tall = Preparation::new(10, 10).unwrap().apply(&pictures[1]).unwrap();
    let rows: Vec<u8> = (0..10).map(|row| tall[100 + row * 10 + 5]).collect();
    assert!(rows[0] < 5 && rows[1] < 128 && rows[2] > 128 && rows[4] > 240, "{rows:?}");
    for (resize, crop) in [(0, 0), (8, 0), (8, 9), (5000, 224)] {
        assert!(matches!(Preparation::new(resize, crop), Err(Error::ShapeOfFiles { .. })));
    }
    for (side, resize) in [(1, 1), (4, 5), (224, 256), (260, 297), (3584, 4096)] {
        let wanted = Preparation::new(resize, side as u32).unwrap();
        assert_eq!(Preparation::scaled(side).unwrap(), wanted);
    }
    for side in [0, 3585, usize::MAX] {
        assert!(matches!(Preparation::scaled(side), Err(Error::ShapeOfFiles { .. })));
    }
}

#[test]
fn needles_are_not_resized() {
    let root = tempfile::tempdir().unwrap();
    let line = GrayImage::from_pixel(60_000, 1, Luma([9]));
    write(&root.path().join("n01440764/a.JPEG"), &encoded(&line.into(), ImageFormat::Png));
    write(&root.path().join("n02119789/a.JPEG"), &png());
    let set = ImageNet::train(root.path(), &options()).unwrap();
    let needle = set.pictures().next().unwrap().unwrap().decode().unwrap();
    let error = Preparation::IMAGENET.apply(&needle).unwrap_err();
    assert!(matches!(&error, Error::Image { file, .. } if file.ends_with("a.JPEG")), "{error}");
    assert_eq!(Preparation::new(1, 1).unwrap().apply(&needle).unwrap(), [9; 3]);
}
