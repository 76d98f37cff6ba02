//! Features of many classes, drawn with the statistics of features that are there: to see what a
//! training on a data set would do that is not at hand.

use anyhow::{Context, Result, ensure};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Classes that scatter as those of real features do, and samples that scatter around their class
/// as real ones do.
///
/// With `m_a` the mean of real class a and m the mean of these, the mean of class k is
/// `m + sum_a g_ka (m_a - m) / sqrt(A)`, over the A real classes, for normal `g_ka`. A sample is
/// that and what a real sample differs by from the mean of its class. Of the real samples one half
/// is for drawn samples to train on, and the other for those to test on.
#[derive(Debug)]
pub struct Drawn {
    means: Array2<f64>,
    rest: Array2<f64>,
    seed: u64,
}

/// What drawn samples are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To train on.
    Train,
    /// To test on.
    Test,
}

impl Drawn {
    /// Draws so many classes with the statistics of real features, a row a sample.
    ///
    /// # Errors
    /// If there are no labels, or fewer than two samples of a class.
    pub fn like(
        features: ArrayView2<'_, f64>,
        labels: &[u32],
        classes: usize,
        seed: u64,
    ) -> Result<Self> {
        ensure!(features.nrows() == labels.len(), "as many labels as samples are needed");
        let real = labels.iter().max().map_or(0, |&most| most as usize + 1);
        let (mut sums, mut counts) = (Array2::zeros((real, features.ncols())), vec![0.0; real]);
        for (row, &label) in features.outer_iter().zip(labels) {
            let mut sum = sums.row_mut(label as usize);
            sum += &row;
            counts[label as usize] += 1.0;
        }
        ensure!(counts.iter().all(|&count| count > 1.0), "a class has less than two samples");
        for (mut sum, count) in sums.outer_iter_mut().zip(&counts) {
            sum /= *count;
        }
        let mut rest = features.to_owned();
        for (mut row, &label) in rest.outer_iter_mut().zip(labels) {
            row -= &sums.row(label as usize);
        }
        let mean = sums.mean_axis(Axis(0)).context("no class")?;
        sums -= &mean;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scale = (real as f64).sqrt().recip();
        let weights =
            Array2::from_shape_fn((classes, real), |_| scale * fhe_core::noise::gaussian(&mut rng));
        Ok(Self { means: weights.dot(&sums) + &mean, rest, seed })
    }

    /// Draws samples `range` of a part, whose classes follow each other in turn.
    #[must_use]
    pub fn samples(&self, part: Part, range: std::ops::Range<usize>) -> (Array2<f64>, Vec<u32>) {
        let (classes, half) = (self.means.nrows(), self.rest.nrows() / 2);
        let labels: Vec<u32> = range.clone().map(|i| (i % classes) as u32).collect();
        let row = |(i, label): (usize, &u32)| -> Array1<f64> {
            let name = self.seed ^ ((i as u64) << 1 | part as u64) << 8;
            let mut rng = ChaCha8Rng::seed_from_u64(name);
            let of = rng.random_range(0..half) + if part == Part::Test { half } else { 0 };
            &self.means.row(*label as usize) + &self.rest.row(of)
        };
        let mut values = Array2::zeros((range.len(), self.means.ncols()));
        for (mut out, sample) in values.outer_iter_mut().zip(range.zip(&labels)) {
            out.assign(&row(sample));
        }
        (values, labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_features_have_the_statistics_of_the_real_ones() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut normal = move || fhe_core::noise::gaussian(&mut rng);
        // Four real classes two apart, of samples that scatter by a half.
        let at: Vec<f64> = (0..4 * 8).map(|_| 2.0 * normal()).collect();
        let labels: Vec<u32> = (0..4000).map(|i| i % 4).collect();
        let real = Array2::from_shape_fn((4000, 8), |(i, j)| at[i % 4 * 8 + j] + 0.5 * normal());
        let drawn = Drawn::like(real.view(), &labels, 500, 7).unwrap();
        let (x, y) = drawn.samples(Part::Train, 0..5000);
        assert_eq!((y[0], y[499], y[500]), (0, 499, 0));
        let again = drawn.samples(Part::Train, 100..101).0;
        assert_eq!(again.row(0), x.row(100), "a sample is the same in every mini-batch");
        let scatter = |x: ArrayView2<'_, f64>| x.var_axis(Axis(0), 0.0).sum();
        let within: f64 =
            (0..500).map(|k| scatter(x.slice(ndarray::s![k..;500, ..]))).sum::<f64>() / 500.0;
        // Ten samples of a class show nine tenths of what they scatter by.
        assert!((within / (0.9 * 8.0 * 0.25) - 1.0).abs() < 0.05, "{within}");
        let (all, of_real) = (scatter(x.view()), scatter(real.view()));
        assert!((all / of_real - 1.0).abs() < 0.15, "{all}, {of_real}");
        let (test, _) = drawn.samples(Part::Test, 0..5000);
        assert_ne!(x.row(0), test.row(0));
    }
}
