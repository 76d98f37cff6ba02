//! Whether several processes train the same model as one, and how fast.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, value_parser};
use fhe_core::store::Message;
use fhe_examples::program::{self, Common};
use fhe_examples::render::ranks::{Killed, RankRun, RankRuns};
use fhe_examples::server::ServerFolder;
use fhe_examples::{file, folders, output};
use fhe_train::{Checkpoint, Report};

/// Trains a run with one process and with several, which mpirun starts, and compares the models bit
/// for bit. Then it kills one of two processes in the middle, and goes on with another number.
///
/// It needs mpirun, and the program train beside itself, built with the feature mpi. The run itself
/// is left as it is: the trainings lie in RUN/ranks.
#[derive(Parser)]
#[command(
    name = "ranks",
    version,
    after_help = "\
Examples:
  cargo build --release --features fhe-examples/mpi --examples
  setup --run runs/ranks --count 480 --batch 48 --dictionary 32 --reproducible-key
  ranks --run runs/ranks --results mpi.json"
)]
struct Args {
    /// Folder of the run, as setup made it.
    #[arg(long, default_value = "runs/ranks")]
    run: PathBuf,
    /// Numbers of processes.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4],
          value_parser = value_parser!(u64).range(1..=64))]
    ranks: Vec<u64>,
    /// Where to write the results, JSON.
    #[arg(long)]
    results: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Processes of which one is killed, and those that go on.
const KILLED: [u64; 2] = [2, 3];
/// Time in which a training is to reach its first checkpoint.
const PATIENCE: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, run)
}

fn run(args: &Args) -> Result<()> {
    let folder = ServerFolder::of(&args.run);
    for file in [folder.keys(), folder.dataset(), folder.recipe()] {
        folders::needs_setup(&file, &args.run)?;
    }
    let cores = std::thread::available_parallelism()?.get() as u64;
    let mut runs: Vec<RankRun> = Vec::new();
    for &ranks in &args.ranks {
        let job = Job::new(&args.run, &format!("{ranks}"), ranks, cores)?;
        let status = job.command().status().context("mpirun")?;
        ensure!(status.success(), "{ranks} processes: mpirun ended with {status}");
        let found = job.found()?;
        let text = format!(
            "{ranks} processes of {} threads: {:.1} s, model {}",
            job.threads, found.wall_seconds, found.model
        );
        output::result("ranks", text, &found)?;
        runs.push(found);
    }
    let killed = kill(&args.run, cores)?;
    let text = format!(
        "one of {} processes was killed after step {}; {} processes went on: model {}",
        killed.ranks, killed.step, killed.resumed_by, killed.model
    );
    output::result("killed", text, &killed)?;
    let models = runs.iter().map(|run| &run.model).chain([&killed.model]);
    let same = models.collect::<std::collections::BTreeSet<_>>().len() == 1;
    let found = RankRuns { same, cores, runs, killed, provenance: fhe_examples::results::here() };
    if let Some(path) = &args.results {
        file::write_json(path, &found)?;
    }
    ensure!(same, "the models differ");
    Ok(output::result("same", "all models are the same, bit for bit", &same)?)
}

/// A training by some processes, in a folder of its own.
struct Job {
    run: PathBuf,
    folder: ServerFolder,
    ranks: u64,
    threads: u64,
}

impl Job {
    /// Of so many processes, which share the cores.
    fn new(run: &Path, name: &str, ranks: u64, cores: u64) -> Result<Self> {
        let of_run = run.join("ranks").join(name);
        if of_run.exists() {
            fs::remove_dir_all(&of_run)?;
        }
        let (from, folder) = (ServerFolder::of(run), ServerFolder::of(&of_run));
        fs::create_dir_all(folder.path())?;
        let files = [
            (from.keys(), folder.keys()),
            (from.dataset(), folder.dataset()),
            (from.recipe(), folder.recipe()),
        ];
        for (from, to) in files {
            symlink(fs::canonicalize(from)?, to)?;
        }
        Ok(Self { run: of_run, folder, ranks, threads: (cores / ranks).max(1) })
    }

    fn command(&self) -> Command {
        let train = std::env::current_exe().map(|path| path.with_file_name("train"));
        let mut command = Command::new("mpirun");
        command.args(["--oversubscribe", "--bind-to", "none", "-n", &self.ranks.to_string()]);
        // Open MPI asks root for this; containers have no other user.
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        command.arg(train.unwrap_or_else(|_| "train".into()));
        command.arg("--run").arg(&self.run);
        command.args(["--threads", &self.threads.to_string(), "--checkpoint-seconds", "1"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        command
    }

    /// Returns what a finished training left.
    fn found(&self) -> Result<RankRun> {
        let checkpoint = Checkpoint::load(&self.folder.model())?;
        let state = &checkpoint.state;
        ensure!(state.step == state.steps, "{}: not finished", self.folder.model().display());
        let path = self.folder.path().join("report.json");
        let report: Report = file::read_json(&path, "report")?;
        Ok(RankRun {
            ranks: self.ranks,
            threads: self.threads,
            wall_seconds: report.wall_seconds,
            lookups: report.state.lookups,
            model: hash(&checkpoint),
        })
    }
}

fn hash(checkpoint: &Checkpoint) -> String {
    blake3::hash(&checkpoint.rows.to_le_bytes()).to_hex()[..32].to_owned()
}

/// Kills one process of a training, and goes on with others.
fn kill(run: &Path, cores: u64) -> Result<Killed> {
    let [ranks, resumed_by] = KILLED;
    let mut job = Job::new(run, "killed", ranks, cores)?;
    let mut child = job.command().stderr(Stdio::piped()).spawn().context("mpirun")?;
    let begun = std::time::Instant::now();
    while !job.folder.model().exists() {
        if let Some(status) = child.try_wait()? {
            bail!("mpirun ended with {status} before its first checkpoint");
        }
        ensure!(begun.elapsed() < PATIENCE, "no checkpoint after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let victim = children_of(child.id())?.last().copied().context("mpirun has no processes")?;
    Command::new("kill").args(["-9", &victim.to_string()]).status().context("kill")?;
    let ended = child.wait_with_output()?;
    ensure!(!ended.status.success(), "mpirun succeeded without one of its processes");
    let step = Checkpoint::load(&job.folder.model())?.state.step;
    (job.ranks, job.threads) = (resumed_by, (cores / resumed_by).max(1));
    let status = job.command().status().context("mpirun")?;
    ensure!(status.success(), "{resumed_by} processes: mpirun ended with {status}");
    Ok(Killed { ranks, step, resumed_by, model: job.found()?.model })
}

/// Returns the processes that a process started.
fn children_of(parent: u32) -> Result<Vec<u32>> {
    let parent_of = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // What follows the name, which may hold anything, in brackets: the state and the parent.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all = fs::read_dir("/proc").context("/proc")?;
    let numbers = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|&pid| parent_of(pid) == Some(parent)).collect())
}
