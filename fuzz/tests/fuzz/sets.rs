//! Data sets of others: IDX, CIFAR-10, ImageNet.

use anyhow::{Result, ensure};
use fhe_data::cifar10;
use fhe_data::idx::{self, IdxOptions};
use fhe_data::imagenet::{Classes, ImageNet, ImageNetOptions};
use fhe_fuzz::{File, Form, Fuzz, Limits};

use crate::Folder;

const IDX: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

fn idx_files() -> [File; 4] {
    let pixels: Vec<u8> = (0..24).collect();
    let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4][..], &pixels].concat();
    let labels = [0, 0, 8, 1, 0, 0, 0, 2, 5, 1];
    IDX.map(|name| match name.contains("images") {
        true => File::new(name, Form::Bytes, images.clone()),
        false => File::new(name, Form::Bytes, labels),
    })
}

/// Changes one of the four files, and puts it back.
fn read_idx(fuzz: Fuzz, files: &[File]) -> Result<()> {
    let folder = Folder::new()?;
    for file in files {
        folder.put(file.name(), file.bytes())?;
    }
    fuzz.run(files, |name, bytes| {
        folder.put(name, bytes)?;
        let read = idx::read(folder.path(), &IdxOptions::default());
        for file in files.iter().filter(|file| file.name() == name) {
            folder.put(name, file.bytes())?;
        }
        read?;
        Ok(())
    })
}

#[test]
fn idx_plain() -> Result<()> {
    read_idx(Fuzz::of("idx"), &idx_files())
}

#[test]
fn idx_packed() -> Result<()> {
    let fuzz = Fuzz::of("idx-gzip");
    let mut files = Vec::new();
    for file in idx_files() {
        let named = File::new(&format!("{}.gz", file.name()), Form::Bytes, file.bytes());
        files.push(named.gzip()?);
    }
    read_idx(fuzz, &files)
}

/// An archive of files.
fn tar(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, *bytes)?;
    }
    Ok(archive.into_inner()?)
}

/// Archives of files with a few records. A whole one has 180 MB, so these are always refused: for
/// the number of their records, if nothing was changed. What counts records has tests of its own.
#[test]
fn cifar10_archives() -> Result<()> {
    // An archive may unpack to 512 MiB, and xz may take memory of its own.
    let limits = Limits { bytes: 800 << 20, ..Limits::default() };
    let (fuzz, folder) = (Fuzz::of("cifar10").within(limits), Folder::new()?);
    let records = vec![1; 2 * 3073];
    let long = "x".repeat(150);
    let mut members: Vec<(String, &[u8])> = vec![(long, &[])];
    for name in ["data_batch_1", "data_batch_2", "test_batch"] {
        members.push((format!("cifar-10-batches-bin/{name}.bin"), &records));
    }
    let members: Vec<_> = members.iter().map(|(name, bytes)| (&name[..], *bytes)).collect();
    let archive = tar(&members)?;
    let gzip = File::new("a.tar.gz", Form::Tar, archive.clone()).gzip()?;
    let xz = File::new("a.tar.xz", Form::Tar, archive).xz()?;
    fuzz.run(&[gzip.clone(), gzip.clone(), gzip, xz], |name, bytes| {
        let error = cifar10::read(&folder.put(name, bytes)?).err();
        let counted = matches!(error, Some(fhe_data::Error::RecordCount { .. }));
        ensure!(counted, "{error:?}");
        Ok(())
    })
}

fn picture() -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    // Writing to memory does not fail.
    let _ = image::RgbImage::new(2, 2).write_to(&mut png, image::ImageFormat::Png);
    png.into_inner()
}

/// Reads all pictures.
fn all(set: &ImageNet) -> Result<()> {
    let (_, _) = (set.total(), set.counts());
    for raw in set.pictures().take(20) {
        raw?.decode()?;
    }
    Ok(())
}

#[test]
fn imagenet_archives() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("imagenet-train"), Folder::new()?);
    let (picture, long) = (picture(), "x".repeat(150));
    let files = |name: &str| tar(&[(name, &picture), (&long, &[]), (".hidden", &[1])]);
    let inner = [("n01440764.tar", files("n01440764_1.JPEG")?), ("n02119789.tar", files("b.png")?)];
    let outer = tar(&inner.each_ref().map(|(name, bytes)| (*name, &bytes[..])))?;
    folder.put("n02119789.tar", &inner[1].1)?;
    let one = folder.path().join("n01440764.tar");
    let archives = [
        File::new("n01440764.tar", Form::Tar, inner[0].1.clone()),
        File::new("all/ILSVRC2012_img_train.tar", Form::Tar, outer),
    ];
    std::fs::create_dir(folder.path().join("all"))?;
    let options = ImageNetOptions::default();
    fuzz.run(&archives, |name, bytes| {
        let path = folder.put(name, bytes)?;
        let path = if path == one { folder.path() } else { &path };
        all(&ImageNet::train(path, &options)?)
    })
}

#[test]
fn imagenet_ground_truth() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("imagenet-validation"), Folder::new()?);
    let names = [1, 2, 3].map(|i| format!("ILSVRC2012_val_0000000{i}.JPEG"));
    let picture = picture();
    let archive = tar(&names.each_ref().map(|name| (&name[..], &picture[..])))?;
    folder.put("val.tar", &archive)?;
    let devkit = "n02119789\nn03000684\nn01440764\n";
    folder.put("devkit.txt", devkit.as_bytes())?;
    let numbers = "2\n3\n1\n";
    let table = "ImageId,PredictionString\nILSVRC2012_val_00000003,n02119789 85 1 499 272 \n\
        ILSVRC2012_val_00000001,n03000684 1 2 3 4 n03000684 5 6 7 8 \n\
        ILSVRC2012_val_00000002,n01440764 0 0 1 1\n";
    let annotations = "ILSVRC2012_val_00000001.JPEG\tn03000684\t0\t0\t62\t62\n\
        ILSVRC2012_val_00000002.JPEG\tn01440764\t0\t0\t62\t62\n\
        ILSVRC2012_val_00000003.JPEG\tn02119789\t0\t0\t62\t62\n";
    let file = |name: &str, text: &str| File::new(name, Form::Bytes, text);
    let files = [
        file("ILSVRC2012_validation_ground_truth.txt", numbers),
        file("LOC_val_solution.csv", table),
        file("val_annotations.txt", annotations),
        file("labels.txt", "n03000684\nn01440764\nn02119789\n"),
        file("devkit.txt", devkit),
        File::new("val.tar", Form::Tar, archive),
    ];
    for file in &files {
        folder.put(file.name(), file.bytes())?;
    }
    fuzz.run(&files, |name, bytes| {
        folder.put(name, bytes)?;
        let truth = if name == "devkit.txt" || name == "val.tar" { files[0].name() } else { name };
        let options = ImageNetOptions {
            ground_truth: Some(folder.path().join(truth)),
            devkit_synsets: Some(folder.path().join("devkit.txt")),
            ..ImageNetOptions::default()
        };
        let set = ImageNet::validation(&folder.path().join("val.tar"), &options);
        let read = set.map_err(Into::into).and_then(|set| all(&set));
        for file in files.iter().filter(|file| file.name() == name) {
            folder.put(name, file.bytes())?;
        }
        read
    })
}

#[test]
fn imagenet_classes() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("imagenet-classes"), Folder::new()?);
    let texts = [
        "n01440764 tench, Tinca tinca\nn02119789 kit fox\nn03000684 chain saw\n",
        "n01440764\nn02119789\n",
    ];
    let files = texts.map(|text| File::new("LOC_synset_mapping.txt", Form::Bytes, text));
    fuzz.run(&files, |name, bytes| {
        let classes = Classes::read(&folder.put(name, bytes)?)?;
        for (i, synset) in classes.synsets().iter().enumerate() {
            assert_eq!(classes.label(synset), Some(i as u32));
        }
        Ok(())
    })
}
