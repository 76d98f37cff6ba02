//! The server's training: reads RUN/server only, and cannot decrypt.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use fhe_core::Engine;
use fhe_core::store::Dataset;
use fhe_examples::progress;
use fhe_examples::server::ServerFolder;
use fhe_train::{Trainer, TrainerOptions};

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
    #[arg(long)]
    stop_after: Option<usize>,
    /// Passes over the data; default: the recipe's.
    #[arg(long)]
    passes: Option<usize>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let folder = ServerFolder::of(&args.run);
    let mut recipe = folder.read_recipe()?;
    if let Some(passes) = args.passes {
        recipe.passes = passes;
    }
    recipe.check()?;
    let engine = folder.engine()?;
    let dataset = Dataset::open(&folder.dataset(), engine.params(), engine.key_id())?;
    let options = TrainerOptions {
        checkpoint_every: Duration::from_secs(args.checkpoint_seconds),
        stop_after: args.stop_after,
        ..TrainerOptions::default()
    };
    let trainer = Trainer::open(folder.path(), &engine, &dataset, &recipe, options)?;
    let state = trainer.state();
    println!(
        "{}: {} images in {} steps, {} lookups; at step {}",
        state.dataset,
        dataset.shape().samples,
        state.steps,
        dataset.shape().samples * recipe.classes * recipe.passes,
        state.step
    );
    let bar = progress::bar("training, encrypted", state.steps as u64, "steps");
    bar.set_position(state.step as u64);
    bar.reset_eta();
    let report = trainer.run(|event| {
        bar.set_position(event.step as u64);
        bar.set_message(format!("{:.1} lookups/s", event.lookups as f64 / event.seconds));
    })?;
    bar.abandon();
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
