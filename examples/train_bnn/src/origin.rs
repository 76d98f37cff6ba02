//! What a training depends on, as its checkpoint notes it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fhe_data::ImageSet;
use fhe_examples::bnn::{Recipe, Training, hash_of_images};
use fhe_nn::public::PublicNetworkConfig;
use serde::{Deserialize, Serialize};

/// All that decides on the weights of a training. Another one must not go on with its checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    network: PublicNetworkConfig,
    training: Training,
    seed: u64,
    /// blake3 hash of the training images and their labels.
    images: String,
    /// blake3 hash of the checkpoint that it began with, if any.
    from: Option<String>,
}

impl Origin {
    pub(crate) fn new(
        recipe: &Recipe,
        seed: u64,
        images: &ImageSet,
        from: Option<&Path>,
    ) -> Result<Self> {
        let of_file = |path: &Path| {
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            anyhow::Ok(blake3::hash(&bytes).to_hex().to_string())
        };
        Ok(Self {
            network: recipe.network.clone(),
            training: recipe.training.clone(),
            seed,
            images: hash_of_images(images),
            from: from.map(of_file).transpose()?,
        })
    }

    /// Refuses the checkpoint of another training, by what differs.
    pub(crate) fn check(&self, found: &Self) -> Result<()> {
        let Self { network, training, seed, images, from } = found;
        let differs = if *network != self.network {
            "another network".into()
        } else if training.epochs != self.training.epochs {
            format!("{} epochs, not {}", training.epochs, self.training.epochs)
        } else if *training != self.training {
            "other settings of the training".into()
        } else if *seed != self.seed {
            format!("seed {seed}, not {}", self.seed)
        } else if *images != self.images {
            "other training images".into()
        } else if *from != self.from {
            "another beginning (--from)".into()
        } else {
            return Ok(());
        };
        bail!(
            "it is of a training with {differs}: give another --out or move it away; --from begins \
             another training with its weights"
        )
    }
}
