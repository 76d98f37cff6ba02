//! Presets: a data set, an encoder, a parameter set and a recipe that belong together.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use fhe_core::Params;
use fhe_data::{EncoderConfig, Split};
use fhe_train::{HeadRecipe, Recipe};

use crate::dataset;
use crate::encoder::EncoderChoice;

/// Training images, and test images, of the built-in set.
const BUILTIN_IMAGES: usize = 1000;
/// Training images of the network on built-in images: eleven parts of a mini-batch, which two cores
/// take in less than five minutes.
const BUILTIN_DEEP_IMAGES: usize = 1408;
/// Channels of the map that the network on built-in images takes.
const BUILTIN_DEEP_CHANNELS: usize = 80;

/// What to train on, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The built-in set of drawn shapes, a linear head: no file, minutes.
    Builtin,
    /// The built-in set, a convolutional network of two trained layers: no file, minutes.
    BuiltinDeep,
    /// CIFAR-10, 50,000 images, a linear head.
    Cifar10,
    /// MNIST, 60,000 images, a convolutional network of three trained layers: an hour or two.
    MnistDeep,
    /// CIFAR-10, 50,000 images, a convolutional network of three trained layers: hours.
    Cifar10Deep,
}

impl Preset {
    /// Returns whether a run's note of what it was set up for begins with a preset: not with data
    /// of one's own.
    #[must_use]
    pub fn is_noted(note: &str) -> bool {
        let first = note.split([' ', ',']).next();
        Self::value_variants().iter().any(|preset| first == Some(&format!("{preset:?}")))
    }

    /// Returns the images: `count` of them to train on, drawn from `seed`, or the first of those in
    /// `data`. A data set without a path is looked for, and fetched.
    ///
    /// # Errors
    /// Those of the reader and of the download; options of another preset.
    pub fn images(self, data: Option<&Path>, seed: u64, count: Option<usize>) -> Result<Split> {
        match self {
            Self::Builtin | Self::BuiltinDeep => {
                let default =
                    if self == Self::Builtin { BUILTIN_IMAGES } else { BUILTIN_DEEP_IMAGES };
                ensure!(
                    data.is_none(),
                    "--data is for --preset cifar10, cifar10-deep and mnist-deep: built-in images \
                     are drawn"
                );
                let count = count.unwrap_or(default);
                Ok(fhe_data::builtin(seed, count, count))
            }
            Self::Cifar10Deep => {
                let path = data.map_or_else(dataset::cifar10, |path| Ok(path.into()))?;
                let mut split = fhe_data::cifar10::read(&path)?;
                if let Some(count) = count {
                    split.train = split.train.head(count);
                }
                Ok(split)
            }
            Self::Cifar10 => {
                ensure!(
                    count.is_none(),
                    "--count is not for --preset cifar10: it is used whole; try --preset builtin"
                );
                let path = data.map_or_else(dataset::cifar10, |path| Ok(path.into()))?;
                Ok(fhe_data::cifar10::read(&path)?)
            }
            Self::MnistDeep => {
                let path = data.map_or_else(dataset::mnist, |path| Ok(path.into()))?;
                let mut split = fhe_data::mnist::read(&path)?;
                if let Some(count) = count {
                    split.train = split.train.head(count);
                }
                Ok(split)
            }
        }
    }

    /// Returns the encoder's settings.
    #[must_use]
    pub fn encoder(self, dictionary: Option<usize>) -> EncoderChoice {
        let mut config = match self {
            Self::Builtin => EncoderConfig::small(),
            Self::BuiltinDeep => {
                EncoderConfig::convnet_small().with_channels(BUILTIN_DEEP_CHANNELS)
            }
            Self::Cifar10 => EncoderConfig::head(1600),
            // 36 places of 57 channels hold 2,047 components of the whole image.
            Self::Cifar10Deep => {
                EncoderConfig::convnet(1600).with_channels(71).with_image_channels(57)
            }
            Self::MnistDeep => return EncoderChoice::Gradients,
        };
        if let Some(dictionary) = dictionary {
            config.dictionary = dictionary;
        }
        EncoderChoice::Patches(config)
    }

    /// Returns the parameter set.
    ///
    /// # Errors
    /// None in practice: shipped sets pass their check.
    pub fn params(self) -> Result<Params> {
        Ok(match self {
            Self::Builtin | Self::Cifar10 => Params::secure128()?,
            Self::BuiltinDeep | Self::MnistDeep | Self::Cifar10Deep => Params::secure128_deep_v4()?,
        })
    }

    /// Returns the recipe. Rates of a head are for features of a mean squared norm of about 5,000.
    ///
    /// # Errors
    /// None in practice: a test reads every recipe.
    pub fn recipe(self) -> Result<Recipe> {
        match self {
            Self::Builtin | Self::Cifar10 => Ok(Recipe::Head(HeadRecipe::default())),
            Self::BuiltinDeep => {
                Ok(Recipe::from_toml(include_str!("../recipes/builtin-deep.toml"))?)
            }
            Self::MnistDeep => Ok(Recipe::from_toml(include_str!("../recipes/mnist-deep.toml"))?),
            Self::Cifar10Deep => {
                Ok(Recipe::from_toml(include_str!("../recipes/cifar10-convnet.toml"))?)
            }
        }
    }

    /// Returns the samples of a mini-batch.
    #[must_use]
    pub fn batch(self) -> usize {
        match self {
            Self::Builtin | Self::Cifar10 => 16,
            // 16 cells of an image: 128 lie side by side, and two parts make a mini-batch.
            Self::BuiltinDeep => 256,
            // Four cells: of 512 lanes, 500 make whole mini-batches.
            Self::MnistDeep | Self::Cifar10Deep => 500,
        }
    }
}

/// Reads a recipe, TOML.
///
/// # Errors
/// If the file is absent, or says something else: with the field.
pub fn read_recipe(path: &Path) -> Result<Recipe> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Recipe::from_toml(&text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_has_a_recipe_that_fits_its_parameters() {
        for preset in Preset::value_variants() {
            let params = preset.params().unwrap();
            preset.recipe().unwrap().check(&params).unwrap();
        }
    }
}
