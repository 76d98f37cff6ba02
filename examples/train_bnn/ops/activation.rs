//! What a binarized network's training needs and candle has not, or has slowly: windows of maps whose channels lie
//! together, normalisation without gain, and steps with a straight-through gradient.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Variance that is added before the root.
pub(crate) const EPSILON: f32 = 1e-3;

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        _ => Err(Error::Msg("expected contiguous f32".into())),
    }
}

/// Runs `f` on the floats of a tensor, which must be contiguous.
fn on_floats<T>(x: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(storage) => f(floats(storage, layout)?),
        _ => Err(Error::Msg("expected a tensor in main memory".into())),
    }
}

/// Windows of maps (images, positions x channels) as rows of a matrix: im2col, a copy of the channels at a time.
pub(crate) struct Windows {
    /// For every output position, the input positions that its window covers; nothing in the padding.
    pub(crate) places: Vec<Vec<Option<usize>>>,
    /// Channels of a position.
    pub(crate) channels: usize,
}

impl Windows {
    fn row(&self) -> usize {
        self.places[0].len() * self.channels
    }

    /// Calls `f` with the ranges of the input and of the output that hold the same numbers.
    fn each(&self, mut f: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>)) {
        let c = self.channels;
        for (p, window) in self.places.iter().enumerate() {
            for (j, place) in window.iter().enumerate() {
                let Some(place) = place else { continue };
                let at = p * self.row() + j * c;
                f(place * c..(place + 1) * c, at..at + c);
            }
        }
    }
}

impl CustomOp1 for Windows {
    fn name(&self) -> &'static str {
        "windows"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (images, size) = layout.shape().dims2()?;
        let x = floats(storage, layout)?;
        let len = self.places.len() * self.row();
        let mut out = vec![0f32; images * len];
        out.par_chunks_exact_mut(len).zip(x.par_chunks_exact(size)).for_each(|(out, x)| {
            self.each(|from, to| out[to].copy_from_slice(&x[from]));
        });
        Ok((CpuStorage::F32(out), (images * self.places.len(), self.row()).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (images, size) = x.dims2()?;
        let len = self.places.len() * self.row();
        let mut out = vec![0f32; images * size];
        on_floats(&gradient.contiguous()?, |g| {
            out.par_chunks_exact_mut(size).zip(g.par_chunks_exact(len)).for_each(|(out, g)| {
                self.each(|to, from| out[to].iter_mut().zip(&g[from]).for_each(|(x, g)| *x += g));
            });
            Ok(())
        })?;
        Ok(Some(Tensor::from_vec(out, (images, size), x.device())?))
    }
}

/// `(x - mean) / sqrt(variance + epsilon)` of each column: batch normalisation (Ioffe and Szegedy, ICML 2015)
/// without gain, which a sign does not see, and without offset, which is added after it.
pub(crate) struct Normalise;

/// Returns the mean of `f` over the rows, for each column.
fn column_means(
    x: &[f32],
    columns: usize,
    f: impl Fn(usize, &[f32], &mut [f32]) + Sync,
) -> Vec<f32> {
    const ROWS: usize = 256;
    let sums = x.par_chunks(ROWS * columns).enumerate().map(|(i, block)| {
        let mut sums = vec![0f32; columns];
        for (r, row) in block.chunks_exact(columns).enumerate() {
            f((i * ROWS + r) * columns, row, &mut sums);
        }
        sums
    });
    let sums: Vec<Vec<f32>> = sums.collect();
    let rows = (x.len() / columns) as f64;
    (0..columns)
        .map(|c| (sums.iter().map(|s| f64::from(s[c])).sum::<f64>() / rows) as f32)
        .collect()
}

/// Returns the mean and the standard deviation of each column.
pub(crate) fn moments(x: &Tensor) -> Result<(Vec<f32>, Vec<f32>)> {
    let (_, columns) = x.dims2()?;
    on_floats(x, |x| Ok(moments_of(x, columns)))
}

fn moments_of(x: &[f32], columns: usize) -> (Vec<f32>, Vec<f32>) {
    let means = column_means(x, columns, |_, row, sums| {
        sums.iter_mut().zip(row).for_each(|(s, x)| *s += x);
    });
    let variances = column_means(x, columns, |_, row, sums| {
        for ((s, x), mean) in sums.iter_mut().zip(row).zip(&means) {
            *s += (x - mean) * (x - mean);
        }
    });
    let stds = variances.iter().map(|v| (v + EPSILON).sqrt()).collect();
    (means, stds)
}

impl CustomOp1 for Normalise {
    fn name(&self) -> &'static str {
        "normalise"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, columns) = layout.shape().dims2()?;
        let x = floats(storage, layout)?;
        let (means, stds) = moments_of(x, columns);
        let mut out = vec![0f32; x.len()];
        out.par_chunks_exact_mut(columns).zip(x.par_chunks_exact(columns)).for_each(|(out, x)| {
            for (c, (out, x)) in out.iter_mut().zip(x).enumerate() {
                *out = (x - means[c]) / stds[c];
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, columns) = x.dims2()?;
        let (_, stds) = moments(x)?;
        let gradient = gradient.contiguous()?;
        let out = on_floats(y, |y| {
            on_floats(&gradient, |g| {
                let mean = column_means(g, columns, |_, g, sums| {
                    sums.iter_mut().zip(g).for_each(|(s, g)| *s += g);
                });
                let along = column_means(g, columns, |at, g, sums| {
                    let y = &y[at..at + columns];
                    sums.iter_mut().zip(g).zip(y).for_each(|((s, g), y)| *s += g * y);
                });
                let mut out = vec![0f32; g.len()];
                let rows = g.par_chunks_exact(columns).zip(y.par_chunks_exact(columns));
                out.par_chunks_exact_mut(columns).zip(rows).for_each(|(out, (g, y))| {
                    for (c, out) in out.iter_mut().enumerate() {
                        *out = (g[c] - mean[c] - y[c] * along[c]) / stds[c];
                    }
                });
                Ok(out)
            })
        })?;
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}

/// Equal steps: `first + step * (thresholds that x reaches)`. The gradient is that of the ramp through the middles of the
/// steps, and zero beyond its ends (the straight-through estimator: Bengio et al., arXiv 1308.3432; with the ends
/// cut off: Hubara et al., NeurIPS 2016, equation 4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    /// Lowest value.
    pub(crate) first: f32,
    /// From one value to the next.
    pub(crate) step: f32,
    /// Number of thresholds.
    pub(crate) count: usize,
    /// The lowest threshold.
    pub(crate) lowest: f32,
    /// From one threshold to the next.
    pub(crate) spacing: f32,
}

impl Steps {
    /// Weights: integers up to `largest`, for latent numbers in -1..=1; without zero if `largest` is 1.
    pub(crate) fn weights(largest: i32) -> Self {
        let m = largest as f32;
        if largest == 1 {
            return Self { first: -1.0, step: 2.0, count: 1, lowest: 0.0, spacing: 2.0 };
        }
        let spacing = 1.0 / m;
        Self {
            first: -m,
            step: 1.0,
            count: 2 * largest as usize,
            lowest: spacing * (0.5 - m),
            spacing,
        }
    }

    /// An activation: symmetric thresholds for levels around zero, thresholds from 0 to three standard deviations for
    /// others.
    pub(crate) fn activation(levels: fhe_nn::public::Levels) -> Self {
        let count = levels.thresholds as f32;
        let (spacing, lowest) = if levels.first < 0 {
            (2.0 / count, -(count - 1.0) / count)
        } else {
            (3.0 / count, 1.5 / count)
        };
        let (first, step) = (levels.first as f32, levels.step as f32);
        Self { first, step, count: levels.thresholds, lowest, spacing }
    }

    fn at(&self, x: f32) -> f32 {
        let reached = ((x - self.lowest) / self.spacing).floor() + 1.0;
        self.first + self.step * reached.clamp(0.0, self.count as f32)
    }
}

impl CustomOp1 for Steps {
    fn name(&self) -> &'static str {
        "steps"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let out: Vec<f32> = x.par_iter().with_min_len(1 << 14).map(|&x| self.at(x)).collect();
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let low = self.lowest - self.spacing / 2.0;
        let high = low + self.spacing * self.count as f32;
        let slope = self.step / self.spacing;
        let gradient = gradient.contiguous()?;
        let out: Vec<f32> = on_floats(x, |x| {
            on_floats(&gradient, |g| {
                let pairs = x.par_iter().zip(g).with_min_len(1 << 14);
                Ok(pairs
                    .map(|(&x, &g)| if x >= low && x <= high { slope * g } else { 0.0 })
                    .collect())
            })
        })?;
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}
