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
    let layers = network.geometries().iter().zip(&recipe.training).enumerate();
    layers
        .map(|(i, (geometry, training))| {
            let scale = training.init * unit / network.spacing(i);
            let mut weights: Vec<f64> =
                (0..geometry.weights()).map(|_| scale * gaussian(&mut rng)).collect();
            if training.centred {
                for filter in weights.chunks_exact_mut(geometry.window()) {
                    let mean = filter.iter().sum::<f64>() / filter.len() as f64;
                    filter.iter_mut().for_each(|w| *w -= mean);
                }
            }
            InitialLayer { weights, bias: vec![training.bias * unit; geometry.output.channels] }
        })
        .collect()
}
