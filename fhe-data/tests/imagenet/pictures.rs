//! Pictures of every kind, and damaged ones.

use fhe_data::Error;
use fhe_data::imagenet::ImageNet;
use image::{ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use crate::four_colours;
use crate::set::{encoded, jpeg, options, png, synset_tar, tar, train_tar, write};

#[test]
fn pictures_of_every_kind_become_rgb() {
    let root = tempfile::tempdir().unwrap();
    let archive = root.path().join("train.tar");
    write(&archive, &train_tar());
    let set = ImageNet::train(&archive, &options()).unwrap();
    let raw: Vec<_> = set.pictures().map(|raw| raw.unwrap()).collect();
    assert_eq!(raw[0].file(), archive.join("n01440764.tar/n01440764_3.JPEG"));
    assert_eq!(raw[0].bytes(), png());
    let decoded: Vec<_> = raw.iter().map(|raw| raw.decode().unwrap()).collect();
    for (picture, wanted) in decoded.iter().zip([
        [9, 8, 7],
        [77, 77, 77],
        [200, 10, 10],
        [10, 200, 10],
        [50, 75, 100],
        [10, 10, 200],
    ]) {
        let file = picture.file().display();
        assert_eq!(picture.pixels().len(), picture.height() * picture.width() * 3);
        for pixel in picture.pixels().chunks_exact(3) {
            let near = pixel.iter().zip(wanted).all(|(&got, wanted)| got.abs_diff(wanted) <= 3);
            assert!(near, "{file}: {pixel:?}, {wanted:?}");
        }
    }
    assert_eq!((decoded[0].width(), decoded[0].height(), decoded[0].label()), (12, 10, 0));
}

#[test]
fn four_colours_are_converted_as_documented() {
    let root = tempfile::tempdir().unwrap();
    // The kinds of Adobe's marker: plain, and as luminance and chrominance with 128 for none.
    let kinds = [
        (0, [255, 255, 255, 255], [255, 255, 255]),
        (0, [255, 0, 0, 255], [255, 0, 0]),
        (0, [255, 255, 255, 0], [0, 0, 0]),
        (0, [200, 100, 50, 128], [100, 50, 25]),
        // A luminance of 55 is what 255 - 200 leaves.
        (2, [55, 128, 128, 128], [100, 100, 100]),
        (2, [0, 128, 128, 255], [255, 255, 255]),
    ];
    for (transform, stored, wanted) in kinds {
        write(&root.path().join("n01440764/a.JPEG"), &four_colours::jpeg(transform, stored));
        write(&root.path().join("n02119789/a.JPEG"), &png());
        let set = ImageNet::train(root.path(), &options()).unwrap();
        let picture = set.pictures().next().unwrap().unwrap().decode().unwrap();
        let pixel = &picture.pixels()[..3];
        let near = pixel.iter().zip(wanted).all(|(&got, wanted): (_, u8)| got.abs_diff(wanted) < 2);
        assert!(near, "{transform} {stored:?}: {pixel:?}, {wanted:?}");
    }
}

#[test]
fn four_colours_may_be_subsampled() {
    // Photoshop's files: two chrominances of half the rows and columns, without colour here.
    let blacks = [255, 200, 100, 50];
    let root = tempfile::tempdir().unwrap();
    let file = |luminances| four_colours::subsampled(luminances, [128, 128], blacks);
    write(&root.path().join("n01440764/a.JPEG"), &file([0; 4]));
    write(&root.path().join("n02119789/a.JPEG"), &file([0, 55, 155, 205]));
    let set = ImageNet::train(root.path(), &options()).unwrap();
    for (raw, wanted) in set.pictures().zip([blacks, [255, 157, 39, 10]]) {
        let picture = raw.unwrap().decode().unwrap();
        // The middles of the quarters.
        let quarters = [(4, 4), (4, 12), (12, 4), (12, 12)];
        for ((row, column), wanted) in quarters.into_iter().zip(wanted) {
            let pixel = &picture.pixels()[(row * 16 + column) * 3..][..3];
            let near = pixel.iter().all(|got: &u8| got.abs_diff(wanted) < 3);
            assert!(near, "{row} {column}: {pixel:?}, {wanted}");
        }
    }
}

#[test]
fn damaged_pictures_are_named() {
    let root = tempfile::tempdir().unwrap();
    let archive = root.path().join("n01440764.tar");
    let whole = jpeg([1, 2, 3]);
    let no_tables = [&[0xff, 0xd8, 0xff, 0xd9][..], &[0; 40]].concat();
    write(
        &archive,
        &tar(&[
            ("cut.JPEG", whole[..whole.len() * 3 / 4].to_vec()),
            ("text.JPEG", b"no picture".to_vec()),
            ("empty.JPEG", Vec::new()),
            ("no_tables.JPEG", no_tables),
            ("good.JPEG", whole),
        ]),
    );
    write(&root.path().join("n02119789.tar"), &synset_tar(1));
    let set = ImageNet::train(root.path(), &options()).unwrap();
    let decoded: Vec<_> = set.pictures().map(|raw| raw.unwrap().decode()).collect();
    assert_eq!(decoded.len(), 6);
    let cut = decoded[0].as_ref().unwrap_err();
    assert!(matches!(cut, Error::CutImage { file } if *file == archive.join("cut.JPEG")), "{cut}");
    for (at, name) in [(1, "text.JPEG"), (2, "empty.JPEG"), (3, "no_tables.JPEG")] {
        let error = decoded[at].as_ref().unwrap_err();
        assert!(
            matches!(error, Error::Image { file, .. } if *file == archive.join(name)),
            "{error}"
        );
    }
    assert!(decoded[4].is_ok() && decoded[5].is_ok());
}

#[test]
fn orientation_is_applied() {
    let top = RgbImage::from_fn(16, 16, |_, y| Rgb([if y < 8 { 250 } else { 5 }; 3]));
    let plain = encoded(&top.into(), ImageFormat::Jpeg);
    // Orientation 3: turned by half.
    let mut exif =
        b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    exif.extend([0, 3, 0, 0, 0, 0, 0, 0]);
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("n01440764/a.JPEG"), &[&plain[..2], &exif, &plain[2..]].concat());
    write(&root.path().join("n02119789/a.JPEG"), &plain);
    let set = ImageNet::train(root.path(), &options()).unwrap();
    let decoded: Vec<_> = set.pictures().map(|raw| raw.unwrap().decode().unwrap()).collect();
    assert!(decoded[0].pixels()[0] < 15 && decoded[1].pixels()[0] > 240);
}

#[test]
fn transparent_pictures_lie_on_a_ground() {
    // White ink on nothing is seen on black.
    let ink = RgbaImage::from_fn(4, 4, |x, _| Rgba([255, 255, 255, if x < 2 { 255 } else { 0 }]));
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("n01440764/a.JPEG"), &encoded(&ink.into(), ImageFormat::Png));
    write(&root.path().join("n02119789/a.JPEG"), &png());
    let set = ImageNet::train(root.path(), &options()).unwrap();
    let picture = set.pictures().next().unwrap().unwrap().decode().unwrap();
    assert_eq!(picture.pixels()[..12], [255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0]);
}
