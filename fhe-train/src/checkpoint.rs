//! Encrypted models on the disk and on their way.

use std::path::Path;

use fhe_core::engine::cpu::Rows;
use fhe_core::store::{ChunkReader, Header, Incoming, Message, Opened};
use fhe_core::{Cpu, Engine, Params};
use serde::{Deserialize, Serialize};

use crate::{Model, Provenance, Recipe, Result};

/// An encrypted model at one step of its training; after the last one, the trained model.
///
/// It is written and read as a whole, with version and checksum: see [`Message`].
///
/// # Examples
/// ```
/// # use fhe_core::Params;
/// use fhe_core::store::Message;
/// use fhe_train::Checkpoint;
/// # use fhe_train::{Client, Recipe, Server};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let (run, data) = (folder.path().join("run"), folder.path().join("data"));
/// # let client = Client::new(&Params::toy_insecure()?)?;
/// # let x = ndarray::array![[7_i8, 0, 7], [0, 7, 7]];
/// # client.encrypt(x.view(), &[0, 1], &Recipe::linear(3, 2), 2, &data)?;
/// # let server = Server::from_keys(&client.key().evaluation_keys());
/// # server.train(&run, &data, &Recipe::linear(3, 2), |_| std::ops::ControlFlow::Continue(()))?;
/// // What a server left in the folder of a training.
/// let model = Checkpoint::load(&run.join("model.ckpt"))?;
/// assert_eq!((model.state.step, model.state.steps), (1, 1));
/// // To the client, in any way.
/// let bytes = model.to_bytes()?;
/// assert_eq!(Checkpoint::from_bytes(&bytes)?, model);
/// let clear = client.decrypt(&model)?;
/// assert_eq!(clear.predict(x.view())?.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    params: Params,
    key_id: String,
    /// The encrypted weights: the rows of all layers. Inside a step, the sums of its gradients too.
    pub rows: Rows,
    /// What is public about it.
    pub state: State,
}

/// The public state of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The recipe.
    pub recipe: Recipe,
    /// Name of the data set.
    pub dataset: String,
    /// Digest of what the data set holds, from its header.
    pub inputs: String,
    /// Samples of a mini-batch; 0 in a checkpoint of an earlier version, which did not note it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub batch: usize,
    /// Steps made.
    pub step: usize,
    /// Parts made of the step that has begun; 0 between two steps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub part: usize,
    /// Steps in all.
    pub steps: usize,
    /// Samples seen.
    pub images: u64,
    /// Lookups made.
    pub lookups: u64,
    /// The stretches of work that led here.
    pub parts: Vec<Stretch>,
}

impl State {
    /// Returns whether another state is of the same training: the same recipe, data set,
    /// mini-batches and number of steps.
    #[must_use]
    pub fn is_part_of(&self, other: &Self) -> bool {
        self.recipe == other.recipe
            && self.dataset == other.dataset
            && self.inputs == other.inputs
            && self.batch == other.batch
            && self.steps == other.steps
    }
}

fn one() -> usize {
    1
}

fn is_one(x: &usize) -> bool {
    *x == one()
}

fn is_zero(x: &usize) -> bool {
    *x == 0
}

/// One uninterrupted stretch of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// First step.
    pub from_step: usize,
    /// Step after the last.
    pub to_step: usize,
    /// Threads of a process.
    pub threads: usize,
    /// Processes that trained together.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub ranks: usize,
    /// Seconds of training, without the measurements of the raw cost.
    pub wall_seconds: f64,
    /// Lookups.
    pub lookups: u64,
    /// Seconds of one raw key switch and bootstrap on one thread while all threads do the same,
    /// mean of the measurements made during this stretch.
    pub raw_seconds: f64,
    /// Number of those measurements.
    pub raw_measurements: usize,
    /// What computed it.
    pub provenance: Provenance,
}

impl Checkpoint {
    pub(crate) fn new(engine: &Cpu, rows: Rows, state: State) -> Self {
        let (params, key_id) = (engine.params().clone(), engine.key_id().into());
        Self { params, key_id, rows, state }
    }

    /// Reads a checkpoint, and refuses one that was made under another key.
    ///
    /// # Errors
    /// [`fhe_core::Error::Io`], [`fhe_core::Error::Corrupt`], [`fhe_core::Error::Mismatch`].
    pub fn load_for(path: &Path, params: &Params, key_id: &str) -> Result<Self> {
        ChunkReader::open(path, Self::KIND)?.expect_key(params, key_id)?;
        Ok(Self::load(path)?)
    }

    /// Returns the model, to be gone on with or to be used.
    ///
    /// # Errors
    /// [`crate::Error::Core`] if the engine has other keys; [`crate::Error::Recipe`],
    /// [`crate::Error::Network`].
    pub fn model(self, engine: &Cpu) -> Result<Model<Cpu>> {
        self.expect_key(engine.params(), engine.key_id())?;
        Model::resume(engine, &self.state.recipe, self.rows, self.state.step, self.state.part)
    }
}

impl Message for Checkpoint {
    const KIND: &'static str = "encrypted model";

    fn params(&self) -> &Params {
        &self.params
    }

    fn key_id(&self) -> &str {
        &self.key_id
    }

    fn meta(&self) -> serde_json::Value {
        serde_json::json!(self.state)
    }

    fn payload(&self) -> Vec<u8> {
        self.rows.to_le_bytes()
    }

    fn max_payload(_params: &Params) -> u64 {
        // Two million rows: more than a network of any recipe has.
        1 << 36
    }

    /// What the header claims is compared with the payload's length before any of it is read.
    fn receive(from: &mut Incoming<'_>) -> fhe_core::Result<Self> {
        let fits = claimed(from.header(), from.params()).and_then(|(_, rows)| {
            let bytes = Rows::bytes(from.params().row_size, rows);
            (bytes == Some(from.header().payload_bytes)).then_some(()).ok_or("weights")
        });
        match fits {
            Ok(()) => Self::parse(from.open()?),
            Err(field) => Err(from.corrupt(field, UNFIT)),
        }
    }

    fn parse(from: Opened) -> fhe_core::Result<Self> {
        let bad = |field| from.corrupt(field, UNFIT);
        let (state, expected) = claimed(&from.header, &from.params).map_err(bad)?;
        let rows = Rows::from_le_bytes(from.params.row_size, &from.payload)
            .filter(|rows| rows.len() == expected)
            .ok_or_else(|| bad("weights"))?;
        let (params, key_id) = (from.params, from.header.key_id);
        Ok(Self { params, key_id, rows, state })
    }
}

/// What is wrong with a field of a checkpoint.
const UNFIT: &str = "it does not fit the rest";

/// Returns the state that a header claims, and how many rows of weights its model has; or the field
/// that cannot be.
fn claimed(header: &Header, params: &Params) -> std::result::Result<(State, usize), &'static str> {
    let state: State = serde_json::from_value(header.meta.clone()).map_err(|_| "training state")?;
    // Parts are of a step that has begun, and a step of a head has no parts.
    let begun = state.step < state.steps && matches!(state.recipe, Recipe::Deep(_));
    if state.step > state.steps || state.part > 0 && !begun {
        return Err("step");
    }
    let rows = state.recipe.rows(params, state.part).map_err(|_| "recipe")?;
    Ok((state, rows))
}

fhe_core::serde_by_container!(Checkpoint);
