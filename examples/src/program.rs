//! What all programs have in common: their options, how they begin and how they end.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser};

use crate::output::{self, Manner};
use crate::{failure, processor, signals};

/// Options of every program.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every program")]
pub struct Common {
    /// Threads that compute; default: RAYON_NUM_THREADS, or one for each core.
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Say everything as JSON, an event a line on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but results and errors.
    #[arg(long, global = true)]
    pub quiet: bool,
}

/// Reads the arguments, runs a program and returns how it ended.
///
/// | status | meaning |
/// |---|---|
/// | 0 | done |
/// | 1 | an error, said on standard error |
/// | 2 | wrong arguments |
/// | 130, 143 | stopped by SIGINT (Ctrl-C) or SIGTERM; the same command goes on |
/// | 141 | nobody reads standard output any more; what can be gone on with was written first |
pub fn main<A: Parser>(common: fn(&A) -> &Common, run: fn(&A) -> Result<()>) -> ExitCode {
    // First of all: what follows may have instructions that this processor does not know.
    if let Err(error) = processor::check() {
        return failure::exit_code(Err(error));
    }
    let args = match A::try_parse() {
        Ok(args) => args,
        Err(error) => return said_by_parser(&error),
    };
    failure::exit_code(begin::<A>(common(&args)).and_then(|()| run(&args)))
}

/// Ends a program whose arguments ask for help or are wrong.
fn said_by_parser(error: &clap::Error) -> ExitCode {
    let said = error.print();
    match said {
        Err(failed) if !error.use_stderr() => failure::exit_code(Err(output::fail(&failed).into())),
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
    }
}

fn begin<A: Parser>(common: &Common) -> Result<()> {
    output::set(Manner { json: common.json, quiet: common.quiet });
    if let Some(threads) = common.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .build_global()
            .with_context(|| format!("--threads {threads}"))?;
    }
    let command = A::command();
    let version = command.get_version().unwrap_or_default();
    Ok(output::started(command.get_name(), version, rayon::current_num_threads())?)
}

/// Returns how a program ends that stopped before it was done: with the signal's status if there
/// was one, as a success if it was an option that asked for it.
///
/// # Errors
/// [`signals::Stopped`].
pub fn stopped(stop: &signals::Stop) -> Result<()> {
    stop.signal().map_or(Ok(()), |signal| Err(signal.into()))
}
