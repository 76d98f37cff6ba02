//! Ranks that train together end with the model of one process.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use fhe_core::engine::cpu::Rows;
use fhe_core::store::Message;
use fhe_core::{Cpu, Params};
use fhe_train::{
    Checkpoint, Client, DeepRecipe, Error, Ranks, Recipe, Result, Server, Trainer, TrainerOptions,
};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Ranks that are threads of one process.
struct Threads {
    rank: usize,
    count: usize,
    shared: Arc<(Barrier, Mutex<Vec<u64>>)>,
}

impl Threads {
    fn new(count: usize) -> Vec<Self> {
        let shared = Arc::new((Barrier::new(count), Mutex::default()));
        (0..count).map(|rank| Self { rank, count, shared: Arc::clone(&shared) }).collect()
    }
}

impl Ranks<Cpu> for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn sum(&self, numbers: &mut [u64]) -> Result<()> {
        let (barrier, sums) = &*self.shared;
        {
            let mut sums = sums.lock().unwrap();
            sums.resize(numbers.len(), 0);
            sums.iter_mut().zip(&*numbers).for_each(|(sum, x)| *sum = sum.wrapping_add(*x));
        }
        barrier.wait();
        numbers.copy_from_slice(&sums.lock().unwrap());
        barrier.wait();
        sums.lock().unwrap().clear();
        barrier.wait();
        Ok(())
    }

    fn sum_rows(&self, rows: &mut Rows) -> Result<()> {
        let mut elements = rows.elements().to_vec();
        self.sum(&mut elements)?;
        *rows = Rows::from_elements(rows.size(), elements).unwrap();
        Ok(())
    }
}

/// What a training is given.
struct Job {
    server: Server,
    folder: tempfile::TempDir,
    recipe: Recipe,
}

impl Job {
    fn new(params: &Params, recipe: Recipe, samples: usize, batch: usize) -> Self {
        let client = Client::new(params).unwrap();
        let server = Server::from_keys(&client.key().evaluation_keys());
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let labels: Vec<u32> = (0..samples).map(|i| i as u32 % 3).collect();
        let feature = |(i, j): (usize, usize)| {
            let sign = if i % 3 == j % 3 { 4 } else { -4 };
            sign + rng.random_range(-3..=3)
        };
        let x: Array2<i8> = Array2::from_shape_fn((samples, 6), feature);
        let folder = tempfile::tempdir().unwrap();
        client.encrypt(x.view(), &labels, &recipe, batch, &folder.path().join("data")).unwrap();
        Self { server, folder, recipe }
    }

    /// Trains in a folder, and returns the weights.
    fn train(&self, run: &str, ranks: usize, stop_after: Option<usize>) -> Checkpoint {
        let folder = &self.folder.path().join(run);
        let failed = self.each(ranks, |ranks| self.train_one(folder, ranks, stop_after));
        failed.into_iter().for_each(|result| result.unwrap());
        Checkpoint::load(&folder.join("model.ckpt")).unwrap()
    }

    /// Runs something on threads of their own, and returns what each of them says.
    fn each<T: Send>(&self, count: usize, run: impl Fn(&Threads) -> T + Sync) -> Vec<T> {
        let ranks = Threads::new(count);
        std::thread::scope(|scope| {
            let run = &run;
            let threads: Vec<_> =
                ranks.iter().map(|ranks| scope.spawn(move || run(ranks))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn train_one(&self, folder: &Path, ranks: &Threads, stop_after: Option<usize>) -> Result<()> {
        let data = self.server.dataset(&self.folder.path().join("data"))?;
        let options = TrainerOptions {
            checkpoint_every: Duration::from_secs(60),
            snapshots: 0,
            stop_after,
            raw_lookups: 1,
            ..TrainerOptions::default()
        };
        let engine = self.server.engine();
        let trainer = Trainer::open_among(folder, engine, &data, &self.recipe, options, ranks)?;
        trainer.run(|_| ControlFlow::Continue(()))?;
        Ok(())
    }
}

#[test]
fn any_number_of_ranks_gives_the_same_model_also_when_resumed() {
    let [plain, batch] = [Params::toy_insecure().unwrap(), Params::toy_insecure_batch().unwrap()];
    let Recipe::Deep(network) = Recipe::mlp(6, &[5], 3) else { unreachable!() };
    let network = DeepRecipe { first_layer_every: 2, ..network };
    let jobs = [
        // Units of 21 samples: 64 lookups.
        Job::new(&plain, Recipe::linear(6, 3), 100, 50),
        // Units of 682 samples: a batch of 2,048 lookups.
        Job::new(&batch, Recipe::linear(6, 3), 2000, 1500),
        // Parts of 512 samples, two of them before an update.
        Job::new(&batch, Recipe::Deep(network), 2000, 1800),
    ];
    for job in jobs {
        let alone = job.train("alone", 1, None);
        assert_eq!(alone.state.step, alone.state.steps);
        for ranks in [2, 3] {
            let together = job.train(&format!("{ranks} ranks"), ranks, None);
            assert!(together.rows == alone.rows, "{ranks} ranks of {:?}", job.recipe);
            let of = |x: &Checkpoint| (x.state.images, x.state.lookups);
            assert_eq!(of(&together), of(&alone));
            assert_eq!(together.state.parts.last().unwrap().ranks, ranks);
        }
        job.train("resumed", 2, Some(1));
        assert!(job.train("resumed", 3, None).rows == alone.rows);
    }
}

#[test]
fn ranks_that_would_train_different_models_are_refused() {
    let job = Job::new(&Params::toy_insecure().unwrap(), Recipe::linear(6, 3), 100, 50);
    job.train("begun", 1, Some(1));
    // The second rank finds a folder without the checkpoint.
    let folders = ["begun", "empty"].map(|name| job.folder.path().join(name));
    let results = job.each(2, |ranks| job.train_one(&folders[ranks.rank], ranks, None));
    for (rank, result) in results.into_iter().enumerate() {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Ranks { rank: of, .. } if of == rank), "{error}");
    }
    // A network whose first layer is updated after every part leaves nothing to share.
    let params = Params::toy_insecure_batch().unwrap();
    let job = Job::new(&params, Recipe::mlp(6, &[5], 3), 600, 600);
    let folder = job.folder.path().join("run");
    for result in job.each(2, |ranks| job.train_one(&folder, ranks, None)) {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("recipe: first_layer_every is 1"), "{error}");
    }
}
