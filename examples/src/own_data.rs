//! Data of the user's own: options, and what is read by them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use fhe_data::idx::{self, IdxOptions, Orientation};
use fhe_data::{
    Column, EncoderConfig, FolderOptions, Labels, Quantizer, Selection, Split, image_folder,
    read_features, read_labels, train_test_split,
};
use ndarray::{Array2, Axis};

use crate::client::Labelled;
use crate::encoder::{EncoderChoice, SampleEncoder};
use crate::{output, progress};

/// From so many training images on the encoder has the dictionary of the CIFAR-10 preset.
const MANY_IMAGES: usize = 10_000;
/// Patches of that dictionary.
const LARGE_DICTIONARY: usize = 1600;

/// Data of one's own, in place of a preset's.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Your own data, in place of --preset")]
pub struct OwnData {
    /// A folder of PNG and JPEG files of any size, one subfolder a class; or its subfolders train
    /// and test, which have one a class. Images are cropped to their largest centred square and
    /// resized to 32x32 pixels.
    #[arg(long, value_name = "FOLDER", group = "own")]
    pub images: Option<PathBuf>,
    /// A file of features, a row a sample: npy, csv, tsv or safetensors, floats or integers. With it
    /// --labels or --label-column.
    #[arg(long, value_name = "FILE", group = "own")]
    pub features: Option<PathBuf>,
    /// A folder of IDX files of grey images of any size, such as Fashion-MNIST or EMNIST. They are
    /// resized to 28x28 pixels.
    #[arg(long, value_name = "FOLDER", group = "own")]
    pub idx: Option<PathBuf>,
    /// The labels of --features: npy or safetensors (integers), csv, or text, one a line.
    #[arg(long, value_name = "FILE", requires = "features", conflicts_with = "label_column")]
    pub labels: Option<PathBuf>,
    /// The column of a csv file of features that holds the labels: its name, or its number from 1.
    #[arg(long, value_name = "COLUMN", requires = "features")]
    pub label_column: Option<String>,
    /// The tensor of a safetensors file of features, if there are several.
    #[arg(long, value_name = "NAME", requires = "features")]
    pub tensor: Option<String>,
    /// The tensor of a safetensors file of labels, if there are several.
    #[arg(long, value_name = "NAME", requires = "labels")]
    pub label_tensor: Option<String>,
    /// Whether the first line of a csv file is a header; default: if none of its cells is a number.
    #[arg(long, value_name = "YES", requires = "features")]
    pub header: Option<bool>,
    /// What the names of the IDX files begin with, such as emnist-letters-, if there are several
    /// sets.
    #[arg(long, value_name = "PREFIX", requires = "idx")]
    pub idx_prefix: Option<String>,
    /// How pixels lie in the IDX files; default: transposed if their names begin with emnist.
    #[arg(long, value_enum, requires = "idx")]
    pub orientation: Option<PixelOrder>,
    /// The part of --images or --features that is held back to test on.
    #[arg(long, value_name = "SHARE", requires = "own")]
    pub test_share: Option<f64>,
}

/// How pixels lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PixelOrder {
    /// Row by row.
    Rows,
    /// Column by column, as EMNIST is stored.
    Columns,
}

/// Part of the samples that is tested on if nothing is said.
const TEST_SHARE: f64 = 0.2;

/// What was read.
pub enum RawData {
    /// Images, and the encoder that they take.
    Images(Split, EncoderChoice),
    /// Rows of features to train on and to test on.
    Rows(Rows, Rows, Vec<String>),
}

/// Features and their labels.
pub struct Rows {
    features: Array2<f64>,
    labels: Vec<u32>,
}

impl OwnData {
    /// Returns whether any of it was asked for.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.images.is_some() || self.features.is_some() || self.idx.is_some()
    }

    /// Reads the data; `None` if there is none of one's own. `seed` decides the order of samples.
    ///
    /// # Errors
    /// Those of the readers: they name the file.
    pub fn read(&self, seed: u64, dictionary: Option<usize>) -> Result<Option<RawData>> {
        let share = self.test_share.unwrap_or(TEST_SHARE);
        if let Some(folder) = &self.images {
            let mut config = EncoderConfig::small();
            let shape = EncoderChoice::Patches(config.clone()).shape();
            let options = FolderOptions { shape, test_share: share, seed };
            let found = image_folder(folder, &options, &progress::stages("images"))?;
            if let Some(first) = found.skipped.first() {
                let count = found.skipped.len();
                let first = first.display();
                output::warning(format!(
                    "{count} files are no images by their names: {first}, ..."
                ))?;
            }
            if found.split.train.len() >= MANY_IMAGES {
                config = EncoderConfig::head(LARGE_DICTIONARY);
            }
            config.dictionary = dictionary.unwrap_or(config.dictionary);
            return Ok(Some(RawData::Images(found.split, EncoderChoice::Patches(config))));
        }
        if let Some(folder) = &self.idx {
            let orientation = match self.orientation {
                None => Orientation::ByName,
                Some(PixelOrder::Rows) => Orientation::Rows,
                Some(PixelOrder::Columns) => Orientation::Columns,
            };
            let options = IdxOptions { prefix: self.idx_prefix.clone(), orientation };
            let mut split = idx::read(folder, &options)?;
            let shape = EncoderChoice::Gradients.shape();
            // The server sees the order, which is that of the classes in some files.
            let (order, _) = train_test_split(split.train.len(), 0.0, seed)?;
            split.train = split.train.select(&order).resized(shape)?;
            split.test = split.test.resized(shape)?;
            return Ok(Some(RawData::Images(split, EncoderChoice::Gradients)));
        }
        self.rows(share, seed)
    }

    fn rows(&self, share: f64, seed: u64) -> Result<Option<RawData>> {
        let Some(path) = &self.features else { return Ok(None) };
        let column = self.label_column.as_deref().map(str::parse::<Column>).transpose()?;
        let selection =
            Selection { tensor: self.tensor.clone(), label_column: column, header: self.header };
        let features = read_features(path, &selection)?;
        let labels = match &self.labels {
            Some(path) => {
                let tensor = self.label_tensor.clone();
                read_labels(path, &Selection { tensor, ..Selection::default() })?
            }
            None => features.labels.context(
                "no labels: --labels names a file of them, or --label-column a column of a csv file",
            )?,
        };
        let Labels { labels, class_names } = labels;
        let rows = features.values.nrows();
        ensure!(
            labels.len() == rows,
            "{}: {rows} samples, and {} labels",
            path.display(),
            labels.len()
        );
        ensure!(class_names.len() > 1, "{}: one class only: expected two or more", path.display());
        let (train, test) = train_test_split(rows, share, seed)?;
        let take = |rows: &[usize]| Rows {
            features: features.values.select(Axis(0), rows),
            labels: rows.iter().map(|&i| labels[i]).collect(),
        };
        Ok(Some(RawData::Rows(take(&train), take(&test), class_names)))
    }
}

impl RawData {
    /// Returns the names of the classes.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        match self {
            Self::Images(split, _) => &split.class_names,
            Self::Rows(_, _, names) => names,
        }
    }

    /// Returns the number of samples to train on.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Images(split, _) => split.train.len(),
            Self::Rows(train, ..) => train.labels.len(),
        }
    }

    /// Returns whether there is none, which no reader returns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fits an encoder to what is trained on, without labels; samples get `n` integers at most.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn fit(&self, n: usize) -> Result<SampleEncoder> {
        match self {
            Self::Images(split, choice) => choice.clone().fit(&split.train, &progress::stages("")),
            Self::Rows(train, ..) => {
                // The constant behind the features is the bias.
                let width = (train.features.ncols() + 1).min(n);
                Ok(SampleEncoder::Features(Quantizer::fit(train.features.view(), width)?))
            }
        }
    }
}

impl Rows {
    /// Encodes the rows.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn encode(&self, encoder: &SampleEncoder) -> Result<Labelled> {
        let features = encoder.encode_rows(self.features.view())?;
        Ok(Labelled { features, labels: self.labels.clone() })
    }

    /// Returns the first rows, or all if there are fewer.
    #[must_use]
    pub fn head(&self, count: usize) -> Self {
        let count = count.min(self.labels.len());
        let features = self.features.slice(ndarray::s![..count, ..]).to_owned();
        Self { features, labels: self.labels[..count].to_vec() }
    }
}
