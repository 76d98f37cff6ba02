//! Names of the entries of a tar archive, which entries before them may state.

use std::io::Read;
use std::path::Path;

use tar::{Entry, EntryType};

use crate::{Error, Result};

/// Bytes at most of an entry that describes the next one: its long name, and what else does not fit
/// a header.
const MOST_DESCRIPTION_BYTES: u64 = 64 << 10;

/// The names of an archive's entries, which must be [raw](tar::Entries::raw): else descriptions
/// would be read at any length that they claim.
pub(crate) struct Names<'a> {
    /// The archive, for messages.
    archive: &'a Path,
    /// What a description states of the next entry.
    stated: Option<Vec<u8>>,
}

/// Returns whether an entry is a description that is read.
pub(crate) fn describes(kind: EntryType) -> bool {
    matches!(kind, EntryType::GNULongName | EntryType::XHeader)
}

impl<'a> Names<'a> {
    pub(crate) fn new(archive: &'a Path) -> Self {
        Self { archive, stated: None }
    }

    /// Returns an entry's name, or nothing if the entry only describes others.
    pub(crate) fn of(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<Option<Vec<u8>>> {
        let kind = entry.header().entry_type();
        if describes(kind) && entry.size() > MOST_DESCRIPTION_BYTES {
            return Err(self.wrong("a long description", "at most 64 KiB"));
        }
        match kind {
            EntryType::GNULongName => {
                let mut name = Vec::new();
                let read = entry.read_to_end(&mut name);
                read.map_err(Error::io("listing", self.archive))?;
                self.stated = Some(name);
            }
            EntryType::XHeader => self.stated = self.described(entry)?.or(self.stated.take()),
            EntryType::XGlobalHeader | EntryType::GNULongLink => {}
            _ => {
                let name = self.stated.take().unwrap_or_else(|| entry.path_bytes().into_owned());
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Returns the path that a description in PAX's format states.
    fn described(&self, entry: &mut Entry<'_, impl Read>) -> Result<Option<Vec<u8>>> {
        let io = || Error::io("listing", self.archive);
        let mut path = None;
        for extension in entry.pax_extensions().map_err(io())?.into_iter().flatten() {
            // A value may have lines of its own, which are no extensions.
            let Ok(extension) = extension else { continue };
            match extension.key_bytes() {
                b"path" => path = Some(extension.value_bytes().to_vec()),
                b"size" => return Err(self.wrong("a file of more than 8 GiB", "smaller ones")),
                _ => {}
            }
        }
        Ok(path)
    }

    fn wrong(&self, got: &'static str, wanted: &'static str) -> Error {
        Error::Content { file: self.archive.to_path_buf(), got, wanted }
    }
}
