//! Key files.

use std::path::Path;

use zeroize::Zeroizing;

use super::container::{Header, Secrecy, read_file, write_file};
use crate::client::ClientKey;
use crate::server::{EvaluationKeys, SeededRows};
use crate::{Error, Params, Result, Seed};

const CLIENT_KEY: &str = "client key";
const EVALUATION_KEYS: &str = "evaluation keys";

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

impl EvaluationKeys {
    fn parts(&self) -> impl Iterator<Item = &SeededRows> {
        [&self.key_switch, &self.reflect]
            .into_iter()
            .chain(&self.blind_rotation)
            .chain(&self.pack)
            .chain(self.lists.iter().flatten())
    }

    /// Writes the keys.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let lengths: Vec<_> = self.parts().map(|p| p.bodies.len()).collect();
        let header =
            Header::new(EVALUATION_KEYS, &self.params, &self.key_id, serde_json::json!(lengths));
        let mut payload = Vec::new();
        for part in self.parts() {
            payload.extend(part.seed.to_le_bytes());
            payload.extend(part.bodies.iter().flat_map(|x| x.to_le_bytes()));
        }
        write_file(path, header, Secrecy::Public, &payload)
    }

    /// Reads keys.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`], [`Error::Mismatch`].
    pub fn load(path: &Path) -> Result<Self> {
        let (header, payload) = read_file(path, EVALUATION_KEYS)?;
        let params = Params::new(header.params)?;
        let bad = |field: &str| Error::Corrupt {
            path: path.into(),
            field: field.into(),
            problem: "the lengths do not fit the parameter set",
        };
        let lengths: Vec<usize> =
            serde_json::from_value(header.meta).map_err(|_| bad("lengths"))?;
        let n = params.row_size;
        let levels = |g: crate::params::Gadget| g.levels as usize;
        let chunk = crate::server::KEY_CHUNK.min(n);
        let mut expected = vec![n * levels(params.key_switch), levels(params.reflect) * n];
        let patterns = (1 << params.lookup_group) - 1;
        let groups = params.short_dimension / params.lookup_group;
        expected.extend(vec![patterns * 2 * levels(params.lookup) * n; groups]);
        expected.extend(vec![chunk * levels(params.pack) * n; n / chunk]);
        if let Some(lists) = params.lists {
            expected.extend(vec![chunk * levels(lists.pack) * n; 2 * n / chunk]);
        }
        let total: usize = expected.iter().map(|len| 16 + 8 * len).sum();
        if lengths != expected || payload.len() != total {
            return Err(bad("payload"));
        }
        let mut rest = payload.as_slice();
        let mut parts = expected.iter().map(|&len| {
            let (part, tail) = rest.split_at(16 + 8 * len);
            rest = tail;
            super::dataset::seeded(part, 8)
        });
        let mut take = || parts.next().ok_or_else(|| bad("payload"));
        let (key_switch, reflect) = (take()?, take()?);
        let blind_rotation = parts.by_ref().take(groups).collect();
        let pack = parts.by_ref().take(n / chunk).collect();
        let lists = [parts.by_ref().take(n / chunk).collect(), parts.collect()];
        let key_id = header.key_id;
        Ok(Self { params, key_id, key_switch, blind_rotation, pack, reflect, lists })
    }
}
