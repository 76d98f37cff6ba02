//! The server's side of a training. Nothing here can name a secret key.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use fhe_core::engine::meter::{PriceList, UnitCosts};
use fhe_core::server::EvaluationKeys;
use fhe_core::store::{Dataset, EncryptedQuery, Message};
use fhe_core::{Cpu, Engine, List, Params};

use crate::{
    Checkpoint, EncryptedScores, Event, Recipe, Result, ShapeSource, Trainer, TrainerOptions,
};

/// Trains and scores with evaluation keys alone.
///
/// It has no way to decrypt, and takes no secret key:
/// ```compile_fail,E0308
/// fn peek(key: &fhe_core::client::ClientKey) -> fhe_train::Server {
///     fhe_train::Server::new(key)
/// }
/// ```
///
/// # Examples
/// ```
/// use std::ops::ControlFlow;
///
/// use fhe_core::Params;
/// use fhe_train::{Client, Recipe, Server};
/// use ndarray::array;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let at = |name: &str| folder.path().join(name);
/// // A client with a parameter set without any security, so that the example is quick.
/// let client = Client::new(&Params::toy_insecure()?)?;
/// client.write_evaluation_keys(std::fs::File::create(at("keys"))?)?;
/// let (x, recipe) = (array![[7_i8, 0, 7], [0, 7, 7]], Recipe::linear(3, 2));
/// client.encrypt(x.view(), &[0, 1], &recipe, 2, &at("data"))?;
///
/// let server = Server::open(&at("keys"))?;
/// let go_on = |_| ControlFlow::Continue(());
/// let model = server.train(&at("run"), &at("data"), &recipe, go_on)?.ok_or("stopped")?;
/// assert_eq!((model.state.images, model.state.lookups), (2, 4));
/// let scores = server.score(&model, &client.query(x.view(), &recipe)?)?;
/// assert_eq!((scores.samples(), scores.classes()), (2, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    engine: Cpu,
}

/// What a training costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Quote {
    /// Moves, noise and failure probabilities.
    pub list: PriceList,
    /// Seconds of one core for a move of each kind, measured here and now.
    pub costs: UnitCosts,
    /// Predicted seconds on the threads of this process.
    pub seconds: f64,
}

impl Server {
    /// Reads the evaluation keys that [`crate::Client::write_evaluation_keys`] wrote, and prepares
    /// them. Whole trainings of linear classifiers peaked at 1.0 GB, of networks at 1.6 GB
    /// (`docs/results`).
    ///
    /// # Errors
    /// [`crate::Error::Core`] if they are cut, changed or something else.
    pub fn new(keys: impl Read) -> Result<Self> {
        Ok(Self::from_keys(&EvaluationKeys::read_from(keys)?))
    }

    /// The same from a file.
    ///
    /// # Errors
    /// [`crate::Error::Core`] names the file and what is wrong with it.
    pub fn open(keys: &Path) -> Result<Self> {
        Ok(Self::from_keys(&EvaluationKeys::load(keys)?))
    }

    /// Prepares evaluation keys.
    #[must_use]
    pub fn from_keys(keys: &EvaluationKeys) -> Self {
        Self { engine: Cpu::new(keys) }
    }

    /// Returns the engine.
    #[must_use]
    pub fn engine(&self) -> &Cpu {
        &self.engine
    }

    /// Returns the parameter set.
    #[must_use]
    pub fn params(&self) -> &Params {
        self.engine.params()
    }

    /// Opens an encrypted training set.
    ///
    /// # Errors
    /// [`crate::Error::Core`] if it is damaged, or made under another key.
    pub fn dataset(&self, path: &Path) -> Result<Dataset> {
        Ok(Dataset::open(path, self.engine.params(), self.engine.key_id())?)
    }

    /// Returns the price of a training, without training: counts, noise and predicted time.
    ///
    /// # Cost
    /// About two seconds, to measure one move of each kind.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`] if the data set was not encrypted for such a recipe, or the recipe
    /// does not pass its check; [`crate::Error::Network`].
    pub fn price(&self, dataset: &Dataset, recipe: &Recipe) -> Result<Quote> {
        let shape = dataset.shape();
        recipe.fits(shape, self.engine.params())?;
        let source = ShapeSource {
            samples: shape.samples / shape.copies.max(1),
            batch: shape.batch,
            classes: recipe.classes(),
            squared_norm: recipe.squared_norm(),
            lanes: shape.lanes.map(|lanes| (lanes, recipe.inputs(self.params().row_size))),
        };
        let list = source.price(self.engine.params(), recipe)?;
        let costs = self.engine.unit_costs()?;
        let seconds = list.price.seconds(&costs, rayon::current_num_threads());
        Ok(Quote { list, costs, seconds })
    }

    /// Trains in a folder, with checkpoints; a training that was interrupted goes on there.
    ///
    /// `watch` is called after every part of a mini-batch: see [`Trainer::run`]. If it breaks, the
    /// training writes a checkpoint and returns `None`; the same call goes on later. After the last
    /// step there is nothing left to break off, and the model is returned.
    ///
    /// # Errors
    /// [`crate::Error::Resume`] if the folder has a checkpoint of another training; those of the
    /// files and of the recipe.
    pub fn train(
        &self,
        folder: &Path,
        dataset: &Path,
        recipe: &Recipe,
        watch: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<Checkpoint>> {
        let dataset = self.dataset(dataset)?;
        let options = TrainerOptions::default();
        let trainer = Trainer::open(folder, &self.engine, &dataset, recipe, options)?;
        let model = trainer.model_path();
        match trainer.run(watch)? {
            Some(_) => Ok(Some(Checkpoint::load(&model)?)),
            None => Ok(None),
        }
    }

    /// Computes the encrypted scores of encrypted samples.
    ///
    /// A network takes as many together as lie side by side, and computes as much for one as for
    /// all of them.
    ///
    /// # Cost
    /// A product a class and sample for a linear classifier; for a network N lookups for each
    /// hidden unit, and with binary weights one for each of these. Beside the memory of these, that
    /// of the query: `64 N` bytes a selector with a gadget of two levels.
    ///
    /// # Errors
    /// [`crate::Error::Core`] if model or query were made under another key; [`crate::Error::Data`]
    /// if the query has fewer selectors than its samples need.
    pub fn score(&self, model: &Checkpoint, query: &EncryptedQuery) -> Result<EncryptedScores> {
        let (params, key_id) = (self.engine.params(), self.engine.key_id());
        model.expect_key(params, key_id)?;
        let x = query.open(&self.engine)?;
        let (recipe, samples) = (&model.state.recipe, query.len());
        let expected = match recipe.lanes(params)? {
            Some(lanes) => lanes.stored().count(samples),
            None => samples,
        };
        if x.len() != expected {
            let (op, what, got) = ("score", "the number of selectors of a query", x.len());
            let expected = format!("{expected}, for {samples} samples");
            return Err(crate::Error::Data { op, what, got, expected });
        }
        let network = model.clone().model(&self.engine)?.finished(&self.engine)?;
        let values = network.scores(&self.engine, &x, samples)?;
        let (classes, unit) = (recipe.classes(), recipe.logit_unit());
        Ok(EncryptedScores::new(params, key_id, values, classes, unit))
    }
}
