//! Files of tensors: safetensors with a version, a description and a checksum.
//!
//! The metadata holds `kind`, `version`, `config` (JSON) and `blake3`, the hash of the kind, the
//! version, the config and of all tensors (name, shape, bytes) in the order of their names.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::file::flush_name;
use crate::{Error, Result};

/// Version of the layout that this crate writes and reads.
const VERSION: u32 = 1;

struct Tensor {
    dtype: Dtype,
    shape: [usize; 2],
    bytes: Vec<u8>,
}

/// Named matrices on their way to or from a file.
#[derive(Default)]
pub(crate) struct Tensors(BTreeMap<String, Tensor>);

impl Tensors {
    pub(crate) fn push_f32(&mut self, name: &str, shape: [usize; 2], values: &[f32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.0.insert(name.to_owned(), Tensor { dtype: Dtype::F32, shape, bytes });
    }

    pub(crate) fn push_f64(&mut self, name: &str, shape: [usize; 2], values: &[f64]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.0.insert(name.to_owned(), Tensor { dtype: Dtype::F64, shape, bytes });
    }

    pub(crate) fn push_i8(&mut self, name: &str, shape: [usize; 2], values: &[i8]) {
        let bytes = values.iter().map(|v| v.cast_unsigned()).collect();
        self.0.insert(name.to_owned(), Tensor { dtype: Dtype::I8, shape, bytes });
    }

    pub(crate) fn f32(
        &self,
        path: &Path,
        name: &'static str,
        shape: [usize; 2],
    ) -> Result<Vec<f32>> {
        let bytes = self.bytes(path, name, Dtype::F32, shape)?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    pub(crate) fn f64(
        &self,
        path: &Path,
        name: &'static str,
        shape: [usize; 2],
    ) -> Result<Vec<f64>> {
        let bytes = self.bytes(path, name, Dtype::F64, shape)?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| f64::from_le_bytes(*word)).collect())
    }

    pub(crate) fn i8(&self, path: &Path, name: &'static str, shape: [usize; 2]) -> Result<Vec<i8>> {
        let bytes = self.bytes(path, name, Dtype::I8, shape)?;
        Ok(bytes.iter().map(|b| b.cast_signed()).collect())
    }

    fn bytes(
        &self,
        path: &Path,
        name: &'static str,
        dtype: Dtype,
        shape: [usize; 2],
    ) -> Result<&[u8]> {
        match self.0.get(name) {
            Some(tensor) if tensor.dtype == dtype && tensor.shape == shape => Ok(&tensor.bytes),
            _ => Err(Error::Malformed { file: path.to_path_buf(), field: name }),
        }
    }

    fn checksum(&self, kind: &str, version: u32, config: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(kind.as_bytes());
        part(&version.to_le_bytes());
        part(config.as_bytes());
        for (name, tensor) in &self.0 {
            part(name.as_bytes());
            part(format!("{:?} {:?}", tensor.dtype, tensor.shape).as_bytes());
            part(&tensor.bytes);
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Writes to a temporary file beside `path`, flushes it, renames it and flushes the folder.
    pub(crate) fn save(&self, path: &Path, kind: &str, config: &impl Serialize) -> Result<()> {
        let malformed = |field| Error::Malformed { file: path.to_path_buf(), field };
        let config = serde_json::to_string(config).map_err(|_| malformed("config"))?;
        let mut views = Vec::with_capacity(self.0.len());
        for (name, tensor) in &self.0 {
            let view = TensorView::new(tensor.dtype, tensor.shape.to_vec(), &tensor.bytes)
                .map_err(|_| malformed("tensors"))?;
            views.push((name.as_str(), view));
        }
        let metadata = HashMap::from([
            ("kind".to_owned(), kind.to_owned()),
            ("version".to_owned(), VERSION.to_string()),
            ("blake3".to_owned(), self.checksum(kind, VERSION, &config)),
            ("config".to_owned(), config),
        ]);
        let bytes = fhe_files::safetensors(views, metadata).map_err(|_| malformed("tensors"))?;
        write_private(path, &bytes)
    }

    /// Reads a file, checks its kind, version and checksum, and parses its config.
    pub(crate) fn load<C: DeserializeOwned>(path: &Path, kind: &str) -> Result<(Self, C)> {
        let malformed = |field| Error::Malformed { file: path.to_path_buf(), field };
        let bytes = fs::read(path).map_err(Error::io("reading", path))?;
        let (_, header) =
            SafeTensors::read_metadata(&bytes).map_err(|_| malformed("safetensors header"))?;
        let metadata = header.metadata().as_ref().ok_or_else(|| malformed("metadata"))?;
        let text = |field| metadata.get(field).ok_or_else(|| malformed(field));
        if text("kind")? != kind {
            return Err(malformed("kind"));
        }
        let version: u32 = text("version")?.parse().map_err(|_| malformed("version"))?;
        if version != VERSION {
            let file = path.to_path_buf();
            return Err(Error::Version { file, got: version, wanted: VERSION });
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|_| malformed("tensors"))?;
        let mut tensors = Self::default();
        for (name, view) in file.tensors() {
            let shape = view.shape().try_into().map_err(|_| malformed("tensors"))?;
            let (dtype, bytes) = (view.dtype(), view.data().to_vec());
            tensors.0.insert(name, Tensor { dtype, shape, bytes });
        }
        let config = text("config")?;
        let (got, wanted) = (tensors.checksum(kind, version, config), text("blake3")?.clone());
        if got != wanted {
            let file = path.to_path_buf();
            return Err(Error::Checksum { file, algorithm: "blake3", got, wanted });
        }
        let config = serde_json::from_str(config).map_err(|_| malformed("config"))?;
        Ok((tensors, config))
    }
}

/// Writes `bytes` so that `path` holds all of them or is left as it was; mode 0600.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let writing = || Error::io("writing", path);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // The mode is that of temporary files.
    let mut file = tempfile::Builder::new()
        .prefix(".")
        .suffix(".part")
        .tempfile_in(folder)
        .map_err(writing())?;
    file.write_all(bytes).map_err(writing())?;
    file.as_file().sync_all().map_err(writing())?;
    file.persist(path).map_err(|error| writing()(error.error))?;
    flush_name(path)
}
