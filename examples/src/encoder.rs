//! The encoders of the presets: which, and where from.

use std::path::Path;

use anyhow::Result;
use fhe_data::{Encoded, Encoder, EncoderConfig, GradientEncoder, ImageSet, ImageShape, Progress};

/// Settings of an encoder that is to be fitted.
#[derive(Clone, Debug)]
pub enum EncoderChoice {
    /// Patches of colour images.
    Patches(EncoderConfig),
    /// Histograms of gradients of grey images.
    Gradients,
}

/// A fitted encoder.
#[derive(Debug)]
pub enum ImageEncoder {
    /// Patches of colour images.
    Patches(Encoder),
    /// Histograms of gradients of grey images.
    Gradients(GradientEncoder),
}

impl EncoderChoice {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first setting at fault.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Patches(config) => Ok(config.check()?),
            Self::Gradients => Ok(()),
        }
    }

    /// Fits to images, without their labels.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn fit(self, images: &ImageSet, progress: &dyn Fn(Progress)) -> Result<ImageEncoder> {
        Ok(match self {
            Self::Patches(config) => ImageEncoder::Patches(Encoder::fit(config, images, progress)?),
            Self::Gradients => ImageEncoder::Gradients(GradientEncoder::fit(images)?),
        })
    }
}

impl ImageEncoder {
    /// Returns the shape of the images that it takes.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        match self {
            Self::Patches(_) => ImageShape::RGB32,
            Self::Gradients(_) => ImageShape::GREY28,
        }
    }

    /// Encodes images, given as bytes one after another.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn encode(&self, images: &[u8], progress: &dyn Fn(Progress)) -> Result<Encoded> {
        Ok(match self {
            Self::Patches(encoder) => encoder.encode(images, progress)?,
            Self::Gradients(encoder) => encoder.encode(images)?,
        })
    }

    /// Writes the encoder.
    ///
    /// # Errors
    /// Those of the file.
    pub fn save(&self, path: &Path) -> Result<()> {
        match self {
            Self::Patches(encoder) => encoder.save(path)?,
            Self::Gradients(encoder) => encoder.save(path)?,
        }
        Ok(())
    }

    /// Reads an encoder of either kind.
    ///
    /// # Errors
    /// Those of the file.
    pub fn load(path: &Path) -> Result<Self> {
        match Encoder::load(path) {
            Ok(encoder) => Ok(Self::Patches(encoder)),
            // What the file says of itself decides; if neither fits, the first error tells more.
            Err(error) => match GradientEncoder::load(path) {
                Ok(encoder) => Ok(Self::Gradients(encoder)),
                Err(_) => Err(error.into()),
            },
        }
    }
}
