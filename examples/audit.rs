//! One training step on ciphertexts, looked at with the secret key: noise, updates and time beside
//! predictions.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, value_parser};
use fhe_core::client::is_reproducible;
use fhe_core::store::{Dataset, DatasetShape};
use fhe_core::{Cpu, Engine, Meter, Params};
use fhe_examples::audit::Audit;
use fhe_examples::client::ClientFolder;
use fhe_examples::program::{self, Common};
use fhe_examples::server::ServerFolder;
use fhe_examples::step::{self, AuditSource, LayerUpdate, StepResults, Update};
use fhe_examples::{file, folders, output, progress};
use fhe_train::{ClearSource, Model, Recipe, ShapeSource};

/// Makes a training step, decrypts what every move gives, and compares noise and
/// updates with their predictions.
///
/// Needs both sides of a run, RUN/client and RUN/server, and writes nothing into them: it is a
/// client's measurement of its own data. The step cannot be gone on with; `train` is for trainings.
#[derive(Parser)]
#[command(
    name = "audit",
    version,
    after_help = "\
Examples:
  setup --run runs/audit --preset builtin-deep --count 8 --batch 4 --encrypt 4
  audit --run runs/audit --results step.json

Before it: setup."
)]
struct Args {
    /// Folder of the run.
    #[arg(long, default_value = "runs/builtin-deep")]
    run: PathBuf,
    /// Steps before the one that is looked at. The first weights are public, and a product with a
    /// public weight has hardly any noise: from the second step on, weights are ciphertexts.
    #[arg(
        long, value_name = "STEPS", default_value_t = 1,
        value_parser = value_parser!(u64).range(0..=100)
    )]
    before: u64,
    /// Number of twins with noise from which updates are predicted.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u64).range(1..=100))]
    twins: u64,
    /// Where to write the results, JSON.
    #[arg(long)]
    results: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, audit)
}

fn audit(args: &Args) -> Result<()> {
    let mut here = fhe_examples::results::here();
    let (client, server) = (ClientFolder::of(&args.run), ServerFolder::of(&args.run));
    for file in [server.recipe(), server.keys(), server.dataset(), client.key()] {
        folders::needs_setup(&file, &args.run)?;
    }
    let recipe = &client.read_training()?.recipe;
    server.check_recipe(recipe)?;
    let (owner, train, setup) = (client.open()?, client.load("train")?, client.read_setup()?);
    let (key, service) = (owner.key(), server.open()?);
    let (engine, params) = (service.engine(), key.params().clone());
    recipe.check(&params).with_context(|| server.recipe().display().to_string())?;
    let dataset = Dataset::open(&server.dataset(), &params, &key.id())?;
    let shape = dataset.shape();
    recipe.fits(shape, &params)?;

    let (lookups, predicted_seconds) = price(engine, recipe, shape)?;
    let bar = progress::bar("audit", lookups, "lookups");
    let audit = Audit::new(engine, key, setup.seed, |lookups| bar.set_position(lookups));
    let before = engine.raw_seconds(16);
    let clear = ClearSource::new(&params, recipe, train.data(), shape.batch)?;
    let source = AuditSource { dataset: &dataset, clear: &clear };
    let (work, encrypted) = step::audited(&audit, recipe, &source, args.before as usize)?;
    let raw_seconds = (before + engine.raw_seconds(16)) / 2.0;
    bar.finish();

    let layers = compare(&params, recipe, &clear, &encrypted, args)?;
    let findings = audit.findings();
    here.measure_memory();
    let wall_seconds: f64 = findings.seconds.values().sum();
    let threads = rayon::current_num_threads();
    let found = StepResults {
        images: shape.batch.min(shape.samples),
        lookups: work.lookups as u64,
        parameters: layers.iter().map(|layer| layer.weights).sum(),
        wall_seconds,
        core_seconds_per_image: wall_seconds * threads as f64
            / shape.batch.min(shape.samples).max(1) as f64,
        predicted_seconds,
        threads,
        raw_seconds,
        efficiency: wall_seconds * threads as f64 / (work.lookups as f64 * raw_seconds),
        peak_memory_bytes: here.peak_memory_bytes,
        parameter_set: params.name.clone(),
        seed: setup.seed,
        reproducible_key: Some(is_reproducible(&key.id())),
        command: here.command,
        commit: here.commit,
        machine: here.machine,
        dataset: shape.name.clone(),
        twins: args.twins,
        layers,
        findings,
        recipe: serde_json::json!(recipe),
    };
    if let Some(path) = &args.results {
        file::write_json(path, &found)?;
    }
    Ok(output::result("step", found.section("one step"), &found)?)
}

/// Says what the step will cost; returns its lookups and seconds.
fn price(engine: &Cpu, recipe: &Recipe, shape: &DatasetShape) -> Result<(u64, f64)> {
    let params = engine.params();
    let meter = Meter::new(params);
    let source = ShapeSource {
        samples: shape.samples / shape.copies,
        batch: shape.batch,
        classes: recipe.classes(),
        squared_norm: recipe.squared_norm(),
        lanes: shape.lanes.map(|lanes| (lanes, recipe.inputs(params.row_size))),
    };
    Model::new(&meter, recipe)?.train_step(&meter, &source)?;
    let (list, threads) = (meter.list(), rayon::current_num_threads());
    let seconds = list.price.seconds(&engine.unit_costs()?, threads);
    if let Recipe::Deep(recipe) = recipe {
        let summary = recipe.summary(params)?;
        output::note(format!("the network, at its first weights:\n{summary}"))?;
    }
    output::note(format!(
        "price of the step:\n{list}\npredicted time: {seconds:.0} s on {threads} threads"
    ))?;
    Ok((list.price.lookups + list.price.batched, seconds))
}

/// Compares the encrypted update of every layer with those of the twins.
fn compare(
    params: &Params,
    recipe: &Recipe,
    source: &ClearSource,
    encrypted: &Update,
    args: &Args,
) -> Result<Vec<LayerUpdate>> {
    let before = args.before as usize;
    let bar = progress::bar("twins", args.twins + 1, "twins");
    let exact = step::twin(params, recipe, source, None, before)?;
    bar.inc(1);
    let mut noisy = Vec::new();
    for seed in 1..=args.twins {
        noisy.push(step::twin(params, recipe, source, Some(seed), before)?);
        bar.inc(1);
    }
    bar.finish();
    let layers = match recipe {
        Recipe::Head(_) => &[][..],
        Recipe::Deep(recipe) => &recipe.network.layers,
    };
    let last = if layers.is_empty() { "scores" } else { "shortcut" };
    let names = layers.iter().map(|layer| &layer.name[..]).chain([last]);
    let layers = names.zip(encrypted).enumerate().map(|(i, (name, encrypted))| {
        let noisy: Vec<&[f64]> = noisy.iter().map(|update| &update[i][..]).collect();
        LayerUpdate::new(name, encrypted, &exact[i], &noisy)
    });
    Ok(layers.collect())
}
