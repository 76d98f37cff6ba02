//! How a file is taken apart, changed inside, and put together again.

mod checked;
mod container;
mod tensors;

use std::io::Write;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use liblzma::write::XzEncoder;
use serde_json::Value;

use crate::case::Case;
use crate::{edit, tree};

/// What a file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Bytes, of which none check the others.
    Bytes,
    /// JSON.
    Json,
    /// TOML.
    Toml,
    /// A container of this project: a header, and chunks, with checksums.
    Container,
    /// Tensors with a JSON header; the checksum of those that have one is in their metadata.
    Tensors,
    /// A tar archive, whose headers have checksums.
    Tar,
    /// A PNG picture, whose chunks have checksums.
    Png,
}

#[derive(Clone, Copy, Debug)]
enum Packing {
    Plain,
    Gzip,
    Xz,
}

/// A real file that is to be changed.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name, by which some readers know what it is.
    name: String,
    form: Form,
    packing: Packing,
    /// What is in it.
    content: Vec<u8>,
    /// The file itself, packed if it is.
    whole: Vec<u8>,
}

impl File {
    /// A file of a form.
    #[must_use]
    pub fn new(name: &str, form: Form, bytes: impl Into<Vec<u8>>) -> Self {
        let content: Vec<u8> = bytes.into();
        let whole = content.clone();
        Self { name: name.into(), form, packing: Packing::Plain, content, whole }
    }

    /// The file packed by gzip.
    ///
    /// # Errors
    /// None in practice.
    pub fn gzip(self) -> Result<Self> {
        self.packed(Packing::Gzip)
    }

    /// The file packed by xz.
    ///
    /// # Errors
    /// None in practice.
    pub fn xz(self) -> Result<Self> {
        self.packed(Packing::Xz)
    }

    fn packed(self, packing: Packing) -> Result<Self> {
        let whole = packing.pack(self.content.clone())?;
        Ok(Self { packing, whole, ..self })
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file as it is.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.whole
    }

    /// Returns the changed file.
    pub(crate) fn changed(&self, case: &Case) -> Result<Vec<u8>> {
        if case.plain && !case.bytes.is_empty() {
            let mut bytes = self.whole.clone();
            edit::apply(&case.bytes, &mut bytes);
            return Ok(bytes);
        }
        self.packing.pack(self.form.change(&self.content, case)?)
    }
}

impl Packing {
    fn pack(self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Plain => bytes,
            Self::Gzip => {
                let mut out = GzEncoder::new(Vec::new(), Compression::fast());
                out.write_all(&bytes)?;
                out.finish()?
            }
            Self::Xz => {
                let mut out = XzEncoder::new(Vec::new(), 0);
                out.write_all(&bytes)?;
                out.finish()?
            }
        })
    }
}

impl Form {
    fn change(self, content: &[u8], case: &Case) -> Result<Vec<u8>> {
        let edited = || {
            let mut bytes = content.to_vec();
            edit::apply(&case.bytes, &mut bytes);
            bytes
        };
        Ok(match self {
            Self::Bytes => edited(),
            Self::Json => {
                let mut value: Value = serde_json::from_slice(content).context("no JSON")?;
                tree::apply(&case.tree, &mut value);
                let mut bytes = serde_json::to_vec(&value)?;
                if case.tree.is_empty() {
                    edit::apply(&case.bytes, &mut bytes);
                }
                bytes
            }
            Self::Toml => {
                let text = str::from_utf8(content)?;
                let table: toml::Table = toml::from_str(text).context("no TOML")?;
                let mut value = serde_json::to_value(table)?;
                tree::apply(&case.tree, &mut value);
                // Not all that JSON has can be said in TOML.
                match toml::to_string(&value) {
                    Ok(text) if !case.tree.is_empty() => text.into_bytes(),
                    _ => edited(),
                }
            }
            Self::Container => container::change(content, case)?,
            Self::Tensors => tensors::change(content, case)?,
            Self::Tar => checked::tar(edited(), case.fit),
            Self::Png => checked::png(edited(), case.fit),
        })
    }
}
