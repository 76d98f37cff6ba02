//! Where pictures lie: a folder or a tar archive.

use std::fs;
use std::path::{Path, PathBuf};

use super::archive::{Archive, Member};
use super::classes::is_synset;
use super::file;
use crate::{Error, Result};

/// Endings of the names of pictures, in small or large letters.
const ENDINGS: [&str; 3] = ["jpeg", "jpg", "png"];

/// A folder or archive of pictures.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    Archive(Archive),
}

/// Where one picture lies.
#[derive(Clone, Debug)]
pub(super) enum Found {
    File(PathBuf),
    Member(Member),
}

/// The pictures of a place, and what else is there and not hidden.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    pub(super) found: Vec<Found>,
    pub(super) skipped: Vec<PathBuf>,
}

impl Place {
    /// Returns the name, for messages.
    pub(super) fn name(&self) -> &Path {
        match self {
            Self::Folder(path) => path,
            Self::Archive(archive) => &archive.name,
        }
    }

    /// Lists the pictures: in the order of their names, or of the archive.
    pub(super) fn pictures(&self) -> Result<Pictures> {
        let mut pictures = Pictures::default();
        match self {
            Self::Folder(folder) => {
                for (path, kind) in entries(folder)? {
                    if kind == Kind::File && is_picture(&path) {
                        pictures.found.push(Found::File(path));
                    } else {
                        pictures.skipped.push(path);
                    }
                }
            }
            Self::Archive(archive) => {
                for member in archive.members()? {
                    if is_picture(&member.name) {
                        pictures.found.push(Found::Member(member));
                    } else {
                        pictures.skipped.push(archive.name.join(member.name));
                    }
                }
            }
        }
        Ok(pictures)
    }

    /// Returns the path of a picture that was found here, with that of the archive before it.
    pub(super) fn path_of(&self, found: &Found) -> PathBuf {
        match found {
            Found::File(path) => path.clone(),
            Found::Member(member) => self.name().join(&member.name),
        }
    }

    /// Reads the bytes of a picture that was found here.
    pub(super) fn read(&self, found: &Found) -> Result<Vec<u8>> {
        match (self, found) {
            (Self::Archive(archive), Found::Member(member)) => archive.read(member),
            _ => file::read(&self.path_of(found)),
        }
    }
}

/// The places of classes, in ascending order of their synsets, and what else is there.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) classes: Vec<(String, Place)>,
    pub(super) skipped: Vec<PathBuf>,
}

/// Finds the places of classes in a folder or an archive: folders that are named as synsets are,
/// and archives that are, with the ending `.tar`.
pub(super) fn places(path: &Path) -> Result<Places> {
    let mut places = Places::default();
    if path.is_dir() {
        for (entry, kind) in entries(path)? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            match (kind, archive_of(&entry)) {
                (Kind::Folder, _) if is_synset(&name) => {
                    // Tiny-ImageNet has the pictures in a folder of their own.
                    let inner = entry.join("images");
                    let folder = if inner.is_dir() { inner } else { entry.clone() };
                    places.classes.push((name.into_owned(), Place::Folder(folder)));
                }
                (Kind::File, Some(synset)) => {
                    let archive = Archive::open(&entry)?;
                    places.classes.push((synset, Place::Archive(archive)));
                }
                _ => places.skipped.push(entry),
            }
        }
    } else {
        let outer = Archive::open(path)?;
        for member in outer.members()? {
            match archive_of(&member.name) {
                Some(synset) => {
                    places.classes.push((synset, Place::Archive(outer.inner(&member))));
                }
                None => places.skipped.push(outer.name.join(&member.name)),
            }
        }
    }
    places.classes.sort_by(|(left, _), (right, _)| left.cmp(right));
    let twice = places.classes.windows(2).find(|pair| pair[0].0 == pair[1].0);
    if let Some([_, (_, second)]) = twice {
        let file = second.name().to_path_buf();
        return Err(Error::Content {
            file,
            got: "a synset for the second time",
            wanted: "it once",
        });
    }
    Ok(places)
}

/// Returns the synset whose archive has this path.
fn archive_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(".tar")?;
    is_synset(name).then(|| name.to_owned())
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    ENDINGS.iter().any(|known| ending == *known)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Other,
}

/// Returns what is in a folder and not hidden, by name. Links are what they lead to.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, Kind)>> {
    let io = || Error::io("listing", folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io())? {
        let entry = entry.map_err(io())?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(io())?;
        // The folder tells what files are: only links need a look at what they lead to.
        let is = |kind: bool, linked: fn(&Path) -> bool, link: bool| kind || link && linked(&path);
        let kind = if is(kind.is_file(), Path::is_file, kind.is_symlink()) {
            Kind::File
        } else if is(kind.is_dir(), Path::is_dir, kind.is_symlink()) {
            Kind::Folder
        } else {
            Kind::Other
        };
        found.push((path, kind));
    }
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(found)
}
