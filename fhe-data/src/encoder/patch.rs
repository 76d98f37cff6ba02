//! Patches: contrast normalisation, whitening, dictionary.
//!
//! A patch is a column of `3 * patch^2` numbers. Contrast: `p <- (p - mean) / sqrt(var + floor)`.
//! Whitening (ZCA): `w = V diag(1 / sqrt(ev + floor)) V' (p - mu)`. Dictionary: spherical k-means,
//! where a patch belongs to the entry `d` of largest `|d . w|`, for signs are told apart later.

use faer::MatRef;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::config::EncoderConfig;
use super::matrix::{columns, eigen, product, product_into};
use crate::{CHANNELS, IMAGE_BYTES, PLANE_BYTES, Progress, Result, SIDE_PIXELS};

/// Patches that one task works on.
const BLOCK_PATCHES: usize = 2048;

/// Dictionary and whitening in one linear map: `response = matrix * patch - offset`.
#[derive(Debug)]
pub(super) struct Filters {
    /// `[dictionary, 3 * patch^2]`, column-major.
    pub(super) matrix: Vec<f32>,
    /// `[dictionary]`.
    pub(super) offset: Vec<f32>,
}

/// Writes the patch at (`row`, `column`) to `out`, with contrast divided out.
pub(super) fn extract_into(
    out: &mut [f32],
    image: &[u8],
    config: &EncoderConfig,
    row: usize,
    column: usize,
) {
    let side = config.patch;
    let mut at = 0;
    let mut sum = 0.0;
    for channel in 0..CHANNELS {
        for y in row..row + side {
            let start = channel * PLANE_BYTES + y * SIDE_PIXELS + column;
            for &pixel in &image[start..start + side] {
                out[at] = f32::from(pixel);
                sum += out[at];
                at += 1;
            }
        }
    }
    let mean = sum / at as f32;
    let mut square = 0.0;
    for value in out.iter_mut() {
        *value -= mean;
        square += *value * *value;
    }
    let scale = 1.0 / (square / at as f32 + config.contrast_floor).sqrt();
    out.iter_mut().for_each(|value| *value *= scale);
}

/// Learns whitening and dictionary from random patches of `images`.
pub(super) fn fit(
    config: &EncoderConfig,
    images: &[u8],
    progress: &dyn Fn(Progress),
) -> Result<Filters> {
    let size = config.patch_values();
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let mut patches = sample(config, images, &mut rng);
    let (mean, whitening) = whitening(&patches, size, config.whitening_floor)?;
    for patch in patches.chunks_exact_mut(size) {
        patch.iter_mut().zip(&mean).for_each(|(p, m)| *p -= m);
    }
    let mut white = product(columns(&whitening, size), columns(&patches, size));
    drop(patches);
    white.chunks_exact_mut(size).for_each(normalise);
    let dictionary = k_means(config, &white, &mut rng, progress);
    let dictionary = MatRef::from_row_major_slice(&dictionary, config.dictionary, size);
    let matrix = product(dictionary, columns(&whitening, size));
    let mut offset = vec![0.0; config.dictionary];
    product_into(&mut offset, columns(&matrix, config.dictionary), columns(&mean, size));
    Ok(Filters { matrix, offset })
}

/// Draws patches, column by column.
fn sample(config: &EncoderConfig, images: &[u8], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let count = images.len() / IMAGE_BYTES;
    let mut patches = vec![0.0; config.fit_patches * config.patch_values()];
    for patch in patches.chunks_exact_mut(config.patch_values()) {
        let start = rng.random_range(0..count) * IMAGE_BYTES;
        let row = rng.random_range(0..config.positions());
        let column = rng.random_range(0..config.positions());
        extract_into(patch, &images[start..start + IMAGE_BYTES], config, row, column);
    }
    patches
}

#[expect(clippy::cast_possible_truncation, reason = "rounded to single precision on purpose")]
/// Returns the mean patch and the symmetric whitening matrix.
fn whitening(patches: &[f32], size: usize, floor: f32) -> Result<(Vec<f32>, Vec<f32>)> {
    let count = (patches.len() / size) as f64;
    let mut mean = vec![0.0f64; size];
    for patch in patches.chunks_exact(size) {
        mean.iter_mut().zip(patch).for_each(|(m, &p)| *m += f64::from(p) / count);
    }
    let mut covariance = vec![0.0f64; size * size];
    covariance.par_chunks_mut(size).enumerate().for_each(|(j, column)| {
        for patch in patches.chunks_exact(size) {
            let factor = (f64::from(patch[j]) - mean[j]) / count;
            for ((sum, &p), m) in column.iter_mut().zip(patch).zip(&mean) {
                *sum += factor * (f64::from(p) - m);
            }
        }
    });
    let matrix = MatRef::from_column_major_slice(&covariance, size, size);
    let (values, vectors) = eigen("whitening", matrix)?;
    let mut whitening = vec![0.0f32; size * size];
    for (j, column) in whitening.chunks_exact_mut(size).enumerate() {
        for (i, out) in column.iter_mut().enumerate() {
            let terms = values.iter().zip(vectors.chunks_exact(size));
            *out = terms
                .map(|(value, v)| v[i] * v[j] / (value.max(0.0) + f64::from(floor)).sqrt())
                .sum::<f64>() as f32;
        }
    }
    Ok((mean.iter().map(|&m| m as f32).collect(), whitening))
}

/// Scales to norm one; a vector that is all but zero stays.
fn normalise(vector: &mut [f32]) {
    let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    if norm > 1e-6 {
        vector.iter_mut().for_each(|v| *v /= norm);
    }
}

/// Returns the dictionary, `[dictionary, size]` row-major, of unit rows.
fn k_means(
    config: &EncoderConfig,
    patches: &[f32],
    rng: &mut ChaCha8Rng,
    progress: &dyn Fn(Progress),
) -> Vec<f32> {
    let (size, entries) = (config.patch_values(), config.dictionary);
    let count = patches.len() / size;
    let mut dictionary = vec![0.0; entries * size];
    for entry in dictionary.chunks_exact_mut(size) {
        entry.iter_mut().for_each(|v| *v = normal(rng));
        normalise(entry);
    }
    for round in 0..config.dictionary_rounds {
        let view = MatRef::from_row_major_slice(&dictionary, entries, size);
        let nearest: Vec<(usize, f32)> = patches
            .par_chunks(BLOCK_PATCHES * size)
            .flat_map_iter(|block| {
                let mut responses = vec![0.0; entries * block.len() / size];
                product_into(&mut responses, view, columns(block, size));
                responses.chunks_exact(entries).map(largest).collect::<Vec<_>>()
            })
            .collect();
        let mut sums = vec![0.0f32; entries * size];
        for (patch, (entry, response)) in patches.chunks_exact(size).zip(nearest) {
            let sum = &mut sums[entry * size..(entry + 1) * size];
            sum.iter_mut().zip(patch).for_each(|(s, p)| *s += response * p);
        }
        for (entry, sum) in dictionary.chunks_exact_mut(size).zip(sums.chunks_exact_mut(size)) {
            if sum.iter().all(|v| v.abs() < 1e-6) {
                let start = rng.random_range(0..count) * size;
                sum.copy_from_slice(&patches[start..start + size]);
            }
            normalise(sum);
            entry.copy_from_slice(sum);
        }
        let (done, total) = (round as u64 + 1, config.dictionary_rounds as u64);
        progress(Progress { stage: "dictionary", done, total });
    }
    dictionary
}

/// Returns where the response of largest size is, and the response.
fn largest(responses: &[f32]) -> (usize, f32) {
    let first = (0, responses[0]);
    responses
        .iter()
        .copied()
        .enumerate()
        .fold(first, |best, next| if next.1.abs() > best.1.abs() { next } else { best })
}

/// Draws a number of about normal distribution (the sum of twelve uniform ones).
pub(super) fn normal(rng: &mut impl Rng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}
