//! Inference: in the clear with the decrypted model, or on an encrypted image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use fhe_core::client::ClientKey;
use fhe_core::store::{Dataset, Secrecy};
use fhe_core::{Cpu, from_torus};
use fhe_examples::client::{self, ClearModel, ClientFolder, Labelled};
use fhe_examples::program::{self, Common};
use fhe_examples::results::{Inference, Results};
use fhe_examples::server::{self, ServerFolder};
use fhe_examples::signals::Stop;
use fhe_examples::{file, folders, output, progress};
use fhe_train::{Checkpoint, Report};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Uses a trained model.
///
/// What the server is sent and what it answers lies in RUN/server: queries in RUN/server/queries,
/// scores in RUN/server/scores. Only the client's commands read RUN/client, with the secret key.
#[derive(Parser)]
#[command(
    name = "infer",
    version,
    after_help = "\
Examples:
  infer decrypt --run runs/builtin                the client: the model's accuracy
  infer encrypt --run runs/builtin --index 3      the client: a query
  infer score --run runs/builtin                  the server: encrypted scores
  infer read --run runs/builtin                   the client: the scores and the class

Before it: setup, train."
)]
struct Args {
    /// Folder of the run.
    #[arg(long, default_value = "runs/builtin", global = true)]
    run: PathBuf,
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
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
        /// The encrypted image; default: RUN/server/queries/query.enc.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Server: compute the encrypted scores of an encrypted image.
    Score {
        /// The encrypted image; default: RUN/server/queries/query.enc.
        #[arg(long)]
        query: Option<PathBuf>,
        /// The encrypted scores; default: RUN/server/scores/scores.enc.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Client: decrypt the scores, and show them with the class, the largest first.
    Read {
        /// The encrypted scores; default: RUN/server/scores/scores.enc.
        #[arg(long)]
        scores: Option<PathBuf>,
    },
    /// Both: encrypted inference of many test images against the decrypted model.
    ///
    /// Ctrl-C stops it after the image in progress; the same command goes on.
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
    program::main(|args: &Args| &args.common, infer)
}

fn infer(args: &Args) -> Result<()> {
    let run = &args.run;
    let (client, server) = (ClientFolder::of(run), ServerFolder::of(run));
    let needed =
        if matches!(args.command, Command::Score { .. }) { server.keys() } else { client.key() };
    folders::needs_setup(&needed, run)?;
    let query = || server.path().join("queries/query.enc");
    let scores = || server.path().join("scores/scores.enc");
    match &args.command {
        Command::Decrypt { results } => decrypt(&client, &server, results.as_deref()),
        Command::Encrypt { index, image, out } => {
            encrypt(&client, *index, image.as_deref(), &out.clone().unwrap_or_else(query))
        }
        Command::Score { query: given, out } => {
            let (given, out) = (given.clone().unwrap_or_else(query), out.clone());
            score(&server, &given, &out.unwrap_or_else(scores))
        }
        Command::Read { scores: given } => read(&client, &given.clone().unwrap_or_else(scores)),
        Command::Check { count, results } => check(&client, &server, *count, results.as_deref()),
    }
}

fn decrypt(client: &ClientFolder, server: &ServerFolder, results: Option<&Path>) -> Result<()> {
    let key = client.read_key()?;
    let saved = Checkpoint::load_for(&server.model(), key.params(), &key.id())?;
    let test = client.load("test")?;
    let confusion = ClearModel::decrypt(&key, &saved)?.confusion(&test)?;
    let accuracy = client::accuracy(&confusion);
    let (step, steps) = (saved.state.step, saved.state.steps);
    let text = format!(
        "encrypted training, step {step} of {steps}: {accuracy:.4} on {} test images",
        test.labels.len()
    );
    let data = json!({ "accuracy": accuracy, "step": step, "steps": steps });
    output::result("decrypted model", text, &data)?;
    if step < steps {
        return Ok(output::note("(not finished: no twin, no figures, no results file)")?);
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
    let data = json!({ "accuracy": twin_accuracy });
    output::result("clear twin", format!("clear twin: {twin_accuracy:.4}"), &data)?;
    let noisy_twin_accuracy = twin(Some(setup_seed))?;
    let data = json!({ "accuracy": noisy_twin_accuracy });
    output::result("noisy twin", format!("noisy twin: {noisy_twin_accuracy:.4}"), &data)?;

    let path = server.path().join("report.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("reading the training's report {}", path.display()))?;
    let report: Report =
        serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))?;
    let found = Results {
        noisy_twin_accuracy: Some(noisy_twin_accuracy),
        test_images: test.labels.len(),
        curve: curve(&key, server, &test)?,
        classes: setup.classes,
        confusion,
        ..Results::new(&report, setup.seed, accuracy, twin_accuracy)?
    };
    found.draw(client.path(), "model")?;
    if let Some(path) = results {
        file::write_json(path, &found)?;
    }
    Ok(output::note(format!("figures: {}", client.path().join("model-*.svg").display()))?)
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
        let saved = Checkpoint::load_for(&path, key.params(), &key.id())?;
        let confusion = ClearModel::decrypt(key, &saved)?.confusion(test)?;
        curve.push((saved.state.images, client::accuracy(&confusion)));
    }
    Ok(curve)
}

/// Makes the folder of a file.
fn make_folder(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))
}

fn encrypt(client: &ClientFolder, index: usize, image: Option<&Path>, out: &Path) -> Result<()> {
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
    make_folder(out)?;
    client::encrypt_query(out, &key, features)?;
    let data = json!({ "query": out.display().to_string() });
    Ok(output::result("encrypted", format!("encrypted: {}", out.display()), &data)?)
}

fn score(folder: &ServerFolder, query: &Path, out: &Path) -> Result<()> {
    let engine = folder.engine()?;
    let start = Instant::now();
    let scores = server::score(&engine, &folder.model(), query)?;
    let seconds = start.elapsed().as_secs_f64();
    make_folder(out)?;
    server::write_scores(out, &engine, &scores)?;
    let text = format!("scored in {:.1} ms: {}", seconds * 1e3, out.display());
    let data = json!({ "seconds": seconds, "scores": out.display().to_string() });
    Ok(output::result("scored", text, &data)?)
}

fn read(client: &ClientFolder, scores: &Path) -> Result<()> {
    let key = client.read_key()?;
    let setup = client.read_setup()?;
    let scores = server::read_scores(scores, key.params(), &key.id())?;
    let scores: Vec<f64> = key.decrypt_values(&scores)?.into_iter().map(from_torus).collect();
    let name = |class: usize| setup.classes.get(class).map_or("?", String::as_str);
    let class = fhe_nn::argmax(&scores);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&i, &j| scores[j].total_cmp(&scores[i]));
    let mut text = format!("class {class}: {}\nscores, as fractions of the torus:", name(class));
    for &i in &order {
        text.push_str(&format!("\n{:>10.6}  {i}: {}", scores[i], name(i)));
    }
    let score = |&i: &usize| json!({ "class": i, "name": name(i), "score": scores[i] });
    let sorted: Vec<_> = order.iter().map(score).collect();
    let data = json!({ "class": class, "name": name(class), "scores": sorted });
    Ok(output::result("class", text, &data)?)
}

/// How far a check is: what Ctrl-C leaves for the next one, in RUN/client/check.json.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checked {
    /// blake3 hash of the model's file.
    model: String,
    /// Images done.
    images: usize,
    /// Of these, how many got the class of the decrypted model.
    same_class: usize,
    /// Seconds of the server's part, all images.
    seconds: f64,
    /// Seconds of the slowest image.
    slowest: f64,
}

impl Checked {
    /// Reads how far an earlier check of the same model came, if one was stopped.
    fn read(path: &Path, model: &str) -> Result<Self> {
        let new = || Self { model: model.into(), ..Self::default() };
        if !path.exists() {
            return Ok(new());
        }
        let found: Self = file::read_json(path, "stopped check")?;
        Ok(if found.model == model { found } else { new() })
    }
}

fn check(
    client: &ClientFolder,
    folder: &ServerFolder,
    count: usize,
    results: Option<&Path>,
) -> Result<()> {
    let (key, test, engine) = (client.read_key()?, client.load("test")?, folder.engine()?);
    let saved = Checkpoint::load_for(&folder.model(), key.params(), &key.id())?;
    let model = ClearModel::decrypt(&key, &saved)?;
    let classes = model.classify(&test)?;
    let noisy = model.with_noise(1).classify(&test)?;
    let same = classes.iter().zip(&noisy).filter(|(x, y)| x == y).count();
    let predicted_share = same as f64 / classes.len().max(1) as f64;
    let images = count.min(test.labels.len());

    let state = client.path().join("check.json");
    let bytes = std::fs::read(folder.model())
        .with_context(|| format!("reading {}", folder.model().display()))?;
    let mut checked = Checked::read(&state, blake3::hash(&bytes).to_hex().as_str())?;
    let (first, stop) = (checked.images.min(images) as u64, Stop::listen()?);
    let bar = progress::bar_from("encrypted inference", first, images as u64, "images");
    while checked.images < images && !stop.requested() {
        let i = checked.images;
        let (seconds, class) = check_one(&key, &engine, folder, test.row(i))?;
        checked.seconds += seconds;
        checked.slowest = checked.slowest.max(seconds);
        checked.same_class += usize::from(class == classes[i]);
        checked.images += 1;
        bar.set_position(checked.images as u64);
    }
    bar.finish();
    if checked.images < images {
        file::write(&state, &serde_json::to_vec_pretty(&checked)?, Secrecy::Secret)?;
        let text = format!(
            "stopped after {} of {images} images; the same command goes on",
            checked.images
        );
        output::result("stopped", text, &json!({ "done": checked.images, "images": images }))?;
        return program::stopped(&stop);
    }
    let found = checked.found(predicted_share);
    if let Some(path) = results {
        let mut all: Results = file::read_json(path, "results")?;
        all.inference = Some(found.clone());
        file::write_json(path, &all)?;
    }
    if state.exists() {
        std::fs::remove_file(&state).with_context(|| format!("removing {}", state.display()))?;
    }
    let text = format!(
        "{} of {} encrypted inferences agree with the decrypted model (predicted share \
         {predicted_share:.4}); server {:.1} ms each, slowest {:.1} ms",
        found.same_class,
        found.images,
        found.server_seconds * 1e3,
        found.slowest_server_seconds * 1e3
    );
    Ok(output::result("checked", text, &found)?)
}

impl Checked {
    fn found(&self, predicted_share: f64) -> Inference {
        Inference {
            images: self.images,
            same_class: self.same_class,
            predicted_share: Some(predicted_share),
            server_seconds: self.seconds / self.images.max(1) as f64,
            slowest_server_seconds: self.slowest,
        }
    }
}

/// Classifies one image encrypted: seconds of the server's part, and the class.
fn check_one(
    key: &ClientKey,
    engine: &Cpu,
    folder: &ServerFolder,
    features: Vec<i32>,
) -> Result<(f64, usize)> {
    let query = folder.path().join("queries/check.enc");
    make_folder(&query)?;
    client::encrypt_query(&query, key, features)?;
    let start = Instant::now();
    let scores = server::score(engine, &folder.model(), &query)?;
    let seconds = start.elapsed().as_secs_f64();
    std::fs::remove_file(&query).with_context(|| format!("removing {}", query.display()))?;
    let scores: Vec<f64> = key.decrypt_values(&scores)?.into_iter().map(from_torus).collect();
    Ok((seconds, fhe_nn::argmax(&scores)))
}
