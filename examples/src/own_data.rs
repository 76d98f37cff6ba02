//! Data of the user's own: options, and what is read by them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use fhe_data::idx::{self, IdxOptions, Orientation};
use fhe_data::{
    Column, EncoderConfig, Features, FolderOptions, ImageShape, Labels, Quantizer, Selection,
    Split, folder_files, image_folder, read_features, read_labels, train_test_split,
};

use crate::backbone::Sizing;
use crate::encoder::{EncoderChoice, SampleEncoder};
use crate::imagenet::ImageNetArgs;
use crate::pictures::Pictures;
use crate::rows::{Numbers, Rows};
use crate::{output, progress};

/// From so many training images on the encoder has the dictionary of the CIFAR-10 preset.
const MANY_IMAGES: usize = 10_000;
/// Patches of that dictionary.
const LARGE_DICTIONARY: usize = 1600;

/// Data of one's own, in place of a preset's.
// Where options exclude each other, the parser no longer asks for what an option requires. So an
// option names both: what it requires, and what that excludes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Your own data, in place of --preset")]
pub struct OwnData {
    /// A folder of PNG and JPEG files of any size, one subfolder a class; or its subfolders train
    /// and test, which have one a class. Images are cropped to their largest centred square and
    /// resized to 32x32 pixels.
    #[arg(long, value_name = "FOLDER", group = "own")]
    pub images: Option<PathBuf>,
    /// A file of features, a row a sample: npy, csv, tsv or safetensors, floats or integers. With
    /// it --labels or --label-column.
    #[arg(long, value_name = "FILE", group = "own")]
    pub features: Option<PathBuf>,
    /// A folder of IDX files of grey images of any size, such as Fashion-MNIST or EMNIST. They are
    /// resized to 28x28 pixels.
    #[arg(long, value_name = "FOLDER", group = "own")]
    pub idx: Option<PathBuf>,
    /// The labels of --features: npy or safetensors (integers), csv, or text, one a line.
    #[arg(
        long,
        value_name = "FILE",
        requires = "features",
        conflicts_with_all = ["images", "idx", "imagenet", "label_column"],
    )]
    pub labels: Option<PathBuf>,
    /// A file of features to test on, like --features, in place of a part that is held back. With
    /// it --test-labels or --label-column.
    #[arg(
        long,
        value_name = "FILE",
        requires = "features",
        conflicts_with_all = ["images", "idx", "imagenet", "test_share"],
    )]
    pub test_features: Option<PathBuf>,
    /// The labels of --test-features, like --labels.
    #[arg(
        long,
        value_name = "FILE",
        requires = "test_features",
        conflicts_with_all = ["images", "idx", "imagenet", "label_column"],
    )]
    pub test_labels: Option<PathBuf>,
    /// The column of a csv file of features that holds the labels: its name, or its number from 1.
    #[arg(
        long,
        value_name = "COLUMN",
        requires = "features",
        conflicts_with_all = ["images", "idx", "imagenet"],
    )]
    pub label_column: Option<String>,
    /// The tensor of a safetensors file of features, if there are several.
    #[arg(
        long,
        value_name = "NAME",
        requires = "features",
        conflicts_with_all = ["images", "idx", "imagenet"],
    )]
    pub tensor: Option<String>,
    /// The tensor of a safetensors file of labels, if there are several.
    #[arg(
        long,
        value_name = "NAME",
        requires = "labels",
        conflicts_with_all = ["images", "idx", "imagenet"],
    )]
    pub label_tensor: Option<String>,
    /// Whether the first line of a csv file is a header; default: if none of its cells is a number.
    #[arg(
        long,
        value_name = "YES",
        requires = "features",
        conflicts_with_all = ["images", "idx", "imagenet"],
    )]
    pub header: Option<bool>,
    /// What the names of the IDX files begin with, such as emnist-letters-, if there are several
    /// sets.
    #[arg(
        long,
        value_name = "PREFIX",
        requires = "idx",
        conflicts_with_all = ["images", "features", "imagenet"],
    )]
    pub idx_prefix: Option<String>,
    /// How pixels lie in the IDX files; default: transposed if their names begin with emnist.
    #[arg(
        long,
        value_enum,
        requires = "idx",
        conflicts_with_all = ["images", "features", "imagenet"],
    )]
    pub orientation: Option<PixelOrder>,
    /// The part of --images, --features or --imagenet that is held back to test on; default: 0.2.
    #[arg(long, value_name = "SHARE", requires = "own", conflicts_with = "idx")]
    pub test_share: Option<f64>,
    /// ImageNet.
    #[command(flatten)]
    pub imagenet: ImageNetArgs,
}

/// How pixels lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PixelOrder {
    /// Row by row.
    Rows,
    /// Column by column, as EMNIST is stored.
    Columns,
}

/// Classes that are named where there are many.
const NAMED: usize = 10;

/// Numbers of this size can be squared and added.
const LARGEST: f64 = 1e100;

/// Samples of a mini-batch whose scores are looked up one at a time.
const FEW: usize = 16;
/// Scores of a pass from which on batches of lookups pay: half an hour of single ones.
const MANY_SCORES: usize = 1 << 17;
/// Lookups of a batch.
const BATCHED_SCORES: usize = 1 << 16;

/// Part of the samples that is tested on if nothing is said.
const TEST_SHARE: f64 = 0.2;

/// What was read.
pub enum RawData {
    /// Images, and the encoder that they take.
    Images(Split, EncoderChoice),
    /// Rows of features, and the encoder that was fitted to those to train on.
    Rows {
        /// To train on.
        train: Rows,
        /// To test on.
        test: Rows,
        /// Names of the classes.
        class_names: Vec<String>,
        /// The encoder.
        quantizer: Quantizer,
    },
}

/// Reads a PNG or JPEG file that has the size of `shape`.
///
/// # Errors
/// Those of the file; for one of another size, with what to do.
pub fn read_unscaled(path: &Path, shape: ImageShape) -> Result<Vec<u8>> {
    let resized = |error: fhe_data::Error| match error {
        fhe_data::Error::ImageSize { .. } => {
            anyhow::Error::new(error).context("--resize takes images of another size")
        }
        error => error.into(),
    };
    fhe_data::image_file::read_unscaled(path, shape).map_err(resized)
}

impl OwnData {
    /// Returns whether any of it was asked for.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.images.is_some()
            || self.features.is_some()
            || self.idx.is_some()
            || self.imagenet.imagenet.is_some()
    }

    /// Returns how a network of others is to take pictures.
    #[must_use]
    pub fn sizing(&self) -> Sizing {
        if self.imagenet.imagenet.is_some() { Sizing::ImageNet } else { Sizing::Whole }
    }

    /// Returns the options that were given, on one line.
    #[must_use]
    pub fn described(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let given = [
            ("images", path(&self.images)),
            ("features", path(&self.features)),
            ("idx", path(&self.idx)),
            ("labels", path(&self.labels)),
            ("test-features", path(&self.test_features)),
            ("test-labels", path(&self.test_labels)),
            ("label-column", self.label_column.clone()),
            ("tensor", self.tensor.clone()),
            ("label-tensor", self.label_tensor.clone()),
            ("header", self.header.map(|header| header.to_string())),
            ("idx-prefix", self.idx_prefix.clone()),
            ("orientation", self.orientation.map(|order| format!("{order:?}").to_lowercase())),
            ("test-share", self.test_share.map(|share| share.to_string())),
        ];
        let given = given.into_iter().chain(self.imagenet.given());
        let given = given.filter_map(|(name, value)| Some(format!("{name} {}", value?)));
        given.collect::<Vec<_>>().join(", ")
    }

    /// Reads the data. `seed` decides the order of samples; these get `n` integers at most.
    ///
    /// # Errors
    /// Those of the readers: they name the file. One class only; ImageNet.
    pub fn read(&self, seed: u64, dictionary: Option<usize>, n: usize) -> Result<RawData> {
        let share = self.test_share.unwrap_or(TEST_SHARE);
        let (place, data) = match (&self.images, &self.idx, &self.features) {
            (Some(folder), ..) => (folder, read_images(folder, share, seed, dictionary)?),
            (None, Some(folder), _) => {
                let Split { train, test, class_names } = self.read_idx(folder, seed)?;
                let choice = EncoderChoice::Gradients;
                let (train, test) = (train.resized(choice.shape())?, test.resized(choice.shape())?);
                (folder, RawData::Images(Split { train, test, class_names }, choice))
            }
            (None, None, Some(file)) => (file, self.read_rows(file, share, seed, n)?),
            (None, None, None) => bail!("no data: expected --images, --features or --idx"),
        };
        several(place, data.class_names())?;
        Ok(data)
    }

    /// Finds pictures for a network of others. Those of a folder and of ImageNet are not read.
    ///
    /// # Errors
    /// As [`OwnData::read`]; features.
    pub fn pictures(&self, seed: u64) -> Result<Pictures> {
        let share = self.test_share.unwrap_or(TEST_SHARE);
        let (place, pictures) = match (&self.images, &self.idx, &self.imagenet.imagenet) {
            (Some(folder), ..) => {
                let files = folder_files(folder, share, seed)?;
                warn_of_skipped(&files.skipped)?;
                (folder, Pictures::Folder(files))
            }
            (None, Some(folder), _) => (folder, Pictures::Images(self.read_idx(folder, seed)?)),
            (None, None, Some(path)) => {
                // A share that is none is told before hours of work.
                train_test_split(1, share, seed)?;
                let sets = Box::new(self.imagenet.open()?);
                (path, Pictures::ImageNet { sets, test_share: share })
            }
            (None, None, None) => bail!("no pictures: expected --images, --idx or --imagenet"),
        };
        several(place, pictures.class_names())?;
        Ok(pictures)
    }

    fn read_idx(&self, folder: &Path, seed: u64) -> Result<Split> {
        let orientation = match self.orientation {
            None => Orientation::ByName,
            Some(PixelOrder::Rows) => Orientation::Rows,
            Some(PixelOrder::Columns) => Orientation::Columns,
        };
        let options = IdxOptions { prefix: self.idx_prefix.clone(), orientation };
        let mut split = idx::read(folder, &options)?;
        // The server sees the order, which is that of the classes in some files.
        let (order, _) = train_test_split(split.train.len(), 0.0, seed)?;
        split.train = split.train.select(&order);
        Ok(split)
    }

    /// Reads rows, their labels and the names of the classes; these may be given.
    fn read_labelled(
        &self,
        path: &Path,
        labels: Option<&Path>,
        class_names: Option<&[String]>,
    ) -> Result<(Rows, Vec<String>)> {
        let column = self.label_column.as_deref().map(str::parse::<Column>).transpose()?;
        let selection =
            Selection { tensor: self.tensor.clone(), label_column: column, header: self.header };
        let features = read_numbers(path, &selection)?;
        let found = match labels {
            Some(path) => {
                let tensor = self.label_tensor.clone();
                read_labels(path, &Selection { tensor, ..Selection::default() })?
            }
            None => features.labels.with_context(|| {
                let wanted = "--labels names a file of them, --label-column a column of a csv file";
                format!("{}: no labels: {wanted}", path.display())
            })?,
        };
        let (rows, count) = (features.values.nrows(), found.labels.len());
        ensure!(count == rows, "{}: {rows} samples, and {count} labels", path.display());
        let Labels { labels, class_names } = match class_names {
            Some(names) => {
                let known = found.with_classes(names);
                known.with_context(|| format!("{}: labels to test on", path.display()))?
            }
            None => found,
        };
        Ok((Rows::new(Numbers::Double(features.values), labels), class_names))
    }

    fn read_rows(&self, path: &Path, share: f64, seed: u64, n: usize) -> Result<RawData> {
        let (all, class_names) = self.read_labelled(path, self.labels.as_deref(), None)?;
        let (train, test) = match &self.test_features {
            // The server sees the order of the samples.
            Some(test) => {
                let (order, _) = train_test_split(all.len(), 0.0, seed)?;
                let labels = self.test_labels.as_deref();
                let (test, _) = self.read_labelled(test, labels, Some(&class_names))?;
                (all.split(order, &[]).0, test)
            }
            None => {
                let (train, test) = train_test_split(all.len(), share, seed)?;
                all.split(train, &test)
            }
        };
        let quantizer = train.quantizer(n).with_context(|| path.display().to_string())?;
        Ok(RawData::Rows { train, test, class_names, quantizer })
    }
}

/// Returns the samples of a mini-batch of a linear classifier, if nobody says how many.
///
/// Sixteen; or, where a pass has 2^17 scores and more, a 48th of the samples, at most as many as
/// fill a batch of lookups. Clear twins found mini-batches of 64 to 1,024 samples alike, as long as
/// a training has some tens of steps.
#[must_use]
pub fn batch(samples: usize, classes: usize) -> usize {
    if samples.saturating_mul(classes) < MANY_SCORES {
        return FEW;
    }
    (samples / 48).clamp(FEW, (BATCHED_SCORES / classes.max(1)).max(FEW))
}

/// Reads a folder of images.
fn read_images(
    folder: &Path,
    test_share: f64,
    seed: u64,
    dictionary: Option<usize>,
) -> Result<RawData> {
    let mut config = EncoderConfig::small();
    let shape = EncoderChoice::Patches(config.clone()).shape();
    let options = FolderOptions { shape, test_share, seed };
    let found = image_folder(folder, &options, &progress::stages("images"))?;
    warn_of_skipped(&found.skipped)?;
    if found.split.train.len() >= MANY_IMAGES {
        config = EncoderConfig::head(LARGE_DICTIONARY);
    }
    config.dictionary = dictionary.unwrap_or(config.dictionary);
    let choice = EncoderChoice::Patches(config);
    choice.check()?;
    Ok(RawData::Images(found.split, choice))
}

/// Says how many files were left out, and which is the first of them.
pub(crate) fn warn_of_skipped(skipped: &[PathBuf]) -> Result<()> {
    if let Some(first) = skipped.first() {
        let (count, first) = (skipped.len(), first.display());
        output::warning(format!("{count} files are no images by their names: {first}, ..."))?;
    }
    Ok(())
}

/// Refuses a single class.
fn several(place: &Path, class_names: &[String]) -> Result<()> {
    let one = "one class only: expected two or more";
    ensure!(class_names.len() > 1, "{}: {one}", place.display());
    Ok(())
}

/// Reads features that a quantizer takes.
///
/// # Errors
/// Those of the file; the first number that is not finite or too large, with row and column.
pub fn read_numbers(path: &Path, selection: &Selection) -> Result<Features> {
    let features = read_features(path, selection)?;
    let found = features.values.indexed_iter().find(|(_, x)| x.is_nan() || x.abs() > LARGEST);
    if let Some(((row, column), x)) = found {
        let path = path.display();
        let wanted = "expected a number of size at most 1e100";
        bail!("{path}: row {row}, column {column} (both from 0): {x}, {wanted}");
    }
    Ok(features)
}

impl RawData {
    /// Returns the names of the classes.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        match self {
            Self::Images(split, _) => &split.class_names,
            Self::Rows { class_names, .. } => class_names,
        }
    }

    /// Says what was read, on one line: numbers of samples, and the first classes.
    #[must_use]
    pub fn described(&self) -> String {
        let (train, names) = (self.len(), self.class_names());
        let test = match self {
            Self::Images(split, _) => split.test.len(),
            Self::Rows { test, .. } => test.len(),
        };
        let first = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = if names.len() > NAMED { ", ..." } else { "" };
        let classes = names.len();
        format!("{train} samples to train on, {test} to test on; {classes} classes: {first}{more}")
    }

    /// Returns the number of samples to train on.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Images(split, _) => split.train.len(),
            Self::Rows { train, .. } => train.len(),
        }
    }

    /// Returns whether there is none, which no reader returns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the blake3 hash of everything that was read.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = blake3::Hasher::new();
        for name in self.class_names() {
            hash.update(&(name.len() as u64).to_le_bytes());
            hash.update(name.as_bytes());
        }
        match self {
            Self::Images(split, _) => {
                for part in [&split.train, &split.test] {
                    hash.update(&(part.len() as u64).to_le_bytes());
                    for label in part.labels() {
                        hash.update(&label.to_le_bytes());
                    }
                    hash.update(part.images());
                }
            }
            Self::Rows { train, test, .. } => {
                train.add_to(&mut hash);
                test.add_to(&mut hash);
            }
        }
        hash.finalize().to_hex().to_string()
    }

    /// Drops the rows, which take more memory than the integers that were made of them.
    pub fn forget_rows(&mut self) {
        if let Self::Rows { train, test, .. } = self {
            (*train, *test) = Default::default();
        }
    }

    /// Fits an encoder to what is trained on, without labels.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn fit(&self) -> Result<SampleEncoder> {
        Ok(match self {
            Self::Images(split, choice) => {
                choice.clone().fit(&split.train, &progress::stages(""))?
            }
            Self::Rows { quantizer, .. } => SampleEncoder::Features(quantizer.clone()),
        })
    }
}
