//! A checked recipe of a network: what its settings are in phases and integers.

use fhe_core::Params;
use fhe_nn::NetworkPlan;
use fhe_nn::activation::ErrorGate;

use crate::loss::AMPLITUDE_STEP;
use crate::optimizer::CLIP;
use crate::{DeepRecipe, Result};

mod checks;

/// Largest integer of an error of a hidden layer.
const HIDDEN_LIMIT: i32 = 31;

/// A recipe that can be followed, and the network that it trains.
///
/// It is made once, and holds only what fits together: nothing that has a plan checks again.
#[derive(Clone, Debug)]
pub(crate) struct TrainingPlan {
    recipe: DeepRecipe,
    network: NetworkPlan,
}

/// How the sign of a latent weight is looked up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SignLookup {
    /// Weights are multiplied by this before.
    pub(crate) scale: i64,
    /// Torus fraction of the result, plus or minus.
    pub(crate) magnitude: f64,
}

impl SignLookup {
    /// Returns the torus fraction that is looked up for a phase.
    pub(crate) fn at(&self, x: f64) -> f64 {
        if x < 0.0 { -self.magnitude } else { self.magnitude }
    }
}

impl DeepRecipe {
    /// Checks the values, for a parameter set.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`] names the first field at fault, [`crate::Error::Network`] the
    /// layer; also if the set cannot promote.
    pub fn check(&self, params: &Params) -> Result<()> {
        TrainingPlan::new(self, params).map(|_| ())
    }

    /// Returns the number of rows of a model, between two steps or after `part` parts of one: see
    /// [`crate::Model::parts`].
    ///
    /// # Errors
    /// Those of [`DeepRecipe::check`].
    pub fn rows(&self, params: &Params, part: usize) -> Result<usize> {
        let plan = TrainingPlan::new(self, params)?;
        let rows: Vec<usize> = plan.network.weighted().map(|g| g.rows()).collect();
        let all: usize = rows.iter().sum();
        let begun = rows[1..].iter().sum::<usize>() + usize::from(plan.has_binary_layers()) * all;
        Ok(if part == 0 { all } else { all + begun })
    }
}

impl TrainingPlan {
    /// Checks a recipe for a parameter set.
    ///
    /// # Errors
    /// Those of [`DeepRecipe::check`].
    pub(crate) fn new(recipe: &DeepRecipe, params: &Params) -> Result<Self> {
        let network = NetworkPlan::new(&recipe.network, params)?;
        checks::recipe(recipe)?;
        checks::network(&network)?;
        let plan = Self { recipe: recipe.clone(), network };
        for layer in 0..plan.weighted() {
            checks::layer(&plan, layer)?;
        }
        checks::updates(&plan)?;
        checks::residuals(&plan)?;
        Ok(plan)
    }

    pub(crate) fn recipe(&self) -> &DeepRecipe {
        &self.recipe
    }

    pub(crate) fn network(&self) -> &NetworkPlan {
        &self.network
    }

    /// Returns the number of layers.
    pub(crate) fn layers(&self) -> usize {
        self.network.geometries().len()
    }

    /// Returns the number of layers, and one more if there is a shortcut.
    pub(crate) fn weighted(&self) -> usize {
        self.layers() + usize::from(self.network.shortcut().is_some())
    }

    /// Returns the spacing of the integers that enter a layer; those of a sample have 1.
    pub(crate) fn spacing(&self, layer: usize) -> f64 {
        if layer < self.layers() { self.network.spacing(layer) } else { 1.0 }
    }

    /// Returns the torus fraction of a weight of 1 of a layer.
    pub(crate) fn weight_unit(&self, layer: usize) -> f64 {
        self.network.unit() / self.spacing(layer)
    }

    /// Returns where the mean gradient of a layer is clipped. The gradient of a shortcut is made of
    /// the last layer's errors.
    pub(crate) fn clip(&self, layer: usize) -> f64 {
        let last = self.layers() - 1;
        if layer <= last {
            self.recipe.training[layer].clip
        } else {
            self.recipe.training[last].clip * self.spacing(last) / self.spacing(layer)
        }
    }

    /// Returns the gate of a hidden layer's errors.
    pub(crate) fn gate(&self, layer: usize, amplitude: f64) -> ErrorGate {
        ErrorGate { limit: HIDDEN_LIMIT, scale: self.error_scale(layer), amplitude }
    }

    /// Returns the integer by which the errors that come back to a layer's outputs are multiplied,
    /// so that their range is an eighth of the torus. The gain is rounded by that.
    fn error_scale(&self, layer: usize) -> i64 {
        let unit = self.weight_unit(layer + 1);
        let limit = f64::from(HIDDEN_LIMIT);
        (self.recipe.training[layer].error_gain / (8.0 * limit * unit)).round() as i64
    }

    /// Returns for each layer, if it has a residual connection, the integer by which errors are
    /// multiplied on their way past the layers between.
    pub(crate) fn residual_scales(&self) -> Vec<Option<i64>> {
        let gates = self.gates();
        let hidden = self.network.hidden().iter().enumerate();
        let scale = |layer, source| self.network.residual_scale(source, layer, &gates);
        hidden.map(|(i, hidden)| hidden.residual.map(|source| scale(i, source))).collect()
    }

    /// Returns the gates of all hidden layers, for what does not depend on amplitudes.
    fn gates(&self) -> Vec<ErrorGate> {
        (0..self.network.hidden().len()).map(|layer| self.gate(layer, 0.0)).collect()
    }

    /// Returns the torus fraction of an error's integer in the gradient of a layer.
    ///
    /// The first layer's gradient is subtracted as it is, so its amplitude carries the learning
    /// rate. The others' is read by a lookup, half of whose range is the clip.
    pub(crate) fn amplitude(&self, layer: usize, schedule: f64, batch: usize) -> f64 {
        let exact = if layer == 0 {
            schedule * self.recipe.training[0].rate * self.network.unit()
        } else {
            CLIP / (self.clip(layer) * self.spacing(layer) * batch as f64)
        };
        if layer + 1 < self.layers() {
            exact
        } else {
            (exact / AMPLITUDE_STEP).round().max(1.0) * AMPLITUDE_STEP
        }
    }

    /// Returns the phase of a mean gradient of 1 in the sum over a mini-batch. The gradient of a
    /// shortcut is made of the last layer's errors.
    fn gradient_unit(&self, layer: usize, batch: usize) -> f64 {
        let errors = self.amplitude(layer.min(self.layers() - 1), 1.0, batch);
        errors * self.spacing(layer) * batch as f64
    }

    /// Returns the phase of the update of a layer but the first for a gradient's phase of 1, at the
    /// first rate.
    pub(crate) fn update_rate(&self, layer: usize, batch: usize) -> f64 {
        let rate = self.recipe.training[layer].rate * self.weight_unit(layer);
        rate / self.gradient_unit(layer, batch)
    }

    /// Returns the integer by which weights are multiplied before they are added to a summed
    /// gradient.
    pub(crate) fn decay_scale(&self, layer: usize, batch: usize) -> i64 {
        let per_unit = self.gradient_unit(layer, batch);
        (self.recipe.training[layer].decay * per_unit / self.weight_unit(layer)).round() as i64
    }

    /// Returns how the signs of a layer's weights are looked up, if it is binary.
    pub(crate) fn signs(&self, layer: usize) -> Option<SignLookup> {
        let binary = self.recipe.training[layer].binary?;
        let scale = (0.25 / (binary.range * self.weight_unit(layer))).floor().min(1e9) as i64;
        Some(SignLookup { scale, magnitude: binary.scale * self.weight_unit(layer) })
    }

    /// Returns whether any layer has binary weights.
    pub(crate) fn has_binary_layers(&self) -> bool {
        self.recipe.training.iter().any(|training| training.binary.is_some())
    }

    /// Returns the plan of the model as it is used: its weights are as they are.
    pub(crate) fn finished(mut self) -> Self {
        self.recipe.training.iter_mut().for_each(|training| training.binary = None);
        self
    }

    /// Returns the lookups that a layer's weights take in a mini-batch: whole rows.
    pub(crate) fn update_lookups(&self, layer: usize) -> usize {
        let Some(g) = self.network.weighted().nth(layer) else { return 0 };
        let update = if layer > 0 { g.rows() * g.row_size() } else { 0 };
        let signs = self.recipe.training[layer].binary.map_or(0, |_| g.rows() * g.row_size());
        update + signs
    }
}
