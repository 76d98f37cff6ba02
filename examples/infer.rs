//! Inference: in the clear with the decrypted model, or on an encrypted image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use fhe_core::client::ClientKey;
use fhe_core::from_torus;
use fhe_core::store::Dataset;
use fhe_examples::client::{self, ClearModel, ClientFolder, Labelled};
use fhe_examples::results::{Inference, Results};
use fhe_examples::server::{self, ServerFolder};
use fhe_examples::{failure, file, progress};
use fhe_train::{Checkpoint, Report};

/// Uses a trained model.
#[derive(Parser)]
struct Args {
    /// Folder of the run.
    #[arg(long, default_value = "runs/builtin", global = true)]
    run: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Client: decrypt the model and classify the test set in the clear, beside the clear twin.
    Decrypt {
        /// Where to write the results, JSON.
        #[arg(long)]
        results: Option<PathBuf>,
    },
    /// Client: encrypt an image.
    Encrypt {
        /// An image of the test set.
        #[arg(long, default_value_t = 0)]
        index: usize,
        /// A PNG or JPEG file instead; for MNIST, light ink on a dark ground.
        #[arg(long)]
        image: Option<PathBuf>,
        /// The encrypted image.
        #[arg(long, default_value = "query.enc")]
        out: PathBuf,
    },
    /// Server: compute the encrypted scores of an encrypted image.
    Score {
        /// The encrypted image.
        #[arg(long, default_value = "query.enc")]
        query: PathBuf,
        /// The encrypted scores.
        #[arg(long, default_value = "scores.enc")]
        out: PathBuf,
    },
    /// Client: decrypt the scores.
    Read {
        /// The encrypted scores.
        #[arg(long, default_value = "scores.enc")]
        scores: PathBuf,
    },
    /// Both: encrypted inference of many test images against the decrypted model.
    Check {
        /// Number of images.
        #[arg(long, default_value_t = 100)]
        count: usize,
        /// The results file of `decrypt` to add this to.
        #[arg(long)]
        results: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    failure::exit_code(infer(&Args::parse()))
}

fn infer(args: &Args) -> Result<()> {
    let run = &args.run;
    match &args.command {
        Command::Decrypt { results } => decrypt(run, results.as_deref()),
        Command::Encrypt { index, image, out } => encrypt(run, *index, image.as_deref(), out),
        Command::Score { query, out } => score(run, query, out),
        Command::Read { scores } => read(run, scores),
        Command::Check { count, results } => check(run, *count, results.as_deref()),
    }
}

fn decrypt(run: &Path, results: Option<&Path>) -> Result<()> {
    let (client, server) = (ClientFolder::of(run), ServerFolder::of(run));
    let key = client.read_key()?;
    let saved = Checkpoint::load(&server.model(), key.params(), &key.id())?;
    let test = client.load("test")?;
    let confusion = ClearModel::decrypt(&key, &saved)?.confusion(&test)?;
    let accuracy = client::accuracy(&confusion);
    println!(
        "encrypted training, step {} of {}: {accuracy:.4} on {} test images",
        saved.state.step,
        saved.state.steps,
        test.labels.len()
    );
    if saved.state.step < saved.state.steps {
        println!("(not finished: no twin, no figures, no results file)");
        return Ok(());
    }
    let setup = client.read_setup()?;
    let setup_seed = setup.seed;
    let train = client.load("train")?;
    let batch = Dataset::open(&server.dataset(), key.params(), &key.id())?.shape().batch;
    let twin = |noise| -> Result<f64> {
        let model = ClearModel::twin(key.params(), &saved.state.recipe, &train, batch, noise)?;
        Ok(client::accuracy(&model.confusion(&test)?))
    };
    let twin_accuracy = twin(None)?;
    println!("clear twin: {twin_accuracy:.4}");
    let noisy_twin_accuracy = twin(Some(setup_seed))?;
    println!("noisy twin: {noisy_twin_accuracy:.4}");

    let path = server.path().join("report.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("reading the training's report {}", path.display()))?;
    let report: Report =
        serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))?;
    let found = Results {
        noisy_twin_accuracy: Some(noisy_twin_accuracy),
        test_images: test.labels.len(),
        curve: curve(&key, &server, &test)?,
        classes: setup.classes,
        confusion,
        ..Results::new(&report, setup.seed, accuracy, twin_accuracy)?
    };
    found.draw(client.path(), "model")?;
    println!("figures: {}", client.path().join("model-*.svg").display());
    results.map_or(Ok(()), |path| file::write_json(path, &found))
}

/// Decrypts the snapshots: images seen and test accuracy.
fn curve(key: &ClientKey, server: &ServerFolder, test: &Labelled) -> Result<Vec<(u64, f64)>> {
    let folder = server.path().join("snapshots");
    let mut paths = Vec::new();
    for entry in
        std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?
    {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|e| e == "ckpt"));
    paths.sort();
    let mut curve = Vec::new();
    for path in paths {
        let saved = Checkpoint::load(&path, key.params(), &key.id())?;
        let confusion = ClearModel::decrypt(key, &saved)?.confusion(test)?;
        curve.push((saved.state.images, client::accuracy(&confusion)));
    }
    Ok(curve)
}

fn encrypt(run: &Path, index: usize, image: Option<&Path>, out: &Path) -> Result<()> {
    let client = ClientFolder::of(run);
    let key = client.read_key()?;
    let features = if let Some(path) = image {
        let encoder = client.load_encoder()?;
        let pixels = fhe_data::image_file::read(path, encoder.shape())?;
        let encoded = encoder.encode(&pixels, &|_| {})?;
        encoded.values().iter().map(|&x| i32::from(x)).collect()
    } else {
        let test = client.load("test")?;
        if index >= test.labels.len() {
            bail!("--index {index}: the test set has {} images", test.labels.len());
        }
        test.row(index)
    };
    client::encrypt_query(out, &key, features)?;
    println!("encrypted: {}", out.display());
    Ok(())
}

fn score(run: &Path, query: &Path, out: &Path) -> Result<()> {
    let folder = ServerFolder::of(run);
    let engine = folder.engine()?;
    let start = Instant::now();
    let scores = server::score(&engine, &folder.model(), query)?;
    println!("scored in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    server::write_scores(out, &engine, &scores)
}

fn read(run: &Path, scores: &Path) -> Result<()> {
    let client = ClientFolder::of(run);
    let key = client.read_key()?;
    let setup = client.read_setup()?;
    let scores = server::read_scores(scores, key.params(), &key.id())?;
    let scores: Vec<f64> = key.decrypt_values(&scores)?.into_iter().map(from_torus).collect();
    let class = client::largest(&scores);
    println!("class {class}: {}", setup.classes.get(class).map_or("?", String::as_str));
    Ok(())
}

fn check(run: &Path, count: usize, results: Option<&Path>) -> Result<()> {
    let (client, folder) = (ClientFolder::of(run), ServerFolder::of(run));
    let (key, test, engine) = (client.read_key()?, client.load("test")?, folder.engine()?);
    let saved = Checkpoint::load(&folder.model(), key.params(), &key.id())?;
    let model = ClearModel::decrypt(&key, &saved)?;
    let classes = model.classify(&test)?;
    let noisy = model.with_noise(1).classify(&test)?;
    let same = classes.iter().zip(&noisy).filter(|(x, y)| x == y).count();
    let predicted_share = same as f64 / classes.len().max(1) as f64;
    let images = count.min(test.labels.len());
    let (mut same_class, mut total, mut slowest) = (0, 0.0, 0.0f64);
    let bar = progress::bar("encrypted inference", images as u64, "images");
    for (i, class) in classes.into_iter().take(images).enumerate() {
        let query = folder.path().join(format!("query-{i}.enc"));
        client::encrypt_query(&query, &key, test.row(i))?;
        let start = Instant::now();
        let scores = server::score(&engine, &folder.model(), &query)?;
        let seconds = start.elapsed().as_secs_f64();
        total += seconds;
        slowest = slowest.max(seconds);
        std::fs::remove_file(&query).with_context(|| format!("removing {}", query.display()))?;
        let scores: Vec<f64> = key.decrypt_values(&scores)?.into_iter().map(from_torus).collect();
        same_class += usize::from(client::largest(&scores) == class);
        bar.set_position(i as u64 + 1);
    }
    bar.finish();
    let server_seconds = total / images.max(1) as f64;
    println!(
        "{same_class} of {images} encrypted inferences agree with the decrypted model (predicted share \
         {predicted_share:.4}); server {:.1} ms each, slowest {:.1} ms",
        server_seconds * 1e3,
        slowest * 1e3
    );
    if let Some(path) = results {
        let mut found: Results = file::read_json(path, "results")?;
        let slowest_server_seconds = slowest;
        found.inference = Some(Inference {
            images,
            same_class,
            predicted_share: Some(predicted_share),
            server_seconds,
            slowest_server_seconds,
        });
        file::write_json(path, &found)?;
    }
    Ok(())
}
