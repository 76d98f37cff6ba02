//! Histograms of gradients: a label-free encoder for small grey images.

use std::path::Path;

use rayon::prelude::*;

use super::Encoded;
use super::config::{LIMIT, WIDTH};
use super::store::Tensors;
use crate::{Error, ImageSet, ImageShape, Result};

/// Identifies a stored encoder.
const KIND: &str = "fhe-data gradient encoder";
/// Orientations of a gradient, signed: a full turn.
const BINS: usize = 8;
/// Rows, and columns, of pixels from one cell to the next.
const CELL: usize = 4;
/// Cells along one side of 28x28 pixels.
const CELLS: usize = SIDE / CELL;
const SIDE: usize = ImageShape::GREY28.width;
/// Numbers of an encoded image.
const FEATURES: usize = BINS * CELLS * CELLS;
/// Integers to a unit of the square roots: two standard deviations of MNIST are 4 integers.
const SCALE: f32 = 75.0;

/// Histograms of oriented gradients (Dalal and Triggs, CVPR 2005) of 28x28 grey images: 8 signed
/// orientations in 7x7 overlapping cells, normalised to a sum of one, square roots taken, centred
/// on the training images' mean.
///
/// # Shapes
/// `[n, 1, 28, 28] -> [n, 2048]`: 392 numbers in the order orientation, row, column; then zeros.
///
/// # Values
/// Input `0..=255`, output `-7..=7`.
///
/// ```
/// use fhe_data::{GradientEncoder, ImageSet, ImageShape};
/// let pixels = (0..2 * 784).map(|i| (i % 251) as u8).collect();
/// let images = ImageSet::with_shape("ramps", ImageShape::GREY28, pixels, vec![0, 1])?;
/// let encoder = GradientEncoder::fit(&images)?;
/// assert_eq!(encoder.encode(images.images())?.len(), 2);
/// # Ok::<(), fhe_data::Error>(())
/// ```
#[derive(Debug)]
pub struct GradientEncoder {
    mean: Vec<f32>,
}

impl GradientEncoder {
    /// Fits the mean to images; labels are not read. [`ImageSet::resized`] gives images of another
    /// shape the one that is wanted.
    ///
    /// # Errors
    /// [`Error::Shape`] for images that are not 28x28 grey, [`Error::TooFewImages`] for none.
    pub fn fit(images: &ImageSet) -> Result<Self> {
        let op = "GradientEncoder::fit";
        images.require_shape(op, ImageShape::GREY28)?;
        if images.is_empty() {
            return Err(Error::TooFewImages { op, got: 0, wanted: 1 });
        }
        let mut mean = vec![0.0; FEATURES];
        for image in images.images().chunks_exact(SIDE * SIDE) {
            mean.iter_mut().zip(histograms(image)).for_each(|(m, x)| *m += x);
        }
        mean.iter_mut().for_each(|m| *m /= images.len() as f32);
        Ok(Self { mean })
    }

    /// Encodes 28x28 grey images of 784 bytes each.
    ///
    /// # Errors
    /// [`Error::PixelCount`] if `images` is not a whole number of images.
    pub fn encode(&self, images: &[u8]) -> Result<Encoded> {
        let wanted = images.len() / (SIDE * SIDE) * SIDE * SIDE;
        if images.len() != wanted {
            let op = "GradientEncoder::encode";
            return Err(Error::PixelCount { op, got: images.len(), wanted });
        }
        let rows: Vec<Vec<i8>> = images
            .par_chunks_exact(SIDE * SIDE)
            .map(|image| {
                let centred = histograms(image).into_iter().zip(&self.mean).map(|(x, m)| x - m);
                let mut row: Vec<i8> = centred.map(|x| super::round(SCALE * x)).collect();
                row.resize(WIDTH, 0);
                row
            })
            .collect();
        debug_assert!(rows.iter().flatten().all(|x| (-LIMIT..=LIMIT).contains(x)));
        Encoded::new(WIDTH, rows.concat())
    }

    /// Writes the encoder to a file that only its owner can read.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors = Tensors::default();
        tensors.push_f32("mean", [1, FEATURES], &self.mean);
        tensors.save(path, KIND, &())
    }

    /// Reads an encoder that [`GradientEncoder::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`], [`Error::Version`] or [`Error::Checksum`].
    pub fn load(path: &Path) -> Result<Self> {
        let (tensors, ()) = Tensors::load(path, KIND)?;
        Ok(Self { mean: tensors.f32(path, "mean", [1, FEATURES])? })
    }
}

/// Square roots of the cells' histograms, whose sum is one.
fn histograms(image: &[u8]) -> Vec<f32> {
    let pixel = |y: isize, x: isize| {
        let inside = 0..SIDE as isize;
        if inside.contains(&y) && inside.contains(&x) {
            f32::from(image[y as usize * SIDE + x as usize]) / 255.0
        } else {
            0.0
        }
    };
    let mut sums = vec![0.0f32; FEATURES];
    for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
        let (row, column) = (y as isize, x as isize);
        let dx = pixel(row, column + 1) - pixel(row, column - 1);
        let dy = pixel(row + 1, column) - pixel(row - 1, column);
        let turn = dy.atan2(dx) / std::f32::consts::TAU * BINS as f32;
        let angle = turn.rem_euclid(BINS as f32);
        // The nearer of two neighbouring orientations gets more.
        let (low, share) = (angle.floor() as usize % BINS, angle.fract());
        let length = dx.hypot(dy);
        for (bin, part) in [(low, 1.0 - share), ((low + 1) % BINS, share)] {
            for (cell_y, weight_y) in cells(y) {
                for (cell_x, weight_x) in cells(x) {
                    sums[(bin * CELLS + cell_y) * CELLS + cell_x] +=
                        length * part * weight_y * weight_x;
                }
            }
        }
    }
    let all: f32 = sums.iter().sum::<f32>() + 1e-6;
    sums.into_iter().map(|x| (x / all).sqrt()).collect()
}

/// The cells that see a row, or column, of pixels, each with a triangle's weight: cell i reaches
/// from `4 i - 2` to `4 i + 6`.
fn cells(pixel: usize) -> impl Iterator<Item = (usize, f32)> {
    (0..CELLS).filter_map(move |cell| {
        let middle = (CELL * cell) as f32 + 1.5;
        let weight = 1.0 - (pixel as f32 - middle).abs() / CELL as f32;
        (weight > 0.0).then_some((cell, weight))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step from dark to light along x has one orientation only, the first, in the cells that see
    /// it.
    #[test]
    fn an_edge_is_one_orientation() {
        let image: Vec<u8> =
            (0..SIDE * SIDE).map(|i| if i % SIDE < 14 { 0 } else { 255 }).collect();
        let h = histograms(&image);
        let energy = |bin: usize, cell_x: usize| h[(bin * CELLS + 3) * CELLS + cell_x];
        assert!(energy(0, 3) > 0.1, "{}", energy(0, 3));
        assert!((1..BINS).all(|bin| energy(bin, 3) < 1e-3));
        assert!(energy(0, 0) < 1e-3);
        let sum: f32 = h.iter().map(|x| x * x).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{sum}");
    }

    #[test]
    fn a_stored_encoder_is_the_same() {
        let pixels = (0..3 * SIDE * SIDE).map(|i| (i * i % 253) as u8).collect();
        let images = ImageSet::with_shape("t", ImageShape::GREY28, pixels, vec![1, 2, 3]).unwrap();
        let encoder = GradientEncoder::fit(&images).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("encoder");
        encoder.save(&path).unwrap();
        let read = GradientEncoder::load(&path).unwrap();
        assert_eq!(read.encode(images.images()).unwrap(), encoder.encode(images.images()).unwrap());
        assert!(encoder.encode(&images.images()[1..]).is_err());
    }
}
