//! A trained model in the clear, on the client.

use fhe_core::{Clear, Engine, Params, from_torus};
use fhe_nn::activation::Activation;
use fhe_nn::{Conv2d, LayerConfig, argmax};
use ndarray::{Array1, Array2, Array4, ArrayView2};
use rayon::prelude::*;

use crate::samples::{check_features, polynomial};
use crate::{ClearSource, Error, HeadTraining, Lanes, Model, Recipe, Result, Source};

/// A model in the clear: decrypted, or trained in the clear as the encrypted one's twin.
///
/// It computes what the encrypted model computes, on the same grid of lookups, without noise.
///
/// # Examples
/// ```
/// use fhe_train::{ClearModel, Recipe};
/// use ndarray::array;
///
/// # fn main() -> Result<(), fhe_train::Error> {
/// // The last feature is constant, the mean squared norm 90.
/// let x = array![[7_i8, 0, 7], [0, 7, 7], [5, 1, 7], [2, 6, 7]];
/// let recipe = Recipe::linear(3, 2).for_squared_norm(90.0).with_passes(5);
/// let data = (x.view(), &[0, 1, 0, 1][..]);
/// let twin = ClearModel::twin(&recipe.params(2)?, &recipe, data, 2, None, |_, _| ())?;
/// assert_eq!(twin.predict(x.view())?.to_vec(), [0, 1, 0, 1]);
/// // Weights in logits per integer: the first class wants the first feature.
/// let weights = &twin.layers()?[0].weights;
/// assert_eq!(weights.shape(), [2, 3, 1, 1]);
/// assert!(weights[[0, 0, 0, 0]] > 0.0 && weights[[1, 0, 0, 0]] < 0.0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ClearModel {
    engine: Clear,
    recipe: Recipe,
    model: Model<Clear>,
}

/// The numbers of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearLayer {
    /// Name.
    pub name: String,
    /// Weights, `[outputs, inputs, rows, columns]`; a last layer has outputs for each cell of a
    /// class, one after the other. They are in pre-activations (of the last layer: logits)
    /// per integer of the input.
    pub weights: Array4<f64>,
    /// Biases, `[outputs]`, in pre-activations.
    pub bias: Array1<f64>,
    /// What follows; nothing after the last layer.
    pub activation: Option<Activation>,
}

/// Samples that one thread classifies at a time by a linear classifier.
const CHUNK: usize = 50;

impl ClearModel {
    /// Returns the number of slots of the half torus at which a hidden layer's lookups read.
    pub(crate) fn slots(&self) -> usize {
        let params = self.engine.params();
        params.batch.map_or(params.row_size, |batch| batch.slots)
    }

    /// `model` may be one in training; it is finished here.
    pub(crate) fn new(engine: Clear, recipe: &Recipe, model: Model<Clear>) -> Result<Self> {
        recipe.check(engine.params())?;
        Ok(Self { model: model.finished(&engine)?, engine, recipe: recipe.clone() })
    }

    /// Trains the clear twin of an encrypted training. It makes the same steps with the same data,
    /// order and tables: exactly, or with the predicted noise from a seed. `done` is called after
    /// every step with its number and the number of steps.
    ///
    /// # Errors
    /// [`Error::Data`], [`Error::Label`], [`Error::Recipe`], [`Error::Network`].
    pub fn twin(
        params: &Params,
        recipe: &Recipe,
        data: (ArrayView2<'_, i8>, &[u32]),
        batch: usize,
        noise: Option<u64>,
        mut done: impl FnMut(usize, usize),
    ) -> Result<Self> {
        let source = ClearSource::new(params, recipe, data, batch)?;
        let exact = || Clear::exact(params);
        let engine = noise.map_or_else(exact, |seed| Clear::noisy(params, seed));
        let mut model = Model::new(&engine, recipe)?;
        let steps = source.batches() * recipe.passes();
        for step in 0..steps {
            model.train_step(&engine, &source)?;
            done(step + 1, steps);
        }
        // There is noise while it learns. A decrypted model is exact.
        Self::new(exact(), recipe, model)
    }

    /// Returns the same model with the noise that an encrypted inference is predicted to have.
    #[must_use]
    pub fn with_noise(mut self, seed: u64) -> Self {
        self.engine = Clear::noisy(self.engine.params(), seed);
        self
    }

    /// Returns the recipe that it was trained by.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Returns the logits of samples, `[samples, classes]`.
    ///
    /// # Errors
    /// [`Error::Data`] if the features are not those of the recipe.
    pub fn scores(&self, x: ArrayView2<'_, i8>) -> Result<Array2<f64>> {
        let n = self.engine.params().row_size;
        check_features("scores", &self.recipe, n, x)?;
        let (classes, unit) = (self.recipe.classes(), self.recipe.logit_unit());
        let lanes = self.recipe.lanes(self.engine.params())?;
        let rows: Vec<_> = x.outer_iter().collect();
        let chunk = lanes.as_ref().map_or(CHUNK, Lanes::samples);
        let chunks: Vec<Vec<f64>> = rows
            .par_chunks(chunk)
            .map(|rows| {
                let samples = rows.iter().map(|row| match lanes {
                    Some(_) => Ok(row.iter().map(|&x| i32::from(x)).collect()),
                    None => polynomial("scores", *row, n),
                });
                let samples = samples.collect::<Result<Vec<Vec<i32>>>>()?;
                let polynomials = match &lanes {
                    Some(lanes) => lanes.polynomials(&samples),
                    None => samples,
                };
                let x = self.engine.selectors(polynomials);
                let scores = self.model.scores(&self.engine, &x, rows.len())?;
                Ok(scores.into_iter().map(|score| from_torus(score) / unit).collect())
            })
            .collect::<Result<_>>()?;
        let all = Array1::from(chunks.concat());
        let len = all.len();
        all.into_shape_with_order((x.nrows(), classes)).map_err(|_| Error::Data {
            op: "scores",
            what: "the number of scores",
            got: len,
            expected: format!("{classes} a sample"),
        })
    }

    /// Returns the classes of samples.
    ///
    /// # Errors
    /// As [`ClearModel::scores`].
    pub fn predict(&self, x: ArrayView2<'_, i8>) -> Result<Array1<u32>> {
        Ok(self.scores(x)?.outer_iter().map(|scores| argmax(scores) as u32).collect())
    }

    /// Returns the layers' numbers, from the input on.
    ///
    /// # Errors
    /// None in practice: the layers are those of the recipe.
    pub fn layers(&self) -> Result<Vec<ClearLayer>> {
        let unit = self.recipe.logit_unit();
        match &self.model {
            Model::Head(head) => Ok(vec![self.head_layer(head, unit)]),
            Model::Deep(deep) => {
                let network = deep.network();
                let shortcut = LayerConfig::new("shortcut", self.recipe.classes(), 1, None);
                let configs = network.plan().config().layers.iter().chain([&shortcut]);
                let layers = network.weighted().iter().zip(configs);
                layers.map(|(layer, config)| self.network_layer(layer, config, unit)).collect()
            }
        }
    }

    fn head_layer(&self, head: &HeadTraining<Clear>, unit: f64) -> ClearLayer {
        let n = self.engine.params().row_size;
        let inputs = self.recipe.inputs(n);
        let rows: Vec<Vec<u64>> =
            head.layer().weights().iter().map(|row| row.coefficients(n)).collect();
        let weight = |(k, i, ..): (usize, usize, usize, usize)| from_torus(rows[k][i]) / unit;
        ClearLayer {
            name: "scores".into(),
            weights: Array4::from_shape_fn((rows.len(), inputs, 1, 1), weight),
            bias: Array1::from_elem(rows.len(), from_torus(head.recipe().bias_phase()) / unit),
            activation: None,
        }
    }

    fn network_layer(
        &self,
        layer: &Conv2d<Clear>,
        config: &LayerConfig,
        unit: f64,
    ) -> Result<ClearLayer> {
        let (g, of) = (layer.geometry(), |x: &u64| from_torus(*x) / unit);
        let at: Vec<_> = g.weights_at().collect();
        let weights = self.engine.extract(layer.weights(), &at)?;
        let weights: Vec<f64> = weights.iter().map(of).collect();
        let shape = (g.output.channels, g.input.channels, g.kernel, g.kernel);
        let got = weights.len();
        let weights = Array4::from_shape_vec(shape, weights).map_err(|_| {
            let (op, what) = ("layers", "the number of weights");
            Error::Data { op, what, got, expected: g.weights().to_string() }
        })?;
        let (name, activation) = (config.name.clone(), config.activation);
        let bias = layer.bias().iter().map(of).collect();
        Ok(ClearLayer { name, weights, bias, activation })
    }
}
