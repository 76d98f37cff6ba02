//! Pictures, one after another: first the bytes of their files, then their pixels.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::vec::IntoIter;

use image::RgbImage;

use super::place::{Found, Place};
use super::{Group, ImageNet, file};
use crate::{Progress, Result, image_file};

/// Files at most that [`Pictures::skipped`] names.
const MOST_SKIPPED: usize = 1000;

/// The file of a picture, not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPicture {
    file: PathBuf,
    label: u32,
    bytes: Vec<u8>,
}

impl RawPicture {
    /// Reads the file of a picture that is in no set, under a label.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); [`Error::Field`](crate::Error::Field) for a file of more
    /// than 64 MiB.
    pub fn read(file: &Path, label: u32) -> Result<Self> {
        Ok(Self { file: file.to_path_buf(), label, bytes: file::read(file)? })
    }

    /// Returns where the file lies; for one in an archive that is the archive's path, and then the
    /// path in it.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the label, which counts [`ImageNet::classes`].
    #[must_use]
    pub fn label(&self) -> u32 {
        self.label
    }

    /// Returns the bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Decodes the file, JPEG or PNG by its contents.
    ///
    /// Grey pictures become RGB, an orientation that the file states is applied, and transparent
    /// ones lie on black or white, as [`image_file::read`](crate::image_file::read) does. JPEG files
    /// in cyan, magenta, yellow and black become RGB by `R = C K / 255` and so on, of the values as
    /// stored, in which 255 is no ink; no colour profile is applied.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) for what is no image that is known, is damaged, or has
    /// more than 256 MiB decoded; [`Error::CutImage`](crate::Error::CutImage) for a JPEG file that
    /// ends within its image. Damage to the compressed pixels of a JPEG file may go unnoticed: it
    /// has no checksum.
    pub fn decode(&self) -> Result<Picture> {
        let pixels = image_file::rgb(&self.file, &self.bytes)?;
        Ok(Picture { file: self.file.clone(), label: self.label, pixels })
    }
}

/// A picture of any size, in RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    file: PathBuf,
    label: u32,
    pixels: RgbImage,
}

impl Picture {
    /// Returns where the file lies, as [`RawPicture::file`].
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the label, which counts [`ImageNet::classes`].
    #[must_use]
    pub fn label(&self) -> u32 {
        self.label
    }

    /// Returns the number of rows: 1 or more.
    #[must_use]
    pub fn height(&self) -> usize {
        self.pixels.height() as usize
    }

    /// Returns the number of columns: 1 or more.
    #[must_use]
    pub fn width(&self) -> usize {
        self.pixels.width() as usize
    }

    /// Returns the pixels, `[height, width, 3]`: red, green and blue, each in `0..=255`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        self.pixels.as_raw()
    }

    pub(super) fn image(&self) -> &RgbImage {
        &self.pixels
    }
}

/// The pictures of a set, in order; [`ImageNet::pictures`] says which.
///
/// One file is in memory at a time, and the names of one class, or of a validation set. After an
/// error the next call goes on with the next picture, or with the next class if a folder or an
/// archive could not be listed.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Field`](crate::Error::Field) for a file of more than
/// 64 MiB, and for an archive that ends too early; [`Error::Content`](crate::Error::Content) for
/// what is refused in archives.
#[derive(Debug)]
pub struct Pictures {
    groups: IntoIter<Group>,
    /// What is left of the group that is being read.
    current: Option<(Place, VecDeque<(Found, u32)>)>,
    per_class: usize,
    total: Option<u64>,
    classes: u64,
    done: u64,
    skipped: Vec<PathBuf>,
}

impl Pictures {
    pub(super) fn new(set: &ImageNet) -> Self {
        let mut pictures = Self {
            groups: set.groups.clone().into_iter(),
            current: None,
            per_class: set.per_class.unwrap_or(usize::MAX),
            total: set.total(),
            classes: set.groups.len() as u64,
            done: 0,
            skipped: Vec::new(),
        };
        pictures.leave_out(set.skipped.clone());
        pictures
    }

    /// Returns how far the pictures have come: in pictures if their number is known, and else in
    /// classes.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self.total {
            Some(total) => Progress { stage: "pictures", done: self.done, total },
            None => {
                let left = self.groups.len() as u64 + u64::from(self.current.is_some());
                Progress { stage: "classes", done: self.classes - left, total: self.classes }
            }
        }
    }

    /// Returns the files and folders that were found up to here, are not hidden, and are no
    /// pictures by their names: the first thousand.
    #[must_use]
    pub fn skipped(&self) -> &[PathBuf] {
        &self.skipped
    }

    fn leave_out(&mut self, files: Vec<PathBuf>) {
        let room = MOST_SKIPPED.saturating_sub(self.skipped.len());
        self.skipped.extend(files.into_iter().take(room));
    }

    /// Lists the pictures of a group.
    fn open(&mut self, group: Group) -> Result<()> {
        let (place, pictures) = match group {
            Group::Class { place, label, .. } => {
                let listed = place.pictures()?;
                self.leave_out(listed.skipped);
                let first = listed.found.into_iter().take(self.per_class);
                (place, first.map(|found| (found, label)).collect())
            }
            Group::Mixed { place, pictures } => (place, pictures.iter().cloned().collect()),
        };
        self.current = Some((place, pictures));
        Ok(())
    }
}

impl Iterator for Pictures {
    type Item = Result<RawPicture>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((place, pictures)) = &mut self.current {
                if let Some((found, label)) = pictures.pop_front() {
                    self.done += 1;
                    let (file, read) = (place.path_of(&found), place.read(&found));
                    return Some(read.map(|bytes| RawPicture { file, label, bytes }));
                }
                self.current = None;
            }
            let group = self.groups.next()?;
            if let Err(error) = self.open(group) {
                return Some(Err(error));
            }
        }
    }
}
