//! Tables of numbers, and the files of `fhe_data`'s own: quantizers, encoders, features.

use std::path::Path;

use anyhow::Result;
use fhe_data::{
    Encoded, Encoder, EncoderConfig, GradientEncoder, ImageShape, Quantizer, Selection, builtin,
    read_features, read_labels,
};
use fhe_fuzz::{File, Form, Fuzz};
use ndarray::{Array2, array};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::Folder;

fn npy(header: &str, numbers: &[u8]) -> Vec<u8> {
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), numbers].concat()
}

/// Reads features, and labels of the same file.
fn read(folder: &Folder, name: &str, bytes: &[u8], selection: &Selection) -> Result<()> {
    let path = folder.put(name, bytes)?;
    let _ = read_labels(&path, selection);
    let features = read_features(&path, selection)?;
    let width = features.sample_shape.iter().product::<usize>();
    assert!(features.sample_shape.is_empty() || width == features.values.ncols());
    Ok(())
}

#[test]
fn features_in_npy() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("features-npy"), Folder::new()?);
    let headers = [
        "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }\n",
        "{'descr': '>f4', 'fortran_order': True, 'shape': (3, 1), }\n",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3), }\n",
    ];
    let files = headers.map(|header| File::new("a.npy", Form::Bytes, npy(header, &[1; 12])));
    fuzz.run(&files, |name, bytes| read(&folder, name, bytes, &Selection::default()))
}

#[test]
fn features_in_csv() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("features-csv"), Folder::new()?);
    let tables = ["a,b,label\n1,2.5,x\n-3e4,\"7\",y\n", "1,2,0\r\n3,4,1\r\n"];
    let files = tables.map(|table| File::new("a.csv", Form::Bytes, table));
    let selection = Selection { label_column: Some("3".parse()?), ..Selection::default() };
    fuzz.run(&files, |name, bytes| read(&folder, name, bytes, &selection))
}

#[test]
fn features_in_safetensors() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("features-safetensors"), Folder::new()?);
    let mut files = Vec::new();
    for (dtype, shape, width) in [(Dtype::F32, vec![2, 3], 4), (Dtype::F16, vec![2, 1, 3], 2)] {
        let numbers = vec![1; 6 * width];
        let view = TensorView::new(dtype, shape, &numbers)?;
        let bytes = safetensors::serialize([("x", view)], None)?;
        files.push(File::new("a.safetensors", Form::Tensors, bytes));
    }
    fuzz.run(&files, |name, bytes| read(&folder, name, bytes, &Selection::default()))
}

/// A file that was saved.
fn saved(
    folder: &Folder,
    save: impl Fn(&Path) -> Result<(), fhe_data::Error>,
) -> Result<[File; 1]> {
    let path = folder.path().join("a.safetensors");
    save(&path)?;
    Ok([File::new("a.safetensors", Form::Tensors, std::fs::read(path)?)])
}

#[test]
fn quantizers() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("quantizer"), Folder::new()?);
    let rows = array![[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]];
    let quantizer = Quantizer::fit(rows.view(), 8)?;
    fuzz.run(&saved(&folder, |path| quantizer.save(path))?, |name, bytes| {
        let quantizer = Quantizer::load(&folder.put(name, bytes)?)?;
        let _ = quantizer.encode(rows.view());
        let _ = quantizer.encode(Array2::<f64>::from_elem((1, 1), f64::MAX).view());
        Ok(())
    })
}

#[test]
fn encoded_features() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("encoded-features"), Folder::new()?);
    let rows = array![[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]];
    let encoded = Quantizer::fit(rows.view(), 8)?.encode(rows.view())?;
    fuzz.run(&saved(&folder, |path| encoded.save(path))?, |name, bytes| {
        let encoded = Encoded::load(&folder.put(name, bytes)?)?;
        let _ = encoded.mean_square_norm();
        for i in 0..encoded.len() {
            let _ = encoded.row(i);
        }
        Ok(())
    })
}

#[test]
fn patch_encoders() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("patch-encoder"), Folder::new()?);
    let set = builtin(1, 40, 0).train;
    let config = EncoderConfig {
        dictionary: 16,
        components: 20,
        fit_patches: 2_000,
        dictionary_rounds: 2,
        ..EncoderConfig::small()
    };
    let encoder = Encoder::fit(config, &set, &|_| ())?;
    let image = set.image(0).unwrap_or_default().to_vec();
    fuzz.run(&saved(&folder, |path| encoder.save(path))?, |name, bytes| {
        let encoder = Encoder::load(&folder.put(name, bytes)?)?;
        encoder.encode(&image, &|_| ())?;
        Ok(())
    })
}

#[test]
fn gradient_encoders() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("gradient-encoder"), Folder::new()?);
    let grey = builtin(1, 10, 0).train.resized(ImageShape::GREY28)?;
    let encoder = GradientEncoder::fit(&grey)?;
    fuzz.run(&saved(&folder, |path| encoder.save(path))?, |name, bytes| {
        let encoder = GradientEncoder::load(&folder.put(name, bytes)?)?;
        encoder.encode(grey.image(0).unwrap_or_default())?;
        Ok(())
    })
}
