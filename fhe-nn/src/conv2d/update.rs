//! Weights and biases of a convolution as single values: to be read, changed and put back.

use fhe_core::{Engine, Error as CoreError, List, Slot, Table};

use super::{Conv2d, WeightGradient};
use crate::Result;

/// Returns the rows of a block of outputs.
fn block_of<T>(blocks: &[T], index: usize) -> Result<&T> {
    let (op, len) = ("block of a convolution", blocks.len());
    Ok(blocks.get(index).ok_or(CoreError::Index { op, index, len })?)
}

impl<E: Engine> Conv2d<E> {
    /// Returns the same layer once more.
    ///
    /// # Errors
    /// None in practice: the parts fit together.
    pub fn copy(&self, engine: &E) -> Result<Self> {
        let all = |len: usize| -> Vec<usize> { (0..len).collect() };
        let weights = self.weights.iter();
        let weights = weights
            .map(|rows| engine.gather_rows(rows, &all(rows.len())))
            .collect::<fhe_core::Result<_>>()?;
        let bias = engine.take(&self.bias, 0..self.geometry.output.channels)?;
        Ok(Self { geometry: self.geometry.clone(), weights, bias })
    }

    /// Returns the layer with a table of `k` times every weight in place of the weight.
    ///
    /// # Cost
    /// A lookup a weight; `groups * blocks` packed lists.
    ///
    /// # Errors
    /// Those of [`Engine::lookup`] and [`Engine::pack`].
    pub fn look_up_weights(&self, engine: &E, k: i64, table: &Table) -> Result<Self> {
        let g = &self.geometry;
        let mut out = self.copy(engine)?;
        for block in 0..g.blocks() {
            out.weights[block] = engine.zero_rows(g.groups());
            let weights = self.weight_values(engine, block)?;
            let looked_up =
                engine.lookup(&engine.scaled_values(&weights, k)?, std::slice::from_ref(table))?;
            out.add_to_weights(engine, block, &looked_up)?;
        }
        Ok(out)
    }

    /// Returns the gradient of a block's weights as values, in the order output, channel, row,
    /// column.
    ///
    /// # Cost
    /// None: coefficients are copied.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there is no such block.
    pub fn gradient_values(
        &self,
        engine: &E,
        gradient: &WeightGradient<E>,
        block: usize,
    ) -> Result<E::Values> {
        let g = &self.geometry;
        let weights = g.outputs_of(block).flat_map(|o| g.weights_of(o));
        let at: Vec<_> = weights.map(|w| g.gradient_at(w)).collect();
        Ok(engine.extract(block_of(gradient.rows(), block)?, &at)?)
    }

    /// Returns the weights of a block as values, in the same order.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there is no such block.
    pub fn weight_values(&self, engine: &E, block: usize) -> Result<E::Values> {
        let g = &self.geometry;
        let weights = g.outputs_of(block).flat_map(|o| g.weights_of(o));
        let at: Vec<_> = weights.map(|w| g.weight_at(w)).collect();
        Ok(engine.extract(block_of(&self.weights, block)?, &at)?)
    }

    /// Adds to the weights of a block, in the order of [`Conv2d::weight_values`].
    ///
    /// # Cost
    /// `groups` packed lists.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are too few values.
    pub fn add_to_weights(&mut self, engine: &E, block: usize, by: &E::Values) -> Result<()> {
        let g = &self.geometry;
        block_of(&self.weights, block)?;
        let mut lists = vec![Vec::new(); g.groups()];
        let weights = g.outputs_of(block).flat_map(|o| g.weights_of(o));
        for (value, w) in weights.enumerate() {
            let (group, coefficient) = g.weight_at(w);
            lists[group].push(Slot { value, coefficient });
        }
        let rows = engine.pack(by, &lists)?;
        Ok(engine.add_scaled_rows(&mut self.weights[block], &rows, 1)?)
    }

    /// Adds `k` times the errors, summed over samples and positions, to the biases.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer errors than samples need.
    pub fn add_to_bias(
        &mut self,
        engine: &E,
        errors: &E::Values,
        samples: usize,
        k: i64,
    ) -> Result<()> {
        let g = &self.geometry;
        let area = g.output.len() / g.output.channels;
        for i in 0..samples * area {
            let (s, p) = (i / area, i % area);
            let of_channels =
                (0..g.output.channels).map(|o| (s * g.output.channels + o) * area + p);
            engine.add_scaled_values(&mut self.bias, &engine.take(errors, of_channels)?, k)?;
        }
        Ok(())
    }
}
