//! The numbers of a layer in floating point, for the rule of an optimizer.

use fhe_core::Table;
use fhe_nn::Geometry;

use super::normal::{Normal, disturb};
use super::reading::Reading;
use crate::Result;
use crate::layer_noise::LayerNoise;
use crate::optimizer::Arithmetic;

/// A layer, whose lookups read and write with noise, if there is noise.
pub(super) struct InFloats<'a> {
    pub(super) weights: &'a [f32],
    pub(super) noises: &'a LayerNoise,
    pub(super) noise: &'a mut Option<Normal>,
    pub(super) row_size: usize,
    pub(super) geometry: &'a Geometry,
}

/// Numbers, and the noise that they have but that was not drawn yet: a lookup draws it together
/// with that of its reading.
pub(super) struct Numbers {
    pub(super) values: Vec<f32>,
    /// So many numbers in a row have one variance of the noise.
    pub(super) run: usize,
    /// Of each run; empty for none.
    pub(super) variances: Vec<f64>,
}

impl Arithmetic for InFloats<'_> {
    type List = Numbers;

    fn weights(&self) -> Result<Numbers> {
        // Their noise is in them.
        let values = self.weights.to_vec();
        Ok(Numbers {
            values,
            run: self.geometry.kernel * self.geometry.kernel,
            variances: Vec::new(),
        })
    }

    fn add_scaled(&self, x: &mut Numbers, y: &Numbers, k: i64) -> Result<()> {
        x.values.iter_mut().zip(&y.values).for_each(|(x, y)| *x += k as f32 * y);
        let squared = (k as f64).powi(2);
        x.variances.iter_mut().zip(&y.variances).for_each(|(x, y)| *x += squared * y);
        Ok(())
    }

    fn lookup(&mut self, mut x: Numbers, f: impl Fn(f64) -> f64) -> Result<Numbers> {
        for (range, lookup) in self.noises.updates(x.values.len() / self.geometry.output.channels) {
            let first = range.start / x.run;
            let read = Reading::new(lookup.grid(), &f);
            let output = match self.noise {
                Some(_) => lookup.output(Table::new(self.row_size, &f)?),
                None => 0.0,
            };
            for (i, run) in x.values[range].chunks_exact_mut(x.run).enumerate() {
                let before = x.variances.get(first + i).copied().unwrap_or(0.0);
                disturb(self.noise, run, || before + lookup.reading());
                run.iter_mut().for_each(|x| *x = read.at(*x));
                disturb(self.noise, run, || output);
            }
        }
        x.variances.clear();
        Ok(x)
    }

    fn window(&self) -> usize {
        self.geometry.window()
    }

    fn filter_sums(&self, x: &Numbers, k: i64) -> Result<Numbers> {
        let filters = x.values.chunks_exact(self.window());
        let values = filters.map(|filter| k as f32 * filter.iter().sum::<f32>()).collect();
        Ok(Numbers { values, run: 1, variances: Vec::new() })
    }

    fn subtract_from_filters(&self, x: &mut Numbers, y: &Numbers) -> Result<()> {
        for (filter, y) in x.values.chunks_exact_mut(self.window()).zip(&y.values) {
            filter.iter_mut().for_each(|x| *x -= y);
        }
        Ok(())
    }
}
