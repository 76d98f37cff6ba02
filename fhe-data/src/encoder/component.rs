//! Principal components of the features, damped and scaled.
//!
//! With standardised features s = (f - m) / std and the eigenvectors v_i of their covariance, of
//! eigenvalue ev_i, coefficient i is `scale / sqrt(ev_i + damping) * v_i . s`. The scale makes the
//! mean squared norm of an image what the configuration says; an image has one sample f, or one for
//! each pool.

#![expect(clippy::cast_possible_truncation, reason = "sums in double precision are rounded once")]

use faer::MatRef;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::config::EncoderConfig;
use super::matrix::{add_outer, columns, eigen, orthonormalise, product, product_into};
use super::patch::normal;
use crate::{Progress, Result};

/// Up to this many features the eigenvectors are computed exactly.
const EXACT_FEATURES: usize = 1024;
/// Vectors of subspace iteration beyond the components wanted.
const EXTRA_VECTORS: usize = 64;
/// Standard deviations below this are taken for those of a constant feature.
const LEAST_STD_DEV: f32 = 1e-6;

/// An affine map from features to coefficients: `map * f - offset`.
#[derive(Debug)]
pub(super) struct Components {
    /// `[components, features]`, column-major.
    pub(super) map: Vec<f32>,
    /// `[components]`.
    pub(super) offset: Vec<f32>,
}

/// Sums of features and of their products, around the mean of the first block.
pub(super) struct Moments {
    size: usize,
    count: usize,
    centre: Vec<f32>,
    sum: Vec<f64>,
    products: Vec<f32>,
}

impl Moments {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            count: 0,
            centre: Vec::new(),
            sum: vec![0.0; size],
            products: vec![0.0; size * size],
        }
    }

    /// Adds a block of features, `[size, n]` column-major, which is shifted in place.
    pub(super) fn add(&mut self, block: &mut [f32]) {
        let count = block.len() / self.size;
        if self.centre.is_empty() {
            let mut mean = vec![0.0f64; self.size];
            for features in block.chunks_exact(self.size) {
                mean.iter_mut().zip(features).for_each(|(m, &f)| *m += f64::from(f));
            }
            self.centre = mean.iter().map(|m| (m / count as f64) as f32).collect();
        }
        for features in block.chunks_exact_mut(self.size) {
            for ((f, c), sum) in features.iter_mut().zip(&self.centre).zip(&mut self.sum) {
                *f -= c;
                *sum += f64::from(*f);
            }
        }
        add_outer(&mut self.products, block, self.size);
        self.count += count;
    }

    /// Returns mean, standard deviation and the full correlation matrix.
    fn finish(mut self) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (size, count) = (self.size, self.count as f32);
        let shift: Vec<f32> = self.sum.iter().map(|s| (s / self.count as f64) as f32).collect();
        let std_dev: Vec<f32> = (0..size)
            .map(|i| (self.products[i * size + i] / count - shift[i] * shift[i]).max(0.0).sqrt())
            .map(|s| if s < LEAST_STD_DEV { f32::INFINITY } else { s })
            .collect();
        for j in 0..size {
            for i in j..size {
                let moment = self.products[j * size + i] / count - shift[i] * shift[j];
                let value = moment / (std_dev[i] * std_dev[j]);
                self.products[j * size + i] = value;
                self.products[i * size + j] = value;
            }
        }
        let mean = self.centre.iter().zip(&shift).map(|(c, s)| c + s).collect();
        (mean, std_dev, self.products)
    }

    /// Returns the damped components.
    ///
    /// # Errors
    /// [`crate::Error::Eigen`] if an eigendecomposition does not converge.
    pub(super) fn components(
        self,
        config: &EncoderConfig,
        progress: &dyn Fn(Progress),
    ) -> Result<Components> {
        let (size, kept) = (self.size, config.components);
        let (mean, std_dev, correlation) = self.finish();
        let correlation = columns(&correlation, size);
        let (values, vectors) = if size <= EXACT_FEATURES.max(kept + kept / 4) {
            eigen("components", correlation)?
        } else {
            subspace(config, correlation, progress)?
        };
        let gains: Vec<f32> =
            values[..kept].iter().map(|ev| 1.0 / (ev.max(0.0) + config.damping).sqrt()).collect();
        let square: f32 = values.iter().zip(&gains).map(|(ev, g)| ev.max(0.0) * g * g).sum();
        let square = square * config.samples() as f32;
        let scale = (config.mean_square_norm / square.max(f32::MIN_POSITIVE)).sqrt();
        let mut map = vec![0.0; kept * size];
        for ((j, column), std_dev) in map.chunks_exact_mut(kept).enumerate().zip(&std_dev) {
            for ((out, gain), vector) in
                column.iter_mut().zip(&gains).zip(vectors.chunks_exact(size))
            {
                *out = scale * gain * vector[j] / std_dev;
            }
        }
        let mut offset = vec![0.0; kept];
        product_into(&mut offset, columns(&map, kept), columns(&mean, size));
        Ok(Components { map, offset })
    }
}

/// Returns the leading eigenvalues and eigenvectors by subspace iteration.
fn subspace(
    config: &EncoderConfig,
    matrix: MatRef<'_, f32>,
    progress: &dyn Fn(Progress),
) -> Result<(Vec<f32>, Vec<f32>)> {
    let size = matrix.nrows();
    let width = (config.components + EXTRA_VECTORS).min(size);
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed ^ 0x5eed_5bac);
    let mut basis: Vec<f32> = (0..size * width).map(|_| normal(&mut rng)).collect();
    for round in 0..config.subspace_rounds {
        basis = product(matrix, columns(&basis, size));
        orthonormalise(&mut basis, size);
        let (done, total) = (round as u64 + 1, config.subspace_rounds as u64);
        progress(Progress { stage: "components", done, total });
    }
    let image = product(matrix, columns(&basis, size));
    let small = product(columns(&basis, size).transpose(), columns(&image, size));
    let (values, rotation) = eigen("components", columns(&small, width))?;
    let vectors = product(columns(&basis, size), columns(&rotation, width));
    Ok((values, vectors))
}
