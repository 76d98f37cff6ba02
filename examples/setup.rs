//! The client's set-up: keys, the encoder fitted on its own images, the encrypted data set.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use fhe_core::client::ClientKey;
use fhe_core::{Params, Seed};
use fhe_data::Encoder;
use fhe_examples::client::{self, ClientFolder, Labelled, Setup};
use fhe_examples::preset::Preset;
use fhe_examples::progress;
use fhe_examples::server::ServerFolder;

/// Makes keys, encodes and encrypts the images.
///
/// Writes RUN/client (secret: stays where it is) and RUN/server (goes to the server). If it is
/// interrupted, the same command goes on where it stopped.
#[derive(Parser)]
struct Args {
    /// Folder of the run.
    #[arg(long, default_value = "runs/builtin")]
    run: PathBuf,
    /// Data set, encoder and recipe.
    #[arg(long, value_enum, default_value = "builtin")]
    preset: Preset,
    /// CIFAR-10: the folder cifar-10-batches-bin, or the archive.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Number of patches of the encoder's dictionary; default: the preset's.
    #[arg(long)]
    dictionary: Option<usize>,
    /// Seed of the built-in images.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Derive the secret key from --seed: for figures to be reproduced, NOT for secrets.
    #[arg(long)]
    reproducible_key: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (client, server) = (ClientFolder::of(&args.run), ServerFolder::of(&args.run));
    for folder in [client.path(), server.path()] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
    }
    let images = args.preset.images(args.data.as_deref(), args.seed)?;
    let setup = Setup {
        preset: format!("{:?} {:?}", args.preset, args.preset.encoder(args.dictionary)),
        seed: args.seed,
        classes: images.class_names.map(String::from).to_vec(),
    };
    if let Ok(text) = std::fs::read_to_string(client.setup()) {
        let old: Setup = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged", client.setup().display()))?;
        ensure!(old == setup, "{} was set up for {old:?}", args.run.display());
    }
    std::fs::write(client.setup(), serde_json::to_vec_pretty(&setup)?)
        .with_context(|| format!("writing {}", client.setup().display()))?;

    let key = if client.key().exists() {
        client.read_key()?
    } else {
        let seed =
            if args.reproducible_key { Seed::from_number(args.seed) } else { Seed::random() };
        let key = ClientKey::new(&Params::secure128()?, seed);
        key.save(&client.key())?;
        key
    };
    if !server.keys().exists() {
        println!("making evaluation keys");
        key.evaluation_keys().save(&server.keys())?;
    }

    let encoder = if client.encoder().exists() {
        Encoder::load(&client.encoder())?
    } else {
        let config = args.preset.encoder(args.dictionary);
        let encoder = Encoder::fit(config, &images.train, &progress::encoder_bars())?;
        encoder.save(&client.encoder())?;
        encoder
    };
    let test_done = client.path().join("test.labels").exists();
    let train = if test_done {
        client.load("train")?
    } else {
        let train = Labelled::encode(&encoder, &images.train)?;
        client.save("train", &train)?;
        client.save("test", &Labelled::encode(&encoder, &images.test)?)?;
        train
    };

    let recipe = args.preset.recipe();
    std::fs::write(server.recipe(), serde_json::to_vec_pretty(&recipe)?)
        .with_context(|| format!("writing {}", server.recipe().display()))?;
    if !server.dataset().exists() {
        let name = format!("{:?}", args.preset).to_lowercase();
        let (classes, batch) = (recipe.classes, args.preset.batch());
        client::encrypt(&server.dataset(), &key, &name, &train, classes, batch)?;
    }
    println!(
        "ready: send {} to the server, keep {}",
        server.path().display(),
        client.path().display()
    );
    Ok(())
}
