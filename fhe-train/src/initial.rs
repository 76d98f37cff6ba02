//! The weights that a network starts from.

use fhe_core::noise::gaussian;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::training_plan::TrainingPlan;

/// What a layer starts from, as torus fractions.
pub(crate) struct InitialLayer {
    /// In the order output, channel, row, column of the window.
    pub(crate) weights: Vec<f64>,
    pub(crate) bias: Vec<f64>,
}

/// Draws the first weights of every layer from the recipe's public seed.
pub(crate) fn initial_layers(plan: &TrainingPlan) -> Vec<InitialLayer> {
    let (recipe, network) = (plan.recipe(), plan.network());
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed);
    let unit = network.unit();
    let layers = network.weighted().zip(&recipe.training).enumerate();
    layers
        .map(|(i, (geometry, training))| {
            let scale = training.init * plan.weight_unit(i);
            let weights = (0..geometry.weights()).map(|_| scale * gaussian(&mut rng)).collect();
            // A score is a sum over cells, and so is its bias: it is that of the first.
            let cells = if i + 1 < plan.layers() { 1 } else { network.cells().count() };
            let bias = |o: usize| if o.is_multiple_of(cells) { training.bias * unit } else { 0.0 };
            InitialLayer { weights, bias: (0..geometry.output.channels).map(bias).collect() }
        })
        .collect()
}
