//! ImageNet in place of a preset: options, and the sets that they name.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, value_parser};
use fhe_data::imagenet::{Classes, ImageNet, ImageNetOptions};

/// ImageNet, or any set in its layout.
// As in `own_data`: an option names both what it requires, and what excludes that.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "ImageNet, in place of --preset, with --backbone")]
pub struct ImageNetArgs {
    /// The training set: a folder with a subfolder of pictures for each synset, such as n01440764,
    /// or ILSVRC2012_img_train.tar, or a folder of the archives in it. Pictures are read one after
    /// another. The shorter side is resized to 8/7 of the network's input, and the centre cropped:
    /// of 256, the centre 224.
    #[arg(long, value_name = "PATH", group = "own", requires = "backbone")]
    pub imagenet: Option<PathBuf>,
    /// The validation set, in place of a part that is held back: as --imagenet, or a folder or
    /// ILSVRC2012_img_val.tar of pictures with a ground truth.
    #[arg(
        long,
        value_name = "PATH",
        requires = "imagenet",
        conflicts_with_all = ["images", "features", "idx", "test_share"],
    )]
    pub imagenet_val: Option<PathBuf>,
    /// The ground truth of --imagenet-val; default: LOC_val_solution.csv, val_annotations.txt or
    /// ILSVRC2012_validation_ground_truth.txt in its folder or beside it.
    #[arg(
        long,
        value_name = "FILE",
        requires = "imagenet_val",
        conflicts_with_all = ["images", "features", "idx", "test_share"],
    )]
    pub ground_truth: Option<PathBuf>,
    /// The synsets in the development kit's order, a line each: with a ground truth of its
    /// numbers.
    #[arg(
        long,
        value_name = "FILE",
        requires = "imagenet_val",
        conflicts_with_all = ["images", "features", "idx", "test_share"],
    )]
    pub devkit_synsets: Option<PathBuf>,
    /// The classes, a synset and its name a line, as in LOC_synset_mapping.txt; default: those of
    /// the training set, with names of that file, synset_words.txt or words.txt if one lies there.
    #[arg(
        long,
        value_name = "FILE",
        requires = "imagenet",
        conflicts_with_all = ["images", "features", "idx"],
    )]
    pub synsets: Option<PathBuf>,
    /// Only the first N pictures of each class, of both sets.
    #[arg(
        long,
        value_name = "N",
        requires = "imagenet",
        conflicts_with_all = ["images", "features", "idx"],
        value_parser = value_parser!(u64).range(1..=10_000_000),
    )]
    pub per_class: Option<u64>,
}

/// Where the pictures lie: listed where that is cheap, and not read.
#[derive(Clone, Debug)]
pub struct Sets {
    /// To train on.
    pub train: ImageNet,
    /// To test on, with the same classes; `None` for a part of those to train on.
    pub validation: Option<ImageNet>,
}

impl ImageNetArgs {
    /// Returns the options that were given, by their names.
    pub(crate) fn given(&self) -> [(&'static str, Option<String>); 6] {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        [
            ("imagenet", path(&self.imagenet)),
            ("imagenet-val", path(&self.imagenet_val)),
            ("ground-truth", path(&self.ground_truth)),
            ("devkit-synsets", path(&self.devkit_synsets)),
            ("synsets", path(&self.synsets)),
            ("per-class", self.per_class.map(|count| count.to_string())),
        ]
    }

    /// Opens the sets.
    ///
    /// # Errors
    /// Those of [`ImageNet::train`] and [`ImageNet::validation`]; a class that has pictures to
    /// train on and none to test on.
    pub fn open(&self) -> Result<Sets> {
        let path = self.imagenet.as_ref().context("no --imagenet")?;
        let classes = self.synsets.as_deref().map(Classes::read).transpose()?;
        let per_class = self.per_class.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let options = ImageNetOptions { classes, per_class, ..ImageNetOptions::default() };
        let train = ImageNet::train(path, &options).context("--imagenet")?;
        let Some(path) = &self.imagenet_val else { return Ok(Sets { train, validation: None }) };
        let options = ImageNetOptions {
            classes: Some(train.classes().clone()),
            ground_truth: self.ground_truth.clone(),
            devkit_synsets: self.devkit_synsets.clone(),
            ..options
        };
        let set = ImageNet::validation(path, &options).context("--imagenet-val")?;
        let counts = train.counts().into_iter().zip(set.counts());
        for (synset, (here, there)) in train.classes().synsets().iter().zip(counts) {
            if here != Some(0) && there == Some(0) {
                let path = path.display();
                bail!("--imagenet-val: {path}: no picture of the class {synset} to test on");
            }
        }
        Ok(Sets { train, validation: Some(set) })
    }
}
