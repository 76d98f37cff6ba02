//! Presets: a data set, an encoder and a recipe that belong together.

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use fhe_data::{EncoderConfig, Split};
use fhe_train::Recipe;

/// What to train on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The built-in set of drawn shapes: no file, minutes.
    Builtin,
    /// CIFAR-10: 50,000 images.
    Cifar10,
}

impl Preset {
    /// Returns the images.
    ///
    /// # Errors
    /// Those of the reader; CIFAR-10 needs `data`.
    pub fn images(self, data: Option<&Path>, seed: u64) -> Result<Split> {
        match self {
            Self::Builtin => Ok(fhe_data::builtin(seed, 1000, 1000)),
            Self::Cifar10 => {
                let path = data.context(
                    "CIFAR-10 needs --data: the folder cifar-10-batches-bin or the official archive \
                     cifar-10-binary.tar.gz",
                )?;
                Ok(fhe_data::cifar10::read(path)?)
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
