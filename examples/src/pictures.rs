//! Pictures of which a network of others makes features.

use std::path::Path;

use anyhow::{Context, Result};
use fhe_data::{FolderFiles, Split, train_test_split};

use crate::backbone::{Network, Part};
use crate::imagenet::Sets;
use crate::own_data::RawData;

/// Pictures to train on and to test on, and their classes.
#[derive(Debug)]
pub enum Pictures {
    /// In memory.
    Images(Split),
    /// In files, which are read one after another.
    Folder(FolderFiles),
    /// In files or archives, too, and in the order of their classes.
    ImageNet {
        /// Where they lie.
        sets: Box<Sets>,
        /// The part that is held back to test on, if there is no validation set.
        test_share: f64,
    },
}

impl Pictures {
    /// Returns the names of the classes.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        match self {
            Self::Images(split) => &split.class_names,
            Self::Folder(files) => &files.class_names,
            Self::ImageNet { sets, .. } => sets.train.classes().names(),
        }
    }

    /// Returns the features, as rows of at most `n` integers. `seed` decides the order of what lies
    /// by classes. Features of a former call are in a folder.
    ///
    /// # Errors
    /// Those of the readers and of the network; more features than fit.
    pub fn features(self, network: &Network, cache: &Path, seed: u64, n: usize) -> Result<RawData> {
        let class_names = self.class_names().to_vec();
        let of = |part| network.features(part, cache);
        let (train, test) = match self {
            Self::Images(split) => {
                (of(Part::Images(&split.train))?, of(Part::Images(&split.test))?)
            }
            Self::Folder(FolderFiles { train, test, .. }) => {
                (of(Part::Files(train))?, of(Part::Files(test))?)
            }
            Self::ImageNet { sets, test_share } => {
                let all = of(Part::ImageNet(&sets.train))?;
                // The server sees the order of the samples.
                match &sets.validation {
                    Some(validation) => {
                        let (order, _) = train_test_split(all.len(), 0.0, seed)?;
                        (all.split(order, &[]).0, of(Part::ImageNet(validation))?)
                    }
                    None => {
                        let (train, test) = train_test_split(all.len(), test_share, seed)?;
                        all.split(train, &test)
                    }
                }
            }
        };
        let quantizer = train.quantizer(n).with_context(|| network.described())?;
        Ok(RawData::Rows { train, test, class_names, quantizer })
    }
}
