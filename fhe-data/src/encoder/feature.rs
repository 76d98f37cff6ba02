//! Pooled features of an image.
//!
//! With responses r[k, y, x], the two features of entry k in pool (u, v) are the means over the
//! pool's positions of `relu(r - t)` and `relu(-r - t)`, and their square roots on request.

use rayon::prelude::*;

use super::config::EncoderConfig;
use super::matrix::{columns, product_into};
use super::patch::{Filters, extract_into};
use crate::image_set::mirror;
use crate::{IMAGE_BYTES, SIDE_PIXELS};

/// Rows of positions whose responses are held at a time, so that they stay in the cache.
const BAND_ROWS: usize = 4;

/// Returns the features of each image, `[features, n]` column-major.
pub(super) fn features(config: &EncoderConfig, filters: &Filters, images: &[u8]) -> Vec<f32> {
    let width = config.features();
    let mut out = vec![0.0; images.len() / IMAGE_BYTES * width];
    out.par_chunks_mut(width).zip(images.par_chunks_exact(IMAGE_BYTES)).for_each_init(
        || Scratch::new(config),
        |scratch, (out, image)| {
            add_image(config, filters, image, scratch, out);
            if config.mirror {
                let mirrored: Vec<u8> = mirror(image, SIDE_PIXELS).collect();
                add_image(config, filters, &mirrored, scratch, out);
            }
            let window = (config.pool_window * config.pool_window) as f32;
            let scale = if config.mirror { 0.5 / window } else { 1.0 / window };
            for value in out.iter_mut() {
                *value *= scale;
                if config.square_root {
                    *value = value.sqrt();
                }
            }
        },
    );
    out
}

/// Memory of one task.
struct Scratch {
    patches: Vec<f32>,
    responses: Vec<f32>,
}

impl Scratch {
    fn new(config: &EncoderConfig) -> Self {
        let positions = BAND_ROWS * config.positions();
        Self {
            patches: vec![0.0; positions * config.patch_values()],
            responses: vec![0.0; positions * config.dictionary],
        }
    }
}

/// Adds the features of one image to `out`, summed over positions.
fn add_image(
    config: &EncoderConfig,
    filters: &Filters,
    image: &[u8],
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let (side, entries, size) = (config.positions(), config.dictionary, config.patch_values());
    for first in (0..side).step_by(BAND_ROWS) {
        let rows = BAND_ROWS.min(side - first);
        let patches = &mut scratch.patches[..rows * side * size];
        for (at, patch) in patches.chunks_exact_mut(size).enumerate() {
            extract_into(patch, image, config, first + at / side, at % side);
        }
        let responses = &mut scratch.responses[..rows * side * entries];
        product_into(responses, columns(&filters.matrix, entries), columns(patches, size));
        for (at, response) in responses.chunks_exact(entries).enumerate() {
            for v in pools(config, first + at / side) {
                for u in pools(config, at % side) {
                    let start = (v * config.pool_grid + u) * 2 * entries;
                    let pool = &mut out[start..start + 2 * entries];
                    add_position(response, &filters.offset, config.threshold, pool);
                }
            }
        }
    }
}

/// Returns the pools along one axis that hold a position.
fn pools(config: &EncoderConfig, position: usize) -> impl Iterator<Item = usize> {
    let (grid, window) = (config.pool_grid, config.pool_window);
    let (slack, gaps) = (config.positions() - window, (grid - 1).max(1));
    (0..grid).filter(move |pool| {
        let start = (pool * slack + gaps / 2) / gaps;
        (start..start + window).contains(&position)
    })
}

/// Adds the two rectified responses of one position: all positive ones, then all negative ones.
fn add_position(response: &[f32], offset: &[f32], threshold: f32, pool: &mut [f32]) {
    let (above, below) = pool.split_at_mut(response.len());
    for (((&r, &o), above), below) in response.iter().zip(offset).zip(above).zip(below) {
        let r = r - o;
        *above += (r - threshold).max(0.0);
        *below += (-r - threshold).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_a_plain_loop() {
        let config = EncoderConfig {
            dictionary: 3,
            components: 1,
            mirror: false,
            square_root: false,
            threshold: 0.2,
            ..EncoderConfig::head(3)
        };
        let size = config.patch_values();
        let matrix: Vec<f32> =
            (0..3 * size).map(|i| ((i * 37) % 11) as f32 * 0.05 - 0.25).collect();
        let filters = Filters { matrix, offset: vec![0.1, 0.0, -0.1] };
        let image: Vec<u8> = (0..IMAGE_BYTES).map(|i| ((i * 7919) % 251) as u8).collect();
        let got = features(&config, &filters, &image);
        let mut patch = vec![0.0; size];
        let mut wanted = 0.0;
        for y in 13..27 {
            for x in 0..14 {
                extract_into(&mut patch, &image, &config, y, x);
                let r: f32 = (0..size).map(|i| patch[i] * filters.matrix[i * 3 + 2]).sum();
                wanted += (-(r + 0.1) - 0.2).max(0.0) / 196.0;
            }
        }
        // Pool (1, 0), negative half, entry 2.
        assert!((got[2 * 6 + 3 + 2] - wanted).abs() < 1e-4, "{} {wanted}", got[2 * 6 + 5]);
    }

    #[test]
    fn pools_of_six_cover_the_positions_symmetrically() {
        let config = EncoderConfig::convnet(1);
        let starts: Vec<usize> = (0..6)
            .filter_map(|pool| (0..27).find(|&at| pools(&config, at).any(|p| p == pool)))
            .collect();
        assert_eq!(starts, [0, 4, 8, 13, 17, 21]);
        for at in 0..27 {
            let here: Vec<usize> = pools(&config, at).collect();
            let there: Vec<usize> = pools(&config, 26 - at).map(|pool| 5 - pool).collect();
            assert!(!here.is_empty() && here.iter().eq(there.iter().rev()), "{at}");
        }
    }

    #[test]
    fn mirror_images_have_the_same_features() {
        let config = EncoderConfig { dictionary: 2, components: 1, ..EncoderConfig::head(2) };
        let size = config.patch_values();
        let matrix: Vec<f32> = (0..2 * size).map(|i| ((i * 5) % 7) as f32 - 3.0).collect();
        let filters = Filters { matrix, offset: vec![0.0; 2] };
        let image: Vec<u8> = (0..IMAGE_BYTES).map(|i| ((i * 7919) % 251) as u8).collect();
        let flipped: Vec<u8> = mirror(&image, SIDE_PIXELS).collect();
        assert_ne!(image, flipped);
        let (a, b) = (features(&config, &filters, &image), features(&config, &filters, &flipped));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-5));
    }
}
