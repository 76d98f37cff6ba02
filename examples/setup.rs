//! The client's set-up: keys, the encoder fitted on its own images, the encrypted data set.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, value_parser};
use fhe_core::client::ClientKey;
use fhe_core::store::{Dataset, Lock, Message, Secrecy};
use fhe_core::{Params, Seed};
use fhe_data::Split;
use fhe_examples::client::{self, ClientFolder, Labelled, Setup};
use fhe_examples::encoder::EncoderChoice;
use fhe_examples::preset::{self, Preset};
use fhe_examples::program::{self, Common};
use fhe_examples::server::ServerFolder;
use fhe_examples::{file, output, progress, signals};
use fhe_train::Recipe;
use serde_json::json;

/// Makes keys, encodes and encrypts the images.
///
/// Writes RUN/client (secret: stays where it is) and RUN/server (goes to the server). If it is
/// interrupted, by Ctrl-C too, the same command goes on where it stopped.
#[derive(Parser)]
#[command(
    name = "setup",
    version,
    after_help = "\
Examples:
  setup --run runs/builtin                                    drawn shapes: minutes
  setup --run runs/cifar10 --preset cifar10                   fetches CIFAR-10
  setup --run runs/mnist --preset mnist-deep --data FOLDER    MNIST that lies in FOLDER

After it: train."
)]
struct Args {
    /// Folder of the run.
    #[arg(long, default_value = "runs/builtin")]
    run: PathBuf,
    /// Data set, encoder and recipe.
    #[arg(long, value_enum, default_value = "builtin")]
    preset: Preset,
    /// CIFAR-10: the folder cifar-10-batches-bin, or the archive; default: looked for in data, and
    /// fetched if it is not there.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Number of patches of the encoder's dictionary; default: the preset's.
    #[arg(long)]
    dictionary: Option<usize>,
    /// Seed of the built-in images.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of training images (of built-in ones, also of test images); default: the preset's.
    #[arg(long, value_parser = value_parser!(u64).range(2..=1_000_000))]
    images: Option<u64>,
    /// Encrypt only so many of them; the encoder is fitted to all.
    #[arg(long, value_parser = value_parser!(u64).range(1..=1_000_000))]
    encrypt: Option<u64>,
    /// Images of a mini-batch; default: the preset's.
    #[arg(long, value_parser = value_parser!(u64).range(1..=65_536))]
    batch: Option<u64>,
    /// A recipe of your own, TOML; default: the preset's.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Derive the secret key from --seed: for figures to be reproduced, NOT for secrets.
    #[arg(long)]
    reproducible_key: bool,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, setup)
}

fn setup(args: &Args) -> Result<()> {
    let (client, server) = (ClientFolder::of(&args.run), ServerFolder::of(&args.run));
    let config = args.preset.encoder(args.dictionary);
    config.check()?;
    let params = args.preset.params()?;
    let recipe =
        args.recipe.as_deref().map_or_else(|| args.preset.recipe(), preset::read_recipe)?;
    recipe.check(&params).context("the recipe does not fit")?;
    if let Recipe::Deep(deep) = &recipe {
        output::note(format!("the network, at its first weights:\n{}", deep.summary(&params)?))?;
    }
    let [count, encrypted, batch] =
        [args.images, args.encrypt, args.batch].map(|count| count.map(|count| count as usize));
    let images = args.preset.images(args.data.as_deref(), args.seed, count)?;
    let used = images.train.head(encrypted.unwrap_or(usize::MAX)).len();
    client::check_copies(used, recipe.copies(), batch.unwrap_or_else(|| args.preset.batch()))?;
    for folder in [client.path(), server.path()] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
    }
    let _lock = Lock::take(&client.path().join("lock"))?;
    // Files under their final names are whole, and encryption goes on where its file ends.
    signals::end_after(|| {
        let text = "stopped; the same command goes on";
        let _ = output::result("stopped", text, &json!({}));
    })?;
    client.agree(&Setup {
        preset: format!("{:?} {config:?}", args.preset),
        seed: args.seed,
        images: count,
        encrypted,
        batch,
        reproducible_key: args.reproducible_key,
        classes: images.class_names.clone(),
    })?;

    let key = client_key(args, &client, &params)?;
    if server.keys().exists() {
        server.check_keys(key.params(), &key.id())?;
    } else {
        output::note("making evaluation keys")?;
        key.evaluation_keys().save(&server.keys())?;
    }
    if server.recipe().exists() {
        let path = server.recipe();
        ensure!(server.read_recipe()? == recipe, "{}: another recipe", path.display());
    } else {
        file::write(&server.recipe(), &serde_json::to_vec_pretty(&recipe)?, Secrecy::Public)?;
    }
    let train = encode(&client, config, &images, encrypted, &recipe)?;
    if server.dataset().exists() {
        Dataset::open(&server.dataset(), key.params(), &key.id())?;
    } else {
        let name = format!("{:?}", args.preset).to_lowercase();
        let batch = batch.unwrap_or_else(|| args.preset.batch());
        client::encrypt(&server.dataset(), &key, &name, &train, &recipe, batch)?;
    }
    let (server, client) = (server.path().display(), client.path().display());
    let text = format!("ready: send {server} to the server, keep {client}");
    let data = json!({ "server": server.to_string(), "client": client.to_string() });
    Ok(output::result("ready", text, &data)?)
}

/// Reads the secret key, or draws it.
fn client_key(args: &Args, client: &ClientFolder, params: &Params) -> Result<ClientKey> {
    if client.key().exists() {
        return client.read_key();
    }
    let seed = if args.reproducible_key { Seed::from_number(args.seed) } else { Seed::random() };
    let key = ClientKey::new(params, seed);
    key.save(&client.key())?;
    Ok(key)
}

/// Encodes both parts, unless that is done, and returns the training part.
fn encode(
    client: &ClientFolder,
    config: EncoderChoice,
    images: &Split,
    encrypted: Option<usize>,
    recipe: &Recipe,
) -> Result<Labelled> {
    // What is written last tells that all is there.
    if client.has_encoder() && client.path().join("test.labels").exists() {
        return client.load("train");
    }
    let encoder = if client.has_encoder() {
        client.load_encoder()?
    } else {
        let encoder = config.fit(&images.train, &progress::stages(""))?;
        client.save_encoder(&encoder)?;
        encoder
    };
    let part = images.train.head(encrypted.unwrap_or(usize::MAX));
    let train = Labelled::for_training(&encoder, &part, recipe)?;
    client.save("train", &train)?;
    client.save("test", &Labelled::encode(&encoder, &images.test)?)?;
    Ok(train)
}
