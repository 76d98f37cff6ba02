//! Changed files for every reader, a module a crate. CONTRIBUTING.md says how to run it for longer.

mod core;
mod features;
#[cfg(feature = "onnx")]
mod networks;
mod nn;
mod pictures;
mod programs;
mod sets;
mod train;
mod train_bnn;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fhe_core::client::ClientKey;
use fhe_core::params::{Gadget, ListGadgets};
use fhe_core::{Params, ParamsSpec, Seed};
use tempfile::TempDir;

/// The smallest parameter set that there can be: its files are small.
fn tiny() -> Result<Params> {
    let gadget = |base_log, levels| Gadget { base_log, levels };
    let lists =
        ListGadgets { pack: gadget(16, 2), selector: gadget(7, 3), expand: Some(gadget(13, 3)) };
    Ok(Params::new(ParamsSpec {
        name: "tiny-insecure".into(),
        security_bits: 0,
        short_dimension: 6,
        short_noise_bits: 40,
        row_size: 64,
        row_noise_bits: 17,
        key_switch: gadget(4, 5),
        lookup: gadget(15, 2),
        lookup_group: 3,
        selector: gadget(18, 2),
        pack: gadget(13, 2),
        reflect: gadget(13, 3),
        lists: Some(lists),
        batch: None,
    })?)
}

fn tiny_key() -> Result<ClientKey> {
    Ok(ClientKey::new(&tiny()?, Seed::from_number(5)))
}

/// A folder in which changed files are put for readers that take paths.
struct Folder(TempDir);

impl Folder {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Puts a file there, in place of one of the same name: a new one, for file systems flush a
    /// file that is overwritten.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path().join(name);
        if path.exists() {
            fs::remove_file(&path)?;
        }
        fs::write(&path, bytes)?;
        Ok(path)
    }
}
