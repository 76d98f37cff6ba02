//! What all programs have in common: their options, how they begin and how they end.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::Path;
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
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let renamed = rename_images(&mut arguments);
    let args = match A::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return said_by_parser(&error),
    };
    let all = || {
        begin::<A>(common(&args))?;
        if renamed {
            output::warning("--images N is taken as --count N: it names a folder now")?;
        }
        run(&args)
    };
    failure::exit_code(all())
}

/// Makes `--images N` of scripts of before, a number that is no path, `--count N`; says whether
/// there was one.
fn rename_images(arguments: &mut [OsString]) -> bool {
    let is_number = |x: &OsString| {
        let digits = x.to_str().is_some_and(|x| x.bytes().all(|byte| byte.is_ascii_digit()));
        digits && !x.is_empty() && !Path::new(x).exists()
    };
    let is_former = |pair: &[OsString]| pair[0] == "--images" && is_number(&pair[1]);
    let found = arguments.windows(2).position(is_former);
    found.inspect(|&at| arguments[at] = "--count".into()).is_some()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_images_are_counts_and_folders_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        for (given, renamed) in [("16", true), (path, false), ("16x", false), ("", false)] {
            let mut arguments = ["setup", "--images", given, "--quiet"].map(OsString::from);
            assert_eq!(rename_images(&mut arguments), renamed, "{given:?}");
            assert_eq!(arguments[1] == "--count", renamed, "{given:?}");
        }
        assert!(!rename_images(&mut ["setup", "--images"].map(OsString::from)));
    }
}
