//! Presets: a data set, an encoder and a recipe that belong together.

use std::path::Path;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use fhe_data::{EncoderConfig, Split};
use fhe_train::Recipe;

use crate::cifar10;

/// Training images, and test images, of the built-in set.
const BUILTIN_IMAGES: usize = 1000;

/// What to train on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The built-in set of drawn shapes: no file, minutes.
    Builtin,
    /// CIFAR-10: 50,000 images.
    Cifar10,
}

impl Preset {
    /// Returns the images: `count` drawn ones from `seed`, or those of CIFAR-10 in `data`. CIFAR-10
    /// without a path is looked for, and fetched.
    ///
    /// # Errors
    /// Those of the reader and of the download; options of the other preset.
    pub fn images(self, data: Option<&Path>, seed: u64, count: Option<usize>) -> Result<Split> {
        match self {
            Self::Builtin => {
                ensure!(
                    data.is_none(),
                    "--data is for --preset cifar10: built-in images are drawn"
                );
                let count = count.unwrap_or(BUILTIN_IMAGES);
                Ok(fhe_data::builtin(seed, count, count))
            }
            Self::Cifar10 => {
                ensure!(
                    count.is_none(),
                    "--images is for --preset builtin: CIFAR-10 is used whole"
                );
                let path = data.map_or_else(cifar10::find, |path| Ok(path.into()))?;
                Ok(fhe_data::cifar10::read(&path)?)
            }
        }
    }

    /// Returns the encoder's configuration.
    #[must_use]
    pub fn encoder(self, dictionary: Option<usize>) -> EncoderConfig {
        let mut config = match self {
            Self::Builtin => EncoderConfig::small(),
            Self::Cifar10 => EncoderConfig::head(1600),
        };
        if let Some(dictionary) = dictionary {
            config.dictionary = dictionary;
        }
        config
    }

    /// Returns the recipe. Rates are for features of a mean squared norm of about 5,000.
    #[must_use]
    pub fn recipe(self) -> Recipe {
        Recipe::default()
    }

    /// Returns the samples of a mini-batch.
    #[must_use]
    pub fn batch(self) -> usize {
        16
    }
}
