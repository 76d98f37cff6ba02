//! Recipes: everything about a training that is public.

use fhe_core::Params;
use fhe_core::store::DatasetShape;
use fhe_nn::Cells;
use fhe_nn::activation::{Activation, Kind};
use fhe_nn::{LayerConfig, NetworkConfig, Shape};
use serde::{Deserialize, Serialize};

use crate::squared_norm;
use crate::training_plan::TrainingPlan;
use crate::{DeepRecipe, Error, HeadRecipe, Lanes, LayerTraining, Result};

/// Pre-activations from minus to plus this fill the half torus in the networks of [`Recipe::mlp`].
const Z_RANGE: f64 = 8.0;

/// Scores of a mini-batch from which on a linear classifier looks them up in batches. A batch takes
/// as long as some 800 single lookups; with fewer than twice that, its keys are not worth their
/// memory.
const BATCHED_SCORES: usize = 2048;

/// Classes from which on a linear classifier starts at the odds of one among many. With ten, clear
/// twins learn as well or better from 0.
const MANY_CLASSES: usize = 32;

/// Largest bias, as a part of the range of scores.
const LARGEST_BIAS: f64 = 0.75;

/// Returns the logit of one class among many.
fn odds_of_one(classes: usize) -> f64 {
    -(classes.saturating_sub(1).max(1) as f64).ln()
}

/// What to train, and how. A recipe is a file that people read and write.
///
/// # Examples
/// ```
/// use fhe_train::Recipe;
///
/// # fn main() -> Result<(), fhe_train::Error> {
/// // 64 features and a constant, 16 hidden units, 10 classes.
/// let recipe = Recipe::mlp(65, &[16], 10);
/// assert_eq!(recipe.params(16)?.name, "secure128-deep-v4");
/// // Recipes are written by hand too.
/// let text = r#"
///     kind = "head"
///     classes = 3
///     passes = 4
///     learning_rate = 2e-3
///     logit_range = 8.0
/// "#;
/// assert_eq!(Recipe::from_toml(text)?.passes(), 4);
/// let wrong = Recipe::from_toml(&text.replace("2e-3", "\"fast\"")).unwrap_err().to_string();
/// assert!(wrong.contains("learning_rate"), "{wrong}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Recipe {
    /// One dense layer.
    Head(HeadRecipe),
    /// A network, all of whose layers are trained.
    Deep(DeepRecipe),
}

impl Recipe {
    /// A linear classifier, one-vs-all, of `inputs` features.
    ///
    /// The rate is for samples with a squared norm of 5,000; [`crate::tune`] fits it to yours. A
    /// classifier has a bias of each class if one of the features is constant. With 32 classes and
    /// more all logits start at the odds of one class among many.
    #[must_use]
    pub fn linear(inputs: usize, classes: usize) -> Self {
        let bias = if classes >= MANY_CLASSES { odds_of_one(classes) } else { 0.0 };
        let usual = HeadRecipe::default();
        // Scores of all but the right class lie below the bias. Beyond the range errors grow again
        // as scores fall, and a long training would go on from there to the other end.
        let logit_range = match -bias > LARGEST_BIAS * usual.logit_range {
            true => 2.0 * usual.logit_range,
            false => usual.logit_range,
        };
        Self::Head(HeadRecipe { inputs: Some(inputs), classes, bias, logit_range, ..usual })
    }

    /// A multilayer perceptron: dense layers of `hidden` units with clipped rectifiers of eight
    /// levels, and one score a class.
    ///
    /// Rates and first weights are for samples with a squared norm of 5,000; [`crate::tune`] fits
    /// them to yours, for one pass as for ten. Few samples need many passes. First weights give
    /// pre-activations of a standard deviation near 0.6, and the scores start at the odds of one
    /// class among many.
    #[must_use]
    pub fn mlp(inputs: usize, hidden: &[usize], classes: usize) -> Self {
        let relu = Activation { kind: Kind::Relu, levels: 7, range: 3.0, offset: 2, spacing: 4 };
        let (mut layers, mut training) = (Vec::new(), Vec::new());
        let norm = squared_norm::usual();
        let mut fan_in = inputs.max(1) as f64;
        for (i, &units) in hidden.iter().enumerate() {
            layers.push(LayerConfig::new(&format!("hidden{}", i + 1), units, 1, Some(relu)));
            let (init, rate) = match i {
                0 => (0.6 / norm.sqrt(), 0.045 / norm),
                _ => (0.6 / fan_in.sqrt(), 0.1 / fan_in),
            };
            training.push(LayerTraining { init, rate, error_gain: 3.74, ..Self::mlp_layer(i) });
            fan_in = units.max(1) as f64;
        }
        layers.push(LayerConfig::new("scores", classes, 1, None));
        let (init, rate) = match hidden.len() {
            0 => (0.2 / norm.sqrt(), 0.18 / norm),
            _ => (0.28 / fan_in.sqrt(), 0.1 / fan_in),
        };
        let bias = odds_of_one(classes);
        training.push(LayerTraining { init, rate, bias, ..Self::mlp_layer(hidden.len()) });
        let input = Shape { channels: inputs, height: 1, width: 1 };
        Self::Deep(DeepRecipe {
            passes: 1,
            squared_norm: norm,
            mirrored: false,
            seed: 1,
            least_rate: 0.02,
            first_layer_every: 1,
            network: NetworkConfig {
                input,
                cells: Cells::default(),
                z_range: Z_RANGE,
                shortcut: false,
                layers,
            },
            training,
        })
    }

    /// What the layers of [`Recipe::mlp`] have in common; the first one is not clipped.
    fn mlp_layer(index: usize) -> LayerTraining {
        let clip = if index == 0 { 0.0 } else { 4.0 };
        LayerTraining { clip, ..LayerTraining::default() }
    }

    /// Reads a recipe from TOML.
    ///
    /// # Errors
    /// [`Error::Text`] names the line and the field.
    pub fn from_toml(text: &str) -> Result<Self> {
        use serde::de::Error as _;
        // The kind is taken first, so that errors name the field of that kind.
        let parse = || -> Result<Self, toml::de::Error> {
            let mut table: toml::Table = toml::from_str(text)?;
            match table.remove("kind").as_ref().and_then(toml::Value::as_str) {
                Some("head") => Ok(Self::Head(table.try_into()?)),
                Some("deep") => Ok(Self::Deep(table.try_into()?)),
                _ => Err(toml::de::Error::custom("kind: expected \"head\" or \"deep\"")),
            }
        };
        parse().map_err(|error| Error::Text {
            what: "recipe",
            problem: error.to_string().trim_end().replace('\n', ", "),
        })
    }

    /// Returns the parameter set for it, with mini-batches of so many samples.
    ///
    /// For a network it is [`Params::secure128_deep_v4`]. For a linear classifier it is
    /// [`Params::secure128_head_v3`] if a mini-batch has 2,048 scores or more, which are then
    /// looked up in batches; these need keys of 1.9 GB. Otherwise it is [`Params::secure128`].
    ///
    /// # Errors
    /// [`Error::Recipe`], [`Error::Network`] if the recipe does not pass its check.
    ///
    /// ```
    /// use fhe_train::Recipe;
    ///
    /// # fn main() -> fhe_train::Result<()> {
    /// let name = |classes, batch| -> fhe_train::Result<String> {
    ///     Ok(Recipe::linear(100, classes).params(batch)?.name.clone())
    /// };
    /// assert_eq!(name(10, 16)?, "secure128-head-v2");
    /// assert_eq!(name(10, 512)?, "secure128-head-v3");
    /// assert_eq!(name(1000, 16)?, "secure128-head-v3");
    /// # Ok(())
    /// # }
    /// ```
    pub fn params(&self, batch: usize) -> Result<Params> {
        let params = match self {
            Self::Head(recipe) if recipe.classes.saturating_mul(batch) >= BATCHED_SCORES => {
                Params::secure128_head_v3()?
            }
            Self::Head(_) => Params::secure128()?,
            Self::Deep(_) => Params::secure128_deep_v4()?,
        };
        self.check(&params)?;
        Ok(params)
    }

    /// Returns the recipe for samples with another mean squared norm: the rates of the layer that
    /// sees them are in inverse proportion to it, its first weights to its root.
    ///
    /// It takes any number, and [`Recipe::check`] refuses a recipe for a norm outside 1 to 1e9.
    #[must_use]
    pub fn for_squared_norm(mut self, squared_norm: f64) -> Self {
        let ratio = self.squared_norm() / squared_norm;
        match &mut self {
            Self::Head(recipe) => {
                recipe.squared_norm = squared_norm;
                recipe.learning_rate *= ratio;
            }
            Self::Deep(recipe) => {
                recipe.squared_norm = squared_norm;
                if let Some(first) = recipe.training.first_mut() {
                    first.rate *= ratio;
                    first.init *= ratio.sqrt();
                }
            }
        }
        self
    }

    /// Returns the recipe with all learning rates multiplied by a factor.
    ///
    /// It takes any number, and [`Recipe::check`] refuses rates that are not in their ranges.
    #[must_use]
    pub fn with_rates_times(mut self, factor: f64) -> Self {
        match &mut self {
            Self::Head(recipe) => recipe.learning_rate *= factor,
            Self::Deep(recipe) => recipe.training.iter_mut().for_each(|layer| {
                layer.rate *= factor;
            }),
        }
        self
    }

    /// Returns the recipe with another number of passes over the data.
    #[must_use]
    pub fn with_passes(mut self, passes: usize) -> Self {
        self.set_passes(passes);
        self
    }

    /// Returns the torus fraction of a logit of one.
    #[must_use]
    pub fn logit_unit(&self) -> f64 {
        match self {
            Self::Head(recipe) => 1.0 / (4.0 * recipe.logit_range),
            Self::Deep(recipe) => recipe.network.unit(),
        }
    }

    /// Returns the number of features of a sample: what the recipe says, else the coefficients of a
    /// polynomial.
    #[must_use]
    pub fn inputs(&self, n: usize) -> usize {
        match self {
            Self::Head(recipe) => recipe.inputs.unwrap_or(n),
            Self::Deep(recipe) => recipe.network.map().len(),
        }
    }

    /// Checks the values, for a parameter set.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the first field at fault, [`Error::Network`] the layer;
    /// [`Error::Core`] if the set cannot promote, which a network needs.
    pub fn check(&self, params: &Params) -> Result<()> {
        match self {
            Self::Head(recipe) => {
                recipe.check()?;
                let (n, inputs) = (params.row_size, recipe.inputs.unwrap_or(1));
                if inputs > n {
                    let rule = "more than a polynomial of the parameter set has coefficients";
                    return Err(Error::Recipe { field: "inputs", got: inputs.to_string(), rule });
                }
                Ok(())
            }
            Self::Deep(recipe) => recipe.check(params),
        }
    }

    /// Checks that a data set was encrypted for a recipe like this.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the field that differs; [`Error::Data`] if the samples do not lie as
    /// the recipe wants them for a parameter set; those of [`Recipe::check`].
    pub fn fits(&self, shape: &DatasetShape, params: &Params) -> Result<()> {
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
        match self.lanes(params)? {
            Some(lanes) => lanes.fit(shape),
            None if shape.lanes.is_some() => {
                let (op, what) = ("a data set's lanes", "the samples that lie side by side");
                let got = shape.lanes.map_or(0, |lanes| lanes.samples);
                Err(Error::Data { op, what, got, expected: "a selector for each sample".into() })
            }
            None => Ok(()),
        }
    }

    /// Returns how samples lie side by side for a parameter set; `None` if each has a polynomial of
    /// its own, as a linear classifier takes them.
    ///
    /// # Errors
    /// Those of [`Recipe::check`].
    pub fn lanes(&self, params: &Params) -> Result<Option<Lanes>> {
        Ok(match self {
            Self::Head(_) => None,
            Self::Deep(recipe) => Some(Lanes::of(&TrainingPlan::new(recipe, params)?)),
        })
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
            Self::Head(recipe) => recipe.squared_norm,
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

    /// Returns log2 of the torus fraction by which labels are encrypted, plus for yes and minus for
    /// no.
    #[must_use]
    pub fn label_log2(&self) -> i32 {
        match self {
            Self::Head(_) => crate::loss::HEAD_LABEL_LOG2,
            Self::Deep(_) => crate::loss::DEEP_LABEL_LOG2,
        }
    }

    /// Returns the number of rows of a model, between two steps or after `part` parts of one.
    ///
    /// # Errors
    /// [`Error::Recipe`], [`Error::Network`].
    pub fn rows(&self, params: &Params, part: usize) -> Result<usize> {
        match self {
            Self::Head(recipe) => {
                self.check(params)?;
                Ok(recipe.classes)
            }
            Self::Deep(recipe) => recipe.rows(params, part),
        }
    }
}
