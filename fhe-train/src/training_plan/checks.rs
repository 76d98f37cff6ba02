//! The checks of a recipe, one group of settings a function.

use fhe_nn::NetworkPlan;

use super::TrainingPlan;
use crate::head_recipe::MOST_CLASSES;
use crate::squared_norm;
use crate::{Binary, DeepRecipe, Error, LayerTraining, Result};

/// Largest ratio of the rates with which two layers follow what is looked up.
const LARGEST_RATIO: f64 = 256.0;

fn fail<T>(field: &'static str, got: impl ToString, rule: &'static str) -> Result<T> {
    Err(Error::Recipe { field, got: got.to_string(), rule })
}

fn is_positive(x: f64) -> bool {
    x.is_finite() && x > 0.0
}

/// Checks what all layers share.
pub(super) fn recipe(recipe: &DeepRecipe) -> Result<()> {
    if !(1..=1000).contains(&recipe.passes) {
        return fail("passes", recipe.passes, "expected 1 to 1000");
    }
    if !squared_norm::RANGE.contains(&recipe.squared_norm) {
        return fail("squared_norm", recipe.squared_norm, squared_norm::RULE);
    }
    if !(0.0..=1.0).contains(&recipe.least_rate) {
        return fail("least_rate", recipe.least_rate, "expected 0 to 1");
    }
    if !(1..=65_536).contains(&recipe.first_layer_every) {
        return fail("first_layer_every", recipe.first_layer_every, "expected 1 to 65536");
    }
    let got = recipe.training.len();
    if got != recipe.network.layers.len() + usize::from(recipe.network.shortcut) {
        let rule = "expected an entry a layer, and one for the shortcut, if there is one";
        return fail("training", format!("{got} long"), rule);
    }
    if recipe.mirrored && recipe.passes < 2 {
        let rule = "only the second pass takes mirror images: expected 2 passes or more";
        return fail("mirrored", true, rule);
    }
    Ok(())
}

/// Checks that a network takes samples as they are encrypted, and gives one score a class.
pub(super) fn network(network: &NetworkPlan) -> Result<()> {
    let (first, last) = (network.geometries().first(), network.geometries().last());
    if let Some(padding) = first.map(|g| g.padding).filter(|&padding| padding > 0) {
        let got = format!("{padding} before the first layer");
        let rule = "expected 0: samples are encrypted as they are, without zeros around them";
        return fail("padding", got, rule);
    }
    if network.shortcut().is_some() && network.geometries().len() < 2 {
        // Its errors would carry the rate of the first layer.
        return fail("shortcut", true, "around a single layer: expected two layers or more");
    }
    if last.is_some_and(|g| g.output.area() != 1) {
        return fail("network", "a map of scores", "expected one score a class");
    }
    let classes = network.classes();
    if !(2..=MOST_CLASSES).contains(&classes) {
        return fail("classes", classes, "expected 2 to 1000");
    }
    Ok(())
}

/// Checks how a layer is trained.
pub(super) fn layer(plan: &TrainingPlan, layer: usize) -> Result<()> {
    let training = &plan.recipe.training[layer];
    rates(training, plan.recipe.network.z_range)?;
    if layer == 0 {
        without_lookup(training)?;
    } else if !is_positive(plan.clip(layer)) {
        return fail("clip", plan.clip(layer), "expected more than 0");
    }
    decay(plan, layer)?;
    training.binary.map_or(Ok(()), |settings| binary(plan, layer, settings))?;
    if layer + 1 < plan.layers() { error_gain(plan, layer) } else { Ok(()) }
}

fn rates(training: &LayerTraining, z_range: f64) -> Result<()> {
    if !is_positive(training.init) || training.init > 1e3 {
        return fail("init", training.init, "expected more than 0, to 1000");
    }
    if !is_positive(training.rate) || training.rate > 1e3 {
        return fail("rate", training.rate, "expected more than 0, to 1000");
    }
    if training.bias.abs() > z_range || !training.bias.is_finite() {
        return fail("bias", training.bias, "expected at most z_range");
    }
    Ok(())
}

/// Checks that the first layer asks for nothing that takes a lookup.
fn without_lookup(training: &LayerTraining) -> Result<()> {
    let rule = "the first layer is updated without a lookup: leave it out";
    if training.decay != 0.0 {
        return fail("decay", training.decay, rule);
    }
    Ok(())
}

fn decay(plan: &TrainingPlan, layer: usize) -> Result<()> {
    let decay = plan.recipe.training[layer].decay;
    if !(0.0..=1e3).contains(&decay) {
        return fail("decay", decay, "expected 0 to 1000");
    }
    if decay > 0.0 && plan.decay_scale(layer, 1) == 0 {
        let rule = "less than half a step of 8 clip / (4 z_range spacing): expected more, or none";
        return fail("decay", decay, rule);
    }
    Ok(())
}

fn binary(plan: &TrainingPlan, layer: usize, binary: Binary) -> Result<()> {
    if !is_positive(binary.scale) || !is_positive(binary.range) {
        let rule = "expected a scale and a range of more than 0";
        return fail("binary", format!("{binary:?}"), rule);
    }
    let signs = plan.signs(layer);
    if signs.is_some_and(|signs| signs.magnitude >= 0.25) {
        let rule = "a weight beyond the range of the torus: expected less";
        return fail("binary.scale", binary.scale, rule);
    }
    if signs.is_some_and(|signs| signs.scale < 1) {
        let rule = "the range is wider than z_range times the spacing: expected less";
        return fail("binary.range", binary.range, rule);
    }
    Ok(())
}

fn error_gain(plan: &TrainingPlan, layer: usize) -> Result<()> {
    let gain = plan.recipe.training[layer].error_gain;
    if !is_positive(gain) {
        return fail("error_gain", gain, "expected more than 0");
    }
    if plan.error_scale(layer) < 1 {
        let rule = "too small for the spacing of the activation before the next layer: expected \
                    more, or a wider spacing";
        return fail("error_gain", gain, rule);
    }
    Ok(())
}

/// Refuses rates that one table cannot serve: it is for the least of them.
pub(super) fn updates(plan: &TrainingPlan) -> Result<()> {
    let rates = (1..plan.weighted()).map(|layer| (layer, plan.update_rate(layer, 1)));
    let largest = rates.clone().map(|(_, rate)| rate).fold(0.0, f64::max);
    match rates.clone().find(|&(_, rate)| largest > LARGEST_RATIO * rate) {
        None => Ok(()),
        Some((layer, _)) => {
            let rule = "times clip over spacing it is less than 1/256 of another layer's: \
                        expected more";
            fail("rate", plan.recipe.training[layer].rate, rule)
        }
    }
}

/// Refuses residual connections whose errors cannot be brought to the unit of their source.
pub(super) fn residuals(plan: &TrainingPlan) -> Result<()> {
    let (network, gates) = (&plan.network, plan.gates());
    for (layer, hidden) in network.hidden().iter().enumerate() {
        let Some(source) = hidden.residual else { continue };
        let exact = network.residual_units(source, layer, &gates);
        let rounded = network.residual_scale(source, layer, &gates) as f64;
        if !(0.8..=1.25).contains(&(rounded / exact)) || exact > 1024.0 {
            let rule = "past the layers of a residual connection the errors' units multiply to \
                        this: expected near an integer from 1 to 1024";
            return fail("error_gain", format!("{exact:.2}"), rule);
        }
    }
    Ok(())
}
