//! ImageNet (ILSVRC2012) as a stream of pictures, from its folders or its archives.
//!
//! The training set has 1.28 million pictures, too many for memory: [`ImageNet::pictures`] reads
//! their files one after another, and [`RawPicture::decode`] decodes one, on any thread.
//! [`Preparation`] makes images of one size of them.
//!
//! # Layouts
//! | set | what is read |
//! |---|---|
//! | training | a folder with a subfolder a synset, `n01440764/*.JPEG` |
//! | training | `ILSVRC2012_img_train.tar`: an archive of an archive a synset, `n01440764.tar` |
//! | training | a folder of such archives |
//! | validation | a folder of `ILSVRC2012_val_00000001.JPEG` and so on, and a ground truth |
//! | validation | `ILSVRC2012_img_val.tar` of the same, and a ground truth |
//! | validation | the three layouts of the training set |
//!
//! Tiny-ImageNet is read as well: `train` with `n01443537/images/*.JPEG`, and `val` with
//! `images/*.JPEG` and `val_annotations.txt`. Pictures are the files whose names end in `.JPEG`,
//! `.jpg` or `.png`; what they are is read from their contents, as one of ImageNet's pictures is a
//! PNG file by another name. Hidden files are left out.
//!
//! # Labels
//! Labels count the synsets in ascending order, from 0: the order of torchvision and of the models
//! that are passed around as ONNX files. They count the synsets of [`ImageNetOptions::classes`], or
//! else those that the set has. For a part of ImageNet, and a model for all of it, read the classes
//! from `LOC_synset_mapping.txt` by [`Classes::read`].
//!
//! # Ground truths
//! A validation set whose pictures lie side by side needs one of
//! - `LOC_val_solution.csv`, or any file of lines of a picture's name, a comma, tab or space, and
//!   its synset, where more may follow;
//! - a file of a synset a line, for the pictures by the number that their names end in;
//! - `ILSVRC2012_validation_ground_truth.txt`: a number a line. The numbers count the synsets in an
//!   order that only the development kit's `meta.mat` has. It has to be given as a text file of the
//!   1000 synsets in that order, a line each, [`ImageNetOptions::devkit_synsets`].
//!
//! # Hostile files
//! Sizes that an archive claims are compared with the bytes that there are. A picture may have
//! 64 MiB, and 256 MiB decoded. Links, devices and paths that lead out of an archive are refused.
//! An archive may lie in an archive, and no deeper. Nothing is written anywhere.

mod archive;
mod classes;
mod file;
mod pictures;
mod place;
mod preparation;
mod text;
mod truth;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Error, Result};
pub use classes::Classes;
pub use pictures::{Picture, Pictures, RawPicture};
use place::{Found, Place, Places};
pub use preparation::Preparation;
use truth::Truth;

/// What is read of a set, and by which labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageNetOptions {
    /// The classes that labels count; `None` for those that the set has, with the names of
    /// `LOC_synset_mapping.txt`, `synset_words.txt` or `words.txt` if one lies in the set's folder
    /// or beside it.
    pub classes: Option<Classes>,
    /// The first pictures of each class are read, so many at most; `None` for all.
    pub per_class: Option<usize>,
    /// The ground truth of a validation set; `None` for the file of one of the known names that
    /// lies in the set's folder or beside it.
    pub ground_truth: Option<PathBuf>,
    /// The synsets in the order that numbers of a ground truth count, a line each.
    pub devkit_synsets: Option<PathBuf>,
}

/// A training or validation set: where its pictures lie, and their classes.
///
/// ```no_run
/// use std::path::Path;
///
/// use fhe_data::imagenet::{ImageNet, ImageNetOptions, Preparation};
/// use rayon::prelude::*;
///
/// let options = ImageNetOptions { per_class: Some(10), ..ImageNetOptions::default() };
/// let set = ImageNet::train(Path::new("ILSVRC2012_img_train.tar"), &options)?;
/// let mut pictures = set.pictures();
/// loop {
///     // Files are read one after another, and decoded side by side.
///     let block: Vec<_> = pictures.by_ref().take(256).collect::<Result<_, _>>()?;
///     if block.is_empty() {
///         break;
///     }
///     let decoded = block.par_iter().map(|raw| {
///         let picture = raw.decode()?;
///         Ok((picture.label(), Preparation::IMAGENET.apply(&picture)?))
///     });
///     let images: Vec<(u32, Vec<u8>)> = decoded.collect::<Result<_, fhe_data::Error>>()?;
///     println!("{} images, {:?}", images.len(), pictures.progress());
/// }
/// # Ok::<(), fhe_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImageNet {
    classes: Classes,
    groups: Vec<Group>,
    per_class: Option<usize>,
    skipped: Vec<PathBuf>,
}

/// Pictures that are listed together.
#[derive(Clone, Debug)]
enum Group {
    /// Those of one class, and how many there are, where that is known.
    Class { place: Place, label: u32, count: Option<u64> },
    /// Those of all classes.
    Mixed { place: Place, pictures: Arc<Vec<(Found, u32)>> },
}

impl ImageNet {
    /// Opens a training set: a folder with a subfolder or an archive a synset, or an archive of
    /// archives. Folders are listed, archives are not.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Synsets`] for less than two synsets; [`Error::UnknownClass`] for one
    /// that is none of the classes given; [`Error::MissingFile`] for a subfolder without a picture;
    /// [`Error::Content`] for a synset that is there twice, and for what is refused in archives;
    /// [`Error::Field`] for an archive that ends too early; those of [`Classes::read`].
    pub fn train(path: &Path, options: &ImageNetOptions) -> Result<Self> {
        let set = Self::sorted(path, place::places(path)?, options)?;
        let empty = set.groups.iter().find_map(|group| match group {
            Group::Class { place, count: Some(0), .. } => Some(no_picture(place.name())),
            _ => None,
        });
        empty.map_or(Ok(set), Err)
    }

    /// Opens a validation set: as [`ImageNet::train`] if a subfolder or an archive is named as a
    /// synset is, and else a folder or an archive of pictures with a ground truth.
    ///
    /// # Errors
    /// Those of [`ImageNet::train`], where a class may have no picture; [`Error::MissingFile`] if
    /// there is no picture at all, or no ground truth; [`Error::Content`] if it has numbers and
    /// [`ImageNetOptions::devkit_synsets`] is missing or ascending, and for a picture that it does
    /// not have; [`Error::RecordCount`] if it goes by numbers and has not a line a picture;
    /// [`Error::Cell`] or [`Error::Label`] for what is no synset, no number, or none of the
    /// classes.
    pub fn validation(path: &Path, options: &ImageNetOptions) -> Result<Self> {
        let places = place::places(path)?;
        if !places.classes.is_empty() {
            return Self::sorted(path, places, options);
        }
        let inner = path.join("images");
        let place = if inner.is_dir() {
            Place::Folder(inner)
        } else if path.is_dir() {
            Place::Folder(path.to_path_buf())
        } else {
            Place::Archive(archive::Archive::open(path)?)
        };
        let folders = folders_of(path);
        let named = options.ground_truth.clone();
        let Some(file) = named.or_else(|| text::find(&folders, &truth::FILES)) else {
            let (place, field) = (path.to_path_buf(), format!("of {}", truth::FILES.join(", ")));
            return Err(Error::MissingFile { place, field });
        };
        let truth = Truth::read(&file, options.devkit_synsets.as_deref())?;
        let classes = classes(&file, &folders, options, || truth.classes())?;
        let place::Pictures { found, skipped } = place.pictures()?;
        if found.is_empty() {
            return Err(no_picture(place.name()));
        }
        let paths: Vec<PathBuf> = found.iter().map(|found| place.path_of(found)).collect();
        let labels = truth.labels(&paths, &classes)?;
        let mut left = vec![options.per_class.unwrap_or(usize::MAX); classes.len()];
        let mut pictures: Vec<(Found, u32)> = found.into_iter().zip(labels).collect();
        pictures.retain(|(_, label)| match left.get_mut(*label as usize) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        });
        let groups = vec![Group::Mixed { place, pictures: Arc::new(pictures) }];
        Ok(Self { classes, groups, per_class: options.per_class, skipped })
    }

    /// Takes places of one class each.
    fn sorted(path: &Path, places: Places, options: &ImageNetOptions) -> Result<Self> {
        let synsets = || places.classes.iter().map(|(synset, _)| synset.clone());
        let found = || Classes::new(synsets());
        let classes = classes(path, &folders_of(path), options, found)?;
        let mut groups = Vec::with_capacity(places.classes.len());
        for (synset, place) in places.classes {
            let Some(label) = classes.label(&synset) else {
                let name = place.name().display().to_string();
                let known = format!("the {} synsets given", classes.len());
                return Err(Error::UnknownClass { name, known });
            };
            let count = match &place {
                Place::Folder(_) => Some(place.pictures()?.found.len() as u64),
                Place::Archive(_) => None,
            };
            groups.push(Group::Class { place, label, count });
        }
        let (per_class, skipped) = (options.per_class, places.skipped);
        Ok(Self { classes, groups, per_class, skipped })
    }

    /// Returns the classes that labels count.
    #[must_use]
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Returns how many pictures there are to read; `None` for archives of one class each, which
    /// do not say so.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.counts().into_iter().sum()
    }

    /// Returns how many pictures of each class there are to read, by label; `None` for those that
    /// lie in an archive of their own, which does not say so.
    #[must_use]
    pub fn counts(&self) -> Vec<Option<u64>> {
        let most = self.per_class.map_or(u64::MAX, |most| most as u64);
        let mut counts = vec![Some(0); self.classes.len()];
        let mut add = |label: u32, more: Option<u64>| {
            if let Some(count) = counts.get_mut(label as usize) {
                *count = count.zip(more).map(|(count, more)| count + more);
            }
        };
        for group in &self.groups {
            match group {
                Group::Class { label, count, .. } => add(*label, count.map(|n| n.min(most))),
                Group::Mixed { pictures, .. } => {
                    pictures.iter().for_each(|(_, label)| add(*label, Some(1)));
                }
            }
        }
        counts
    }

    /// Returns the pictures, from the first one on.
    ///
    /// Where classes have places of their own, all pictures of a class come before the next one's,
    /// in ascending order of the synsets. Pictures of a folder come in the order of their names,
    /// and those of an archive in the archive's. The same files and options give the same order.
    #[must_use]
    pub fn pictures(&self) -> Pictures {
        Pictures::new(self)
    }
}

/// Returns the classes given, or else those that are found, with the names beside the set.
fn classes(
    place: &Path,
    folders: &[PathBuf],
    options: &ImageNetOptions,
    found: impl FnOnce() -> Result<Classes>,
) -> Result<Classes> {
    let classes = match &options.classes {
        Some(classes) => classes.clone(),
        None => {
            let mut classes = found()?;
            classes.find_names(folders)?;
            classes
        }
    };
    if classes.len() < 2 {
        return Err(Error::Synsets { place: place.to_path_buf(), got: classes.len() });
    }
    Ok(classes)
}

fn no_picture(place: &Path) -> Error {
    let field = "ending in .JPEG, .jpg or .png".into();
    Error::MissingFile { place: place.to_path_buf(), field }
}

/// Returns the folders where the files of a set are looked for: its own, and that around it.
fn folders_of(path: &Path) -> Vec<PathBuf> {
    let own = path.is_dir().then(|| path.to_path_buf());
    own.into_iter().chain(path.parent().map(Path::to_path_buf)).collect()
}
