//! Features of images by a network of others, which the client runs in the clear.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, ensure};
use clap::Args;
use fhe_data::{ImageSet, ImageShape};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// The options of a network that makes features of images.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Features by a network of others")]
pub struct BackboneArgs {
    /// An ONNX file. Images are resized to its input, and what its last dense layer takes are the
    /// features. With --images, --idx, or --preset cifar10 or builtin.
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

/// A network and its options, as the client notes them for later images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    model: PathBuf,
    size: Option<usize>,
    normalisation: Option<[[f32; 3]; 2]>,
    output: Option<String>,
    /// Hash of the file and of all that matters to features; empty before it was opened.
    #[serde(default)]
    id: String,
}

impl BackboneArgs {
    /// Opens the network, if one is named.
    ///
    /// # Errors
    /// Those of the file and of the options; always if the program was built without the feature
    /// `onnx`.
    pub fn open(&self) -> Result<Option<Network>> {
        let Some(model) = &self.backbone else { return Ok(None) };
        let both = self.backbone_mean.zip(self.backbone_scale);
        let normalisation = both.map(|(mean, scale)| [mean.0, scale.0]);
        let (size, output) = (self.backbone_size, self.backbone_output.clone());
        let id = String::new();
        Network::open(Chosen { model: model.clone(), size, normalisation, output, id }).map(Some)
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

#[cfg(feature = "onnx")]
impl Network {
    fn open(mut chosen: Chosen) -> Result<Self> {
        use fhe_data::backbone::{Backbone, BackboneOptions, Normalisation};
        let normalisation = chosen.normalisation.map(|[mean, scale]| Normalisation { mean, scale });
        let (size, output) = (chosen.size, chosen.output.clone());
        let options = BackboneOptions { size, normalisation, output };
        let backbone = Backbone::open(&chosen.model, &options)?;
        chosen.id = backbone.id().to_owned();
        chosen.model = std::path::absolute(&chosen.model)?;
        Ok(Self { chosen, backbone })
    }

    /// Returns the shape of the pictures that it takes.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        let (height, width) = self.backbone.input_size();
        ImageShape { channels: 3, height, width }
    }

    /// Returns the features of images. Those of a former call are in a folder, in files that
    /// their content names.
    ///
    /// # Errors
    /// Those of the network and of the files.
    pub fn features(&self, images: &ImageSet, cache: &Path) -> Result<Array2<f64>> {
        use fhe_data::backbone::{FeatureCache, set_pictures};
        let show = crate::progress::stages("images");
        let pictures = set_pictures(images);
        let found = FeatureCache::open(cache)?.features(&self.backbone, &pictures, &show)?;
        Ok(found.mapv(f64::from))
    }

    /// Returns the features of an image file, a row.
    ///
    /// # Errors
    /// Those of the file and of the network.
    pub fn features_of_file(&self, path: &Path) -> Result<Array2<f64>> {
        Ok(self.backbone.features(&[path.to_path_buf()])?.mapv(f64::from))
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

    /// Returns the shape of the pictures that it takes.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        match self.never {}
    }

    /// Returns the features of images.
    ///
    /// # Errors
    /// None: there is no network.
    pub fn features(&self, _images: &ImageSet, _cache: &Path) -> Result<Array2<f64>> {
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
