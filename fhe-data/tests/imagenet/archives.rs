//! Archives that claim what is not so, and names that do not fit a header.

use std::fs::File;

use fhe_data::imagenet::ImageNet;

use crate::set::{grey, message, options, synset_tar, tar_of, write};

/// The first error of reading a training set, one of whose archives is this one.
fn refusal(archive: &[u8]) -> String {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("n01440764.tar"), archive);
    write(&root.path().join("n02119789.tar"), &synset_tar(1));
    let set = ImageNet::train(root.path(), &options()).unwrap();
    let read: Vec<_> = set.pictures().collect();
    // What comes after it is read.
    assert_eq!(read.iter().filter(|raw| raw.is_ok()).count(), 1);
    message(read.into_iter().next().unwrap())
}

#[test]
fn hostile_archives_are_refused() {
    let kind = |kind: tar::EntryType, size: u64, name: &'static str| {
        move |header: &mut tar::Header| {
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(size);
        }
    };
    let file = tar::EntryType::Regular;
    let padded = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    };
    let long = |size: usize| {
        let name = vec![b'a'; size];
        let of = tar_of(kind(tar::EntryType::GNULongName, size as u64, "././@LongLink"), &[]);
        [&of[..512], &padded(&name), &tar_of(kind(file, 0, "a.JPEG"), &[])].concat()
    };
    let pax = |record: &[u8]| {
        let of = tar_of(kind(tar::EntryType::XHeader, record.len() as u64, "pax"), &[]);
        [&of[..512], &padded(record), &tar_of(kind(file, 0, "a.JPEG"), &[])].concat()
    };
    let whole = synset_tar(0);
    let huge = 1u64 << 40;
    let cases = [
        (tar_of(kind(file, huge, "a.JPEG"), &[]), "a.JPEG: end is 1099511628288, expected at most"),
        (tar_of(kind(file, u64::MAX - 512, "a.JPEG"), &[]), "size overflow"),
        (tar_of(kind(tar::EntryType::GNULongName, huge, "a"), &[]), ".tar: end is 1099511628288"),
        (tar_of(kind(tar::EntryType::XHeader, huge, "a"), &[]), ".tar: end is 1099511628288"),
        (long(5000), "expected at most 4096 bytes"),
        (long(70_000), ".tar: a long description, expected at most 64 KiB"),
        (pax(b"30 size=123456789012345678901\n"), "a file of more than 8 GiB"),
        (tar_of(kind(file, 0, "../a.JPEG"), &[]), "n01440764.tar/../a.JPEG: a path that leads out"),
        (tar_of(kind(file, 0, "/a.JPEG"), &[]), "n01440764.tar/a.JPEG: a path that leads out"),
        (tar_of(kind(tar::EntryType::Symlink, 0, "a.JPEG"), &[]), "a.JPEG: a link or a device"),
        (tar_of(kind(tar::EntryType::Link, 0, "a.JPEG"), &[]), "a.JPEG: a link or a device"),
        (tar_of(kind(tar::EntryType::Fifo, 0, "a.JPEG"), &[]), "a.JPEG: a link or a device"),
        (whole[..600].to_vec(), "n01440764_3.JPEG: end is"),
        (b"no archive".to_vec(), "n01440764.tar: "),
        (vec![b'x'; 2048], "n01440764.tar: "),
    ];
    for (archive, wanted) in cases {
        let error = refusal(&archive);
        assert!(error.contains(wanted), "{error}, not {wanted}");
    }
}

#[test]
fn long_and_described_names_are_read() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("n01440764.tar");
    let mut builder = tar::Builder::new(File::create(&path).unwrap());
    let long = format!("{}/b.JPEG", "folder/".repeat(30));
    let bytes = grey();
    let mut append = |name: &str, described: bool| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        if described {
            let extensions = [("mtime", &b"1.5"[..]), ("path", b"c.JPEG")];
            builder.append_pax_extensions(extensions).unwrap();
        }
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    };
    append("./a.JPEG", false);
    append(&long, false);
    append("x", true);
    append("README", false);
    append(".hidden.JPEG", false);
    builder.finish().unwrap();
    write(&root.path().join("n02119789.tar"), &synset_tar(1));
    let set = ImageNet::train(root.path(), &options()).unwrap();
    let mut pictures = set.pictures();
    let names: Vec<_> = pictures.by_ref().map(|raw| raw.unwrap().file().to_path_buf()).collect();
    let wanted = ["a.JPEG", long.as_str(), "c.JPEG"].map(|name| path.join(name));
    assert_eq!((names.len(), &names[..3]), (4, &wanted[..]));
    assert_eq!(pictures.skipped(), [path.join("README")]);
}

#[test]
fn large_files_are_refused_unread() {
    // Nothing is written: the files have holes.
    let root = tempfile::tempdir().unwrap();
    let (large, size) = (root.path().join("n01440764/a.JPEG"), 64 << 20);
    write(&large, &[]);
    File::options().write(true).open(&large).unwrap().set_len(size + 1).unwrap();
    let path = root.path().join("n02119789.tar");
    let set_size = |header: &mut tar::Header| {
        header.as_old_mut().name[..6].copy_from_slice(b"b.JPEG");
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(1 << 40);
    };
    write(&path, &tar_of(set_size, &[]));
    File::options().write(true).open(&path).unwrap().set_len(2 << 40).unwrap();
    let set = ImageNet::train(root.path(), &options()).unwrap();
    let mut pictures = set.pictures();
    for (name, bytes) in [("a.JPEG", size + 1), ("b.JPEG", 1 << 40)] {
        let error = message(pictures.next().unwrap());
        let wanted = format!("{name}: size in bytes is {bytes}, expected at most 67108864");
        assert!(error.ends_with(&wanted), "{error}");
    }
    assert!(pictures.next().is_none());
}
