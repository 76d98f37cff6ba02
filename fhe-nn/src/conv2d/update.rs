//! Weights and biases of a convolution as single values: to be read, changed and put back.

use std::ops::Range;

use fhe_core::{Engine, Error as CoreError, List, Slot, Table};

use super::{Conv2d, WeightGradient};
use crate::Result;
use crate::geometry::{Geometry, Weight};

/// Returns the rows of some blocks of outputs.
fn blocks_of<T>(blocks: &[T], range: Range<usize>) -> Result<&[T]> {
    let (op, index, len) = ("blocks of a convolution", range.end, blocks.len());
    Ok(blocks.get(range).ok_or(CoreError::Index { op, index, len })?)
}

/// Returns the weights of a block, in the order output, channel, row, column.
fn weights_of(g: &Geometry, block: usize) -> impl Iterator<Item = Weight> {
    g.outputs_of(block).flat_map(|o| g.weights_of(o))
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
        for blocks in g.stretches(engine.params().batch_values()) {
            out.weights[blocks.clone()].fill_with(|| engine.zero_rows(g.groups()));
            let weights = self.weight_values(engine, blocks.clone())?;
            let looked_up =
                engine.lookup(&engine.scaled_values(&weights, k)?, std::slice::from_ref(table))?;
            out.add_to_weights(engine, blocks, &looked_up)?;
        }
        Ok(out)
    }

    /// Returns the gradient of the weights of some blocks as values, in the order output, channel,
    /// row, column.
    ///
    /// # Cost
    /// None: coefficients are copied.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are no such blocks.
    pub fn gradient_values(
        &self,
        engine: &E,
        gradient: &WeightGradient<E>,
        blocks: Range<usize>,
    ) -> Result<E::Values> {
        let (g, lists) = (&self.geometry, gradient.rows());
        blocks_of(&self.weights, blocks.clone())?;
        // Of each list the numbers that it has, and the place among them of each weight.
        let mut at = vec![Vec::new(); lists.len()];
        let picks: Vec<_> = blocks
            .flat_map(|block| weights_of(g, block))
            .map(|w| {
                let (list, row, coefficient) = g.summed_gradient_at(w);
                at[list].push((row, coefficient));
                (list, at[list].len() - 1)
            })
            .collect();
        let values = lists.iter().zip(&at).map(|(rows, at)| engine.extract(rows, at));
        let values = values.collect::<fhe_core::Result<Vec<_>>>()?;
        Ok(engine.gather(&values.iter().collect::<Vec<_>>(), &picks)?)
    }

    /// Returns the weights of some blocks as values, in the same order.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are no such blocks.
    pub fn weight_values(&self, engine: &E, blocks: Range<usize>) -> Result<E::Values> {
        let g = &self.geometry;
        let mut lists = Vec::with_capacity(blocks.len());
        for (rows, block) in blocks_of(&self.weights, blocks.clone())?.iter().zip(blocks) {
            let at: Vec<_> = weights_of(g, block).map(|w| g.weight_at(w)).collect();
            lists.push(engine.extract(rows, &at)?);
        }
        let lists: Vec<&E::Values> = lists.iter().collect();
        let of_list =
            |(list, values): (usize, &&E::Values)| (0..values.len()).map(move |i| (list, i));
        let picks: Vec<_> = lists.iter().enumerate().flat_map(of_list).collect();
        Ok(engine.gather(&lists, &picks)?)
    }

    /// Adds to the weights of some blocks, in the order of [`Conv2d::weight_values`].
    ///
    /// # Cost
    /// `groups` packed lists a block.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are no such blocks, or too few values.
    pub fn add_to_weights(
        &mut self,
        engine: &E,
        blocks: Range<usize>,
        by: &E::Values,
    ) -> Result<()> {
        let g = &self.geometry;
        blocks_of(&self.weights, blocks.clone())?;
        let mut lists = vec![Vec::new(); blocks.len() * g.groups()];
        let of_block = |(i, block)| weights_of(g, block).map(move |w| (i * g.groups(), w));
        for (value, (first, w)) in blocks.clone().enumerate().flat_map(of_block).enumerate() {
            let (group, coefficient) = g.weight_at(w);
            lists[first + group].push(Slot { value, coefficient });
        }
        let rows = engine.pack(by, &lists)?;
        for (i, weights) in self.weights[blocks].iter_mut().enumerate() {
            let of_block: Vec<usize> = (i * g.groups()..(i + 1) * g.groups()).collect();
            engine.add_scaled_rows(weights, &engine.gather_rows(&rows, &of_block)?, 1)?;
        }
        Ok(())
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
