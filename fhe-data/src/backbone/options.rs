//! What is to be known of a model beside its file.

use super::BackboneError;

/// How bytes of pixels become the numbers of a network: `(rgb - mean) / scale` for each channel.
///
/// # Values
/// In units of bytes, `0..=255`: a mean of 0.485 where pixels are `0..=1` is `0.485 * 255` here.
///
/// ```
/// use fhe_data::backbone::Normalisation;
///
/// let common = Normalisation::common(127.0, 128.0);
/// assert_eq!(common, Normalisation { mean: [127.0; 3], scale: [128.0; 3] });
/// assert_eq!(common.apply(0, 255), 1.0);
/// assert_eq!(Normalisation::UNIT.apply(2, 51), 0.2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// What is subtracted of red, green and blue.
    pub mean: [f32; 3],
    /// What the difference is divided by.
    pub scale: [f32; 3],
}

impl Normalisation {
    /// Bytes as they are: `0..=255`. For models that normalise pixels themselves.
    pub const BYTES: Self = Self::common(0.0, 1.0);
    /// `0..=1`.
    pub const UNIT: Self = Self::common(0.0, 255.0);
    /// `-1..=1`.
    pub const SYMMETRIC: Self = Self::common(127.5, 127.5);
    /// Mean and standard deviation of ImageNet: mean `(0.485, 0.456, 0.406) * 255`, scale
    /// `(0.229, 0.224, 0.225) * 255`. Source: the pretrained models of torchvision.
    pub const IMAGENET: Self =
        Self { mean: [123.675, 116.28, 103.53], scale: [58.395, 57.12, 57.375] };

    /// Returns the same mean and scale for every channel.
    #[must_use]
    pub const fn common(mean: f32, scale: f32) -> Self {
        Self { mean: [mean; 3], scale: [scale; 3] }
    }

    /// Returns `(byte - mean) / scale` of a channel: 0 red, 1 green, 2 blue, and so on from red.
    #[must_use]
    pub fn apply(&self, channel: usize, byte: u8) -> f32 {
        let channel = channel % 3;
        (f32::from(byte) - self.mean[channel]) / self.scale[channel]
    }

    /// Checks that pixels become finite numbers.
    pub(super) fn check(&self) -> Result<(), BackboneError> {
        let refused = |field, values: [f32; 3], wanted| {
            Err(BackboneError::Setting { field, got: format!("{values:?}"), wanted })
        };
        if !self.mean.iter().all(|mean| mean.abs() <= 1e6) {
            return refused("normalisation.mean", self.mean, "numbers of size at most 1e6");
        }
        if !self.scale.iter().all(|scale| (1e-6..=1e6).contains(&scale.abs())) {
            return refused("normalisation.scale", self.scale, "numbers of size 1e-6 to 1e6");
        }
        Ok(())
    }
}

/// What is to be known of a model beside its file; the default takes all from the file.
///
/// ```
/// use fhe_data::backbone::{BackboneOptions, Normalisation};
///
/// let options = BackboneOptions {
///     size: Some(224),
///     normalisation: Some(Normalisation::IMAGENET),
///     ..BackboneOptions::default()
/// };
/// assert_eq!(options.output, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackboneOptions {
    /// Rows and columns of the pictures, 1 to 4096, where the model leaves them open. A size that
    /// the input's shape states must be the same.
    pub size: Option<usize>,
    /// How bytes become numbers; instead of the model's metadata, if it has such.
    pub normalisation: Option<Normalisation>,
    /// The value that holds the features: an output, or any value between. If left out, it is the
    /// input of the dense layer that the model ends in.
    pub output: Option<String>,
}
