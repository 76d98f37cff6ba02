//! The settings of an encoder.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, SIDE_PIXELS};

/// Coefficients of an encoded image, at least: one polynomial's worth.
pub const WIDTH: usize = 2048;
/// Learned coefficients at most; the last one is the constant.
pub const MAX_COMPONENTS: usize = WIDTH - 1;
/// Learned coefficients of a map of channels at most.
const MAX_COEFFICIENTS: usize = 65_536;
/// Coefficients lie in `-LIMIT..=LIMIT`, so that they fit 4 bits.
pub const LIMIT: i8 = 7;

/// What the principal components are taken of.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentsOver {
    /// All features of an image at once, so that coefficients have no place in the image.
    #[default]
    Image,
    /// The `2 * dictionary` features of one pool; every pool of every image is a sample. The
    /// coefficients are a map of `components` channels.
    Channels,
}

/// Settings of the label-free patch encoder.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Rows, and columns, of a patch in pixels.
    pub patch: usize,
    /// Patches in the dictionary; each gives two features a pool.
    pub dictionary: usize,
    /// Responses between `-threshold` and `threshold` are dropped (whitened patches have variance
    /// one in every direction).
    pub threshold: f32,
    /// Rows, and columns, of the pooled map; pools lie at equal distances, to the nearest pixel.
    pub pool_grid: usize,
    /// Rows, and columns, of positions that one pool averages over; pools may overlap.
    pub pool_window: usize,
    /// Whether pooled features enter by their square root.
    pub square_root: bool,
    /// Whether features are averaged with those of the mirror image; not with
    /// [`ComponentsOver::Channels`], where half the map would repeat the other half.
    pub mirror: bool,
    /// What the components are taken of; files without this setting mean the image.
    #[serde(default)]
    pub components_over: ComponentsOver,
    /// Channels after those of the components, whose places hold the first components of the whole
    /// image; only with [`ComponentsOver::Channels`]. The components are those of
    /// [`EncoderConfig::head`] with the same dictionary: its pools, mirror images, damping, and
    /// mean square of a coefficient, whatever this configuration says of these. There are 2047 at
    /// most, and places beyond them are 0. An image is gone through three times in place of once.
    #[serde(default)]
    pub image_channels: usize,
    /// Principal components to keep. They give [`EncoderConfig::coefficients`] numbers, at most
    /// 2047; the rest are zero.
    pub components: usize,
    /// A component of variance `v` is scaled by `1 / sqrt(v + damping)`, where the features' mean
    /// variance is 1.
    pub damping: f32,
    /// Mean squared norm of an encoded image, before rounding, without the constant and
    /// [`EncoderConfig::image_channels`].
    pub mean_square_norm: f32,
    /// The last coefficient, the same for all images: the classifier's bias.
    pub bias: i8,
    /// Added to the variance of a patch (in squared grey levels) before contrast is divided out.
    pub contrast_floor: f32,
    /// Added to the variance of each direction before patches are whitened.
    pub whitening_floor: f32,
    /// Patches that the whitening and the dictionary are fitted on.
    pub fit_patches: usize,
    /// Images at most that the components are fitted on.
    pub fit_images: usize,
    /// Rounds of k-means.
    pub dictionary_rounds: usize,
    /// Rounds of subspace iteration, where the components are too many for an exact solution.
    pub subspace_rounds: usize,
    /// Seed of every choice.
    pub seed: u64,
}

impl EncoderConfig {
    /// The preset for a linear head on natural images: 2047 components of `8 * dictionary`
    /// features.
    #[must_use]
    pub fn head(dictionary: usize) -> Self {
        Self {
            patch: 6,
            dictionary,
            threshold: 0.5,
            pool_grid: 2,
            pool_window: 14,
            square_root: true,
            mirror: true,
            components_over: ComponentsOver::Image,
            image_channels: 0,
            components: MAX_COMPONENTS,
            damping: 0.03,
            mean_square_norm: 5000.0,
            bias: 4,
            contrast_floor: 10.0,
            whitening_floor: 0.1,
            fit_patches: 200_000,
            fit_images: 12_000,
            dictionary_rounds: 10,
            subspace_rounds: 4,
            seed: 0,
        }
    }

    /// The preset for trials in seconds: 128 patches, 255 components, 2,000 images.
    #[must_use]
    pub fn small() -> Self {
        Self {
            dictionary: 128,
            components: 255,
            fit_patches: 40_000,
            fit_images: 2_000,
            ..Self::head(128)
        }
    }

    /// The preset for a convolutional network on natural images: a 6x6 map of 112 channels, from
    /// the `2 * dictionary` features of each pool.
    ///
    /// Mirror images are not averaged in: encode [`crate::ImageSet::mirrored`] beside the images
    /// instead, if the network shall see them.
    #[must_use]
    pub fn convnet(dictionary: usize) -> Self {
        Self {
            pool_grid: 6,
            pool_window: 6,
            mirror: false,
            components_over: ComponentsOver::Channels,
            components: 112,
            // A hundredth of the features' total variance: components far below it would be mostly
            // noise if they were brought to the size of the first.
            damping: 0.02 * dictionary as f32,
            // A mean square of 1.6^2 for the 4032 coefficients.
            mean_square_norm: 10_665.0,
            bias: 0,
            fit_images: 2_000,
            ..Self::head(dictionary)
        }
    }

    /// The preset [`EncoderConfig::convnet`] for trials in seconds: 128 patches, 2,000 images.
    #[must_use]
    pub fn convnet_small() -> Self {
        Self { fit_patches: 40_000, ..Self::convnet(128) }
    }

    /// Keeps another number of components, with the mean square of each coefficient as it is.
    #[must_use]
    pub fn with_channels(mut self, components: usize) -> Self {
        self.mean_square_norm *= components as f32 / self.components as f32;
        self.components = components;
        self
    }

    /// Sets [`EncoderConfig::image_channels`].
    #[must_use]
    pub fn with_image_channels(mut self, channels: usize) -> Self {
        self.image_channels = channels;
        self
    }

    /// Returns channels, rows and columns of the learned coefficients: coefficient
    /// `(c * rows + y) * columns + x` is channel `c` at row `y` and column `x`.
    #[must_use]
    pub fn map_shape(&self) -> [usize; 3] {
        match self.components_over {
            ComponentsOver::Image => [self.components, 1, 1],
            ComponentsOver::Channels => {
                let channels = self.components.saturating_add(self.image_channels);
                [channels, self.pool_grid, self.pool_grid]
            }
        }
    }

    /// Returns the settings of the components of the whole image, which fill
    /// [`EncoderConfig::image_channels`]; none if there are no such channels.
    pub(crate) fn of_whole_image(&self) -> Option<Self> {
        let head = Self::head(self.dictionary);
        let places = self.image_channels.saturating_mul(self.pool_grid * self.pool_grid);
        let components = places.min(MAX_COMPONENTS).min(head.features());
        let share = components as f32 / head.components as f32;
        (places > 0).then(|| Self {
            pool_grid: head.pool_grid,
            pool_window: head.pool_window,
            mirror: head.mirror,
            components_over: head.components_over,
            image_channels: 0,
            components,
            damping: head.damping,
            mean_square_norm: share * head.mean_square_norm,
            fit_images: head.fit_images,
            ..self.clone()
        })
    }

    /// Returns the number of learned coefficients: the product of [`EncoderConfig::map_shape`].
    #[must_use]
    pub fn coefficients(&self) -> usize {
        self.map_shape().iter().fold(1, |product, &axis| product.saturating_mul(axis))
    }

    /// Returns the numbers of an encoded image: the learned coefficients, zeros and the bias in one
    /// polynomial's worth; or the learned coefficients alone, if they are more.
    #[must_use]
    pub fn width(&self) -> usize {
        if self.coefficients() < WIDTH { WIDTH } else { self.coefficients() }
    }

    /// Returns the positions of a patch along one side of the image.
    pub(crate) fn positions(&self) -> usize {
        SIDE_PIXELS + 1 - self.patch
    }

    /// Returns the numbers that make up a patch.
    pub(crate) fn patch_values(&self) -> usize {
        crate::CHANNELS * self.patch * self.patch
    }

    /// Returns the number of features of an image, before the components.
    pub(crate) fn features(&self) -> usize {
        2 * self.dictionary * self.pool_grid * self.pool_grid
    }

    /// Returns the number of samples of an image that the components see.
    pub(crate) fn samples(&self) -> usize {
        match self.components_over {
            ComponentsOver::Image => 1,
            ComponentsOver::Channels => self.pool_grid * self.pool_grid,
        }
    }

    /// Returns the number of features of one sample.
    pub(crate) fn sample_features(&self) -> usize {
        self.features() / self.samples()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`] with the first setting that is out of range.
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("patch", self.patch, 2, 16, "2 to 16"),
            ("dictionary", self.dictionary, 1, 8192, "1 to 8192"),
            ("pool_grid", self.pool_grid, 1, 8, "1 to 8"),
            ("components", self.components, 1, MAX_COMPONENTS, "1 to 2047"),
            ("fit_patches", self.fit_patches, 2, 10_000_000, "2 to 10,000,000"),
            ("fit_images", self.fit_images, 2, usize::MAX, "2 or more"),
            ("dictionary_rounds", self.dictionary_rounds, 1, 1000, "1 to 1000"),
            ("subspace_rounds", self.subspace_rounds, 1, 100, "1 to 100"),
        ];
        for (field, got, least, most, wanted) in counts {
            if !(least..=most).contains(&got) {
                return Err(Error::Config { field, got: got as f64, wanted });
            }
        }
        let window = self.pool_window;
        if window == 0 || window > self.positions() || window * self.pool_grid < self.positions() {
            let wanted = "at most the patch positions of a side, and the pools must cover them";
            return Err(Error::Config { field: "pool_window", got: window as f64, wanted });
        }
        let too_many = |wanted| {
            let got = self.components as f64;
            Err(Error::Config { field: "components", got, wanted })
        };
        if self.components_over == ComponentsOver::Channels {
            if self.mirror {
                let wanted = "false (0) where components_over is channels";
                return Err(Error::Config { field: "mirror", got: 1.0, wanted });
            }
            if self.components > 2 * self.dictionary {
                return too_many("at most 2 * dictionary");
            }
            if self.coefficients() > MAX_COEFFICIENTS {
                return too_many("with image_channels at most 65536 / pool_grid^2");
            }
        }
        if self.image_channels > 0 && self.components_over == ComponentsOver::Image {
            let got = self.image_channels as f64;
            let wanted = "0 where components_over is image";
            return Err(Error::Config { field: "image_channels", got, wanted });
        }
        if self.components > self.features() {
            return too_many("at most 2 * dictionary * pool_grid^2");
        }
        if !(-LIMIT..=LIMIT).contains(&self.bias) {
            let got = f64::from(self.bias);
            return Err(Error::Config { field: "bias", got, wanted: "-7 to 7" });
        }
        let reals = [
            ("threshold", self.threshold, 0.0),
            ("damping", self.damping, 1e-6),
            ("mean_square_norm", self.mean_square_norm, 1.0),
            ("contrast_floor", self.contrast_floor, 1e-6),
            ("whitening_floor", self.whitening_floor, 1e-6),
        ];
        for (field, got, least) in reals {
            if !(got.is_finite() && got >= least) {
                let wanted = "finite and positive";
                return Err(Error::Config { field, got: f64::from(got), wanted });
            }
        }
        Ok(())
    }
}
