//! Files of every reader, changed byte by byte: an error or other data, and never a panic.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use fhe_data::idx::{self, IdxOptions};
use fhe_data::imagenet::{ImageNet, ImageNetOptions};
use fhe_data::{
    Encoded, Encoder, EncoderConfig, GradientEncoder, ImageShape, Quantizer, Selection, builtin,
    image_file, read_features, read_labels,
};
use image::{GrayAlphaImage, ImageFormat, LumaA, Rgb, RgbImage};
use ndarray::array;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Puts other bytes at each place of a file, `step` bytes apart, and cuts it there. Returns how
/// many of the files were read.
fn changed(path: &Path, step: usize, mut read: impl FnMut() -> bool) -> usize {
    let whole = fs::read(path).unwrap();
    assert!(read(), "{}", path.display());
    // A new file each time: file systems flush one that is overwritten.
    let write = |bytes: &[u8]| {
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let mut good = 0;
    for at in (0..whole.len()).step_by(step) {
        for other in [0, b'9', 0x7f, 0xff, whole[at] ^ 1] {
            let mut bytes = whole.clone();
            bytes[at] = other;
            write(&bytes);
            good += usize::from(read());
        }
        write(&whole[..at]);
        good += usize::from(read());
    }
    write(&whole);
    good
}

fn npy() -> Vec<u8> {
    let text = "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }\n";
    let numbers = [1i16, 2, 3, 4, 5, 6].into_iter().flat_map(i16::to_le_bytes);
    let start = b"\x93NUMPY\x01\x00".iter().copied();
    let length = (text.len() as u16).to_le_bytes();
    start.chain(length).chain(text.bytes()).chain(numbers).collect()
}

#[test]
fn features_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<u8> = (0..6u8).flat_map(|x| f32::from(x).to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![2, 3], &numbers).unwrap();
    let tensors = safetensors::serialize([("x", view)], None).unwrap();
    let table = b"a,b,label\n1,2.5,x\n-3e4,\"7\",y\n".to_vec();
    let files = [("a.npy", npy()), ("a.safetensors", tensors), ("a.csv", table)];
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let label_column = (name == "a.csv").then(|| "3".parse().unwrap());
        let selection = Selection { label_column, ..Selection::default() };
        let good = changed(&path, 1, || {
            let _ = read_labels(&path, &selection);
            read_features(&path, &selection).is_ok()
        });
        assert!(good > 0, "{name}");
    }
}

#[test]
fn pictures() {
    let folder = tempfile::tempdir().unwrap();
    let picture = RgbImage::from_fn(9, 7, |x, y| Rgb([20 * x as u8, 30 * y as u8, 5]));
    let alpha = GrayAlphaImage::from_fn(5, 5, |x, y| LumaA([50 * x as u8, 50 * y as u8]));
    let shape = ImageShape { channels: 3, height: 4, width: 4 };
    for (name, format) in [("a.png", ImageFormat::Png), ("a.jpg", ImageFormat::Jpeg)] {
        let path = folder.path().join(name);
        picture.save_with_format(&path, format).unwrap();
        changed(&path, 1, || image_file::read(&path, shape).is_ok());
    }
    let path = folder.path().join("b.png");
    alpha.save(&path).unwrap();
    changed(&path, 1, || image_file::read(&path, shape).is_ok());
}

#[test]
fn idx_files() {
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> = (0..24).collect();
    let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4][..], &pixels].concat();
    for part in ["train", "t10k"] {
        fs::write(folder.path().join(format!("{part}-images-idx3-ubyte")), &images).unwrap();
        let labels = [0, 0, 8, 1, 0, 0, 0, 2, 5, 1];
        fs::write(folder.path().join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
    for name in ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "train-labels-idx1-ubyte"] {
        let read = || idx::read(folder.path(), &IdxOptions::default()).is_ok();
        assert!(changed(&folder.path().join(name), 1, read) > 0, "{name}");
    }
}

#[test]
fn archives_of_imagenet() {
    let folder = tempfile::tempdir().unwrap();
    let mut png = std::io::Cursor::new(Vec::new());
    RgbImage::new(2, 2).write_to(&mut png, ImageFormat::Png).unwrap();
    let synset = |name: &str| {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in [(format!("{name}_1.JPEG"), png.get_ref()), ("x".repeat(150), &vec![])]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, &bytes[..]).unwrap();
        }
        archive.into_inner().unwrap()
    };
    let path = folder.path().join("n01440764.tar");
    fs::write(&path, synset("n01440764")).unwrap();
    fs::write(folder.path().join("n02119789.tar"), synset("n02119789")).unwrap();
    let options = ImageNetOptions::default();
    let good = changed(&path, 3, || {
        let Ok(set) = ImageNet::train(folder.path(), &options) else { return false };
        let pictures: Vec<_> = set.pictures().collect();
        pictures.into_iter().all(|raw| raw.is_ok_and(|raw| raw.decode().is_ok()))
    });
    assert!(good > 0);
}

#[test]
fn stored_encoders_and_features() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    // All bytes are under a checksum: what is read is what was written. Spaces end the header.
    let rows = array![[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]];
    let quantizer = Quantizer::fit(rows.view(), 8).unwrap();
    quantizer.save(&path).unwrap();
    changed(&path, 1, || Quantizer::load(&path).is_ok());
    quantizer.encode(rows.view()).unwrap().save(&path).unwrap();
    changed(&path, 1, || Encoded::load(&path).is_ok());
    // The headers, and a part of the many numbers.
    let set = builtin(1, 40, 0).train;
    let config = EncoderConfig {
        dictionary: 16,
        components: 20,
        fit_patches: 2_000,
        dictionary_rounds: 3,
        ..EncoderConfig::small()
    };
    Encoder::fit(config, &set, &|_| ()).unwrap().save(&path).unwrap();
    changed(&path, 997, || Encoder::load(&path).is_ok());
    let grey = set.resized(ImageShape::GREY28).unwrap();
    GradientEncoder::fit(&grey).unwrap().save(&path).unwrap();
    changed(&path, 997, || GradientEncoder::load(&path).is_ok());
}
