//! The classes of a set: synsets of WordNet, and their names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::text;
use crate::{Error, Result};

/// Files of class names that are looked for beside the pictures: Kaggle's, Caffe's and
/// Tiny-ImageNet's.
const NAME_FILES: [&str; 3] = ["LOC_synset_mapping.txt", "synset_words.txt", "words.txt"];

/// The classes that labels count: synsets of WordNet, in ascending order.
///
/// That is the order of torchvision and of the models that are passed around as ONNX files. The
/// numbers of ILSVRC's development kit have another one.
///
/// ```
/// use fhe_data::imagenet::Classes;
///
/// let classes = Classes::new(["n01443537", "n01440764"])?;
/// assert_eq!((classes.len(), classes.label("n01443537")), (2, Some(1)));
/// assert_eq!(classes.names(), ["n01440764", "n01443537"]);
/// # Ok::<(), fhe_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    synsets: Vec<String>,
    names: Vec<String>,
}

impl Classes {
    /// Takes synsets, in any order, also repeatedly; they are their own names.
    ///
    /// # Errors
    /// [`Error::UnknownClass`] for what is no synset, as `n01440764` is.
    pub fn new<S: Into<String>>(synsets: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut synsets: Vec<String> = synsets.into_iter().map(S::into).collect();
        if let Some(name) = synsets.iter().find(|name| !is_synset(name)) {
            let known = "the synsets: n and eight digits".into();
            return Err(Error::UnknownClass { name: name.clone(), known });
        }
        synsets.sort();
        synsets.dedup();
        Ok(Self { names: synsets.clone(), synsets })
    }

    /// Reads the classes and their names from a file with one of them a line: the synset, spaces
    /// or a tab, and the name, as in `LOC_synset_mapping.txt` and `synset_words.txt`. A name may
    /// be missing, and the lines may have any order.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Field`] for a file of more than 64 MiB; [`Error::Cell`] for a line
    /// that begins with no synset, or with one that was there before.
    pub fn read(file: &Path) -> Result<Self> {
        let lines = read_synsets(file)?;
        let mut classes = Self::new(lines.iter().map(|(synset, _)| synset.clone()))?;
        classes.take_names(lines);
        Ok(classes)
    }

    /// Returns how many classes there are; a set of pictures has 2 or more.
    #[must_use]
    pub fn len(&self) -> usize {
        self.synsets.len()
    }

    /// Returns whether there are no classes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.synsets.is_empty()
    }

    /// Returns the synsets by label, ascending.
    #[must_use]
    pub fn synsets(&self) -> &[String] {
        &self.synsets
    }

    /// Returns the names by label; a class without a name has its synset there.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the label of a synset: its place in the ascending order, from 0.
    #[must_use]
    pub fn label(&self, synset: &str) -> Option<u32> {
        let place = self.synsets.binary_search_by(|known| known.as_str().cmp(synset)).ok()?;
        u32::try_from(place).ok()
    }

    /// Takes names from the first of the known files that lies in one of these folders.
    pub(super) fn find_names(&mut self, folders: &[PathBuf]) -> Result<()> {
        match text::find(folders, &NAME_FILES) {
            Some(file) => {
                self.take_names(read_synsets(&file)?);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn take_names(&mut self, lines: Vec<(String, String)>) {
        for (synset, name) in lines {
            let place = self.synsets.binary_search(&synset).ok();
            if let Some(known) = place.and_then(|place| self.names.get_mut(place))
                && !name.is_empty()
            {
                *known = name;
            }
        }
    }
}

/// Returns whether a text is a synset's name: `n` and eight digits.
pub(super) fn is_synset(text: &str) -> bool {
    text.strip_prefix('n')
        .is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Reads a file of synsets and names, a line each, in the order of the file.
pub(super) fn read_synsets(file: &Path) -> Result<Vec<(String, String)>> {
    let mut read = Vec::new();
    let mut seen = BTreeSet::new();
    for (line, text) in text::lines(file)? {
        let (synset, name) = text.split_once([' ', '\t']).unwrap_or((&text, ""));
        if !is_synset(synset) {
            return Err(text::wrong(file, line, synset, "a synset: n and eight digits"));
        }
        if !seen.insert(synset.to_owned()) {
            return Err(text::wrong(file, line, synset, "each synset once"));
        }
        read.push((synset.to_owned(), name.trim().to_owned()));
    }
    Ok(read)
}
