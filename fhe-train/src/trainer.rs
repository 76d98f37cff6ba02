//! A training run in a folder of the server: resume, checkpoints, report.

use std::hash::{Hash as _, Hasher as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fhe_core::engine::cpu::Rows;
use fhe_core::store::{Dataset, Lock, Message, Secrecy, create_folder, write_whole};
use fhe_core::{Cpu, Engine};

use crate::ranks::{Alone, Ranks};
use crate::{
    Checkpoint, Error, Model, Provenance, Recipe, Report, Result, Source, State, Stretch, Work,
};

/// How a run behaves; nothing here changes the model.
#[derive(Clone, Debug)]
pub struct TrainerOptions {
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Number of checkpoints kept along the way, for a learning curve; none of 0.
    pub snapshots: usize,
    /// Stop after so many steps of this stretch; the run can be resumed.
    pub stop_after: Option<usize>,
    /// Lookups of each thread in one measurement of the raw cost, at least 1.
    pub raw_lookups: usize,
    /// Commit that the program was built from, for the report.
    pub commit: String,
}

impl Default for TrainerOptions {
    fn default() -> Self {
        let checkpoint_every = Duration::from_secs(60);
        let commit = "unknown".into();
        Self { checkpoint_every, snapshots: 20, stop_after: None, raw_lookups: 16, commit }
    }
}

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Steps made.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Parts made of the step that has begun; 0 between two steps.
    pub part: usize,
    /// Lookups of this stretch.
    pub lookups: u64,
    /// Seconds of this stretch.
    pub seconds: f64,
}

/// A run in a folder: `model.ckpt` is the latest checkpoint, `snapshots/` the curve.
///
/// # Examples
/// ```
/// use std::ops::ControlFlow;
///
/// use fhe_core::Params;
/// use fhe_train::{Client, Recipe, Server, Trainer, TrainerOptions};
/// use ndarray::array;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let at = |name: &str| folder.path().join(name);
/// // A client with a parameter set without any security, so that the example is quick.
/// let client = Client::new(&Params::toy_insecure()?)?;
/// let (x, recipe) = (array![[7_i8, 0, 7], [0, 7, 7], [5, 1, 7], [2, 6, 7]], Recipe::linear(3, 2));
/// client.encrypt(x.view(), &[0, 1, 0, 1], &recipe, 2, &at("data"))?;
///
/// let server = Server::from_keys(&client.key().evaluation_keys());
/// let data = server.dataset(&at("data"))?;
/// let open = |stop_after| {
///     let options = TrainerOptions { stop_after, raw_lookups: 1, ..TrainerOptions::default() };
///     Trainer::open(&at("run"), server.engine(), &data, &recipe, options)
/// };
/// // One of two steps, and later the other: it goes on from the checkpoint in the folder.
/// let go_on = |_| ControlFlow::Continue(());
/// assert!(open(Some(1))?.run(go_on)?.is_none());
/// let trainer = open(None)?;
/// assert_eq!(trainer.state().step, 1);
/// let report = trainer.run(go_on)?.ok_or("stopped")?;
/// assert_eq!((report.state.step, report.state.parts.len()), (2, 2));
/// # Ok(())
/// # }
/// ```
pub struct Trainer<'a> {
    engine: &'a Cpu,
    ranks: &'a dyn Ranks<Cpu>,
    dataset: &'a Dataset,
    folder: PathBuf,
    options: TrainerOptions,
    state: State,
    model: Model<Cpu>,
    /// Of rank 0.
    _lock: Option<Lock>,
}

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Returns numbers by which ranks tell whether they hold the same.
fn digest(state: &State, model: &Model<Cpu>) -> [u64; 2] {
    let mut hash = std::hash::DefaultHasher::new();
    let State { recipe, dataset, inputs, batch, step, part, steps, images, lookups, .. } = state;
    serde_json::json!(recipe).to_string().hash(&mut hash);
    (dataset, inputs, batch, step, part, steps, images, lookups).hash(&mut hash);
    let of_state = hash.finish();
    model.parts().iter().for_each(|rows| rows.elements().hash(&mut hash));
    [of_state, hash.finish()]
}

impl<'a> Trainer<'a> {
    /// Opens a run, and resumes it if there is a checkpoint.
    ///
    /// # Errors
    /// [`fhe_core::Error::Locked`]; [`Error::Resume`] if the checkpoint belongs to another recipe
    /// or data set; [`Error::Recipe`]; those of the folder and the files.
    pub fn open(
        folder: &Path,
        engine: &'a Cpu,
        dataset: &'a Dataset,
        recipe: &Recipe,
        options: TrainerOptions,
    ) -> Result<Self> {
        Self::open_among(folder, engine, dataset, recipe, options, &Alone)
    }

    /// Opens a run of several processes, each of which calls this with a folder, keys and a data
    /// set that hold the same. Rank 0 writes the files; the others read the checkpoint.
    ///
    /// # Errors
    /// Those of [`Trainer::open`]; [`Error::Ranks`] if ranks found different files;
    /// [`Error::Recipe`] if the recipe leaves nothing to share.
    pub fn open_among(
        folder: &Path,
        engine: &'a Cpu,
        dataset: &'a Dataset,
        recipe: &Recipe,
        options: TrainerOptions,
        ranks: &'a dyn Ranks<Cpu>,
    ) -> Result<Self> {
        recipe.check(engine.params())?;
        recipe.fits(dataset.shape(), engine.params())?;
        if let Recipe::Deep(deep) = recipe
            && deep.first_layer_every == 1
            && ranks.count() > 1
        {
            let rule = "several ranks would wait for each other: expected 2 or more";
            return Err(Error::Recipe { field: "first_layer_every", got: "1".into(), rule });
        }
        let lock = match ranks.rank() {
            0 => {
                create_folder(&folder.join("snapshots"))?;
                Some(Lock::take(&folder.join("lock"))?)
            }
            _ => None,
        };

        let name = &dataset.shape().name;
        let steps = Source::<Cpu>::batches(dataset) * recipe.passes();
        let path = folder.join("model.ckpt");
        let (state, model) = if path.exists() {
            let saved = Checkpoint::load_for(&path, engine.params(), engine.key_id())?;
            let differs = |field, got: String, expected: String| {
                let path = path.clone();
                if got == expected {
                    Ok(())
                } else {
                    Err(Error::Resume { path, field, got, expected })
                }
            };
            if saved.state.recipe != *recipe {
                let text = |r: &Recipe| serde_json::to_string(r).unwrap_or_else(|e| e.to_string());
                differs("recipe", text(&saved.state.recipe), text(recipe))?;
            }
            differs("data set", saved.state.dataset.clone(), name.clone())?;
            differs("data", saved.state.inputs.clone(), dataset.shape().inputs.clone())?;
            let batch = dataset.shape().batch;
            // An earlier version did not note it.
            let noted = if saved.state.batch == 0 { batch } else { saved.state.batch };
            differs("mini-batch", noted.to_string(), batch.to_string())?;
            differs("steps", saved.state.steps.to_string(), steps.to_string())?;
            (saved.state.clone(), saved.model(engine)?)
        } else {
            let state = State {
                recipe: recipe.clone(),
                dataset: name.clone(),
                inputs: dataset.shape().inputs.clone(),
                batch: dataset.shape().batch,
                step: 0,
                part: 0,
                steps,
                images: 0,
                lookups: 0,
                parts: Vec::new(),
            };
            (state, Model::new(engine, recipe)?)
        };
        ranks.agree("recipe, data set or checkpoint", &digest(&state, &model))?;
        Ok(Self {
            ranks,
            engine,
            dataset,
            folder: folder.into(),
            options,
            state,
            model,
            _lock: lock,
        })
    }

    /// Returns the public state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the path of the latest checkpoint.
    #[must_use]
    pub fn model_path(&self) -> PathBuf {
        self.folder.join("model.ckpt")
    }

    /// Trains to the end, or to `stop_after`, and returns the report; `None` if stopped before.
    ///
    /// `progress` is called after each part of a step: after each sub-batch of a network, and after
    /// each mini-batch of a linear classifier. Where it breaks, the training writes a checkpoint
    /// and stops, inside a step if need be.
    ///
    /// # Errors
    /// Those of the files and the data.
    pub fn run(
        mut self,
        mut progress: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<Report>> {
        let steps = self.state.steps;
        let first = self.state.step;
        let last = self.options.stop_after.map_or(steps, |s| steps.min(first.saturating_add(s)));
        let snapshot_every = match self.options.snapshots {
            0 => None,
            snapshots => Some(steps.div_ceil(snapshots).max(1)),
        };
        let mut stretch = Stretch {
            from_step: first,
            to_step: first,
            threads: rayon::current_num_threads(),
            ranks: self.ranks.count(),
            wall_seconds: 0.0,
            lookups: 0,
            raw_seconds: 0.0,
            raw_measurements: 0,
            provenance: Provenance::here(&self.options.commit),
        };
        let mut since_checkpoint = Duration::ZERO;
        if first < last && self.is_first() {
            self.measure(&mut stretch);
        }
        let mut stopped = false;
        while self.model.step() < last && !stopped {
            let start = Instant::now();
            let work = self.model.train_part_among(self.engine, self.dataset, self.ranks)?;
            let took = start.elapsed();
            since_checkpoint += took;
            self.account(&mut stretch, work, took);
            let (step, part) = (self.state.step, self.state.part);
            let (lookups, seconds) = (stretch.lookups, stretch.wall_seconds);
            let stop = progress(Event { step, steps, part, lookups, seconds }).is_break();
            // All stop where one does.
            let mut stops = [u64::from(stop)];
            self.ranks.sum(&mut stops)?;
            stopped = stops[0] > 0;
            if !self.is_first() {
                continue;
            }

            let whole = part == 0;
            let is_kept = |every: usize| step.is_multiple_of(every) || step == steps;
            let snapshot = whole && snapshot_every.is_some_and(is_kept);
            let due = since_checkpoint >= self.options.checkpoint_every;
            let measured = stopped || step == last || due;
            if measured {
                self.measure(&mut stretch);
            }
            if snapshot || measured {
                let start = Instant::now();
                self.checkpoint(&stretch, snapshot)?;
                stretch.wall_seconds += start.elapsed().as_secs_f64();
                since_checkpoint = Duration::ZERO;
            }
        }
        if self.state.step < steps {
            return Ok(None);
        }
        if stretch.lookups > 0 {
            self.state.parts.push(stretch);
        }
        let report = Report::new(&self.state, self.engine.params().name.clone());
        if self.is_first() {
            let json = serde_json::to_vec_pretty(&report)
                .map_err(|error| Error::Text { what: "report", problem: error.to_string() })?;
            write_whole(&self.folder.join("report.json"), &json, Secrecy::Public)?;
        }
        Ok(Some(report))
    }

    /// Returns whether this is the process that writes files.
    fn is_first(&self) -> bool {
        self.ranks.rank() == 0
    }

    /// Notes what a part of a step did.
    fn account(&mut self, stretch: &mut Stretch, work: Work, took: Duration) {
        stretch.wall_seconds += took.as_secs_f64();
        stretch.lookups += work.lookups as u64;
        stretch.to_step = self.model.step();
        self.state.step = self.model.step();
        self.state.part = self.model.part();
        // What a checkpoint says of earlier parts is a claim.
        self.state.lookups = self.state.lookups.saturating_add(work.lookups as u64);
        self.state.images = self.state.images.saturating_add(work.samples as u64);
    }

    fn checkpoint(&self, stretch: &Stretch, snapshot: bool) -> Result<()> {
        let mut state = self.state.clone();
        state.parts.push(stretch.clone());
        let n = self.engine.params().row_size;
        let rows = Rows::concat(n, &self.model.parts())?;
        let checkpoint = Checkpoint::new(self.engine, rows, state);
        // Before the model: a training that ends between the two goes on from the former model, and
        // writes the snapshot again.
        if snapshot {
            let name = format!("step-{:07}.ckpt", self.state.step);
            checkpoint.save(&self.folder.join("snapshots").join(name))?;
        }
        Ok(checkpoint.save(&self.model_path())?)
    }

    /// Adds one measurement of the raw cost, all threads at once, to the stretch's mean.
    fn measure(&self, stretch: &mut Stretch) {
        let mean = self.engine.raw_seconds(self.options.raw_lookups);
        let count = stretch.raw_measurements as f64;
        stretch.raw_seconds = (stretch.raw_seconds * count + mean) / (count + 1.0);
        stretch.raw_measurements += 1;
        stretch.provenance.measure_memory();
    }
}
