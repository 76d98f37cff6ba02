//! Inference: in the clear with the decrypted model, or on an encrypted sample.

mod check;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand, value_parser};
use fhe_core::store::{EncryptedQuery, Message, create_folder};
use fhe_data::Selection;
use fhe_examples::client::{self, ClientFolder, Labelled, Training};
use fhe_examples::own_data::{self, read_numbers};
use fhe_examples::preset::Preset;
use fhe_examples::program::{self, Common};
use fhe_examples::results::{MOST_CONFUSED, Results, published, published_counts};
use fhe_examples::server::ServerFolder;
use fhe_examples::{file, folders, output};
use fhe_nn::argmax;
use fhe_train::{Checkpoint, Client, EncryptedScores, Report, State};
use ndarray::{Array2, Axis, concatenate, s};
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
  infer encrypt --run runs/iris --features new.csv --row 3
  infer encrypt --run runs/builtin --count 50     a query of fifty samples
  infer score --run runs/builtin                  the server: encrypted scores
  infer read --run runs/builtin                   the client: the scores and the class
  infer export --run runs/builtin                 the client: the model for other programs

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

/// What the server was asked to train, where that is not what `setup` noted.
#[derive(clap::Args)]
struct Trained {
    /// The recipe, if `train` was given another one than RUN/client/training.json has.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// The passes, if `train` was given other ones.
    #[arg(long, value_name = "N")]
    passes: Option<usize>,
}

impl Trained {
    fn training(&self, client: &ClientFolder) -> Result<Training> {
        client.read_training()?.asked(self.recipe.as_deref(), self.passes)
    }
}

#[derive(Subcommand)]
enum Command {
    /// Client: decrypt the model and classify the test set in the clear, beside the clear twin.
    Decrypt {
        /// Where to write the results, JSON.
        #[arg(long)]
        results: Option<PathBuf>,
        #[command(flatten)]
        trained: Trained,
    },
    /// Client: encrypt a sample, or several in one query.
    Encrypt {
        /// A sample of the test set.
        #[arg(long, default_value_t = 0, conflicts_with_all = ["image", "features"])]
        index: usize,
        /// So many samples of the test set or rows of the file of features, from --index or --row
        /// on. The server computes their scores together, which takes less time a sample.
        #[arg(
            long, value_name = "N", default_value_t = 1, conflicts_with = "image",
            value_parser = value_parser!(u32).range(1..)
        )]
        count: u32,
        /// A PNG or JPEG file instead; for MNIST, light ink on a dark ground. Several files are
        /// several samples: --image a.png --image b.png.
        #[arg(long, value_name = "IMAGE")]
        image: Vec<PathBuf>,
        /// Crop and resize image files of another size, to that of the preset's images. A run that
        /// was set up with images of your own, or with a network of others, does so anyway: its
        /// set-up did.
        #[arg(long, requires = "image")]
        resize: bool,
        /// A file of features instead (npy, CSV or safetensors), of which --row is taken.
        #[arg(long, conflicts_with = "image")]
        features: Option<PathBuf>,
        /// The row of the file of features, from 0.
        #[arg(long, default_value_t = 0, requires = "features", conflicts_with = "image")]
        row: usize,
        /// The column of a csv file of features that holds labels, and is left out: its name, or
        /// its number from 1.
        #[arg(long, value_name = "COLUMN", requires = "features", conflicts_with = "image")]
        label_column: Option<String>,
        /// The tensor of a safetensors file of features, if there are several.
        #[arg(long, value_name = "NAME", requires = "features", conflicts_with = "image")]
        tensor: Option<String>,
        /// The encrypted samples; default: RUN/server/queries/query.enc.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Server: compute the encrypted scores of a query's samples.
    Score {
        /// The encrypted samples; default: RUN/server/queries/query.enc.
        #[arg(long)]
        query: Option<PathBuf>,
        /// The encrypted scores; default: RUN/server/scores/scores.enc.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Client: decrypt the scores of each sample, and show them with the class, the largest first.
    Read {
        /// The encrypted scores; default: RUN/server/scores/scores.enc.
        #[arg(long)]
        scores: Option<PathBuf>,
    },
    /// Client: decrypt the model and write it as safetensors, for other programs.
    ///
    /// LAYER.weight [outputs, inputs] and LAYER.bias [outputs], F64, in logits per integer of the
    /// input (hidden layers: pre-activations). The book's page "Exported models" has the numpy
    /// lines that give the same scores.
    Export {
        /// The file; default: RUN/client/model.safetensors.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        trained: Trained,
    },
    /// Both: encrypted inference of many test samples against the decrypted model.
    ///
    /// The first sample has a query of its own. A network takes the others together, as many as lie
    /// side by side. Ctrl-C stops it after the query in progress; the same command goes on.
    Check {
        /// Number of samples.
        #[arg(long, default_value_t = 100)]
        count: usize,
        /// The results file of `decrypt` to add this to.
        #[arg(long)]
        results: Option<PathBuf>,
        #[command(flatten)]
        trained: Trained,
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
    match &args.command {
        Command::Decrypt { results, trained } => {
            decrypt(&client, &server, &trained.training(&client)?, results.as_deref())
        }
        Command::Encrypt {
            index,
            count,
            image,
            resize,
            features,
            row,
            label_column,
            tensor,
            out,
        } => {
            let count = *count as usize;
            let samples = match features {
                Some(path) => {
                    let label_column = label_column.as_deref().map(str::parse).transpose()?;
                    let tensor = tensor.clone();
                    let selection = Selection { tensor, label_column, header: None };
                    Samples::Rows(path.clone(), (*row, count), selection)
                }
                None if !image.is_empty() => Samples::Images(image.clone(), *resize),
                None => Samples::Test(*index, count),
            };
            encrypt(&client, &samples, &out.clone().unwrap_or_else(|| server.query()))
        }
        Command::Score { query, out } => {
            let query = query.clone().unwrap_or_else(|| server.query());
            score(&server, &query, &out.clone().unwrap_or_else(|| server.scores()))
        }
        Command::Read { scores } => {
            read(&client, &scores.clone().unwrap_or_else(|| server.scores()))
        }
        Command::Export { out, trained } => {
            let default = || client.path().join("model.safetensors");
            let out = out.clone().unwrap_or_else(default);
            export(&client, &server, &trained.training(&client)?, &out)
        }
        Command::Check { count, results, trained } => {
            check::run((&client, &server), &trained.training(&client)?, *count, results.as_deref())
        }
    }
}

fn decrypt(
    client: &ClientFolder,
    server: &ServerFolder,
    training: &Training,
    results: Option<&Path>,
) -> Result<()> {
    let owner = client.open()?;
    let saved = checkpoint(&owner, &server.model())?;
    let (train, test) = (client.load("train")?, client.load("test")?);
    training.check(&saved.state, train.labels.len())?;
    let confusion = client::confusion(&owner.decrypt(&saved)?, &test)?;
    let accuracy = fhe_train::accuracy(&confusion);
    let (step, steps) = (saved.state.step, saved.state.steps);
    let text = format!(
        "encrypted training, step {step} of {steps}: {accuracy:.4} on {} test samples",
        test.labels.len()
    );
    let data = json!({ "accuracy": accuracy, "step": step, "steps": steps });
    output::result("decrypted model", text, &data)?;
    if step < steps {
        return Ok(output::note("(not finished: no twin, no figures, no results file)")?);
    }
    let path = server.path().join("report.json");
    let report: Report = file::read_json(&path, "report of the training")?;
    let of = |state: &State| (state.recipe.clone(), state.dataset.clone(), state.images);
    ensure!(of(&report.state) == of(&saved.state), "{}: not of this model", path.display());
    let setup = client.read_setup()?;
    let setup_seed = setup.seed;
    let (params, key_id) = (owner.params(), owner.key().id());
    let twin = |noise| -> Result<f64> {
        let model = client::twin(params, &training.recipe, &train, training.batch, noise)?;
        Ok(fhe_train::accuracy(&client::confusion(&model, &test)?))
    };
    let twin_accuracy = twin(None)?;
    let data = json!({ "accuracy": twin_accuracy });
    output::result("clear twin", format!("clear twin: {twin_accuracy:.4}"), &data)?;
    let noisy_twin_accuracy = twin(Some(setup_seed))?;
    let data = json!({ "accuracy": noisy_twin_accuracy });
    output::result("noisy twin", format!("noisy twin: {noisy_twin_accuracy:.4}"), &data)?;

    let found = Results {
        noisy_twin_accuracy: Some(noisy_twin_accuracy),
        test_images: test.labels.len(),
        curve: curve(&owner, server, &saved.state, &test)?,
        classes: setup.classes,
        confusion: match confusion.nrows() {
            0..=MOST_CONFUSED => {
                confusion.outer_iter().map(|row| published_counts(&row.to_vec())).collect()
            }
            _ => Vec::new(),
        },
        ..Results::new(&report, &key_id, setup.seed, accuracy, twin_accuracy)?
    };
    found.draw(client.path(), "model")?;
    if let Some(path) = results {
        file::write_json(path, &found)?;
    }
    Ok(output::note(format!("figures: {}", client.path().join("model-*.svg").display()))?)
}

/// Decrypts the snapshots of a training: images seen and test accuracy. Those that another training
/// left in the folder are passed over.
fn curve(
    owner: &Client,
    server: &ServerFolder,
    training: &State,
    test: &Labelled,
) -> Result<Vec<(u64, f64)>> {
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
        let saved = checkpoint(owner, &path)?;
        if !saved.state.is_part_of(training) {
            continue;
        }
        let confusion = client::confusion(&owner.decrypt(&saved)?, test)?;
        curve.push((saved.state.images, published(fhe_train::accuracy(&confusion))));
    }
    Ok(curve)
}

/// Reads an encrypted model of this client.
pub(crate) fn checkpoint(owner: &Client, path: &Path) -> Result<Checkpoint> {
    Ok(Checkpoint::load_for(path, owner.params(), &owner.key().id())?)
}

/// Makes the folder of a file.
fn make_folder(path: &Path) -> Result<()> {
    Ok(create_folder(path.parent().unwrap_or(Path::new("")))?)
}

fn encrypt(client: &ClientFolder, samples: &Samples, out: &Path) -> Result<()> {
    let owner = client.open()?;
    let features = samples.encode(client)?;
    make_folder(out)?;
    owner.query(features.view(), &client.read_training()?.recipe)?.save(out)?;
    let count = features.nrows();
    let data = json!({ "query": out.display().to_string(), "samples": count });
    let text = match count {
        1 => format!("encrypted: {}", out.display()),
        _ => format!("encrypted {count} samples: {}", out.display()),
    };
    Ok(output::result("encrypted", text, &data)?)
}

fn score(folder: &ServerFolder, query: &Path, out: &Path) -> Result<()> {
    let server = folder.open()?;
    let (params, key_id) = (server.params(), server.engine().key_id());
    let model = Checkpoint::load_for(&folder.model(), params, key_id)?;
    let query = EncryptedQuery::load(query)?;
    let start = Instant::now();
    let scores = server.score(&model, &query)?;
    let seconds = start.elapsed().as_secs_f64();
    make_folder(out)?;
    scores.save(out)?;
    let (samples, milliseconds, out) = (scores.samples(), seconds * 1e3, out.display());
    let text = match samples {
        1 => format!("scored in {milliseconds:.1} ms: {out}"),
        _ => {
            let each = milliseconds / samples as f64;
            format!("scored {samples} samples in {milliseconds:.1} ms, {each:.1} ms each: {out}")
        }
    };
    let data = json!({ "seconds": seconds, "samples": samples, "scores": out.to_string() });
    Ok(output::result("scored", text, &data)?)
}

fn read(client: &ClientFolder, path: &Path) -> Result<()> {
    let owner = client.open()?;
    let setup = client.read_setup()?;
    let logits = owner.read(&EncryptedScores::load(path)?)?;
    // The number of classes is the client's to say, not the server's.
    let (got, expected) = (logits.ncols(), client.read_training()?.recipe.classes());
    let path = path.display();
    ensure!(got == expected, "{path}: scores of {got} classes, expected {expected}");
    let name = |class: usize| setup.classes.get(class).map_or("?", String::as_str);
    for (sample, scores) in logits.outer_iter().enumerate() {
        let class = argmax(scores);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&i, &j| scores[j].total_cmp(&scores[i]));
        let mut text = format!("class {class}: {}\nscores, as logits:", name(class));
        if logits.nrows() > 1 {
            text = format!("sample {sample}: {text}");
        }
        for &i in &order {
            text.push_str(&format!("\n{:>10.4}  {i}: {}", scores[i], name(i)));
        }
        let score = |&i: &usize| json!({ "class": i, "name": name(i), "score": scores[i] });
        let sorted: Vec<_> = order.iter().map(score).collect();
        let data = json!({
            "sample": sample, "class": class, "name": name(class), "scores": sorted
        });
        output::result("class", text, &data)?;
    }
    Ok(())
}

/// Writes the decrypted model, and the quantizer if there is one, for other programs.
fn export(
    client: &ClientFolder,
    server: &ServerFolder,
    training: &Training,
    out: &Path,
) -> Result<()> {
    let owner = client.open()?;
    let saved = checkpoint(&owner, &server.model())?;
    training.check_recipe(&saved.state)?;
    let model = owner.decrypt(&saved)?;
    make_folder(out)?;
    model.save_safetensors(out)?;
    let (step, steps) = (saved.state.step, saved.state.steps);
    let mut text = format!("exported: {}", out.display());
    if step < steps {
        text.push_str(&format!(", the model after step {step} of {steps}"));
    }
    let mut data = json!({ "model": out.display().to_string(), "step": step, "steps": steps });
    if client.load_encoder()?.is_quantizer() {
        let encoder = client.encoder();
        text.push_str(&format!("; its features are encoded by {}", encoder.display()));
        data["quantizer"] = json!(encoder.display().to_string());
    }
    Ok(output::result("exported", text, &data)?)
}

/// What is to be encrypted.
enum Samples {
    /// So many samples of the test set, from one on.
    Test(usize, usize),
    /// PNG or JPEG files, and whether those of another size are resized.
    Images(Vec<PathBuf>, bool),
    /// So many rows of a file of features, from one on.
    Rows(PathBuf, (usize, usize), Selection),
}

impl Samples {
    fn encode(&self, client: &ClientFolder) -> Result<Array2<i8>> {
        Ok(match self {
            Self::Test(index, count) => {
                let test = client.load("test")?.features;
                let all = test.view();
                let has = format!("the test set has {} samples", all.nrows());
                let chosen = chosen(("--index", *index), *count, all.nrows(), &has)?;
                all.slice(s![chosen, ..]).to_owned()
            }
            Self::Images(paths, resize) => {
                if !resize {
                    check_sizes(client, paths)?;
                }
                let encoded: Vec<_> =
                    paths.iter().map(|path| client.encode_file(path)).collect::<Result<_>>()?;
                let views: Vec<_> = encoded.iter().map(|image| image.view()).collect();
                concatenate(Axis(0), &views)?
            }
            Self::Rows(path, (row, count), selection) => {
                let features = read_numbers(path, selection)?.values;
                let has = format!("{} has {} rows", path.display(), features.nrows());
                let chosen = chosen(("--row", *row), *count, features.nrows(), &has)?;
                let encoded = client.load_encoder()?.encode_rows(features.slice(s![chosen, ..]));
                encoded.with_context(|| path.display().to_string())?.view().to_owned()
            }
        })
    }
}

/// Refuses image files of another size than those of the run's preset. Other runs take images of
/// any size, and resize them as they did in set-up.
fn check_sizes(client: &ClientFolder, paths: &[PathBuf]) -> Result<()> {
    if client.backbone().exists() || !Preset::is_noted(&client.read_setup()?.preset) {
        return Ok(());
    }
    let Some(shape) = client.load_encoder()?.image_shape() else { return Ok(()) };
    for path in paths {
        own_data::read_unscaled(path, shape)?;
    }
    Ok(())
}

/// Returns `count` places from that of an option on, if all of them are among `there`.
fn chosen(
    (option, first): (&str, usize),
    count: usize,
    there: usize,
    has: &str,
) -> Result<Range<usize>> {
    match first.checked_add(count).filter(|&end| end <= there) {
        Some(end) => Ok(first..end),
        None if count == 1 => bail!("{option} {first}: {has}"),
        None => bail!("{option} {first} --count {count}: {has}"),
    }
}
