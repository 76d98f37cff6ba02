//! Features of images by a network of others, which the client runs in the clear.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, ensure};
use clap::Args;
use fhe_data::imagenet::ImageNet;
use fhe_data::{ImageSet, LabelledFile};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::rows::Rows;

/// The options of a network that makes features of images.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Features by a network of others")]
pub struct BackboneArgs {
    /// An ONNX file. Images are resized to its input, and what its last dense layer takes are the
    /// features. With --images, --idx, --imagenet, or --preset cifar10 or builtin.
    #[arg(long, value_name = "MODEL.onnx", conflicts_with_all = ["features", "dictionary"])]
    pub backbone: Option<PathBuf>,
    /// Rows and columns of its pictures, if it leaves them open.
    #[arg(long, value_name = "PIXELS", requires = "backbone")]
    pub backbone_size: Option<usize>,
    /// What is subtracted of pixels of 0 to 255: one number, or three between commas.
    #[arg(long, value_name = "MEAN", requires = "backbone_scale", allow_hyphen_values = true)]
    pub backbone_mean: Option<Channels>,
    /// What the difference is divided by.
    #[arg(long, value_name = "SCALE", requires = "backbone_mean", allow_hyphen_values = true)]
    pub backbone_scale: Option<Channels>,
    /// The name of the value that holds the features.
    #[arg(long, value_name = "NAME", requires = "backbone")]
    pub backbone_output: Option<String>,
}

/// A number for red, green and blue each, which may be the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channels([f32; 3]);

impl FromStr for Channels {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Result<Vec<f32>, _> = text.split(',').map(|x| x.trim().parse()).collect();
        match numbers.as_deref() {
            Ok(&[x]) => Ok(Self([x; 3])),
            Ok(&[r, g, b]) => Ok(Self([r, g, b])),
            _ => Err("expected one number, or three between commas"),
        }
    }
}

/// How pictures get the size of the network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sizing {
    /// The largest centred part of the input's proportions, resized.
    #[default]
    Whole,
    /// As the pictures of ImageNet: the shorter side is resized to 8/7 of the input's, and the
    /// centre cropped.
    ImageNet,
}

/// A part of the pictures.
#[derive(Debug)]
pub enum Part<'a> {
    /// In memory.
    Images(&'a ImageSet),
    /// In files.
    Files(Vec<LabelledFile>),
    /// In files or archives, whose pictures have [`Sizing::ImageNet`].
    ImageNet(&'a ImageNet),
}

/// A network and its options, as the client notes them for later images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    model: PathBuf,
    size: Option<usize>,
    normalisation: Option<[[f32; 3]; 2]>,
    output: Option<String>,
    #[serde(default)]
    sizing: Sizing,
    /// Hash of the file and of all that matters to features; empty before it was opened.
    #[serde(default)]
    id: String,
}

impl BackboneArgs {
    /// Opens the network, if one is named, for pictures that get its input's size in some way.
    ///
    /// # Errors
    /// Those of the file and of the options; always if the program was built without the feature
    /// `onnx`.
    pub fn open(&self, sizing: Sizing) -> Result<Option<Network>> {
        let Some(model) = &self.backbone else { return Ok(None) };
        // It is noted as text for later images.
        ensure!(model.to_str().is_some(), "{}: its name is no UTF-8", model.display());
        let both = self.backbone_mean.zip(self.backbone_scale);
        let normalisation = both.map(|(mean, scale)| [mean.0, scale.0]);
        let (size, output) = (self.backbone_size, self.backbone_output.clone());
        let id = String::new();
        let model = model.clone();
        Network::open(Chosen { model, size, normalisation, output, sizing, id }).map(Some)
    }
}

/// An opened network.
#[derive(Debug)]
pub struct Network {
    chosen: Chosen,
    #[cfg(feature = "onnx")]
    backbone: fhe_data::Backbone,
    #[cfg(not(feature = "onnx"))]
    never: std::convert::Infallible,
}

impl Network {
    /// Returns what the client notes of it.
    #[must_use]
    pub fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// Says which it is, on one line.
    #[must_use]
    pub fn described(&self) -> String {
        format!("backbone {}", self.chosen.id)
    }

    /// Opens what was noted; refuses another network than that of the training images.
    ///
    /// # Errors
    /// Those of the file; always if the program was built without the feature `onnx`.
    pub fn reopen(chosen: &Chosen) -> Result<Self> {
        let network = Self::open(chosen.clone())?;
        let model = chosen.model.display();
        ensure!(network.chosen.id == chosen.id, "{model}: not the network of this run's images");
        Ok(network)
    }
}

/// Names options as this program does, where the library names its own.
#[cfg(feature = "onnx")]
fn in_options(error: fhe_data::Error) -> anyhow::Error {
    let named = [
        ("option `size`", "option --backbone-size"),
        ("option `output`", "option --backbone-output"),
        ("option `normalisation`", "options --backbone-mean and --backbone-scale"),
    ];
    let text = error.to_string();
    anyhow::Error::msg(named.iter().fold(text, |text, (theirs, ours)| text.replace(theirs, ours)))
}

#[cfg(feature = "onnx")]
impl Network {
    fn open(mut chosen: Chosen) -> Result<Self> {
        use fhe_data::backbone::{Backbone, BackboneOptions, Normalisation};
        let normalisation = chosen.normalisation.map(|[mean, scale]| Normalisation { mean, scale });
        let (size, output) = (chosen.size, chosen.output.clone());
        let options = BackboneOptions { size, normalisation, output };
        let backbone = Backbone::open(&chosen.model, &options).map_err(in_options)?;
        let (height, width) = backbone.input_size();
        ensure!(
            chosen.sizing == Sizing::Whole || height == width,
            "{}: takes pictures of {height}x{width} pixels: --imagenet expects squares",
            chosen.model.display()
        );
        chosen.id = backbone.id().to_owned();
        chosen.model = std::path::absolute(&chosen.model)?;
        Ok(Self { chosen, backbone })
    }

    /// Returns the features of pictures, and their labels. Features of a former call are in a
    /// folder, in files that the content of the pictures names.
    ///
    /// # Errors
    /// Those of the network and of the files.
    pub fn features(&self, part: Part<'_>, cache: &Path) -> Result<Rows> {
        use fhe_data::Progress;
        use fhe_data::backbone::{FeatureCache, set_pictures};

        use crate::rows::Numbers;
        use crate::{own_data, progress};

        let (cache, network, stage) = (FeatureCache::open(cache)?, &self.backbone, "features");
        let (features, labels) = match part {
            Part::Images(images) => {
                let (pictures, show) = (set_pictures(images), progress::stages("images"));
                (cache.features(network, &pictures, &show)?, images.labels().to_vec())
            }
            Part::Files(files) => {
                let (total, show) = (files.len() as u64, progress::stages("images"));
                let mut files = files.into_iter().map(Ok);
                cache.labelled(network, &mut files, &|left| {
                    show(Progress { stage, done: total - left.len() as u64, total });
                })?
            }
            Part::ImageNet(set) => {
                let mut pictures = set.pictures();
                // Archives do not say how many pictures they have: then classes are counted.
                let show = progress::stages(pictures.progress().stage);
                let found = cache.labelled(network, &mut pictures, &|stream| {
                    show(Progress { stage, ..stream.progress() });
                })?;
                own_data::warn_of_skipped(pictures.skipped())?;
                found
            }
        };
        Ok(Rows::new(Numbers::Single(features), labels))
    }

    /// Returns the features of an image file, a row.
    ///
    /// # Errors
    /// Those of the file and of the network.
    pub fn features_of_file(&self, path: &Path) -> Result<Array2<f64>> {
        let features = match self.chosen.sizing {
            Sizing::Whole => self.backbone.features(&[path.to_path_buf()])?,
            Sizing::ImageNet => {
                self.backbone.features(&[fhe_data::imagenet::RawPicture::read(path, 0)?])?
            }
        };
        Ok(features.mapv(f64::from))
    }
}

#[cfg(not(feature = "onnx"))]
impl Network {
    fn open(chosen: Chosen) -> Result<Self> {
        anyhow::bail!(
            "{}: this program was built without the feature `onnx`: cargo run --release --features \
             fhe-examples/onnx --example ...",
            chosen.model.display()
        )
    }

    /// Returns the features of pictures.
    ///
    /// # Errors
    /// None: there is no network.
    pub fn features(&self, _part: Part<'_>, _cache: &Path) -> Result<Rows> {
        match self.never {}
    }

    /// Returns the features of an image file, a row.
    ///
    /// # Errors
    /// None: there is no network.
    pub fn features_of_file(&self, _path: &Path) -> Result<Array2<f64>> {
        match self.never {}
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_name_that_cannot_be_noted_is_refused_before_any_work() {
        let path = PathBuf::from(OsStr::from_bytes(b"model-\xff.onnx"));
        let args = BackboneArgs { backbone: Some(path), ..BackboneArgs::default() };
        let error = args.open(Sizing::Whole).unwrap_err().to_string();
        assert!(error.ends_with("its name is no UTF-8"), "{error}");
    }
}
