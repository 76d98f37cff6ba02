//! Binarized networks with public weights: which there are, and how their images become integers.

pub mod operations;
pub mod results;

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;
use fhe_core::Params;
use fhe_data::{ImageSet, ImageShape, Split};
use fhe_nn::public::{PublicNetwork, PublicNetworkConfig, PublicSummary};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::dataset;

/// A network with public weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelName {
    /// MNIST, one hidden layer.
    Perceptron,
    /// MNIST, two binarized convolutions.
    Cnn,
    /// CIFAR-10, binarized convolutions with residual connections.
    Resnet,
    /// The same with activations of four bits.
    Resnet4,
}

/// How a network is trained in the clear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images of a step.
    pub batch: usize,
    /// Largest learning rate of Adam.
    pub rate: f64,
    /// Pixels by which an image is moved at most, in both directions.
    pub shift: usize,
    /// Whether half of the images are mirrored.
    pub mirror: bool,
    /// Whether pre-activations have the noise with which encrypted ones are read.
    #[serde(default)]
    pub noise: bool,
    /// Standard deviations of a pre-activation that its range holds on each side. The fewer they
    /// are, the less noise there is, and the more pre-activations wrap.
    #[serde(default = "range")]
    pub range: f32,
}

/// Beyond so many standard deviations on each side, one in 150,000 lies.
fn range() -> f32 {
    4.5
}

/// A network and its training.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The network.
    pub network: PublicNetworkConfig,
    /// Its training.
    pub training: Training,
}

impl Recipe {
    /// Reads a recipe, TOML.
    ///
    /// # Errors
    /// If the file is absent, or says something else: with the field.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        toml::from_str(&text).map_err(|error| {
            let what = error.to_string().trim_end().replace('\n', ", ");
            anyhow!("{}: no recipe: {what}", path.display())
        })
    }
}

impl ModelName {
    /// Returns the model's recipe.
    ///
    /// # Errors
    /// None in practice: a test reads every recipe.
    pub fn recipe(self) -> Result<Recipe> {
        Ok(toml::from_str(match self {
            Self::Perceptron => include_str!("../../models/perceptron.toml"),
            Self::Cnn => include_str!("../../models/cnn.toml"),
            Self::Resnet => include_str!("../../models/resnet.toml"),
            Self::Resnet4 => include_str!("../../models/resnet4.toml"),
        })?)
    }

    /// Returns the file of the weights that come with this repository.
    #[must_use]
    pub fn weights(self) -> PathBuf {
        let name = self.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name + ".safetensors.gz")
    }

    /// Returns the shape of the model's images.
    #[must_use]
    pub fn image_shape(self) -> ImageShape {
        match self {
            Self::Perceptron | Self::Cnn => ImageShape::GREY28,
            Self::Resnet | Self::Resnet4 => ImageShape::RGB32,
        }
    }

    /// Returns the names of the model's classes.
    #[must_use]
    pub fn class_names(self) -> [&'static str; 10] {
        match self {
            Self::Perceptron | Self::Cnn => fhe_data::mnist::CLASS_NAMES,
            Self::Resnet | Self::Resnet4 => fhe_data::cifar10::CLASS_NAMES,
        }
    }

    /// Reads the model's data set.
    ///
    /// # Errors
    /// Those of the reader and of the download.
    pub fn data(self, path: Option<&Path>) -> Result<Split> {
        Ok(match self {
            Self::Perceptron | Self::Cnn => {
                fhe_data::mnist::read(&path.map_or_else(dataset::mnist, |path| Ok(path.into()))?)?
            }
            Self::Resnet | Self::Resnet4 => fhe_data::cifar10::read(
                &path.map_or_else(dataset::cifar10, |path| Ok(path.into()))?,
            )?,
        })
    }
}

/// Checks that a network takes images of a shape, and gives a score for each of so many classes.
///
/// # Errors
/// If it takes other images, or has more or fewer scores.
pub fn check_network(
    network: &PublicNetworkConfig,
    images: ImageShape,
    classes: usize,
) -> Result<()> {
    let takes = network.input;
    ensure!(
        takes.len() == images.bytes(),
        "the network takes images of {takes}, expected {images}"
    );
    let scores = network.layers.last().map_or(0, |layer| layer.outputs);
    ensure!(
        scores == classes,
        "the network has {scores} scores, expected {classes}, one for each class"
    );
    Ok(())
}

/// Returns the blake3 hash of images, with their shape and labels.
#[must_use]
pub fn hash_of_images(images: &ImageSet) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(images.shape().to_string().as_bytes());
    hasher.update(images.images());
    for label in images.labels() {
        hasher.update(&label.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Returns the parameter set of encrypted inference: that of a name, or the usual one. The usual
/// one for several images together has a batch part, if any layer's lookups then take batches.
///
/// # Errors
/// If there is no set of that name; those of the network's summary.
pub fn parameters(name: Option<&str>, network: Option<Together<'_>>) -> Result<Params> {
    if let Some(name) = name {
        return Ok(Params::named(name)?);
    }
    let (one, many) = (Params::secure128_bnn()?, Params::secure128_bnn_v2()?);
    match network {
        Some(network) if network.images > 1 && network.summary(&many)?.list.price.batches > 0 => {
            Ok(many)
        }
        _ => Ok(one),
    }
}

/// Images that a network takes together.
#[derive(Clone, Copy, Debug)]
pub struct Together<'a> {
    /// The network.
    pub network: &'a PublicNetwork,
    /// Images of a query.
    pub images: usize,
    /// Bytes for their values.
    pub memory: u64,
}

impl Together<'_> {
    /// Returns how many of the images are evaluated together: all of one query, if their values
    /// find room.
    ///
    /// # Errors
    /// If there is no room for one of several.
    pub fn count(&self, params: &Params) -> Result<usize> {
        match self.images {
            0 | 1 => Ok(1),
            images => Ok(self.network.group(params, images, self.memory)?),
        }
    }

    /// Returns the network's summary for as many.
    ///
    /// # Errors
    /// Those of [`Together::count`] and of [`PublicNetwork::summary`].
    pub fn summary(&self, params: &Params) -> Result<PublicSummary> {
        Ok(self.network.summary(params, self.count(params)?)?)
    }
}

/// Returns images of a set as the integers that a network takes.
///
/// # Shapes
/// `[images, height * width * channels]`.
///
/// # Errors
/// If the images are not the network's, in size.
pub fn integers(
    network: &PublicNetworkConfig,
    images: &ImageSet,
    chosen: Range<usize>,
) -> Result<Array2<i64>> {
    let pixels: Vec<u8> =
        chosen.clone().filter_map(|i| images.image(i)).flatten().copied().collect();
    let pixels = Array2::from_shape_vec((chosen.len(), images.shape().bytes()), pixels)?;
    Ok(network.integers(pixels.view())?)
}

#[cfg(test)]
mod tests {
    use fhe_nn::public::PublicPlan;

    use super::*;

    #[test]
    fn the_models_of_this_repository_are_networks() {
        for model in ModelName::value_variants() {
            let (config, weights) = fhe_nn::public::read(&model.weights()).unwrap();
            assert_eq!(config.input, model.recipe().unwrap().network.input);
            PublicNetwork::new(&config, weights, 2048).unwrap();
        }
    }

    #[test]
    fn enough_images_together_have_a_set_with_batches() {
        let set = |model: ModelName, images, memory| {
            let (config, weights) = fhe_nn::public::read(&model.weights()).unwrap();
            let network = PublicNetwork::new(&config, weights, 2048).unwrap();
            let together = Together { network: &network, images, memory };
            let params = parameters(None, Some(together)).unwrap();
            let summary = together.summary(&params).unwrap();
            (params.name.clone(), summary.images, summary.list.price.batches)
        };
        let (one, many) = ("secure128-bnn-v1".to_owned(), "secure128-bnn-v2".to_owned());
        assert_eq!(set(ModelName::Cnn, 1, 3 << 30), (one.clone(), 1, 0));
        // A layer of 784 signs and one of 512, each with a table.
        assert_eq!(set(ModelName::Cnn, 50, 3 << 30), (many.clone(), 50, 2));
        assert_eq!(set(ModelName::Cnn, 200, 3 << 30).0, many);
        // Each of 128 channels has a table of its own, and fifty values of it.
        assert_eq!(set(ModelName::Perceptron, 50, 3 << 30), (one, 50, 0));
        // Two find room together, of an even number of groups.
        assert_eq!(set(ModelName::Cnn, 50, 100_000_000), (many, 2, 2));
    }

    #[test]
    fn every_recipe_is_of_a_network_of_its_images() {
        let models = ModelName::value_variants();
        for model in models {
            let network = model.recipe().unwrap().network;
            PublicPlan::new(&network).unwrap();
            assert_eq!(network.input.len(), model.image_shape().bytes(), "{model:?}");
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let recipes: Vec<PathBuf> = files.filter(|f| f.extension().unwrap() == "toml").collect();
        assert!(recipes.len() >= models.len());
        for file in recipes {
            PublicPlan::new(&Recipe::read(&file).unwrap().network).unwrap();
        }
    }
}
