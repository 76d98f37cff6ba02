//! Recipes: everything about a training that is public.

use fhe_core::Params;
use fhe_core::store::DatasetShape;
use serde::{Deserialize, Serialize};

use crate::loss::UNITS;
use crate::{DeepRecipe, Error, Result};

/// What to train, and how. A recipe is a file that people read and write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Recipe {
    /// One dense layer.
    Head(HeadRecipe),
    /// A network, all of whose layers are trained.
    Deep(DeepRecipe),
}

impl Recipe {
    /// Checks the values, for a parameter set.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the first field at fault, [`Error::Network`] the layer; [`Error::Core`] if the set
    /// cannot promote, which a network needs.
    pub fn check(&self, params: &Params) -> Result<()> {
        match self {
            Self::Head(recipe) => recipe.check(),
            Self::Deep(recipe) => recipe.check(params),
        }
    }

    /// Checks that a data set was encrypted for a recipe like this.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the field that differs.
    pub fn fits(&self, shape: &DatasetShape) -> Result<()> {
        let fail = |field, got: String, rule| Err(Error::Recipe { field, got, rule });
        if shape.values != self.classes() {
            let rule = "it differs from the number of label values of the data set";
            return fail("classes", self.classes().to_string(), rule);
        }
        if shape.values_log2 != self.label_log2() {
            let rule = "the data set was encrypted for a recipe of another kind";
            return fail("kind", format!("for labels of 2^{}", self.label_log2()), rule);
        }
        if shape.copies != self.copies() {
            let rule = "the data set was encrypted for another number of copies";
            return fail("mirrored", format!("for {} copies of the images", self.copies()), rule);
        }
        Ok(())
    }

    /// Returns the number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        match self {
            Self::Head(recipe) => recipe.classes,
            Self::Deep(recipe) => recipe.classes(),
        }
    }

    /// Returns the number of passes over the data.
    #[must_use]
    pub fn passes(&self) -> usize {
        match self {
            Self::Head(recipe) => recipe.passes,
            Self::Deep(recipe) => recipe.passes,
        }
    }

    /// Returns how often a data set holds each sample: twice if mirror images are there.
    #[must_use]
    pub fn copies(&self) -> usize {
        match self {
            Self::Head(_) => 1,
            Self::Deep(recipe) => 1 + usize::from(recipe.mirrored),
        }
    }

    /// Returns the mean sum of squares of a sample's features that the recipe is made for.
    #[must_use]
    pub fn squared_norm(&self) -> f64 {
        match self {
            Self::Head(_) => crate::deep_recipe::squared_norm(),
            Self::Deep(recipe) => recipe.squared_norm,
        }
    }

    /// Sets the number of passes over the data.
    pub fn set_passes(&mut self, passes: usize) {
        match self {
            Self::Head(recipe) => recipe.passes = passes,
            Self::Deep(recipe) => recipe.passes = passes,
        }
    }

    /// Returns log2 of the torus fraction by which labels are encrypted, plus for yes and minus for no.
    #[must_use]
    pub fn label_log2(&self) -> i32 {
        match self {
            Self::Head(_) => crate::loss::HEAD_LABEL_LOG2,
            Self::Deep(_) => crate::loss::DEEP_LABEL_LOG2,
        }
    }

    /// Returns the numbers of rows and of values of a model, between two steps or after `part` parts
    /// of one.
    ///
    /// # Errors
    /// [`Error::Recipe`], [`Error::Network`].
    pub fn sizes(&self, params: &Params, part: usize) -> Result<(usize, usize)> {
        match self {
            Self::Head(recipe) => Ok((recipe.classes, 0)),
            Self::Deep(recipe) => recipe.sizes(params, part),
        }
    }
}

/// The hyper-parameters of a head, all public.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRecipe {
    /// Number of classes.
    pub classes: usize,
    /// Passes over the data.
    pub passes: usize,
    /// Learning rate at the first step, for logits: `w -= rate * e * x`, summed over a mini-batch.
    pub learning_rate: f64,
    /// Logits at the end of a lookup's range, `z = +-logit_range` at `+-1/4` of the torus.
    pub logit_range: f64,
}

impl Default for HeadRecipe {
    fn default() -> Self {
        Self { classes: 10, passes: 1, learning_rate: 5e-4, logit_range: 8.0 }
    }
}

impl HeadRecipe {
    /// Checks the values.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the first field at fault.
    pub fn check(&self) -> Result<()> {
        let fail = |field, got: String, rule| Err(Error::Recipe { field, got, rule });
        if self.classes == 0 || self.classes > 1000 {
            return fail("classes", self.classes.to_string(), "expected 1 to 1000");
        }
        if self.passes == 0 || self.passes > 1000 {
            return fail("passes", self.passes.to_string(), "expected 1 to 1000");
        }
        if !(1.0..=64.0).contains(&self.logit_range) {
            return fail("logit_range", self.logit_range.to_string(), "expected 1 to 64");
        }
        let first = self.amplitude(0, 1);
        if !(1..=1 << 24).contains(&first) {
            return fail("learning_rate", self.learning_rate.to_string(), "expected 1e-8 to 0.1");
        }
        Ok(())
    }

    /// Returns the error's half amplitude at a step, in units of 2^-31 of the torus.
    ///
    /// The rate falls linearly to zero (exclusive). On the torus a logit is `1 / (4 range)`, so the
    /// error's amplitude is `A = rate / (4 range)`; the label enters as +-A/2.
    #[must_use]
    pub fn amplitude(&self, step: usize, steps: usize) -> i64 {
        let left = 1.0 - step as f64 / steps as f64;
        let amplitude = self.learning_rate * left / (4.0 * self.logit_range);
        (amplitude / 2.0 / UNITS).round() as i64
    }
}
