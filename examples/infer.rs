//! Inference: in the clear with the decrypted model, or on an encrypted image.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use fhe_core::from_torus;
use fhe_data::Encoder;
use fhe_examples::client::{self, ClientFolder, Setup};
use fhe_examples::server::{self, ServerFolder};
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
        /// A PNG or JPEG file instead.
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
    },
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.command {
        Command::Decrypt { results } => decrypt(&args.run, results.as_deref()),
        Command::Encrypt { index, image, out } => encrypt(&args.run, index, image.as_deref(), &out),
        Command::Score { query, out } => score(&args.run, &query, &out),
        Command::Read { scores } => read(&args.run, &scores),
        Command::Check { count } => check(&args.run, count),
    }
}

fn decrypt(run: &Path, results: Option<&Path>) -> Result<()> {
    let (client, server) = (ClientFolder::of(run), ServerFolder::of(run));
    let key = client.read_key()?;
    let saved = Checkpoint::load(&server.model(), key.params(), &key.id())?;
    let test = client.load("test")?;
    let confusion = client::confusion(&client::decrypt(&key, &saved)?, &test);
    let accuracy = client::accuracy(&confusion);
    println!(
        "encrypted training, step {} of {}: {accuracy:.4} on {} test images",
        saved.state.step,
        saved.state.steps,
        test.labels.len()
    );
    if saved.state.step < saved.state.steps {
        println!("(not finished: no twin, no results file)");
        return Ok(());
    }
    let mut curve = Vec::new();
    let mut paths: Vec<_> = std::fs::read_dir(server.path().join("snapshots"))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "ckpt")) {
        let saved = Checkpoint::load(path, key.params(), &key.id())?;
        let share = client::accuracy(&client::confusion(&client::decrypt(&key, &saved)?, &test));
        curve.push((saved.state.images, share));
    }
    let train = client.load("train")?;
    let weights = client::twin(key.params(), &saved.state.recipe, &train, 16)?;
    let twin_accuracy = client::accuracy(&client::confusion(&weights, &test));
    println!("clear twin: {twin_accuracy:.4}");
    if let Some(path) = results {
        let text = std::fs::read_to_string(server.path().join("report.json"))
            .context("reading the training's report")?;
        let report: Report = serde_json::from_str(&text).context("reading report.json")?;
        let mut json = serde_json::to_value(&report)?;
        json["accuracy"] = accuracy.into();
        json["twin_accuracy"] = twin_accuracy.into();
        json["curve"] = serde_json::to_value(curve)?;
        json["confusion"] = serde_json::to_value(confusion)?;
        std::fs::write(path, serde_json::to_vec_pretty(&json)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn encrypt(run: &Path, index: usize, image: Option<&Path>, out: &Path) -> Result<()> {
    let client = ClientFolder::of(run);
    let key = client.read_key()?;
    let features = if let Some(path) = image {
        let pixels = fhe_data::image_file::read(path)?;
        let encoded = Encoder::load(&client.encoder())?.encode(&pixels, &|_| {})?;
        encoded.row(0).iter().map(|&x| i32::from(x)).collect()
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
    let text = std::fs::read_to_string(client.setup()).context("reading setup.json")?;
    let setup: Setup = serde_json::from_str(&text).context("reading setup.json")?;
    let scores = server::read_scores(scores, key.params(), &key.id())?;
    let scores: Vec<f64> = key.decrypt_values(&scores)?.into_iter().map(from_torus).collect();
    let class = client::largest(&scores);
    println!("class {class}: {}", setup.classes.get(class).map_or("?", String::as_str));
    Ok(())
}

fn check(run: &Path, count: usize) -> Result<()> {
    let (client, folder) = (ClientFolder::of(run), ServerFolder::of(run));
    let (key, test, engine) = (client.read_key()?, client.load("test")?, folder.engine()?);
    let saved = Checkpoint::load(&folder.model(), key.params(), &key.id())?;
    let weights = client::decrypt(&key, &saved)?;
    let (mut same, mut seconds) = (0, 0.0f64);
    let count = count.min(test.labels.len());
    for i in 0..count {
        let query = folder.path().join(format!("query-{i}.enc"));
        client::encrypt_query(&query, &key, test.row(i))?;
        let start = Instant::now();
        let scores = server::score(&engine, &folder.model(), &query)?;
        seconds += start.elapsed().as_secs_f64();
        std::fs::remove_file(&query).with_context(|| format!("removing {}", query.display()))?;
        let scores: Vec<f64> = key.decrypt_values(&scores)?.into_iter().map(from_torus).collect();
        same += usize::from(
            client::largest(&scores) == client::classify(&weights, test.features.row(i)),
        );
    }
    println!(
        "{same} of {count} encrypted inferences agree with the decrypted model; server {:.1} ms each",
        seconds / count as f64 * 1e3
    );
    Ok(())
}
