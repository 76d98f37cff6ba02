//! The numbers of a layer's blocks on an engine, for the rule of an optimizer.

use std::ops::Range;

use fhe_core::{Engine, List, Table};
use fhe_nn::Conv2d;

use crate::Result;
use crate::optimizer::Arithmetic;

/// Some blocks of a layer's outputs, whose weights are hidden.
pub(super) struct OnEngine<'a, E: Engine> {
    pub(super) engine: &'a E,
    pub(super) layer: &'a Conv2d<E>,
    pub(super) blocks: Range<usize>,
    /// Lookups made so far.
    pub(super) lookups: usize,
}

impl<E: Engine> Arithmetic for OnEngine<'_, E> {
    type List = E::Values;

    fn weights(&self) -> Result<E::Values> {
        Ok(self.layer.weight_values(self.engine, self.blocks.clone())?)
    }

    fn add_scaled(&self, x: &mut E::Values, y: &E::Values, k: i64) -> Result<()> {
        Ok(self.engine.add_scaled_values(x, y, k)?)
    }

    fn lookup(&mut self, x: E::Values, f: impl Fn(f64) -> f64) -> Result<E::Values> {
        self.lookups += x.len();
        let table = Table::new(self.engine.params().row_size, f)?;
        Ok(self.engine.lookup(&x, &[table])?)
    }

    fn window(&self) -> usize {
        self.layer.geometry().window()
    }

    fn filter_sums(&self, x: &E::Values, k: i64) -> Result<E::Values> {
        let window = self.window();
        let filters = x.len() / window;
        let mut sums = self.engine.public_values(&vec![0; filters]);
        for w in 0..window {
            let picks = (0..filters).map(|filter| filter * window + w);
            self.engine.add_scaled_values(&mut sums, &self.engine.take(x, picks)?, k)?;
        }
        Ok(sums)
    }

    fn subtract_from_filters(&self, x: &mut E::Values, y: &E::Values) -> Result<()> {
        let window = self.window();
        let picks = (0..x.len()).map(|i| i / window);
        Ok(self.engine.add_scaled_values(x, &self.engine.take(y, picks)?, -1)?)
    }
}
