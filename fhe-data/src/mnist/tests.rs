use std::fs::{self, File};
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// Two images: pixel `p` of image `i` is `(100 i + p) % 256`.
fn golden_images() -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28];
    bytes.extend((0..784).map(|p| (p % 256) as u8));
    bytes.extend((0..784).map(|p| ((100 + p) % 256) as u8));
    bytes
}

const GOLDEN_LABELS: [u8; 10] = [0, 0, 8, 1, 0, 0, 0, 2, 9, 0];

fn golden_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in [FILES[0], FILES[2]] {
        fs::write(folder.path().join(name), golden_images()).unwrap();
    }
    for name in [FILES[1], FILES[3]] {
        fs::write(folder.path().join(name), GOLDEN_LABELS).unwrap();
    }
    folder
}

fn check_golden(split: &Split) {
    assert_eq!((split.train.len(), split.test.len()), (2, 2));
    assert_eq!(split.train.shape(), ImageShape { channels: 1, height: 28, width: 28 });
    assert_eq!(split.test.labels(), [9, 0]);
    let image = split.train.image(1).unwrap();
    assert_eq!((image[0], image[155], image[156], image[783]), (100, 255, 0, 115));
    assert_eq!((split.test.image(0).unwrap()[28], split.class_names[9].as_str()), (28, "9"));
}

/// Puts `bytes` in the place of file `name` and returns the error that follows.
fn error_with(name: &str, bytes: &[u8]) -> Error {
    let folder = golden_folder();
    fs::write(folder.path().join(name), bytes).unwrap();
    read(folder.path()).unwrap_err()
}

/// As [`error_with`], for the golden images with byte `at` changed; returns the message's end.
fn message_with(at: usize, byte: u8) -> String {
    let mut bytes = golden_images();
    bytes[at] = byte;
    message(&error_with(FILES[0], &bytes))
}

/// Returns what follows the folder's path.
fn message(error: &Error) -> String {
    let text = error.to_string();
    let at = FILES.iter().filter_map(|name| text.find(name)).min().unwrap();
    text[at..].to_owned()
}

fn pack(path: &Path) {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    let mut writer = GzEncoder::new(File::create(packed).unwrap(), Compression::fast());
    writer.write_all(&fs::read(path).unwrap()).unwrap();
    writer.finish().unwrap();
    fs::remove_file(path).unwrap();
}

#[test]
fn reads_plain_and_packed_files() {
    let folder = golden_folder();
    check_golden(&read(folder.path()).unwrap());
    pack(&folder.path().join(FILES[0]));
    pack(&folder.path().join(FILES[3]));
    check_golden(&read(folder.path()).unwrap());
    // A plain file goes before a packed one.
    fs::write(folder.path().join(FILES[3]), [0, 0, 8, 1, 0, 0, 0, 2, 5, 5]).unwrap();
    assert_eq!(read(folder.path()).unwrap().test.labels(), [5, 5]);
}

#[test]
fn a_missing_file_is_named() {
    for name in FILES {
        let folder = golden_folder();
        fs::remove_file(folder.path().join(name)).unwrap();
        let error = read(folder.path()).unwrap_err();
        assert!(matches!(&error, Error::MissingFile { place, .. } if place == folder.path()));
        assert!(error.to_string().ends_with(&format!("no file {name} or {name}.gz")), "{error}");
    }
    assert!(matches!(read(Path::new("no such folder")), Err(Error::MissingFile { .. })));
}

#[test]
fn every_number_of_the_header_is_checked() {
    let file = "train-images-idx3-ubyte:";
    assert_eq!(message_with(3, 1), format!("{file} magic number is 2049, expected 2051"));
    assert_eq!(message_with(11, 27), format!("{file} rows is 27, expected 28"));
    assert_eq!(message_with(14, 1), format!("{file} columns is 284, expected 28"));
    let wanted = "number of images is 33554434, expected at most 1000000";
    assert_eq!(message_with(4, 2), format!("{file} {wanted}"));
    // Labels in the place of images, and too few labels.
    let error = error_with(FILES[2], &GOLDEN_LABELS);
    assert!(matches!(&error, Error::Field { file, field: "magic number", got: 2049, .. }
        if file.ends_with(FILES[2])));
    let error = error_with(FILES[3], &[0, 0, 8, 1, 0, 0, 0, 1, 9]);
    let wanted = "t10k-labels-idx1-ubyte: number of labels is 1, expected 2";
    assert_eq!(message(&error), wanted);
}

#[test]
fn there_must_be_images_to_train_on() {
    let mut none = golden_images()[..16].to_vec();
    none[7] = 0;
    let text = message(&error_with(FILES[0], &none));
    assert_eq!(text, "train-images-idx3-ubyte: number of images is 0, expected at least 1");
}

#[test]
fn the_length_is_that_of_the_header() {
    let file = "train-images-idx3-ubyte: length in bytes is";
    let bytes = golden_images();
    let cut = |length: usize| message(&error_with(FILES[0], &bytes[..length]));
    assert_eq!(cut(0), format!("{file} 0, expected at least 4 to hold the magic number"));
    assert_eq!(cut(7), format!("{file} 7, expected at least 8 to hold the number of images"));
    assert_eq!(cut(15), format!("{file} 15, expected at least 16 to hold the columns"));
    assert_eq!(cut(1583), format!("{file} 1583, expected 1584 for 2 records of 784"));
    let more = [&bytes[..], &[0, 0]].concat();
    let wanted = format!("{file} 1586, expected 1584 for 2 records of 784");
    assert_eq!(message(&error_with(FILES[0], &more)), wanted);
    let error = error_with(FILES[1], &GOLDEN_LABELS[..9]);
    assert!(matches!(error, Error::Field { field: "length in bytes", got: 9, .. }), "{error}");
}

#[test]
fn a_wrong_label_is_located() {
    let error = error_with(FILES[3], &[0, 0, 8, 1, 0, 0, 0, 2, 9, 10]);
    assert_eq!(message(&error), "t10k-labels-idx1-ubyte: record 1: label 10, expected 0 to 9");
}

#[test]
fn a_damaged_packed_file_is_an_error() {
    let folder = golden_folder();
    pack(&folder.path().join(FILES[0]));
    let file = folder.path().join(format!("{}.gz", FILES[0]));
    let bytes = fs::read(&file).unwrap();
    let damaged = [bytes[..bytes.len() / 2].to_vec(), [&bytes[..], b"more"].concat()];
    for damaged in damaged {
        fs::write(&file, damaged).unwrap();
        let error = read(folder.path()).unwrap_err();
        assert!(
            matches!(&error, Error::Io { op: "reading", file: f, .. } if *f == file),
            "{error}"
        );
    }
}

#[test]
fn zeros_behind_a_packed_file_are_left_out() {
    let folder = golden_folder();
    pack(&folder.path().join(FILES[0]));
    let file = folder.path().join(format!("{}.gz", FILES[0]));
    let padded = [fs::read(&file).unwrap(), vec![0; 512]].concat();
    fs::write(&file, padded).unwrap();
    check_golden(&read(folder.path()).unwrap());
}

#[test]
fn a_long_rest_is_not_read_to_its_end() {
    let bytes = [golden_images(), vec![0; 3 << 20]].concat();
    let said = message(&error_with(FILES[0], &bytes));
    let read = 1584 + (1 << 20);
    let wanted = "of which the end was not read, is";
    assert!(said.contains(&format!("length in bytes, {wanted} {read}, expected 1584")), "{said}");
}
