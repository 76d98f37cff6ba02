//! The label-free patch encoder: images to vectors of small integers.
//!
//! Patches are whitened and compared with a dictionary; responses are rectified, pooled, turned
//! into damped principal components and rounded to `-7..=7`. Nothing here sees a label.

mod component;
mod config;
mod encoded;
mod feature;
mod gradient;
mod matrix;
mod patch;
pub(crate) mod store;

pub use config::{ComponentsOver, EncoderConfig, LIMIT, MAX_COMPONENTS, WIDTH};
pub use encoded::Encoded;
pub use gradient::GradientEncoder;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

use crate::{Error, IMAGE_BYTES, ImageSet, ImageShape, Progress, Result};
use component::{Components, Moments};
use matrix::{columns, product};
use patch::Filters;
use store::Tensors;

/// Images that are worked on at a time, where each is one sample.
const BLOCK_IMAGES: usize = 512;
/// Images that are worked on at a time, where each has a feature map, which is larger.
const BLOCK_MAPS: usize = 128;
/// Identifies a stored encoder.
const KIND: &str = "fhe-data encoder";

/// A fitted encoder.
///
/// # Shapes
/// `[n, 3, 32, 32] -> [n, 2048]`, or [`EncoderConfig::width`]
///
/// # Values
/// Input `0..=255`; output `-7..=7`. Learned coefficients come first, in the order of
/// [`EncoderConfig::map_shape`]; the rest are 0, but for the last one, the configured constant.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    filters: Filters,
    components: Components,
    /// Settings and components of the whole image, if the configuration has channels for them.
    whole: Option<Box<(EncoderConfig, Components)>>,
}

impl Encoder {
    /// Fits whitening, dictionary and components to images; labels are not read.
    ///
    /// The result depends on the configuration and the images only, not on the number of threads.
    /// [`ImageSet::resized`] gives images of another shape the one that is wanted.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range, [`Error::Shape`] for images that are not
    /// 32x32 RGB, [`Error::TooFewImages`] for less than two images, [`Error::Eigen`] if an
    /// eigendecomposition does not converge.
    pub fn fit(
        config: EncoderConfig,
        images: &ImageSet,
        progress: &dyn Fn(Progress),
    ) -> Result<Self> {
        config.check()?;
        images.require_shape("Encoder::fit", ImageShape::RGB32)?;
        if images.len() < 2 {
            return Err(Error::TooFewImages { op: "Encoder::fit", got: images.len(), wanted: 2 });
        }
        let filters = patch::fit(&config, images.images(), progress)?;
        let components = fit_components(&config, &filters, images, progress)?;
        let fit_whole = |of: EncoderConfig| -> Result<_> {
            let components = fit_components(&of, &filters, images, progress)?;
            Ok(Box::new((of, components)))
        };
        let whole = config.of_whole_image().map(fit_whole).transpose()?;
        Ok(Self { config, filters, components, whole })
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Encodes 32x32 RGB images of 3072 bytes each.
    ///
    /// # Errors
    /// [`Error::PixelCount`] if `images` is not a whole number of images.
    pub fn encode(&self, images: &[u8], progress: &dyn Fn(Progress)) -> Result<Encoded> {
        let count = images.len() / IMAGE_BYTES;
        let wanted = count * IMAGE_BYTES;
        if images.len() != wanted {
            return Err(Error::PixelCount { op: "Encoder::encode", got: images.len(), wanted });
        }
        let width = self.config.width();
        let (kept, places) = (self.config.components, self.config.samples());
        let mut values = Vec::with_capacity(count * width);
        for block in images.chunks(block_bytes(&self.config)) {
            let maps = self.rows(&self.config, &self.components, block);
            let whole = self.whole.as_deref().map(|(of, components)| {
                let rows = self.rows(of, components, block);
                (of.components, rows)
            });
            for (i, map) in maps.chunks_exact(places * kept).enumerate() {
                let end = values.len() + width;
                // Channel by channel: the samples of an image are the places of a channel.
                for channel in 0..kept {
                    let of_channel = map.iter().skip(channel).step_by(kept);
                    values.extend(of_channel.map(|&y| round(y)));
                }
                if let Some((kept, rows)) = &whole {
                    values.extend(rows.iter().skip(i * kept).take(*kept).map(|&y| round(y)));
                }
                if self.config.coefficients() < width {
                    values.resize(end - 1, 0);
                    values.push(self.config.bias);
                }
                values.resize(end, 0);
            }
            let done = (values.len() / width) as u64;
            progress(Progress { stage: "encoding", done, total: count as u64 });
        }
        Encoded::new(width, values)
    }

    /// Returns the coefficients of a block of images, sample by sample, before they are rounded.
    fn rows(&self, config: &EncoderConfig, of: &Components, block: &[u8]) -> Vec<f32> {
        let pooled = feature::features(config, &self.filters, block);
        let map = columns(&of.map, config.components);
        let mut rows = product(map, columns(&pooled, config.sample_features()));
        for row in rows.chunks_exact_mut(config.components) {
            row.iter_mut().zip(&of.offset).for_each(|(y, offset)| *y -= offset);
        }
        rows
    }

    /// Writes the encoder to a file that only its owner can read.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let (entries, kept) = (self.config.dictionary, self.config.components);
        let (size, features) = (self.config.patch_values(), self.config.sample_features());
        let mut tensors = Tensors::default();
        tensors.push_f32("filters", [size, entries], &self.filters.matrix);
        tensors.push_f32("filter_offset", [1, entries], &self.filters.offset);
        tensors.push_f32("components", [features, kept], &self.components.map);
        tensors.push_f32("component_offset", [1, kept], &self.components.offset);
        if let Some((of, whole)) = self.whole.as_deref() {
            let (features, kept) = (of.sample_features(), of.components);
            tensors.push_f32("image_components", [features, kept], &whole.map);
            tensors.push_f32("image_component_offset", [1, kept], &whole.offset);
        }
        tensors.save(path, KIND, &self.config)
    }

    /// Reads an encoder that [`Encoder::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`], [`Error::Version`] or [`Error::Checksum`] for a file
    /// that is unreadable, truncated, of another version or changed; [`Error::Config`] for
    /// settings out of range.
    pub fn load(path: &Path) -> Result<Self> {
        let (tensors, config): (_, EncoderConfig) = Tensors::load(path, KIND)?;
        config.check()?;
        let (entries, kept) = (config.dictionary, config.components);
        let (size, features) = (config.patch_values(), config.sample_features());
        let filters = Filters {
            matrix: tensors.f32(path, "filters", [size, entries])?,
            offset: tensors.f32(path, "filter_offset", [1, entries])?,
        };
        let components = Components {
            map: tensors.f32(path, "components", [features, kept])?,
            offset: tensors.f32(path, "component_offset", [1, kept])?,
        };
        let read_whole = |of: EncoderConfig| -> Result<_> {
            let (features, kept) = (of.sample_features(), of.components);
            let map = tensors.f32(path, "image_components", [features, kept])?;
            let offset = tensors.f32(path, "image_component_offset", [1, kept])?;
            Ok(Box::new((of, Components { map, offset })))
        };
        let whole = config.of_whole_image().map(read_whole).transpose()?;
        Ok(Self { config, filters, components, whole })
    }
}

/// Fits components of features to images that are drawn by the seed.
fn fit_components(
    config: &EncoderConfig,
    filters: &Filters,
    images: &ImageSet,
    progress: &dyn Fn(Progress),
) -> Result<Components> {
    let chosen = choose(images, config.fit_images, config.seed);
    let mut moments = Moments::new(config.sample_features());
    let total = (chosen.len() / IMAGE_BYTES) as u64;
    let mut done = 0;
    for block in chosen.chunks(block_bytes(config)) {
        moments.add(&mut feature::features(config, filters, block));
        done += (block.len() / IMAGE_BYTES) as u64;
        progress(Progress { stage: "features", done, total });
    }
    moments.components(config, progress)
}

/// Returns the bytes of the images that are worked on at a time.
fn block_bytes(config: &EncoderConfig) -> usize {
    let images = if config.samples() == 1 { BLOCK_IMAGES } else { BLOCK_MAPS };
    images * IMAGE_BYTES
}

/// Rounds to the nearest integer of the range; what is not a number becomes 0.
#[expect(clippy::cast_possible_truncation, reason = "clamped to the range of 4 bits before")]
fn round(value: f32) -> i8 {
    value.round().clamp(-f32::from(LIMIT), f32::from(LIMIT)) as i8
}

/// Returns the pixels of `count` images, drawn without repetition.
fn choose(images: &ImageSet, count: usize, seed: u64) -> Vec<u8> {
    let mut order: Vec<usize> = (0..images.len()).collect();
    let count = count.min(order.len());
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed_c405);
    for i in 0..count {
        let j = rng.random_range(i..order.len());
        order.swap(i, j);
    }
    order[..count].iter().filter_map(|&i| images.image(i)).flatten().copied().collect()
}
