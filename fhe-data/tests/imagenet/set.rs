//! The sets in miniature: three synsets, a few small pictures.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use fhe_data::Error;
use fhe_data::imagenet::{ImageNetOptions, Pictures};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};

use crate::four_colours;

pub(crate) const SYNSETS: [&str; 3] = ["n01440764", "n02119789", "n03000684"];

pub(crate) fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn jpeg(colour: [u8; 3]) -> Vec<u8> {
    encoded(&RgbImage::from_pixel(12, 10, Rgb(colour)).into(), ImageFormat::Jpeg)
}

pub(crate) fn grey() -> Vec<u8> {
    encoded(&GrayImage::from_pixel(12, 10, Luma([77])).into(), ImageFormat::Jpeg)
}

/// A PNG file, whose name will say that it is another.
pub(crate) fn png() -> Vec<u8> {
    encoded(&RgbImage::from_pixel(12, 10, Rgb([9, 8, 7])).into(), ImageFormat::Png)
}

/// The pictures of the training set, class by class, in the order of their names.
pub(crate) fn training() -> [Vec<(&'static str, Vec<u8>)>; 3] {
    [
        vec![
            ("n01440764_1.JPEG", jpeg([200, 10, 10])),
            ("n01440764_2.JPEG", grey()),
            ("n01440764_3.JPEG", png()),
        ],
        vec![("n02119789_1.JPEG", jpeg([10, 200, 10]))],
        vec![
            ("n03000684_1.JPEG", jpeg([10, 10, 200])),
            ("n03000684_2.JPEG", four_colours::jpeg(0, [100, 150, 200, 128])),
        ],
    ]
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// An archive of files, in this order.
pub(crate) fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// An archive of one header whose fields are as they are set, and these bytes.
pub(crate) fn tar_of(set: impl FnOnce(&mut tar::Header), bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    set(&mut header);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend(bytes);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

/// The archive of a synset, in the reverse order of the names: its own order is to be kept.
pub(crate) fn synset_tar(class: usize) -> Vec<u8> {
    let mut files = training()[class].clone();
    files.reverse();
    tar(&files)
}

pub(crate) fn train_tar() -> Vec<u8> {
    let names = SYNSETS.map(|synset| format!("{synset}.tar"));
    tar(&[2, 0, 1].map(|class| (names[class].as_str(), synset_tar(class))))
}

pub(crate) fn train_folder(root: &Path) {
    for (synset, files) in SYNSETS.iter().zip(training()) {
        for (name, bytes) in files {
            write(&root.join(synset).join(name), &bytes);
        }
    }
}

/// The names of the files, without their folders, and the labels.
pub(crate) fn listed(pictures: Pictures) -> Vec<(String, u32)> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    pictures.map(|raw| raw.unwrap()).map(|raw| (name(raw.file()), raw.label())).collect()
}

pub(crate) fn names(listed: &[(String, u32)]) -> Vec<(&str, u32)> {
    listed.iter().map(|(name, label)| (name.as_str(), *label)).collect()
}

pub(crate) const BY_NAME: [(&str, u32); 6] = [
    ("n01440764_1.JPEG", 0),
    ("n01440764_2.JPEG", 0),
    ("n01440764_3.JPEG", 0),
    ("n02119789_1.JPEG", 1),
    ("n03000684_1.JPEG", 2),
    ("n03000684_2.JPEG", 2),
];
pub(crate) const BY_ARCHIVE: [(&str, u32); 6] = [
    ("n01440764_3.JPEG", 0),
    ("n01440764_2.JPEG", 0),
    ("n01440764_1.JPEG", 0),
    ("n02119789_1.JPEG", 1),
    ("n03000684_2.JPEG", 2),
    ("n03000684_1.JPEG", 2),
];

pub(crate) fn options() -> ImageNetOptions {
    ImageNetOptions::default()
}

pub(crate) fn first(per_class: usize) -> ImageNetOptions {
    ImageNetOptions { per_class: Some(per_class), ..options() }
}

pub(crate) fn message<T>(result: Result<T, Error>) -> String {
    result.err().unwrap().to_string()
}
