//! Pooling of maps whose channels lie together.

use fhe_core::{Engine, Table, to_torus};

use super::{Levels, Result};
use crate::Shape;

/// Returns the sums of windows.
pub(super) fn sums<E: Engine>(
    engine: &E,
    x: &E::Values,
    shape: Shape,
    samples: usize,
    side: usize,
) -> Result<E::Values> {
    let places: Vec<Vec<Option<usize>>> =
        windows(shape, samples, side).map(|window| window.map(Some).collect()).collect();
    Ok(engine.weighted_sums(x, &places, &[vec![1; side * side]])?)
}

/// Torus fraction of one in the bits whose maxima are taken: sums of them stay in the half torus.
pub(super) fn bit_unit(side: usize) -> f64 {
    0.25 / (side * side) as f64
}

/// Returns the maxima of windows of bits, plus or minus half a [`bit_unit`], as the levels times
/// `unit`: a window's sum is more than the least one if any bit is set.
pub(super) fn maxima<E: Engine>(
    engine: &E,
    bits: &E::Values,
    (shape, samples, side): (Shape, usize, usize),
    levels: Levels,
    unit: f64,
) -> Result<E::Values> {
    let mut sums = sums(engine, bits, shape, samples, side)?;
    let least = -0.5 * (side * side) as f64;
    engine.shift_values(&mut sums, |_| to_torus(-(least + 0.5) * bit_unit(side)));
    let level = |i: usize| levels.level(i) as f64 * unit;
    let table = Table::new(engine.params().row_size, |x| level(usize::from(x >= 0.0)))?;
    Ok(engine.lookup(&sums, &[table.within_half_torus()])?)
}

/// Returns the places of each window, in the order of the pooled map.
pub(super) fn windows(
    shape: Shape,
    samples: usize,
    side: usize,
) -> impl Iterator<Item = impl Iterator<Item = usize>> {
    let (height, width, channels) = (shape.height / side, shape.width / side, shape.channels);
    (0..samples * height * width * channels).map(move |i| {
        let (s, y, x, c) = (
            i / (height * width * channels),
            i / (width * channels) % height,
            i / channels % width,
            i % channels,
        );
        (0..side * side).map(move |j| {
            let (y, x) = (y * side + j / side, x * side + j % side);
            ((s * shape.height + y) * shape.width + x) * channels + c
        })
    })
}
