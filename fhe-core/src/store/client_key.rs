//! The file of a client's key.

use std::path::Path;

use zeroize::Zeroizing;

use super::container::{ChunkReader, Header, corrupt, write_pieces};
use super::pieces::Pieces;
use super::whole::{Secrecy, create};
use crate::client::{ClientKey, is_reproducible};
use crate::seed::leaving_nothing;
use crate::{Error, Result, Seed};

const CLIENT_KEY: &str = "client key";
const SEED_BYTES: u64 = 32;

impl ClientKey {
    /// Writes the key, mode 0600. A key that is there already is never replaced: what was
    /// encrypted under it would be lost.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let header = Header::new(CLIENT_KEY, self.params(), &self.id(), serde_json::Value::Null);
        leaving_nothing(|| {
            create(path, Secrecy::Secret, |file| {
                write_pieces(file, header, Pieces::whole(&self.seed().bytes()[..]), path)
            })
        })
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`], [`Error::Mismatch`].
    pub fn load(path: &Path) -> Result<Self> {
        let reader = ChunkReader::open(path, CLIENT_KEY)?;
        let header = reader.header();
        if header.payload_bytes != SEED_BYTES || reader.chunks() != 1 {
            return Err(corrupt(path, "seed", "it is not 32 bytes long"));
        }
        let mark = is_reproducible(&header.key_id);
        let seed = leaving_nothing(|| -> Result<Seed> {
            let read = Zeroizing::new(reader.read(0)?);
            Ok(Seed::with(mark, |seed| seed.copy_from_slice(&read)))
        })?;
        let key = Self::new(&reader.params()?, seed);
        if key.id() != header.key_id {
            let (path, field, got) = (path.into(), "key", header.key_id.clone());
            return Err(Error::Mismatch { path, field, got, expected: key.id() });
        }
        Ok(key)
    }
}
