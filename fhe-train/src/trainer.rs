//! A training run in a folder of the server: resume, checkpoints, report.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fhe_core::engine::cpu::{Rows, Values};
use fhe_core::store::{ChunkReader, Dataset, Header, Lock, Secrecy, write_file, write_whole};
use fhe_core::{Cpu, Engine};
use serde::{Deserialize, Serialize};

use crate::{Error, Model, Provenance, Recipe, Result, Source};

const KIND: &str = "encrypted model";

/// An encrypted model at one step of its training.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The encrypted weights: the rows of all layers.
    pub rows: Rows,
    /// The encrypted biases of all layers, if the recipe has any.
    pub values: Values,
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
    /// Steps made.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Samples seen.
    pub images: u64,
    /// Lookups made.
    pub lookups: u64,
    /// The stretches of work that led here.
    pub parts: Vec<Part>,
}

/// One uninterrupted stretch of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// First step.
    pub from_step: usize,
    /// Step after the last.
    pub to_step: usize,
    /// Threads.
    pub threads: usize,
    /// Seconds of training, without the measurements of the raw cost.
    pub wall_seconds: f64,
    /// Lookups.
    pub lookups: u64,
    /// Seconds of one raw key switch and bootstrap on one thread while all threads do the same,
    /// mean of the measurements made during this part.
    pub raw_seconds: f64,
    /// Number of those measurements.
    pub raw_measurements: usize,
    /// What computed it.
    pub provenance: Provenance,
}

/// What a finished training reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The public state.
    #[serde(flatten)]
    pub state: State,
    /// Name of the parameter set.
    pub parameter_set: String,
    /// Seconds of training of all parts.
    pub wall_seconds: f64,
    /// Wall time over `lookups * raw / threads`: 1 means that nothing but lookups costs time.
    pub efficiency: f64,
    /// Threads of the last part.
    pub threads: usize,
}

impl Checkpoint {
    /// Writes the checkpoint atomically.
    ///
    /// # Errors
    /// [`fhe_core::Error::Io`]; the former file is then as it was.
    pub fn save(&self, path: &Path, engine: &Cpu) -> Result<()> {
        let meta = serde_json::json!(self.state);
        let header = Header::new(KIND, engine.params(), engine.key_id(), meta);
        let elements = self.rows.elements().iter().chain(self.values.elements());
        let payload: Vec<u8> = elements.flat_map(|x| x.to_le_bytes()).collect();
        Ok(write_file(path, header, Secrecy::Public, &payload)?)
    }

    /// Reads a checkpoint, and checks that it was made under a key.
    ///
    /// # Errors
    /// [`fhe_core::Error::Io`], [`fhe_core::Error::Corrupt`], [`fhe_core::Error::Mismatch`].
    pub fn load(path: &Path, params: &fhe_core::Params, key_id: &str) -> Result<Self> {
        let reader = ChunkReader::open(path, KIND)?;
        reader.expect_key(params, key_id)?;
        let bad = |field: &str| fhe_core::Error::Corrupt {
            path: path.into(),
            field: field.into(),
            problem: "it does not fit the parameter set",
        };
        let state: State = serde_json::from_value(reader.header().meta.clone())
            .map_err(|_| bad("training state"))?;
        let mut elements: Vec<u64> = reader
            .read_all()?
            .chunks_exact(8)
            .map(|b| b.iter().rev().fold(0, |x, &b| x << 8 | u64::from(b)))
            .collect();
        let n = params.row_size;
        let (rows, values) = state.recipe.sizes(n)?;
        let of_rows = 2 * n * rows;
        if elements.len() < of_rows {
            return Err(bad("weights").into());
        }
        let of_values = elements.split_off(of_rows);
        let rows = Rows::from_elements(n, elements).ok_or_else(|| bad("weights"))?;
        let values = Values::from_elements(n, of_values)
            .filter(|x| x.len() == values)
            .ok_or_else(|| bad("biases"))?;
        Ok(Self { rows, values, state })
    }

    /// Returns the model, to be gone on with or to be used.
    ///
    /// # Errors
    /// [`Error::Recipe`], [`Error::Network`].
    pub fn model(self, engine: &Cpu) -> Result<Model<Cpu>> {
        Model::resume(engine, &self.state.recipe, (self.rows, &self.values), self.state.step)
    }
}

/// How a run behaves; nothing here changes the model.
#[derive(Clone, Debug)]
pub struct TrainerOptions {
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Number of checkpoints kept along the way, for a learning curve.
    pub snapshots: usize,
    /// Stop after so many steps of this part; the run can be resumed.
    pub stop_after: Option<usize>,
    /// Lookups of each thread in one measurement of the raw cost.
    pub raw_lookups: usize,
}

impl Default for TrainerOptions {
    fn default() -> Self {
        let checkpoint_every = Duration::from_secs(60);
        Self { checkpoint_every, snapshots: 20, stop_after: None, raw_lookups: 16 }
    }
}

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Steps made.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Lookups of this part.
    pub lookups: u64,
    /// Seconds of this part.
    pub seconds: f64,
}

/// A run in a folder: `model.ckpt` is the latest checkpoint, `snapshots/` the curve.
#[derive(Debug)]
pub struct Trainer<'a> {
    engine: &'a Cpu,
    dataset: &'a Dataset,
    folder: PathBuf,
    options: TrainerOptions,
    state: State,
    model: Model<Cpu>,
    _lock: Lock,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { path, source }
}

impl<'a> Trainer<'a> {
    /// Opens a run, and resumes it if there is a checkpoint.
    ///
    /// # Errors
    /// [`fhe_core::Error::Locked`], [`Error::Resume`] if the checkpoint belongs to another recipe or
    /// data set, [`Error::Recipe`], [`Error::Io`] and those of the files.
    pub fn open(
        folder: &Path,
        engine: &'a Cpu,
        dataset: &'a Dataset,
        recipe: &Recipe,
        options: TrainerOptions,
    ) -> Result<Self> {
        recipe.check(engine.params())?;
        recipe.fits(dataset.shape())?;
        std::fs::create_dir_all(folder.join("snapshots")).map_err(io(folder))?;
        let lock = Lock::take(&folder.join("lock"))?;

        let name = &dataset.shape().name;
        let steps = Source::<Cpu>::batches(dataset) * recipe.passes();
        let path = folder.join("model.ckpt");
        let (state, model) = if path.exists() {
            let saved = Checkpoint::load(&path, engine.params(), engine.key_id())?;
            let differs = |field, got: String, expected: String| {
                let path = path.clone();
                if got == expected {
                    Ok(())
                } else {
                    Err(Error::Resume { path, field, got, expected })
                }
            };
            let text = |r: &Recipe| serde_json::to_string(r).unwrap_or_default();
            differs("recipe", text(&saved.state.recipe), text(recipe))?;
            differs("data set", saved.state.dataset.clone(), name.clone())?;
            differs("data", saved.state.inputs.clone(), dataset.shape().inputs.clone())?;
            differs("steps", saved.state.steps.to_string(), steps.to_string())?;
            (saved.state.clone(), saved.model(engine)?)
        } else {
            let state = State {
                recipe: recipe.clone(),
                dataset: name.clone(),
                inputs: dataset.shape().inputs.clone(),
                step: 0,
                steps,
                images: 0,
                lookups: 0,
                parts: Vec::new(),
            };
            (state, Model::new(engine, recipe)?)
        };
        Ok(Self { engine, dataset, folder: folder.into(), options, state, model, _lock: lock })
    }

    /// Returns the public state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Trains to the end, or to `stop_after`, and returns the report; `None` if stopped before.
    ///
    /// # Errors
    /// Those of the files and the data.
    pub fn run(mut self, mut progress: impl FnMut(Event)) -> Result<Option<Report>> {
        let steps = self.state.steps;
        let first = self.state.step;
        let last = self.options.stop_after.map_or(steps, |s| steps.min(first.saturating_add(s)));
        let snapshot_every = steps.div_ceil(self.options.snapshots.max(1)).max(1);
        let mut part = Part {
            from_step: first,
            to_step: first,
            threads: rayon::current_num_threads(),
            wall_seconds: 0.0,
            lookups: 0,
            raw_seconds: 0.0,
            raw_measurements: 0,
            provenance: Provenance::here(),
        };
        let mut since_checkpoint = Duration::ZERO;
        if first < last {
            self.measure(&mut part);
        }
        while self.model.step() < last {
            let start = Instant::now();
            let work = self.model.train_step(self.engine, self.dataset)?;
            let lookups = work.lookups as u64;
            let took = start.elapsed();
            since_checkpoint += took;
            part.wall_seconds += took.as_secs_f64();
            part.lookups += lookups;
            part.to_step = self.model.step();
            self.state.step = self.model.step();
            self.state.lookups += lookups;
            self.state.images += work.samples as u64;
            let (step, lookups, seconds) = (self.state.step, part.lookups, part.wall_seconds);
            progress(Event { step, steps, lookups, seconds });

            let snapshot = step % snapshot_every == 0 || step == steps;
            if snapshot || step == last || since_checkpoint >= self.options.checkpoint_every {
                self.measure(&mut part);
                let start = Instant::now();
                self.checkpoint(&part, snapshot)?;
                part.wall_seconds += start.elapsed().as_secs_f64();
                since_checkpoint = Duration::ZERO;
            }
        }
        if self.state.step < steps {
            return Ok(None);
        }
        if part.lookups > 0 {
            self.state.parts.push(part);
        }
        let report = report(&self.state, self.engine.params().name.clone());
        let path = self.folder.join("report.json");
        let json = serde_json::to_vec_pretty(&report).map_err(|e| io(&path)(e.into()))?;
        write_whole(&path, &json, Secrecy::Public)?;
        Ok(Some(report))
    }

    fn checkpoint(&self, part: &Part, snapshot: bool) -> Result<()> {
        let mut state = self.state.clone();
        state.parts.push(part.clone());
        let n = self.engine.params().row_size;
        let (rows, values) = self.model.parts();
        let (rows, values) = (Rows::concat(n, &rows), Values::concat(n, &values));
        let checkpoint = Checkpoint { rows, values, state };
        checkpoint.save(&self.folder.join("model.ckpt"), self.engine)?;
        if snapshot {
            let name = format!("step-{:07}.ckpt", self.state.step);
            checkpoint.save(&self.folder.join("snapshots").join(name), self.engine)?;
        }
        Ok(())
    }

    /// Adds one measurement of the raw cost, all threads at once, to the part's mean.
    fn measure(&self, part: &mut Part) {
        let mean = self.engine.raw_seconds(self.options.raw_lookups);
        let count = part.raw_measurements as f64;
        part.raw_seconds = (part.raw_seconds * count + mean) / (count + 1.0);
        part.raw_measurements += 1;
        part.provenance.measure_memory();
    }
}

fn report(state: &State, parameter_set: String) -> Report {
    let wall_seconds = state.parts.iter().map(|p| p.wall_seconds).sum::<f64>();
    let ideal = state
        .parts
        .iter()
        .map(|p| p.lookups as f64 * p.raw_seconds / p.threads as f64)
        .sum::<f64>();
    let threads = state.parts.last().map_or(0, |p| p.threads);
    let efficiency = wall_seconds / ideal;
    Report { state: state.clone(), parameter_set, wall_seconds, efficiency, threads }
}
