use std::fs::{self, File};

use super::*;

const RECORDS: usize = 3;

/// Record `i` of file `f` has label `(f + i) % 10` and pixel `p` of value `(f + 3 i + p) % 251`.
fn golden_file(f: usize) -> Vec<u8> {
    (0..RECORDS)
        .flat_map(|i| {
            let pixels = (0..IMAGE_BYTES).map(move |p| ((f + 3 * i + p) % 251) as u8);
            std::iter::once(((f + i) % 10) as u8).chain(pixels)
        })
        .collect()
}

fn golden_files() -> Vec<(&'static str, Vec<u8>)> {
    let names = TRAIN_FILES.iter().chain([&TEST_FILE]);
    names.enumerate().map(|(f, name)| (*name, golden_file(f))).collect()
}

fn golden_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in golden_files() {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn check_golden(split: &Split) {
    assert_eq!((split.train.len(), split.test.len()), (5 * RECORDS, RECORDS));
    assert_eq!(split.train.labels()[..5], [0, 1, 2, 1, 2]);
    assert_eq!(split.test.labels(), [5, 6, 7]);
    // File 4, record 2: red at row 0, green at (1, 2), blue in the last corner.
    let image = split.train.image(4 * RECORDS + 2).unwrap();
    assert_eq!(image[0], 10);
    assert_eq!(image[1024 + 32 + 2], ((10 + 1058) % 251) as u8);
    assert_eq!(image[3071], ((10 + 3071) % 251) as u8);
    assert_eq!(split.class_names[9], "truck");
}

fn tar_of(files: &[(&str, Vec<u8>)], out: impl std::io::Write) {
    let mut builder = tar::Builder::new(out);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("{INNER_FOLDER}/{name}"), &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap();
}

#[test]
fn reads_a_folder_and_its_inner_folder() {
    let folder = golden_folder();
    check_golden(&read_with(folder.path(), RECORDS).unwrap());
    let outer = tempfile::tempdir().unwrap();
    fs::rename(folder.path(), outer.path().join(INNER_FOLDER)).unwrap();
    check_golden(&read_with(outer.path(), RECORDS).unwrap());
}

#[test]
fn reads_archives() {
    let folder = tempfile::tempdir().unwrap();
    let gz = folder.path().join("a.tar.gz");
    let level = flate2::Compression::fast();
    tar_of(&golden_files(), flate2::write::GzEncoder::new(File::create(&gz).unwrap(), level));
    check_golden(&read_with(&gz, RECORDS).unwrap());
    let xz = folder.path().join("a.tar.xz");
    tar_of(&golden_files(), liblzma::write::XzEncoder::new(File::create(&xz).unwrap(), 1));
    check_golden(&read_with(&xz, RECORDS).unwrap());
}

#[test]
fn reads_archives_in_several_parts() {
    use std::io::Write;

    let folder = tempfile::tempdir().unwrap();
    let mut plain = Vec::new();
    tar_of(&golden_files(), &mut plain);
    let halves = plain.split_at(plain.len() / 2);
    let gz = folder.path().join("a.tar.gz");
    let mut file = File::create(&gz).unwrap();
    for part in [halves.0, halves.1] {
        let level = flate2::Compression::fast();
        let mut writer = flate2::write::GzEncoder::new(&mut file, level);
        writer.write_all(part).unwrap();
        writer.finish().unwrap();
    }
    check_golden(&read_with(&gz, RECORDS).unwrap());
    let xz = folder.path().join("a.tar.xz");
    let mut file = File::create(&xz).unwrap();
    for part in [halves.0, halves.1] {
        let mut writer = liblzma::write::XzEncoder::new(&mut file, 1);
        writer.write_all(part).unwrap();
        writer.finish().unwrap();
    }
    check_golden(&read_with(&xz, RECORDS).unwrap());
}

#[test]
fn a_damaged_archive_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let gz = folder.path().join("a.tar.gz");
    let level = flate2::Compression::fast();
    tar_of(&golden_files(), flate2::write::GzEncoder::new(File::create(&gz).unwrap(), level));
    let bytes = fs::read(&gz).unwrap();
    fs::write(&gz, &bytes[..bytes.len() / 2]).unwrap();
    assert!(read_with(&gz, RECORDS).is_err());
    tar_of(&golden_files()[..5], flate2::write::GzEncoder::new(File::create(&gz).unwrap(), level));
    assert!(matches!(
        read_with(&gz, RECORDS),
        Err(Error::MissingFile { field, .. }) if field == TEST_FILE
    ));
}

#[test]
fn a_missing_file_is_named() {
    let folder = golden_folder();
    fs::remove_file(folder.path().join("data_batch_3.bin")).unwrap();
    let error = read_with(folder.path(), RECORDS).unwrap_err();
    assert!(error.to_string().ends_with("no file data_batch_3.bin"), "{error}");
}

#[test]
fn a_truncated_file_is_named() {
    let folder = golden_folder();
    let file = folder.path().join("data_batch_2.bin");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let error = read_with(folder.path(), RECORDS).unwrap_err();
    assert!(matches!(&error, Error::Truncated { file: f, got: 9218, .. } if *f == file));
    fs::write(&file, &bytes[..RECORD_BYTES]).unwrap();
    let error = read_with(folder.path(), RECORDS).unwrap_err();
    assert!(matches!(&error, Error::RecordCount { file: f, got: 1, wanted: 3 } if *f == file));
    assert!(matches!(read(folder.path()), Err(Error::RecordCount { wanted: 10_000, .. })));
}

#[test]
fn a_wrong_label_is_located() {
    let folder = golden_folder();
    let file = folder.path().join(TEST_FILE);
    let mut bytes = fs::read(&file).unwrap();
    bytes[2 * RECORD_BYTES] = 10;
    fs::write(&file, bytes).unwrap();
    let error = read_with(folder.path(), RECORDS).unwrap_err();
    assert!(error.to_string().ends_with("test_batch.bin: record 2: label 10, expected 0 to 9"));
}

#[test]
fn other_paths_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(read(&folder.path().join("none")), Err(Error::Io { .. })));
    let file = folder.path().join("a.zip");
    fs::write(&file, "x").unwrap();
    assert!(matches!(read(&file), Err(Error::UnknownFormat { .. })));
}

/// Returns the gzip file of some bytes and of many zeros behind them.
fn zeros_behind(bytes: &[u8], mebibytes: usize) -> Vec<u8> {
    use std::io::Write;

    let deflated = |bytes: &[u8]| {
        let level = flate2::Compression::fast();
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).unwrap();
        encoder.flush().unwrap();
        encoder.get_ref().clone()
    };
    let zeros = deflated(&vec![0; 16 << 20]).repeat(mebibytes / 16);
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &deflated(bytes), &zeros].concat()
}

/// Returns the header of an entry.
fn entry(name: &str, kind: EntryType, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn no_more_is_unpacked_than_the_six_files_need() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tar.gz");
    let eight = 8 << 30;
    let refused = |kind, name: &str, mebibytes| {
        fs::write(&file, zeros_behind(&entry(name, kind, eight), mebibytes)).unwrap();
        let start = std::time::Instant::now();
        let error = read(&file).unwrap_err().to_string();
        assert!(start.elapsed().as_secs() < 30, "{error}");
        error.split("a.tar.gz").nth(1).unwrap().to_owned()
    };
    // A name, and what else describes an entry, of eight gigabytes.
    for kind in [EntryType::GNULongName, EntryType::XHeader] {
        let said = refused(kind, "././@LongLink", 128);
        assert_eq!(said, ": a long description, expected at most 64 KiB");
    }
    let said = refused(EntryType::Regular, TEST_FILE, 128);
    assert_eq!(said, "/test_batch.bin: size in bytes is 8589934592, expected at most 30733073");
    // What is skipped takes time.
    let said = refused(EntryType::Regular, "other", 1024);
    assert_eq!(said, ": more than 512 MiB unpacked, expected the six files of CIFAR-10");
    let said = refused(EntryType::Symlink, TEST_FILE, 16);
    assert!(said.contains("test_batch.bin: a link, a sparse file or a device"), "{said}");
}

#[test]
fn long_names_and_padding_are_read() {
    use std::io::Write;

    let folder = tempfile::tempdir().unwrap();
    let deep = "a".repeat(90);
    let files: Vec<(String, Vec<u8>)> =
        golden_files().into_iter().map(|(n, b)| (format!("{deep}/{deep}/{n}"), b)).collect();
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(n, b)| (n.as_str(), b.clone())).collect();
    let gz = folder.path().join("a.tar.gz");
    let level = flate2::Compression::fast();
    tar_of(&files, flate2::write::GzEncoder::new(File::create(&gz).unwrap(), level));
    let mut padded = File::options().append(true).open(&gz).unwrap();
    padded.write_all(&[0; 1024]).unwrap();
    check_golden(&read_with(&gz, RECORDS).unwrap());
}

#[test]
fn bytes_that_are_changed_never_panic() {
    // The headers of an archive of small files, and its first bytes as gzip and xz pack it.
    let mut plain = Vec::new();
    let small: Vec<(&str, Vec<u8>)> =
        golden_files().into_iter().map(|(name, bytes)| (name, bytes[..512].to_vec())).collect();
    tar_of(&small, &mut plain);
    let level = flate2::Compression::fast();
    let mut packed = flate2::read::GzEncoder::new(&plain[..], level);
    let (mut gz, mut xz) = (Vec::new(), Vec::new());
    packed.read_to_end(&mut gz).unwrap();
    liblzma::read::XzEncoder::new(&plain[..], 1).read_to_end(&mut xz).unwrap();
    let path = Path::new("a.tar");
    for at in 0..plain.len() {
        for other in [0, b'7', 0xff] {
            let mut bytes = plain.clone();
            bytes[at] = other;
            let _ = unpack(path, &bytes[..]);
        }
    }
    for at in 0..gz.len() {
        let mut bytes = gz.clone();
        bytes[at] ^= 0x55;
        let _ = unpack(path, Gunzip::new(&bytes[..]));
        let _ = unpack(path, Gunzip::new(&gz[..at]));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tar.xz");
    for at in 0..xz.len().min(600) {
        let mut bytes = xz.clone();
        bytes[at] ^= 0x55;
        fs::write(&file, &bytes).unwrap();
        assert!(read(&file).is_err());
    }
}
