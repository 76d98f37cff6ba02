//! Image files of every colour type, folders of them, and IDX files of other data sets.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use fhe_data::idx::{IdxOptions, Orientation};
use fhe_data::{
    Error, FolderOptions, ImageFolder, ImageSet, ImageShape, LabelledFile, Quantizer, folder_files,
    idx, image_file, image_folder,
};
use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage,
    Rgba, RgbaImage,
};
use tempfile::TempDir;

const SMALL: ImageShape = ImageShape { channels: 1, height: 4, width: 4 };

/// Writes a picture and reads it as an image of `shape`.
fn through(picture: &DynamicImage, shape: ImageShape) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    picture.save(&path).unwrap();
    image_file::read(&path, shape).unwrap()
}

/// A bar of ink, two pixels wide.
fn ink(x: u32) -> u8 {
    if x == 1 || x == 2 { 255 } else { 0 }
}

#[test]
fn every_colour_type_of_png() {
    let wanted: Vec<u8> = (0..16).map(|i| ink(i % 4)).collect();
    let pictures: [DynamicImage; 8] = [
        GrayImage::from_fn(4, 4, |x, _| Luma([ink(x)])).into(),
        RgbImage::from_fn(4, 4, |x, _| Rgb([ink(x); 3])).into(),
        ImageBuffer::from_fn(4, 4, |x, _| Luma([u16::from(ink(x)) * 257])).into(),
        ImageBuffer::from_fn(4, 4, |x, _| Rgb([u16::from(ink(x)) * 257; 3])).into(),
        GrayAlphaImage::from_fn(4, 4, |x, _| LumaA([ink(x), 255])).into(),
        RgbaImage::from_fn(4, 4, |x, _| Rgba([ink(x), ink(x), ink(x), 255])).into(),
        // White ink on nothing is seen on black.
        GrayAlphaImage::from_fn(4, 4, |x, _| LumaA([255, ink(x)])).into(),
        RgbaImage::from_fn(4, 4, |x, _| Rgba([255, 255, 255, ink(x)])).into(),
    ];
    for picture in pictures {
        assert_eq!(through(&picture, SMALL), wanted, "{:?}", picture.color());
    }
    // Black ink on nothing is seen on white.
    let black = RgbaImage::from_fn(4, 4, |x, _| Rgba([0, 0, 0, ink(x)]));
    let inverse: Vec<u8> = wanted.iter().map(|v| 255 - v).collect();
    assert_eq!(through(&black.into(), SMALL), inverse);
    // Half transparent, half seen.
    let half = RgbaImage::from_pixel(4, 4, Rgba([255, 255, 255, 128]));
    assert_eq!(through(&half.into(), SMALL), [128; 16]);
    assert_eq!(through(&RgbaImage::new(4, 4).into(), SMALL), [0; 16]);
}

/// Returns a PNG file of four rows of `row`, of a colour type, with chunks before its pixels.
fn png(colour: u8, row: &[u8], before: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let chunk = |(kind, body): (&[u8; 4], &[u8])| {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(body);
        let length = (body.len() as u32).to_be_bytes();
        [&length[..], kind, body, &crc.sum().to_be_bytes()].concat()
    };
    let mut pixels = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..4).for_each(|_| pixels.write_all(&[&[0], row].concat()).unwrap());
    let pixels = pixels.finish().unwrap();
    let header = [0, 0, 0, 4, 0, 0, 0, 4, 8, colour, 0, 0, 0];
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    file.extend(chunk((b"IHDR", &header)));
    before.iter().for_each(|&each| file.extend(chunk(each)));
    file.extend(chunk((b"IDAT", &pixels)));
    file.extend(chunk((b"IEND", &[])));
    file
}

#[test]
fn transparent_colours_of_png_lie_on_a_ground() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        image_file::read(&path, SMALL).unwrap()[..4].to_vec()
    };
    // A palette of white ink, twice, of which the second is transparent; one of black ink.
    let palette = |ink: u8| [ink; 6];
    let of = |ink| png(3, &[1, 0, 0, 1], &[(b"PLTE", &palette(ink)), (b"tRNS", &[255, 0])]);
    assert_eq!(read(&of(255)), [0, 255, 255, 0]);
    assert_eq!(read(&of(0)), [255, 0, 0, 255]);
    // One grey level is transparent, and one colour.
    let grey = png(0, &[7, 255, 255, 7], &[(b"tRNS", &[0, 7])]);
    assert_eq!(read(&grey), [0, 255, 255, 0]);
    let row = [[7; 3], [255; 3], [255; 3], [7; 3]].concat();
    let colour = png(2, &row, &[(b"tRNS", &[0, 7, 0, 7, 0, 7])]);
    assert_eq!(read(&colour), [0, 255, 255, 0]);
}

#[test]
fn a_small_file_of_a_large_picture_is_refused() {
    // A row of a header of 10,000 rows and columns: 300 million bytes.
    let mut bytes = png(2, &[0; 12], &[]);
    bytes[16..24].copy_from_slice(&[0, 0, 0x27, 0x10, 0, 0, 0x27, 0x10]);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    fs::write(&path, bytes).unwrap();
    let error = image_file::read(&path, SMALL).unwrap_err();
    assert!(matches!(error, Error::Image { .. }), "{error}");
    assert!(error.to_string().to_lowercase().contains("memory"), "{error}");
}

#[test]
fn crops_have_the_proportions_of_the_shape() {
    // Columns 8 to 23 of 32 are white; rows are alike.
    let picture: DynamicImage =
        GrayImage::from_fn(32, 8, |x, _| Luma([if (8..24).contains(&x) { 255 } else { 0 }])).into();
    let wide = ImageShape { channels: 1, height: 4, width: 8 };
    assert_eq!(through(&picture, wide), [255; 32]);
    let whole = ImageShape { channels: 1, height: 2, width: 8 };
    let row = through(&picture, whole)[..8].to_vec();
    assert!(row[0] < 10 && row[3] > 245 && row[4] > 245 && row[7] < 10, "{row:?}");
    let tall = ImageShape { channels: 3, height: 8, width: 1 };
    assert_eq!(through(&picture, tall), [255; 24]);
    // A line of pixels has no part of these proportions but one pixel.
    let line: DynamicImage = GrayImage::from_pixel(500, 1, Luma([9])).into();
    assert_eq!(through(&line, SMALL), [9; 16]);
    for (channels, height, width) in [(2, 4, 4), (0, 4, 4), (1, 0, 4), (1, 4, 0), (3, 4, 5000)] {
        let shape = ImageShape { channels, height, width };
        let error = image_file::read(Path::new("none"), shape).unwrap_err();
        let wanted = "expected 1 or 3 channels and 1 to 4096 rows and columns";
        assert_eq!(error.to_string(), format!("images of {channels}x{height}x{width}, {wanted}"));
        let one = ImageSet::with_shape("x", SMALL, vec![0; 16], vec![0]).unwrap();
        assert!(matches!(one.resized(shape), Err(Error::ShapeOfFiles { .. })));
    }
}

/// A JPEG file of a picture that is light at its top.
fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let picture: DynamicImage =
        RgbImage::from_fn(width, height, |_, y| Rgb([if y < height / 2 { 250 } else { 5 }; 3]))
            .into();
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

#[test]
fn jpeg_files_are_whole_upright_and_not_for_printing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        image_file::read(&path, ImageShape { channels: 1, height: 8, width: 8 })
    };
    let plain = jpeg(64, 64);
    let upright = read(&plain).unwrap();
    assert!(upright[3] > 240 && upright[60] < 15);
    // Orientation 3: turned by half.
    let mut exif =
        b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    exif.extend([0, 3, 0, 0, 0, 0, 0, 0]);
    let turned = [&plain[..2], &exif, &plain[2..]].concat();
    let turned = read(&turned).unwrap();
    assert!(turned[3] < 15 && turned[60] > 240, "{turned:?}");
    // What follows the end of an image is not looked at.
    assert_eq!(read(&[&plain[..], b"more"].concat()).unwrap(), upright);
    // A preview inside a segment has an end of its own.
    let preview = [&[0xff, 0xe5, 0, 6][..], &[0, 0, 0xff, 0xd9]].concat();
    let with_preview = [&plain[..2], &preview, &plain[2..]].concat();
    assert_eq!(read(&with_preview).unwrap(), upright);
    for whole in [plain.clone(), with_preview] {
        for cut in [whole.len() - 1, whole.len() * 3 / 4, whole.len() / 2, 40, 3, 2] {
            let error = read(&whole[..cut]).unwrap_err();
            assert!(matches!(error, Error::CutImage { .. }), "{cut}: {error}");
            assert!(error.to_string().ends_with("a.jpg: the file ends before its image does"));
        }
    }
    let mut four = plain;
    let frame = four.windows(2).position(|w| w[0] == 0xff && matches!(w[1], 0xc0 | 0xc2)).unwrap();
    four[frame + 9] = 4;
    assert!(matches!(read(&four), Err(Error::FourColours { .. })));
}

#[test]
fn headers_of_enormous_images_allocate_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    let mut bytes = jpeg(16, 16);
    let frame = bytes.windows(2).position(|w| w[0] == 0xff && matches!(w[1], 0xc0 | 0xc2)).unwrap();
    bytes[frame + 5..frame + 9].fill(0xff);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(image_file::read(&path, SMALL), Err(Error::Image { .. })));
}

/// Writes a grey picture of one level.
fn level(path: &Path, level: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    GrayImage::from_pixel(5, 7, Luma([level])).save(path).unwrap();
}

fn read(root: &Path, options: FolderOptions) -> Result<ImageFolder, String> {
    image_folder(root, &options, &|_| ())
        .map_err(|error| error.to_string().replace(&root.display().to_string(), "ROOT"))
}

/// Ten images of each of three classes, of the levels `100 class + i`, less 100 for the third.
fn three_classes() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (class, name) in ["ant", "bee", "cat"].iter().enumerate() {
        for i in 0..10 {
            level(&folder.path().join(name).join(format!("{i}.png")), (80 * class + i) as u8);
        }
    }
    folder
}

#[test]
fn folders_are_divided_by_class() {
    let folder = three_classes();
    let options = FolderOptions::new(SMALL);
    let calls = RefCell::new(Vec::new());
    let report = |p: fhe_data::Progress| calls.borrow_mut().push((p.stage, p.done, p.total));
    let found = image_folder(folder.path(), &options, &report).unwrap();
    assert_eq!(*calls.borrow(), [("images", 24, 30), ("images", 30, 30)]);
    let split = found.split;
    assert_eq!(split.class_names, ["ant", "bee", "cat"]);
    assert_eq!((split.train.len(), split.test.len(), split.train.shape()), (24, 6, SMALL));
    for set in [&split.train, &split.test] {
        for (image, &label) in set.view().rows().into_iter().zip(set.labels()) {
            assert_eq!(u32::from(image[0]) / 80, label);
        }
        let count = |class| set.labels().iter().filter(|l| **l == class).count();
        assert_eq!([count(0), count(1)], [set.len() / 3; 2]);
    }
    // A list of the files has the same order.
    let files = folder_files(folder.path(), options.test_share, options.seed).unwrap();
    let labels = |files: Vec<LabelledFile>| files.into_iter().map(|f| f.label).collect::<Vec<_>>();
    assert_eq!(labels(files.train), split.train.labels());
    assert_eq!(labels(files.test), split.test.labels());
    // Classes are mixed, every image is there once, and the seed decides.
    assert!(split.train.labels().windows(2).filter(|pair| pair[0] != pair[1]).count() > 6);
    let mut all: Vec<u8> =
        split.train.images().iter().chain(split.test.images()).step_by(16).copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..3).flat_map(|c| (0..10).map(move |i| 80 * c + i)).collect::<Vec<u8>>());
    assert_eq!(read(folder.path(), options).unwrap().split, split);
    let other = read(folder.path(), FolderOptions { seed: 1, ..options }).unwrap().split;
    assert_ne!(other.train.images(), split.train.images());
    // Every class keeps an image to train on.
    let most = read(folder.path(), FolderOptions { test_share: 0.99, ..options }).unwrap().split;
    assert_eq!((most.train.len(), most.test.len()), (3, 27));
    let none = read(folder.path(), FolderOptions { test_share: 0.0, ..options }).unwrap().split;
    assert_eq!((none.train.len(), none.test.len()), (30, 0));
    let error = read(folder.path(), FolderOptions { test_share: 1.0, ..options }).unwrap_err();
    assert!(error.contains("test_share: 1, expected 0 to below 1"), "{error}");
}

#[test]
fn folders_may_be_divided_already() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    level(&root.join("train/b/1.PNG"), 1);
    level(&root.join("train/a/1.jpeg"), 100);
    level(&root.join("test/b/1.png"), 2);
    let split = read(root, FolderOptions::new(SMALL)).unwrap().split;
    assert_eq!(split.class_names, ["a", "b"]);
    let mut labels = split.train.labels().to_vec();
    labels.sort_unstable();
    assert_eq!((labels, split.test.labels()), (vec![0, 1], &[1][..]));
    level(&root.join("test/c/1.png"), 2);
    level(&root.join("test/a/1.png"), 2);
    let error = read(root, FolderOptions::new(SMALL)).unwrap_err();
    assert_eq!(error, "class c is not one of a, b");
}

#[test]
fn what_is_no_image_is_told() {
    let folder = three_classes();
    let root = folder.path();
    fs::write(root.join("ant/notes.txt"), "x").unwrap();
    fs::write(root.join("ant/.DS_Store"), "x").unwrap();
    fs::create_dir(root.join("bee/more")).unwrap();
    fs::create_dir(root.join(".git")).unwrap();
    fs::write(root.join("README"), "x").unwrap();
    let found = read(root, FolderOptions::new(SMALL)).unwrap();
    let wanted: Vec<PathBuf> =
        ["README", "ant/notes.txt", "bee/more"].iter().map(|name| root.join(name)).collect();
    assert_eq!(found.skipped, wanted);
    assert_eq!(found.split.train.len(), 24);
    // A damaged file is named.
    fs::write(root.join("cat/3.png"), "x").unwrap();
    let error = read(root, FolderOptions::new(SMALL)).unwrap_err();
    assert!(error.starts_with("ROOT/cat/3.png: "), "{error}");
    // A class without images, one class, none.
    fs::remove_dir_all(root.join("cat")).unwrap();
    fs::create_dir(root.join("cat")).unwrap();
    let error = read(root, FolderOptions::new(SMALL)).unwrap_err();
    assert_eq!(error, "ROOT/cat: no file ending in .png, .jpg or .jpeg");
    let error = read(&root.join("bee"), FolderOptions::new(SMALL)).unwrap_err();
    assert_eq!(error, "ROOT: 1 subfolders, expected at least 2, one a class");
    let error = read(&root.join("none"), FolderOptions::new(SMALL)).unwrap_err();
    assert!(error.starts_with("listing: ROOT"), "{error}");
}

#[cfg(unix)]
#[test]
fn names_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt;

    let folder = three_classes();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    level(&folder.path().join(name).join("1.png"), 1);
    let split = read(folder.path(), FolderOptions::new(SMALL)).unwrap().split;
    assert_eq!(split.class_names, ["ant", "bee", "caf\u{fffd}", "cat"]);
}

/// Writes images of `rows x columns` pixels, pixel p of image i being `40 i + p`, and labels.
fn idx_files(folder: &Path, prefix: &str, size: [u8; 2], labels: &[u8]) {
    let count = labels.len() as u8;
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, size[0], 0, 0, 0, size[1]];
    bytes.extend((0..count).flat_map(|i| (0..size[0] * size[1]).map(move |p| 40 * i + p)));
    fs::write(folder.join(format!("{prefix}-images-idx3-ubyte")), bytes).unwrap();
    let bytes = [&[0, 0, 8, 1, 0, 0, 0, count], labels].concat();
    fs::write(folder.join(format!("{prefix}-labels-idx1-ubyte")), bytes).unwrap();
}

#[test]
fn idx_files_of_any_size_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    idx_files(folder.path(), "train", [2, 3], &[26, 1, 9]);
    idx_files(folder.path(), "t10k", [2, 3], &[9]);
    let split = idx::read(folder.path(), &IdxOptions::default()).unwrap();
    assert_eq!(split.class_names, ["1", "9", "26"]);
    assert_eq!((split.train.labels(), split.test.labels()), (&[2, 0, 1][..], &[1][..]));
    assert_eq!(split.train.shape(), ImageShape { channels: 1, height: 2, width: 3 });
    assert_eq!(split.train.image(1), Some(&[40, 41, 42, 43, 44, 45][..]));
    // Pixels are features.
    let quantizer = Quantizer::fit(split.train.view(), 8).unwrap();
    assert_eq!(quantizer.encode(split.train.view()).unwrap().len(), 3);
}

#[test]
fn emnist_is_stored_by_columns() {
    let folder = tempfile::tempdir().unwrap();
    idx_files(folder.path(), "emnist-letters-train", [2, 3], &[1, 2]);
    idx_files(folder.path(), "emnist-letters-test", [2, 3], &[2]);
    let by = |prefix: Option<&str>, orientation| {
        let options = IdxOptions { prefix: prefix.map(str::to_owned), orientation };
        idx::read(folder.path(), &options)
    };
    let split = by(None, Orientation::ByName).unwrap();
    assert_eq!(split.train.shape(), ImageShape { channels: 1, height: 3, width: 2 });
    assert_eq!(split.train.image(0), Some(&[0, 3, 1, 4, 2, 5][..]));
    assert_eq!(by(None, Orientation::Columns).unwrap(), split);
    let rows = by(None, Orientation::Rows).unwrap();
    assert_eq!(rows.test.image(0), Some(&[0, 1, 2, 3, 4, 5][..]));

    idx_files(folder.path(), "emnist-digits-train", [2, 3], &[1, 2]);
    let error = by(None, Orientation::ByName).unwrap_err().to_string();
    let wanted = "several data sets, select one by its prefix: emnist-digits-, emnist-letters-";
    assert!(error.ends_with(wanted), "{error}");
    assert_eq!(by(Some("emnist-letters-"), Orientation::ByName).unwrap(), split);
    let error = by(Some("emnist-digits-"), Orientation::ByName).unwrap_err().to_string();
    let name = "emnist-digits-t10k-images-idx3-ubyte";
    assert!(error.ends_with(&format!("no file {name} or {name}.gz")), "{error}");
}

#[test]
fn bad_idx_folders() {
    let folder = tempfile::tempdir().unwrap();
    let error = idx::read(folder.path(), &IdxOptions::default()).unwrap_err().to_string();
    let name = "*train-images-idx3-ubyte";
    assert!(error.ends_with(&format!("no file {name} or {name}.gz")), "{error}");
    idx_files(folder.path(), "train", [0, 3], &[1]);
    idx_files(folder.path(), "t10k", [2, 3], &[1]);
    let error = idx::read(folder.path(), &IdxOptions::default()).unwrap_err().to_string();
    assert!(error.ends_with("train-images-idx3-ubyte: rows is 0, expected 1 to 4096"), "{error}");
    idx_files(folder.path(), "train", [3, 2], &[1]);
    let error = idx::read(folder.path(), &IdxOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}

#[test]
fn sets_take_the_shape_of_an_encoder() {
    let pixels = (0..2 * 56 * 56).map(|i| if i % 56 < 28 { 0 } else { 255 }).collect();
    let large = ImageShape { channels: 1, height: 56, width: 56 };
    let set = ImageSet::with_shape("x", large, pixels, vec![3, 4]).unwrap();
    let grey = set.resized(ImageShape::GREY28).unwrap();
    assert_eq!((grey.len(), grey.labels(), grey.shape()), (2, &[3, 4][..], ImageShape::GREY28));
    let image = grey.image(1).unwrap();
    assert_eq!((image[28 + 2], image[28 + 25]), (0, 255));
    let colour = grey.resized(ImageShape::RGB32).unwrap();
    let image = colour.image(1).unwrap();
    assert_eq!(image[..1024], image[2048..]);
    assert_eq!(grey.resized(ImageShape::GREY28).unwrap(), grey);
    // Planes stay apart.
    let planes = [[10u8; 4], [20; 4], [30; 4]].concat();
    let shape = ImageShape { channels: 3, height: 2, width: 2 };
    let small = ImageSet::with_shape("y", shape, planes, vec![0]).unwrap();
    let one = ImageShape { channels: 3, height: 1, width: 1 };
    assert_eq!(small.resized(one).unwrap().images(), [10, 20, 30]);
}
