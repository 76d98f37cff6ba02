//! Ground truths: which synset each picture of a validation set shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::classes::{Classes, is_synset, read_synsets};
use super::text;
use crate::{Error, Result};

/// Files that are looked for beside the pictures.
pub(super) const FILES: [&str; 3] =
    ["LOC_val_solution.csv", "val_annotations.txt", "ILSVRC2012_validation_ground_truth.txt"];

/// The synsets of pictures.
pub(super) struct Truth {
    file: PathBuf,
    synsets: Synsets,
    /// The synsets that numbers count.
    devkit: Vec<String>,
}

enum Synsets {
    /// By the names of files, without the ending, and the lines that say so.
    Named(BTreeMap<String, (u64, String)>),
    /// By the number in a file's name, less one.
    Numbered(Vec<(u64, String)>),
}

impl Truth {
    /// Reads a file of any of the kinds that there are. `devkit` is the list that numbers count.
    pub(super) fn read(file: &Path, devkit: Option<&Path>) -> Result<Self> {
        let lines = text::lines(file)?;
        let cells = |line: &str| -> [String; 2] {
            let mut cells = line.split([',', '\t', ' ']).map(|cell| cell.trim().to_owned());
            [cells.next(), cells.next()].map(Option::unwrap_or_default)
        };
        let mut lines = lines.into_iter().map(|(line, text)| (line, cells(&text))).peekable();
        let header = |(_, [first, _]): &(u64, [String; 2])| first == "ImageId";
        lines.next_if(header);
        let is_number = |cell: &str| cell.bytes().all(|byte| byte.is_ascii_digit());
        let mut listed = Vec::new();
        let synsets = match lines.peek() {
            Some((_, [first, second])) if second.is_empty() && is_number(first) => {
                listed = read_devkit(file, devkit)?;
                Synsets::Numbered(by_devkit(file, lines, &listed)?)
            }
            Some((_, [first, second])) if second.is_empty() && is_synset(first) => {
                let synsets = lines.map(|(line, [first, _])| (line, first));
                Synsets::Numbered(synsets.collect())
            }
            _ => Synsets::Named(named(file, lines)?),
        };
        let truth = Self { file: file.to_path_buf(), synsets, devkit: listed };
        if let Some((line, synset)) = truth.all().find(|(_, synset)| !is_synset(synset)) {
            return Err(text::wrong(file, *line, synset, "a synset: n and eight digits"));
        }
        Ok(truth)
    }

    fn all(&self) -> Box<dyn Iterator<Item = &(u64, String)> + '_> {
        match &self.synsets {
            Synsets::Named(named) => Box::new(named.values()),
            Synsets::Numbered(numbered) => Box::new(numbered.iter()),
        }
    }

    /// Returns the synsets of the development kit, or else those that there are pictures of.
    pub(super) fn classes(&self) -> Result<Classes> {
        let all = self.all().map(|(_, synset)| synset);
        Classes::new(self.devkit.iter().chain(all).collect::<BTreeSet<_>>().into_iter().cloned())
    }

    /// Returns the label of each picture.
    pub(super) fn labels(&self, pictures: &[PathBuf], classes: &Classes) -> Result<Vec<u32>> {
        if let Synsets::Numbered(lines) = &self.synsets
            && lines.len() != pictures.len()
        {
            let (got, wanted) = (lines.len(), pictures.len());
            return Err(Error::RecordCount { file: self.file.clone(), got, wanted });
        }
        let mut seen = BTreeSet::new();
        let mut labels = Vec::with_capacity(pictures.len());
        for picture in pictures {
            let stem = picture.file_stem().unwrap_or_default().to_string_lossy();
            let found = match &self.synsets {
                Synsets::Named(named) => named.get(stem.as_ref()),
                Synsets::Numbered(lines) => number(&stem).and_then(|at| lines.get(at)),
            };
            let Some((line, synset)) = found else {
                let (file, got) = (picture.clone(), "a picture without ground truth");
                return Err(Error::Content { file, got, wanted: "a line that names it" });
            };
            if !seen.insert(line) {
                let (file, wanted) = (picture.clone(), "one picture a line of ground truth");
                return Err(Error::Content { file, got: "a second picture", wanted });
            }
            let unknown = || text::wrong(&self.file, *line, synset, "one of the synsets given");
            labels.push(classes.label(synset).ok_or_else(unknown)?);
        }
        Ok(labels)
    }
}

/// Returns the line, from 0, of a picture whose name ends in its number, from 1.
fn number(stem: &str) -> Option<usize> {
    let digits = stem.rsplit('_').next()?;
    digits.parse::<usize>().ok()?.checked_sub(1)
}

/// Takes lines of a picture's name and its synset.
fn named(
    file: &Path,
    lines: impl Iterator<Item = (u64, [String; 2])>,
) -> Result<BTreeMap<String, (u64, String)>> {
    let mut named = BTreeMap::new();
    for (line, [name, synset]) in lines {
        let stem = Path::new(&name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if named.insert(stem, (line, synset)).is_some() {
            return Err(text::wrong(file, line, &name, "each picture once"));
        }
    }
    Ok(named)
}

/// Reads the list of synsets that numbers count from 1.
fn read_devkit(truth: &Path, list: Option<&Path>) -> Result<Vec<String>> {
    let Some(list) = list else {
        let got = "numbers in the development kit's order";
        let wanted = "with them a list of the synsets in that order (devkit_synsets)";
        return Err(Error::Content { file: truth.to_path_buf(), got, wanted });
    };
    let synsets: Vec<String> = read_synsets(list)?.into_iter().map(|(synset, _)| synset).collect();
    if synsets.len() == 1000 && synsets.is_sorted() {
        let (file, got) = (list.to_path_buf(), "1000 synsets in ascending order");
        let wanted = "the development kit's order, in which n02119789 is the first";
        return Err(Error::Content { file, got, wanted });
    }
    Ok(synsets)
}

/// Takes lines of such numbers.
fn by_devkit(
    file: &Path,
    lines: impl Iterator<Item = (u64, [String; 2])>,
    synsets: &[String],
) -> Result<Vec<(u64, String)>> {
    let mut read = Vec::new();
    for (line, [got, rest]) in lines {
        let place = got.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match place.and_then(|place| synsets.get(place)).filter(|_| rest.is_empty()) {
            Some(synset) => read.push((line, synset.clone())),
            None => {
                let (file, record) = (file.to_path_buf(), read.len());
                let wanted = format!("1 to {}", synsets.len());
                return Err(Error::Label { file, record, got, wanted });
            }
        }
    }
    Ok(read)
}
