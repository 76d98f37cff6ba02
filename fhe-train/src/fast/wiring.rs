//! What is between two layers besides the activation: residual connections and pooling.

use fhe_nn::{NetworkConfig, Shape};

use crate::DeepRecipe;

/// Residual connections and pooling of a network.
#[derive(Clone, Debug)]
pub(crate) struct Wiring {
    pools: Vec<usize>,
    /// Of each layer, the one whose output it adds.
    pub(crate) residuals: Vec<Option<usize>>,
    /// What errors are multiplied by on their way past the layers between.
    pub(crate) scales: Vec<f32>,
}

impl Wiring {
    pub(crate) fn new(recipe: &DeepRecipe) -> Self {
        let network: &NetworkConfig = &recipe.network;
        let residuals = network.residuals();
        let gates = recipe.units();
        let scale = |(layer, source): (usize, &Option<usize>)| {
            source.map_or(1.0, |source| network.residual_scale(source, layer, &gates) as f32)
        };
        Self {
            pools: network.layers.iter().map(|layer| layer.pool).collect(),
            scales: residuals.iter().enumerate().map(scale).collect(),
            residuals,
        }
    }

    /// Returns how many values of lookups are added up in an output of each layer.
    pub(crate) fn terms(&self) -> Vec<f64> {
        let mut terms: Vec<f64> = Vec::new();
        for (pool, residual) in self.pools.iter().zip(&self.residuals) {
            let added = residual.map_or(0.0, |j| terms[j]);
            terms.push((pool * pool) as f64 * (1.0 + added));
        }
        terms
    }

    /// Returns the output of a layer: sums over windows. Maps lie channel by channel, `[c][s][y][x]`.
    pub(crate) fn pool(&self, layer: usize, map: Vec<f32>, shape: Shape) -> Vec<f32> {
        let side = self.pools[layer];
        if side == 1 {
            return map;
        }
        let mut out = vec![0.0; map.len() / (side * side)];
        for (i, x) in map.iter().enumerate() {
            out[pooled(i, shape, side)] += x;
        }
        out
    }

    /// The way back: errors go to all of their window.
    pub(crate) fn unpool(&self, layer: usize, errors: Vec<f32>, shape: Shape) -> Vec<f32> {
        let side = self.pools[layer];
        if side == 1 {
            return errors;
        }
        (0..errors.len() * side * side).map(|i| errors[pooled(i, shape, side)]).collect()
    }
}

/// Returns where an element of a map goes.
fn pooled(i: usize, shape: Shape, side: usize) -> usize {
    let (height, width) = (shape.height, shape.width);
    let (plane, y, x) = (i / (height * width), i / width % height, i % width);
    (plane * (height / side) + y / side) * (width / side) + x / side
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_adds_windows_and_its_way_back_repeats() {
        let wiring = Wiring { pools: vec![2], residuals: vec![None], scales: vec![1.0] };
        let shape = Shape { channels: 1, height: 2, width: 4 };
        let map: Vec<f32> = (0..16u8).map(f32::from).collect();
        let sums = wiring.pool(0, map, shape);
        assert_eq!(sums, [10.0, 18.0, 42.0, 50.0]);
        let back = wiring.unpool(0, sums, shape);
        assert_eq!(back[..8], [10.0, 10.0, 18.0, 18.0, 10.0, 10.0, 18.0, 18.0]);
    }
}
