//! The file of a client's key.

use std::path::Path;

use zeroize::Zeroizing;

use super::container::{Header, read_file, write_file};
use super::whole::Secrecy;
use crate::client::ClientKey;
use crate::{Error, Params, Result, Seed};

const CLIENT_KEY: &str = "client key";

impl ClientKey {
    /// Writes the key, mode 0600. A key that is there already is never replaced: what was
    /// encrypted under it would be lost.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        if path.exists() {
            let exists = std::io::ErrorKind::AlreadyExists.into();
            return Err(Error::io("creating", path)(exists));
        }
        let header = Header::new(CLIENT_KEY, self.params(), &self.id(), serde_json::Value::Null);
        write_file(path, header, Secrecy::Secret, self.seed().bytes())
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`], [`Error::Mismatch`].
    pub fn load(path: &Path) -> Result<Self> {
        let (header, payload) = read_file(path, CLIENT_KEY)?;
        let payload = Zeroizing::new(payload);
        let bytes: [u8; 32] = payload.as_slice().try_into().map_err(|_| Error::Corrupt {
            path: path.into(),
            field: "seed".into(),
            problem: "it is not 32 bytes long",
        })?;
        let key = Self::new(&Params::new(header.params)?, Seed::from_bytes(bytes));
        if key.id() != header.key_id {
            let (path, field) = (path.into(), "key");
            return Err(Error::Mismatch { path, field, got: header.key_id, expected: key.id() });
        }
        Ok(key)
    }
}
