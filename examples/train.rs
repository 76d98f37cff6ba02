//! The server's training: reads RUN/server only, and cannot decrypt.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, value_parser};
use fhe_core::Engine;
use fhe_core::store::Dataset;
use fhe_examples::server::ServerFolder;
use fhe_examples::{failure, preset, progress};
use fhe_train::{Recipe, ShapeSource, Trainer, TrainerOptions};
use indicatif::HumanDuration;

/// Trains on the encrypted images of RUN/server.
///
/// The model stays encrypted: RUN/server/model.ckpt. An interrupted training goes on where its last
/// checkpoint stands, and ends with the same model as an uninterrupted one.
#[derive(Parser)]
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
    /// Passes over the data; default: the recipe's.
    #[arg(long)]
    passes: Option<usize>,
}

fn main() -> ExitCode {
    failure::exit_code(train(&Args::parse()))
}

fn train(args: &Args) -> Result<()> {
    let folder = ServerFolder::of(&args.run);
    let recipe = args.recipe.as_deref().map(preset::read_recipe);
    let mut recipe = recipe.unwrap_or_else(|| folder.read_recipe())?;
    let engine = folder.engine()?;
    let path = args.recipe.clone().unwrap_or_else(|| folder.recipe());
    recipe.check(engine.params()).with_context(|| path.display().to_string())?;
    if let Some(passes) = args.passes {
        recipe.set_passes(passes);
        recipe.check(engine.params()).context("--passes")?;
    }
    let dataset = Dataset::open(&folder.dataset(), engine.params(), engine.key_id())?;
    let options = TrainerOptions {
        checkpoint_every: Duration::from_secs(args.checkpoint_seconds),
        stop_after: args.stop_after.map(|steps| steps as usize),
        ..TrainerOptions::default()
    };
    let trainer = Trainer::open(folder.path(), &engine, &dataset, &recipe, options)?;
    let state = trainer.state();
    println!(
        "{}: {} images in {} steps; at step {}",
        state.dataset,
        dataset.shape().samples / dataset.shape().copies,
        state.steps,
        state.step
    );
    let costs = engine.unit_costs()?;
    let shape = dataset.shape();
    let price = ShapeSource {
        samples: shape.samples / shape.copies,
        batch: shape.batch,
        classes: recipe.classes(),
        squared_norm: recipe.squared_norm(),
    }
    .price(engine.params(), &recipe)?;
    let threads = rayon::current_num_threads();
    let left = 1.0 - state.step as f64 / state.steps.max(1) as f64;
    let seconds = price.price.seconds(&costs, threads) * left;
    if let Recipe::Deep(deep) = &recipe {
        println!("the network, at its first weights:\n{}", deep.summary(engine.params())?);
    }
    println!(
        "price of the whole training (features of squared norm {} assumed):\n{price}",
        recipe.squared_norm()
    );
    println!(
        "predicted time of what is left: {} on {threads} threads",
        HumanDuration(Duration::from_secs_f64(seconds))
    );
    if args.price {
        return Ok(());
    }
    let (first, steps) = (state.step as u64, state.steps as u64);
    let bar = progress::bar_from("training, encrypted", first, steps, "steps");
    let report = trainer.run(|event| {
        bar.set_position(event.step as u64);
        bar.set_message(format!("{:.1} lookups/s", event.lookups as f64 / event.seconds));
        ControlFlow::Continue(())
    })?;
    bar.finish();
    match report {
        Some(report) => println!(
            "trained: {} lookups in {:.0} s, efficiency {:.3}; the model is {}",
            report.state.lookups,
            report.wall_seconds,
            report.efficiency,
            folder.model().display()
        ),
        None => println!("stopped; the same command goes on"),
    }
    Ok(())
}
