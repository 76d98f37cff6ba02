//! Changed files given to a reader, watched.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use anyhow::{Context, Result, bail, ensure};
use cpu_time::ProcessTime;
use fhe_examples::fuzz::{Found, write};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use crate::case::{Case, cases};
use crate::{File, MEMORY};

/// Inputs of a reader unless the environment asks for others.
const INPUTS: u64 = 10_000;
/// Inputs of one seed.
const ROUND: u64 = 1_000;
/// Seconds after which an input is taken to hang. The process then ends.
const HANGS: u64 = 60;

/// What a reader may take for one input.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Seconds of all processors.
    pub seconds: f64,
    /// Bytes of memory, together with what it has read.
    pub bytes: usize,
}

impl Default for Limits {
    /// Of a reader of small files.
    fn default() -> Self {
        Self { seconds: 2.0, bytes: 64 << 20 }
    }
}

/// A run of one reader. Others wait for its end: memory and time are those of the process.
#[derive(Debug)]
pub struct Fuzz {
    reader: &'static str,
    limits: Limits,
    _alone: MutexGuard<'static, ()>,
}

impl Fuzz {
    /// Waits for other readers.
    #[must_use]
    pub fn of(reader: &'static str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self { reader, limits: Limits::default(), _alone: alone }
    }

    /// Allows other limits.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Gives changed files to the reader, which gets the name and the bytes of each, and says
    /// whether it takes them.
    ///
    /// `FUZZ_INPUTS` says how many, and `FUZZ_SECONDS` for how long at least. `FUZZ_SEED` begins
    /// elsewhere: the same seed makes the same inputs. `FUZZ_RESULTS` names a file in which is
    /// noted what was found.
    ///
    /// # Errors
    /// If the reader refuses a file that was not changed, panics, or takes more than it may; with
    /// the smallest changes that were found to do it.
    pub fn run(
        self,
        files: &[File],
        mut read: impl FnMut(&str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let (reader, limits) = (self.reader, self.limits);
        ensure!(!files.is_empty(), "{reader}: no file");
        for file in files {
            let name = file.name();
            read(name, file.bytes()).with_context(|| format!("{reader}: {name}, unchanged"))?;
        }
        let (inputs, seconds) = (number("FUZZ_INPUTS", INPUTS)?, number("FUZZ_SECONDS", 0)?);
        let seed = number("FUZZ_SEED", 0)?;
        let mut found = Found { reader: reader.into(), seed, ..Found::default() };
        let start = Instant::now();
        let mut failed = None;
        for next in 0.. {
            let enough = found.inputs >= inputs && start.elapsed().as_secs() >= seconds;
            if enough || failed.is_some() {
                break;
            }
            let left = if found.inputs < inputs { inputs - found.inputs } else { ROUND };
            failed = round(seed + next, left.min(ROUND), files, limits, &mut found, &mut read)?;
        }
        found.seconds = (start.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        found.failures = u64::from(failed.is_some());
        if let Some(path) = env::var_os("FUZZ_RESULTS") {
            write(path.as_ref(), &found)?;
        }
        match failed {
            Some(problem) => bail!("{reader}: {problem}"),
            None => Ok(()),
        }
    }
}

/// Makes inputs of a seed, and returns what is wrong with one.
fn round(
    seed: u64,
    inputs: u64,
    files: &[File],
    limits: Limits,
    found: &mut Found,
    read: &mut impl FnMut(&str, &[u8]) -> Result<()>,
) -> Result<Option<String>> {
    let mut config = Config::with_cases(u32::try_from(inputs)?);
    config.rng_seed = RngSeed::Fixed(seed);
    config.failure_persistence = None;
    config.max_shrink_iters = 500;
    config.max_shrink_time = 10_000;
    let watched = std::cell::RefCell::new((found, read));
    let run = TestRunner::new(config).run(&cases(), |case: Case| {
        let file = &files[case.file.index(files.len())];
        let bytes = file.changed(&case).map_err(|e| TestCaseError::fail(format!("{e:#}")))?;
        if bytes == file.bytes() {
            return Ok(());
        }
        let (found, read) = &mut *watched.borrow_mut();
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let clock = Clock::start();
        let taken = read(file.name(), &bytes);
        let seconds = clock.stop();
        let memory = MEMORY.peak_usage().saturating_sub(before);
        found.inputs += 1;
        found.taken += u64::from(taken.is_ok());
        found.slowest_seconds = found.slowest_seconds.max(seconds);
        found.largest_bytes = found.largest_bytes.max(memory as u64);
        if seconds > limits.seconds {
            return Err(TestCaseError::fail(format!("it took {seconds:.1} seconds")));
        }
        if memory > limits.bytes {
            return Err(TestCaseError::fail(format!("it took {memory} bytes of memory")));
        }
        Ok(())
    });
    match run {
        Ok(()) => Ok(None),
        Err(TestError::Abort(reason)) => bail!("{reason}"),
        Err(TestError::Fail(reason, case)) => {
            let file = &files[case.file.index(files.len())];
            let length = file.changed(&case)?.len();
            let name = file.name();
            Ok(Some(format!("{reason}, on {length} bytes: {name}, seed {seed}, {case:?}")))
        }
    }
}

/// Says how long an input takes, and ends a process that hangs. Time is that of the processors: it
/// does not pass while others have them.
struct Clock(ProcessTime);

/// Milliseconds of this process at which the present input began, and 0 between inputs.
static BEGAN: AtomicU64 = AtomicU64::new(0);

impl Clock {
    fn start() -> Self {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| drop(thread::spawn(watch)));
        let now = ProcessTime::now();
        BEGAN.store(millis(now), Ordering::Relaxed);
        Self(now)
    }

    fn stop(self) -> f64 {
        BEGAN.store(0, Ordering::Relaxed);
        self.0.elapsed().as_secs_f64()
    }
}

fn millis(time: ProcessTime) -> u64 {
    (time.as_duration().as_millis() as u64).max(1)
}

fn watch() {
    loop {
        thread::sleep(Duration::from_secs(1));
        let began = BEGAN.load(Ordering::Relaxed);
        if began > 0 && millis(ProcessTime::now()) > began + 1000 * HANGS {
            eprintln!("an input took more than {HANGS} seconds");
            process::abort();
        }
    }
}

fn number(name: &str, default: u64) -> Result<u64> {
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}: no whole number: {text}")),
        Err(_) => Ok(default),
    }
}
