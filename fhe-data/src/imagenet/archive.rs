//! Tar archives, and archives within them, read where they lie.
//!
//! Nothing that an archive claims is believed: sizes are compared with the bytes that there are,
//! names are only ever shown, and links are refused.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use tar::EntryType;

use super::file;
use crate::tar_names::{self, Names};
use crate::{Error, Result};

/// Members at most of one archive; the validation set has 50,000.
const MOST_MEMBERS: usize = 1 << 20;
/// Bytes at most of a member's name.
const MOST_NAME_BYTES: usize = 4096;

/// A tar archive: a file, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    file: PathBuf,
    /// The name, for messages: the file's, and where it is a part of one, that of the part too.
    pub(super) name: PathBuf,
    bytes: Range<u64>,
}

/// A file in an archive.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The path in the archive.
    pub(super) name: PathBuf,
    /// Where the bytes are in the archive's file.
    bytes: Range<u64>,
}

impl Archive {
    /// Takes the whole of a file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let metadata = path.metadata().map_err(Error::io("opening", path))?;
        Ok(Self { file: path.to_path_buf(), name: path.to_path_buf(), bytes: 0..metadata.len() })
    }

    /// Returns a member as an archive.
    pub(super) fn inner(&self, member: &Member) -> Self {
        let (file, bytes) = (self.file.clone(), member.bytes.clone());
        Self { file, name: self.name.join(&member.name), bytes }
    }

    /// Reads the bytes of a member.
    pub(super) fn read(&self, member: &Member) -> Result<Vec<u8>> {
        let name = self.name.join(&member.name);
        file::check_size(&name, member.bytes.end - member.bytes.start)?;
        let mut bytes = Vec::new();
        let mut part = self.part(&member.bytes)?;
        part.read_to_end(&mut bytes).map_err(Error::io("reading", name))?;
        Ok(bytes)
    }

    /// Lists the files in the archive, in its order, without those that are hidden.
    pub(super) fn members(&self) -> Result<Vec<Member>> {
        let io = || Error::io("listing", &self.name);
        let mut archive = tar::Archive::new(self.part(&self.bytes)?);
        let (mut members, mut names) = (Vec::new(), Names::new(&self.name));
        for entry in archive.entries_with_seek().map_err(io())?.raw(true) {
            let mut entry = entry.map_err(io())?;
            let kind = entry.header().entry_type();
            let (start, size) = (entry.raw_file_position(), entry.size());
            if tar_names::describes(kind) {
                self.check_end(&self.name, start, size)?;
            }
            if let Some(name) = names.of(&mut entry)? {
                members.extend(self.member(kind, &name, start, size)?);
            }
            if members.len() > MOST_MEMBERS {
                return Err(self.wrong("", "more than 1048576 files", "fewer"));
            }
        }
        Ok(members)
    }

    /// Checks a member; `None` for folders and what is hidden.
    fn member(&self, kind: EntryType, name: &[u8], at: u64, size: u64) -> Result<Option<Member>> {
        let text = String::from_utf8_lossy(name);
        let text = text.trim_end_matches('\0');
        if name.len() > MOST_NAME_BYTES {
            let start: String = text.chars().take(100).collect();
            return Err(self.wrong(&start, "a longer name", "at most 4096 bytes"));
        }
        let folder = kind == EntryType::Directory || text.ends_with('/');
        if !folder && !matches!(kind, EntryType::Regular | EntryType::Continuous) {
            return Err(self.wrong(text, "a link or a device", "a file or a folder"));
        }
        let path = PathBuf::from(text);
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !path.components().all(inside) {
            return Err(self.wrong(text, "a path that leads out", "one inside of the archive"));
        }
        self.check_end(&self.name.join(&path), at, size)?;
        let start = self.bytes.start + at;
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        Ok((!folder && !hidden).then(|| Member { name: path, bytes: start..start + size }))
    }

    /// Refuses a member that claims to end behind its archive.
    fn check_end(&self, name: &Path, at: u64, size: u64) -> Result<()> {
        let there = self.bytes.end - self.bytes.start;
        let end = at.saturating_add(size);
        if end <= there {
            return Ok(());
        }
        let wanted = format!("at most {there}, where its archive ends");
        Err(Error::Field { file: name.to_path_buf(), field: "end", got: end, wanted })
    }

    fn wrong(&self, member: &str, got: &'static str, wanted: &'static str) -> Error {
        // Joining an absolute path would drop the archive's name.
        let member = member.trim_start_matches('/');
        let file = if member.is_empty() { self.name.clone() } else { self.name.join(member) };
        Error::Content { file, got, wanted }
    }

    fn part(&self, bytes: &Range<u64>) -> Result<Take<File>> {
        let mut file = File::open(&self.file).map_err(Error::io("opening", &self.file))?;
        file.seek(SeekFrom::Start(bytes.start)).map_err(Error::io("reading", &self.file))?;
        Ok(file.take(bytes.end - bytes.start))
    }
}
