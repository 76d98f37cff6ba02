//! One training step on ciphertexts, looked at with the secret key: noise, updates and time beside predictions.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, value_parser};
use fhe_core::Meter;
use fhe_core::store::Dataset;
use fhe_examples::audit::Audit;
use fhe_examples::client::ClientFolder;
use fhe_examples::server::ServerFolder;
use fhe_examples::step::{self, AuditSource, LayerUpdate, StepResults};
use fhe_examples::{failure, file, progress};
use fhe_train::{ClearSource, Deep, Provenance, Recipe, ShapeSource};

/// Makes the first training step of a network, decrypts what every move gives, and compares noise and
/// updates with their predictions.
///
/// Needs both sides of a run, RUN/client and RUN/server, and writes nothing into them: it is a client's
/// measurement of its own data. The step cannot be interrupted; `train` is for trainings.
#[derive(Parser)]
struct Args {
    /// Folder of the run.
    #[arg(long, default_value = "runs/builtin-deep")]
    run: PathBuf,
    /// Number of twins with noise from which updates are predicted.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u64).range(1..=100))]
    twins: u64,
    /// Where to write the results, JSON.
    #[arg(long)]
    results: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    failure::exit_code(audit(&args.run, args.twins, args.results.as_deref()))
}

fn audit(run: &Path, twins: u64, results: Option<&Path>) -> Result<()> {
    let mut here = Provenance::here();
    let (client, server) = (ClientFolder::of(run), ServerFolder::of(run));
    let whole = server.read_recipe()?;
    let Recipe::Deep(recipe) = &whole else {
        bail!("{}: the recipe of a head; an audit is of a network", server.recipe().display());
    };
    let (key, train, setup) = (client.read_key()?, client.load("train")?, client.read_setup()?);
    let (engine, params) = (server.engine()?, key.params().clone());
    recipe.check(&params).with_context(|| server.recipe().display().to_string())?;
    let dataset = Dataset::open(&server.dataset(), &params, &key.id())?;
    let shape = dataset.shape();
    whole.fits(shape)?;
    let images = shape.batch.min(shape.samples);
    let classes = recipe.classes();

    let meter = Meter::new(&params);
    let mut priced = Deep::new(&meter, recipe)?;
    let (samples, batch, copies) = (shape.samples / shape.copies, shape.batch, shape.copies);
    priced.train_step(
        &meter,
        &ShapeSource { samples, batch, classes, squared_norm: recipe.squared_norm },
    )?;
    let (list, threads) = (meter.list(), rayon::current_num_threads());
    let predicted_seconds = list.price.seconds(&engine.unit_costs()?, threads);
    println!("the network, at its first weights:\n{}", recipe.summary(&params)?);
    println!("price of the step:\n{list}");
    println!("predicted time: {predicted_seconds:.0} s on {threads} threads");

    let bar = progress::bar("audit", list.price.lookups, "lookups");
    let audit = Audit::new(&engine, &key, setup.seed, |lookups| bar.set_position(lookups));
    let before = engine.raw_seconds(16);
    let source = AuditSource { dataset: &dataset, train: &train };
    let (work, encrypted) = step::audited(&audit, recipe, &source)?;
    let raw_seconds = (before + engine.raw_seconds(16)) / 2.0;
    bar.finish();

    let source = ClearSource {
        batch,
        classes,
        copies,
        features: (0..train.labels.len()).map(|i| train.row(i)).collect(),
        labels: train.labels.iter().map(|&label| label.into()).collect(),
        label_log2: whole.label_log2(),
    };
    let bar = progress::bar("twins", twins + 1, "twins");
    let exact = step::twin(&params, recipe, &source, None)?;
    bar.inc(1);
    let mut noisy = Vec::new();
    for seed in 1..=twins {
        noisy.push(step::twin(&params, recipe, &source, Some(seed))?);
        bar.inc(1);
    }
    bar.finish();

    let layers: Vec<LayerUpdate> = (recipe.network.layers.iter().enumerate())
        .map(|(i, layer)| {
            let noisy: Vec<&[f64]> = noisy.iter().map(|update| &update[i][..]).collect();
            LayerUpdate::new(&layer.name, &encrypted[i], &exact[i], &noisy)
        })
        .collect();
    let findings = audit.findings();
    here.measure_memory();
    let wall_seconds: f64 = findings.seconds.values().sum();
    let biases: usize = recipe.network.layers.iter().map(|layer| layer.outputs).sum();
    let found = StepResults {
        images,
        lookups: work.lookups as u64,
        parameters: layers.iter().map(|layer| layer.weights).sum::<usize>() + biases,
        wall_seconds,
        predicted_seconds,
        threads,
        raw_seconds,
        efficiency: wall_seconds * threads as f64 / (work.lookups as f64 * raw_seconds),
        peak_memory_bytes: here.peak_memory_bytes,
        parameter_set: params.name.clone(),
        seed: setup.seed,
        command: here.command,
        commit: here.commit,
        machine: here.machine,
        dataset: shape.name.clone(),
        twins,
        layers,
        findings,
        recipe: whole,
    };
    println!("{}", found.section("one step"));
    results.map_or(Ok(()), |path| file::write_json(path, &found))
}
