//! A model file, and the weights that lie beside it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use tract_onnx::pb::{ModelProto, TensorProto, tensor_proto::DataLocation};
use tract_onnx::prelude::Framework;

use super::BackboneError;
use crate::{Error, Result};

/// Bytes at most of a model and the weights beside it: what one message of its format may have.
pub(super) const MOST_BYTES: u64 = 2 << 30;

/// A model with all its weights, and the hash of what was read.
pub(super) struct ModelFile {
    pub(super) model: ModelProto,
    pub(super) hash: blake3::Hasher,
}

/// Reads a model. Weights in other files are read if these lie in the model's own folder.
pub(super) fn read(path: &Path) -> Result<ModelFile> {
    let refused = |source| Error::Backbone { file: path.to_path_buf(), source };
    let reading = || Error::io("reading", path);
    let too_large = || refused(BackboneError::TooLarge { most: MOST_BYTES });
    let file = File::open(path).map_err(reading())?;
    if file.metadata().map_err(reading())?.len() > MOST_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // Not all files say how long they are. One byte more than is taken tells that there are more.
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(reading())?;
    let left = MOST_BYTES.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
    let mut hash = blake3::Hasher::new();
    hash.update(&bytes);
    let not_onnx = |cause: String| refused(BackboneError::NotOnnx { cause });
    let mut model = tract_onnx::onnx()
        .proto_model_for_read(&mut bytes.as_slice())
        .map_err(|error| not_onnx(format!("{error:#}")))?;
    drop(bytes);
    let Some(graph) = model.graph.as_mut().filter(|graph| !graph.node.is_empty()) else {
        return Err(not_onnx("it has no graph of operators".into()));
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut beside = Beside { folder, left };
    for tensor in &mut graph.initializer {
        if tensor.data_location == Some(DataLocation::External as i32) {
            beside.fetch(tensor).map_err(refused)?;
            hash.update(&tensor.raw_data);
        }
    }
    Ok(ModelFile { model, hash })
}

/// The folder of a model.
struct Beside<'a> {
    folder: &'a Path,
    /// Bytes that may still be read.
    left: u64,
}

impl Beside<'_> {
    /// Brings the bytes of a tensor from the file that it names into the tensor.
    fn fetch(&mut self, tensor: &mut TensorProto) -> Result<(), BackboneError> {
        let entry = |key: &str| {
            let entry = tensor.external_data.iter().find(|entry| entry.key == key);
            entry.map(|entry| entry.value.as_str())
        };
        let location = entry("location").unwrap_or_default().to_owned();
        let refused =
            || BackboneError::Weights { tensor: tensor.name.clone(), location: location.clone() };
        let number = |key: &str| entry(key).map(str::parse::<u64>).transpose();
        let (Ok(offset), Ok(length)) = (number("offset"), number("length")) else {
            return Err(refused());
        };
        let mut components = Path::new(&location).components();
        let (Some(Component::Normal(name)), None) = (components.next(), components.next()) else {
            return Err(refused());
        };
        let mut file = File::open(self.folder.join(name)).map_err(|_| refused())?;
        let whole = file.metadata().map_err(|_| refused())?.len();
        let offset = offset.unwrap_or(0);
        let there = whole.checked_sub(offset).ok_or_else(refused)?;
        let length = length.unwrap_or(there);
        if length > there {
            return Err(refused());
        }
        let too_large = BackboneError::TooLarge { most: MOST_BYTES };
        self.left = self.left.checked_sub(length).ok_or(too_large)?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset)).map_err(|_| refused())?;
        file.take(length).read_to_end(&mut bytes).map_err(|_| refused())?;
        if bytes.len() as u64 != length {
            return Err(refused());
        }
        tensor.raw_data = bytes;
        tensor.data_location = None;
        tensor.external_data.clear();
        Ok(())
    }
}
