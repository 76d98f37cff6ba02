//! The server's training: reads RUN/server only, and cannot decrypt.

use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, value_parser};
use fhe_core::store::Dataset;
use fhe_core::{Cpu, Params};
use fhe_examples::processes::Processes;
use fhe_examples::program::{self, Common};
use fhe_examples::server::ServerFolder;
use fhe_examples::signals::Stop;
use fhe_examples::{folders, output, preset, progress, results};
use fhe_train::{Quote, Ranks, Recipe, Server, Shares, State, Trainer, TrainerOptions};
use indicatif::HumanDuration;
use serde::Serialize;
use serde_json::json;

/// Trains on the encrypted images of RUN/server.
///
/// The model stays encrypted: RUN/server/model.ckpt. An interrupted training goes on where its last
/// checkpoint stands, and ends with the same model as an uninterrupted one.
///
/// Ctrl-C and SIGTERM end it after the sub-batch in progress, with a checkpoint and exit status 130
/// or 143. A second one ends it at once. With --json, a reader that goes away ends it as they do,
/// with status 141.
#[derive(Parser)]
#[command(
    name = "train",
    version,
    after_help = "\
Examples:
  train --run runs/builtin                  train, or go on
  train --run runs/builtin --price          what it will cost, and nothing more
  train --run runs/builtin --stop-after 10  ten mini-batches, the rest another time
  train --run runs/builtin --json           an event a line, for other programs
  mpirun -n 4 train --run runs/builtin      four processes, if it was built with the feature mpi

Before it: setup. After it: infer decrypt."
)]
struct Args {
    /// Folder of the run.
    #[arg(long, default_value = "runs/builtin")]
    run: PathBuf,
    /// Seconds between checkpoints.
    #[arg(long, default_value_t = 60)]
    checkpoint_seconds: u64,
    /// Stop after so many mini-batches; the same command goes on later.
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    stop_after: Option<u64>,
    /// A recipe of your own, TOML, in place of RUN/server/recipe.json.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Print the price list and the predicted time, and train nothing.
    #[arg(long)]
    price: bool,
    /// With --price: what so many processes would need, each with as many threads as this one.
    #[arg(long, requires = "price", value_parser = value_parser!(u64).range(1..=1_000_000))]
    ranks: Option<u64>,
    /// Passes over the data; default: the recipe's.
    #[arg(long)]
    passes: Option<usize>,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, run)
}

fn run(args: &Args) -> Result<()> {
    let processes = Processes::join()?;
    let result = train(args, processes.ranks());
    processes.end(result)
}

fn train(args: &Args, ranks: &dyn Ranks<Cpu>) -> Result<()> {
    let folder = ServerFolder::of(&args.run);
    if args.recipe.is_none() {
        folders::needs_setup(&folder.recipe(), &args.run)?;
    }
    for file in [folder.keys(), folder.dataset()] {
        folders::needs_setup(&file, &args.run)?;
    }
    let read = args.recipe.as_deref().map(preset::read_recipe);
    let recipe = read.unwrap_or_else(|| folder.read_recipe())?;
    let server = folder.open()?;
    let recipe = checked(recipe, args, &folder, server.params())?;
    let dataset = server.dataset(&folder.dataset())?;
    let options = TrainerOptions {
        checkpoint_every: Duration::from_secs(args.checkpoint_seconds),
        stop_after: args.stop_after.map(|steps| steps as usize),
        commit: results::COMMIT.into(),
        ..TrainerOptions::default()
    };
    let (path, engine) = (folder.path(), server.engine());
    let trainer = Trainer::open_among(path, engine, &dataset, &recipe, options, ranks)?;
    let of_ranks = args.price.then_some(args.ranks.unwrap_or(1) as usize);
    if ranks.rank() == 0 {
        price(&server, &dataset, &recipe, trainer.state(), of_ranks)?;
    }
    if args.price {
        return Ok(());
    }
    let stop = Stop::listen()?;
    let (first, steps) = (trainer.state().step as u64, trainer.state().steps as u64);
    let bar = progress::bar_from("training, encrypted", first, steps, "steps");
    let mut at = Position { step: first, steps, part: 0 };
    let report = trainer.run(|event| {
        at = Position { step: event.step as u64, steps, part: event.part };
        bar.set_message(format!("{:.1} lookups/s", event.lookups as f64 / event.seconds));
        bar.set_position(at.step);
        if stop.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish();
    let Some(report) = report else {
        output::result("stopped", format!("stopped {at}; the same command goes on"), &at)?;
        return program::stopped(&stop);
    };
    let text = format!(
        "trained: {} lookups in {:.0} s, efficiency {:.3}; the model is {}",
        report.state.lookups,
        report.wall_seconds,
        report.efficiency,
        folder.model().display()
    );
    let data = json!({
        "lookups": report.state.lookups,
        "wall_seconds": report.wall_seconds,
        "efficiency": report.efficiency,
        "model": folder.model().display().to_string(),
    });
    Ok(output::result("trained", text, &data)?)
}

/// Where a training stands.
#[derive(Clone, Copy, Debug, Serialize)]
struct Position {
    step: u64,
    steps: u64,
    /// Sub-batches of the step that has begun.
    part: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, steps, part } = self;
        write!(f, "after step {step} of {steps}")?;
        match part {
            0 => Ok(()),
            part => write!(f, " and {part} sub-batches of the next"),
        }
    }
}

/// Checks the recipe, with the passes that were asked for.
fn checked(
    mut recipe: Recipe,
    args: &Args,
    folder: &ServerFolder,
    params: &Params,
) -> Result<Recipe> {
    let path = args.recipe.clone().unwrap_or_else(|| folder.recipe());
    recipe.check(params).with_context(|| path.display().to_string())?;
    if let Some(passes) = args.passes {
        recipe.set_passes(passes);
        recipe.check(params).context("--passes")?;
    }
    Ok(recipe)
}

/// Says where the training stands and what it costs: on the way, or because that was asked for.
fn price(
    server: &Server,
    dataset: &Dataset,
    recipe: &Recipe,
    state: &State,
    asked: Option<usize>,
) -> Result<()> {
    let shape = dataset.shape();
    let images = shape.samples / shape.copies;
    let Quote { list: price, seconds, .. } = server.price(dataset, recipe)?;
    let threads = rayon::current_num_threads();
    let seconds = seconds * (1.0 - state.step as f64 / state.steps.max(1) as f64);
    let mut text = format!(
        "{}: {images} images in {} steps; at step {}",
        state.dataset, state.steps, state.step
    );
    if let Recipe::Deep(deep) = recipe {
        let summary = deep.summary(server.params())?;
        text.push_str(&format!("\nthe network, at its first weights:\n{summary}"));
    }
    text.push_str(&format!(
        "\nprice of the whole training (features of squared norm {} assumed):\n{price}\n\
         predicted time of what is left: {} on {threads} threads",
        recipe.squared_norm(),
        HumanDuration(Duration::from_secs_f64(seconds))
    ));
    let Some(ranks) = asked else { return Ok(output::note(text)?) };
    let shares = Shares::new(server.params(), recipe, shape.batch)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let together = seconds * shares.time_on(ranks, threads, cores);
    if ranks > 1 {
        let seconds = seconds * shares.time(ranks);
        text.push_str(&format!(
            "\n{ranks} processes with {threads} threads each: {} if each has cores of its own, and \
             {} on this machine's {cores} cores, if sums take no time; a mini-batch has {} units \
             of work {} times, and each process sends {:.1} MB of sums",
            HumanDuration(Duration::from_secs_f64(seconds)),
            HumanDuration(Duration::from_secs_f64(together)),
            shares.units,
            shares.meetings,
            shares.sent(ranks) as f64 / 1e6,
        ));
    }
    let data = json!({
        "lookups": price.price.lookups,
        "step": state.step,
        "steps": state.steps,
        "seconds_left": seconds,
        "threads": threads,
        "ranks": ranks,
        "seconds_left_of_ranks": seconds * shares.time(ranks),
        "seconds_left_of_ranks_on_this_machine": together,
        "cores": cores,
        "bytes_sent_a_mini_batch": shares.sent(ranks),
    });
    Ok(output::result("price", text, &data)?)
}
