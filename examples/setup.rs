//! The client's set-up: keys, the encoder fitted on its own images, the encrypted data set.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, value_parser};
use fhe_core::client::ClientKey;
use fhe_core::store::{Dataset, Lock, Message, Secrecy, create_folder};
use fhe_core::{Params, Seed};
use fhe_examples::backbone::{BackboneArgs, Network};
use fhe_examples::client::{self, ClientFolder, Labelled, Setup, Training};
use fhe_examples::encoder::EncoderChoice;
use fhe_examples::own_data::{self, OwnData, RawData};
use fhe_examples::pictures::Pictures;
use fhe_examples::preset::{self, Preset};
use fhe_examples::program::{self, Common};
use fhe_examples::server::ServerFolder;
use fhe_examples::{file, output, signals};
use fhe_train::{Client, Encryption, LEAST_SAMPLES, Recipe, check_rates, tune};
use serde_json::json;

/// Makes keys, encodes and encrypts the samples.
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
  setup --run runs/flowers --images FOLDER                    your images, a subfolder a class
  setup --run runs/iris --features iris.csv --label-column species
  setup --run runs/mine --features x.npy --labels y.npy       features of your own
  setup --run runs/mine --features x.npy --labels y.npy --test-features t.npy --test-labels u.npy
  setup --run runs/pets --images FOLDER --backbone MODEL.onnx --backbone-mean 127 \\
      --backbone-scale 128                  features by a network of others (feature onnx)
  setup --run runs/fashion --idx FOLDER                       IDX files of any size
  setup --run runs/imagenet --imagenet ILSVRC2012_img_train.tar --backbone MODEL.onnx \\
      --imagenet-val VALIDATION --ground-truth LOC_val_solution.csv

After it: train."
)]
struct Args {
    /// Folder of the run.
    #[arg(long, default_value = "runs/builtin")]
    run: PathBuf,
    /// Data set, encoder and recipe.
    #[arg(long, value_enum, default_value = "builtin", conflicts_with = "own")]
    preset: Preset,
    /// CIFAR-10: the folder cifar-10-batches-bin, or the archive; default: looked for in data, and
    /// fetched if it is not there.
    #[arg(long, conflicts_with = "own")]
    data: Option<PathBuf>,
    /// Number of patches of the dictionary that encodes colour images; default: the preset's, or a
    /// number that suits the images.
    #[arg(long, conflicts_with_all = ["features", "idx", "imagenet"])]
    dictionary: Option<usize>,
    /// Seed of the built-in images, and of the order of your own samples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of training images of a preset (of built-in ones, also of test images); default: the
    /// preset's.
    #[arg(long, value_parser = value_parser!(u64).range(2..=1_000_000), conflicts_with = "own")]
    count: Option<u64>,
    /// Encrypt only so many training samples; the encoder is fitted to all.
    #[arg(long, value_parser = value_parser!(u64).range(1..=1_000_000))]
    encrypt: Option<u64>,
    /// Samples of a mini-batch; default: the preset's, or of your own data 16, and more if there
    /// are so many samples and classes that lookups in batches pay.
    #[arg(long, value_parser = value_parser!(u64).range(1..=65_536))]
    batch: Option<u64>,
    /// A recipe of your own, TOML; default: the preset's, or a linear classifier whose rates are
    /// tuned on the samples.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Derive the secret key from --seed: for figures to be reproduced, NOT for secrets.
    #[arg(long)]
    reproducible_key: bool,
    #[command(flatten)]
    own: OwnData,
    #[command(flatten)]
    backbone: BackboneArgs,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, setup)
}

/// Samples that a training of one's own data sees if there are fewer: by several passes, to 8.
const OWN_SAMPLES_SEEN: usize = 2000;
/// Passes of a linear classifier over one's own data where lookups come in batches.
const BATCHED_PASSES: usize = 3;

/// What the samples are, and what is trained on them.
struct Job {
    data: RawData,
    /// None: a linear classifier, tuned.
    recipe: Option<Recipe>,
    params: Params,
    batch: usize,
    encrypted: usize,
    /// Whether the recipe is a file of the user's.
    own_recipe: bool,
    /// What made features of images.
    network: Option<Network>,
}

impl Job {
    /// Reads the data, and checks the recipe before, as far as it can.
    fn read(args: &Args) -> Result<Self> {
        let given = args.recipe.as_deref().map(preset::read_recipe).transpose()?;
        let own_recipe = given.is_some();
        let [count, encrypted, batch] =
            [args.count, args.encrypt, args.batch].map(|count| count.map(|count| count as usize));
        let network = args.backbone.open(args.own.sizing())?;
        if args.own.is_given() || network.is_some() {
            // All sets have rows of one size.
            let n = Params::secure128()?.row_size;
            let data = match &network {
                None => args.own.read(args.seed, args.dictionary, n)?,
                Some(network) => {
                    let pictures = if args.own.is_given() {
                        args.own.pictures(args.seed)?
                    } else {
                        let split = args.preset.images(args.data.as_deref(), args.seed, count)?;
                        Pictures::Images(split)
                    };
                    // To run the network may take hours: what can be refused is refused before.
                    let names = pictures.class_names();
                    takes_classes(given.as_ref(), names.len())?;
                    let client = ClientFolder::of(&args.run);
                    client.check_agreed(&agreed(args, None, Some(network), names))?;
                    pictures.features(network, &client.feature_cache(), args.seed, n)?
                }
            };
            let encrypted = encrypted.unwrap_or(data.len()).min(data.len());
            let classes = data.class_names().len();
            let batch = batch.unwrap_or_else(|| own_data::batch(encrypted, classes));
            let params = match &given {
                Some(recipe) => recipe.params(batch).context("the recipe does not fit")?,
                None => {
                    let linear = Recipe::linear(1, classes).params(batch);
                    linear.context("the labels of the data")?
                }
            };
            fits(given.as_ref(), &data, &params, encrypted)?;
            return Ok(Self { data, recipe: given, params, batch, encrypted, own_recipe, network });
        }
        let choice = args.preset.encoder(args.dictionary);
        choice.check()?;
        let params = args.preset.params()?;
        let recipe = given.map_or_else(|| args.preset.recipe(), Ok)?;
        recipe.check(&params).context("the recipe does not fit")?;
        let split = args.preset.images(args.data.as_deref(), args.seed, count)?;
        takes_classes(Some(&recipe), split.class_names.len())?;
        let encrypted = encrypted.unwrap_or(split.train.len()).min(split.train.len());
        let batch = batch.unwrap_or_else(|| args.preset.batch());
        let data = RawData::Images(split, choice);
        let recipe = Some(recipe);
        Ok(Self { data, recipe, params, batch, encrypted, own_recipe, network })
    }
}

/// Refuses more classes than the recipe, or a linear classifier, can have.
fn takes_classes(recipe: Option<&Recipe>, classes: usize) -> Result<()> {
    match recipe {
        Some(recipe) => {
            let has = recipe.classes();
            ensure!(has == classes, "the recipe has {has} classes, and the data {classes}");
        }
        None => {
            Recipe::linear(1, classes).params(1).context("the labels of the data")?;
        }
    }
    Ok(())
}

/// Refuses data of one's own that the recipe, or a linear classifier to be tuned, cannot take.
fn fits(recipe: Option<&Recipe>, data: &RawData, params: &Params, encrypted: usize) -> Result<()> {
    let classes = data.class_names().len();
    let Some(recipe) = recipe else {
        ensure!(
            encrypted >= LEAST_SAMPLES,
            "{encrypted} samples to train on: expected at least {LEAST_SAMPLES}, or a --recipe"
        );
        return Ok(());
    };
    takes_classes(Some(recipe), classes)?;
    if let RawData::Rows { quantizer, .. } = data {
        ensure!(recipe.copies() == 1, "the recipe wants mirror images: features have none");
        let (takes, width) = (recipe.inputs(params.row_size), quantizer.width());
        ensure!(
            takes == width || takes > width && matches!(recipe, Recipe::Head(_)),
            "the recipe takes samples of {takes} integers, and these have {width}: their features \
             and a constant"
        );
    }
    Ok(())
}

fn setup(args: &Args) -> Result<()> {
    let (client, server) = (ClientFolder::of(&args.run), ServerFolder::of(&args.run));
    let mut job = Job::read(args)?;
    if args.own.is_given() || job.network.is_some() {
        output::note(job.data.described())?;
    }
    if let Some(Recipe::Deep(deep)) = &job.recipe {
        let summary = deep.summary(&job.params)?;
        output::note(format!("the network, at its first weights:\n{summary}"))?;
    }
    if let Some(recipe) = &job.recipe {
        client::check_copies(job.encrypted, recipe.copies(), job.batch)?;
    }
    client.create()?;
    create_folder(server.path())?;
    let _lock = Lock::take(&client.path().join("lock"))?;
    // Files under their final names are whole, and encryption goes on where its file ends.
    signals::end_after(|| {
        let text = "stopped; the same command goes on";
        let _ = output::result("stopped", text, &json!({}));
    })?;
    let choice = match &job.data {
        RawData::Images(_, choice) => Some(choice),
        RawData::Rows { .. } => None,
    };
    let data = Some(job.data.digest());
    let names = job.data.class_names();
    client.agree(&Setup { data, ..agreed(args, choice, job.network.as_ref(), names) })?;
    if let Some(network) = &job.network {
        client.write_json(&client.backbone(), network.chosen())?;
    }

    let owner = open_client(args, &client, &job.params)?;
    if server.keys().exists() {
        server.check_keys(owner.params(), &owner.key().id())?;
    } else {
        output::note("making evaluation keys")?;
        owner.key().evaluation_keys().save(&server.keys())?;
    }
    let noted = noted(&client, &server, &job)?;
    let train = encode(&client, &job, owner.key())?;
    job.data.forget_rows();
    let recipe = settle(&client, &server, &job, noted, &train)?;
    if server.dataset().exists() {
        Dataset::open(&server.dataset(), owner.params(), &owner.key().id())?;
    } else {
        // The same run is made again bit for bit where the key is.
        let name = dataset_name(args);
        let options = Encryption { name, deterministic: args.reproducible_key };
        client::encrypt(&server.dataset(), &owner, &train, &recipe, job.batch, &options)?;
    }
    let (server, client) = (server.path().display(), client.path().display());
    let text = format!("ready: send {server} to the server, keep {client}");
    let data = json!({ "server": server.to_string(), "client": client.to_string() });
    Ok(output::result("ready", text, &data)?)
}

/// What a later call on the same folder must ask for too: the encoder, the network and the classes
/// beside the options.
fn agreed(
    args: &Args,
    encoder: Option<&EncoderChoice>,
    network: Option<&Network>,
    classes: &[String],
) -> Setup {
    let own = args.own.is_given();
    let mut preset = if own { args.own.described() } else { format!("{:?}", args.preset) };
    preset.extend(encoder.map(|encoder| format!(" {encoder:?}")));
    preset.extend(network.map(|network| format!(", {}", network.described())));
    let given = |count: Option<u64>| count.map(|count| count as usize);
    Setup {
        preset,
        seed: args.seed,
        images: given(args.count),
        encrypted: given(args.encrypt),
        batch: given(args.batch),
        reproducible_key: args.reproducible_key,
        classes: classes.to_vec(),
        data: None,
    }
}

/// The server sees the data set's name. That of one's own data says nothing.
fn dataset_name(args: &Args) -> String {
    if args.own.is_given() {
        "own data".into()
    } else {
        format!("{:?}", args.preset).to_lowercase()
    }
}

/// Reads the secret key, or draws it.
fn open_client(args: &Args, client: &ClientFolder, params: &Params) -> Result<Client> {
    if client.key().exists() {
        return client.open();
    }
    let seed = if args.reproducible_key { Seed::from_number(args.seed) } else { Seed::random()? };
    ClientKey::new(params, seed).save(&client.key())?;
    client.open()
}

/// Encodes both parts, unless that is done, and returns the training part in the order that is
/// encrypted. The server sees places, and data that come sorted tell labels by them: so the order
/// is a secret one, which the client notes.
fn encode(client: &ClientFolder, job: &Job, key: &ClientKey) -> Result<Labelled> {
    // What is written last tells that all is there.
    if client.has_encoder() && client.path().join("test.labels").exists() {
        return client.load("train");
    }
    let encoder = if client.has_encoder() {
        client.load_encoder()?
    } else {
        let encoder = job.data.fit()?;
        client.save_encoder(&encoder)?;
        encoder
    };
    let (mut train, test) = match &job.data {
        RawData::Images(split, _) => {
            let part = split.train.head(job.encrypted);
            let copies = job.recipe.as_ref();
            let train = Labelled::for_training(&encoder, &part, copies)?;
            (train, Labelled::encode(&encoder, &split.test)?)
        }
        RawData::Rows { train, test, .. } => {
            (train.encode(&encoder, job.encrypted)?, test.encode(&encoder, test.len())?)
        }
    };
    let copies = job.recipe.as_ref().map_or(1, Recipe::copies);
    let order = key.order("training samples", train.labels.len() / copies);
    train.reorder(&order, copies)?;
    client.save_order(&order)?;
    client.save("train", &train)?;
    client.save("test", &test)?;
    Ok(train)
}

/// Notes the recipe that is given, before anything is made for it. Returns what is noted: the
/// client's own note, whatever the server has.
fn noted(client: &ClientFolder, server: &ServerFolder, job: &Job) -> Result<Option<Recipe>> {
    let path = client.training();
    let there = path.exists().then(|| client.read_training()).transpose()?.map(|t| t.recipe);
    let Some(recipe) = &job.recipe else { return Ok(there) };
    if let Some(there) = there.filter(|there| there != recipe) {
        // Samples are encoded once, for as many copies as the recipe takes. What the server has
        // depends on all of it.
        let open = !server.recipe().exists() && there.copies() == recipe.copies();
        ensure!(open, "{}: another recipe", path.display());
    }
    client.write_json(&path, &Training { recipe: recipe.clone(), batch: job.batch })?;
    Ok(Some(recipe.clone()))
}

/// Returns the recipe, and gives it to the server: the one that is noted, or a linear classifier
/// that is tuned here.
fn settle(
    client: &ClientFolder,
    server: &ServerFolder,
    job: &Job,
    noted: Option<Recipe>,
    train: &Labelled,
) -> Result<Recipe> {
    let recipe = match noted {
        Some(recipe) => {
            if !server.recipe().exists() {
                warn_of_rates(job, &recipe, train)?;
            }
            recipe
        }
        None => {
            let passes = match job.params.batch {
                Some(_) => BATCHED_PASSES,
                None => OWN_SAMPLES_SEEN.div_ceil(train.labels.len().max(1)).clamp(1, 8),
            };
            let classes = job.data.class_names().len();
            let linear = Recipe::linear(train.features.width(), classes).with_passes(passes);
            output::note("tuning the rates with clear twins")?;
            let (recipe, report) = tune(&linear, train.data(), job.batch)?;
            output::note(format!(
                "a linear classifier, {passes} passes: a clear twin classifies {:.1} % of {} \
                 held-out samples rightly",
                100.0 * report.accuracy,
                report.held_out
            ))?;
            let training = Training { recipe, batch: job.batch };
            client.write_json(&client.training(), &training)?;
            training.recipe
        }
    };
    if server.recipe().exists() {
        server.check_recipe(&recipe)?;
    } else {
        file::write(&server.recipe(), &serde_json::to_vec_pretty(&recipe)?, Secrecy::Public)?;
    }
    Ok(recipe)
}

/// Says if the rates of a recipe of one's own do not suit the samples.
fn warn_of_rates(job: &Job, recipe: &Recipe, train: &Labelled) -> Result<()> {
    if !job.own_recipe || train.labels.len() / recipe.copies() < LEAST_SAMPLES {
        return Ok(());
    }
    match check_rates(&job.params, recipe, train.data(), job.batch)? {
        Some(warning) => Ok(output::warning(warning)?),
        None => Ok(()),
    }
}
