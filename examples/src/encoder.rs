//! What turns a client's samples into integers, fitted without labels.

use std::path::Path;

use anyhow::{Result, bail};
use fhe_data::{
    Encoded, Encoder, EncoderConfig, GradientEncoder, ImageSet, ImageShape, Progress, Quantizer,
};
use ndarray::ArrayView2;

/// Settings of an image encoder that is to be fitted.
#[derive(Clone, Debug)]
pub enum EncoderChoice {
    /// Patches of colour images.
    Patches(EncoderConfig),
    /// Histograms of gradients of grey images.
    Gradients,
}

/// A fitted encoder.
#[derive(Debug)]
pub enum SampleEncoder {
    /// Patches of colour images.
    Patches(Encoder),
    /// Histograms of gradients of grey images.
    Gradients(GradientEncoder),
    /// Features of any kind.
    Features(Quantizer),
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

    /// Returns the shape of the images that the encoder takes.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        match self {
            Self::Patches(_) => ImageShape::RGB32,
            Self::Gradients => ImageShape::GREY28,
        }
    }

    /// Fits to images, without their labels.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn fit(self, images: &ImageSet, progress: &dyn Fn(Progress)) -> Result<SampleEncoder> {
        Ok(match self {
            Self::Patches(config) => {
                SampleEncoder::Patches(Encoder::fit(config, images, progress)?)
            }
            Self::Gradients => SampleEncoder::Gradients(GradientEncoder::fit(images)?),
        })
    }
}

impl SampleEncoder {
    /// Returns whether it takes rows of features, and no images.
    #[must_use]
    pub fn is_quantizer(&self) -> bool {
        matches!(self, Self::Features(_))
    }

    /// Returns the shape of the images that it takes; none for features.
    #[must_use]
    pub fn image_shape(&self) -> Option<ImageShape> {
        match self {
            Self::Patches(_) => Some(ImageShape::RGB32),
            Self::Gradients(_) => Some(ImageShape::GREY28),
            Self::Features(_) => None,
        }
    }

    /// Encodes images, given as bytes one after another.
    ///
    /// # Errors
    /// Those of the encoder; an encoder of features.
    pub fn encode_images(&self, images: &[u8], progress: &dyn Fn(Progress)) -> Result<Encoded> {
        Ok(match self {
            Self::Patches(encoder) => encoder.encode(images, progress)?,
            Self::Gradients(encoder) => encoder.encode(images)?,
            Self::Features(_) => bail!("this run was set up with features, and takes no images"),
        })
    }

    /// Encodes an image file.
    ///
    /// # Errors
    /// Those of the file and of the encoder; an encoder of features.
    pub fn encode_file(&self, path: &Path) -> Result<Encoded> {
        let Some(shape) = self.image_shape() else {
            bail!("this run was set up with features, and takes no images")
        };
        self.encode_images(&fhe_data::image_file::read(path, shape)?, &|_| {})
    }

    /// Encodes rows of features.
    ///
    /// # Errors
    /// Those of the quantizer; an encoder of images.
    pub fn encode_rows(&self, rows: ArrayView2<'_, f64>) -> Result<Encoded> {
        Ok(self.quantizer()?.encode(rows)?)
    }

    /// Returns the quantizer of features of any kind.
    ///
    /// # Errors
    /// An encoder of images.
    pub fn quantizer(&self) -> Result<&Quantizer> {
        match self {
            Self::Features(quantizer) => Ok(quantizer),
            Self::Patches(_) | Self::Gradients(_) => {
                bail!("this run was set up with images, and takes no features")
            }
        }
    }

    /// Writes the encoder.
    ///
    /// # Errors
    /// Those of the file.
    pub fn save(&self, path: &Path) -> Result<()> {
        match self {
            Self::Patches(encoder) => encoder.save(path)?,
            Self::Gradients(encoder) => encoder.save(path)?,
            Self::Features(quantizer) => quantizer.save(path)?,
        }
        Ok(())
    }

    /// Reads an encoder of any kind.
    ///
    /// # Errors
    /// Those of the file.
    pub fn load(path: &Path) -> Result<Self> {
        // What the file says of itself decides. If nothing fits, the first error tells more.
        let error = match Encoder::load(path) {
            Ok(encoder) => return Ok(Self::Patches(encoder)),
            Err(error) => error,
        };
        if let Ok(encoder) = GradientEncoder::load(path) {
            return Ok(Self::Gradients(encoder));
        }
        Quantizer::load(path).map(Self::Features).map_err(|_| error.into())
    }
}
