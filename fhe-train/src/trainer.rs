//! A training run in a folder of the server: resume, checkpoints, report.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fhe_core::engine::cpu::{Rows, Values};
use fhe_core::store::{Dataset, Lock, Message};
use fhe_core::{Cpu, Engine};

use crate::{
    Checkpoint, Error, Model, Provenance, Recipe, Report, Result, Source, State, Stretch, Work,
};

/// How a run behaves; nothing here changes the model.
#[derive(Clone, Debug)]
pub struct TrainerOptions {
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Number of checkpoints kept along the way, for a learning curve.
    pub snapshots: usize,
    /// Stop after so many steps of this stretch; the run can be resumed.
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
    /// Parts made of the step that has begun; 0 between two steps.
    pub part: usize,
    /// Lookups of this stretch.
    pub lookups: u64,
    /// Seconds of this stretch.
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
            differs("steps", saved.state.steps.to_string(), steps.to_string())?;
            (saved.state.clone(), saved.model(engine)?)
        } else {
            let state = State {
                recipe: recipe.clone(),
                dataset: name.clone(),
                inputs: dataset.shape().inputs.clone(),
                step: 0,
                part: 0,
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

    /// Returns the path of the latest checkpoint.
    #[must_use]
    pub fn model_path(&self) -> PathBuf {
        self.folder.join("model.ckpt")
    }

    /// Trains to the end, or to `stop_after`, and returns the report; `None` if stopped before.
    ///
    /// `progress` is called after each part of a step: after each sub-batch of a network, and after
    /// each mini-batch of a linear classifier. Where it breaks, the training writes a checkpoint and
    /// stops; inside a step if need be.
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
        let snapshot_every = steps.div_ceil(self.options.snapshots.max(1)).max(1);
        let mut stretch = Stretch {
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
            self.measure(&mut stretch);
        }
        let mut stopped = false;
        while self.model.step() < last && !stopped {
            let start = Instant::now();
            let work = self.model.train_part(self.engine, self.dataset)?;
            let took = start.elapsed();
            since_checkpoint += took;
            self.account(&mut stretch, work, took);
            let (step, part) = (self.state.step, self.state.part);
            let (lookups, seconds) = (stretch.lookups, stretch.wall_seconds);
            stopped = progress(Event { step, steps, part, lookups, seconds }).is_break();

            let whole = part == 0;
            let snapshot = whole && (step % snapshot_every == 0 || step == steps);
            let due = since_checkpoint >= self.options.checkpoint_every;
            if snapshot || stopped || step == last || due {
                self.measure(&mut stretch);
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
        let json = serde_json::to_vec_pretty(&report)
            .map_err(|error| Error::Text { what: "report", problem: error.to_string() })?;
        crate::shim::write_atomically(&self.folder.join("report.json"), &json)?;
        Ok(Some(report))
    }

    /// Notes what a part of a step did.
    fn account(&mut self, stretch: &mut Stretch, work: Work, took: Duration) {
        stretch.wall_seconds += took.as_secs_f64();
        stretch.lookups += work.lookups as u64;
        stretch.to_step = self.model.step();
        self.state.step = self.model.step();
        self.state.part = self.model.part();
        self.state.lookups += work.lookups as u64;
        self.state.images += work.samples as u64;
    }

    fn checkpoint(&self, stretch: &Stretch, snapshot: bool) -> Result<()> {
        let mut state = self.state.clone();
        state.parts.push(stretch.clone());
        let n = self.engine.params().row_size;
        let (rows, values) = self.model.parts();
        let (rows, values) = (Rows::concat(n, &rows)?, Values::concat(n, &values)?);
        let checkpoint = Checkpoint::new(self.engine, rows, values, state);
        checkpoint.save(&self.model_path())?;
        if snapshot {
            let name = format!("step-{:07}.ckpt", self.state.step);
            checkpoint.save(&self.folder.join("snapshots").join(name))?;
        }
        Ok(())
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
