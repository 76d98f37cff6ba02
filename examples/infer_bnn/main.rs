//! Encrypted inference with public weights: the client encrypts an image, the server evaluates, the
//! client decrypts.

mod many;
mod parties;
mod twins;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{ArgGroup, Parser, value_parser};
use fhe_core::Params;
use fhe_data::ImageSet;
use fhe_examples::bnn::{ModelName, Together, check_network, integers, parameters};
use fhe_examples::program::{self, Common};
use fhe_examples::{output, own_data};
use fhe_nn::public::client::decide;
use fhe_nn::public::{self, PublicNetwork};
use ndarray::ArrayView2;
use parties::Parties;
use serde_json::json;
use twins::Twins;

/// Classifies an encrypted image with a network whose weights are public.
///
/// The image is encrypted under the client's key; the server evaluates the network and never sees
/// that key; the scores come back encrypted. Without --image, --count or --batch: one test image.
#[derive(Parser)]
#[command(
    name = "infer_bnn",
    version,
    group(ArgGroup::new("many").args(["count", "batch"]).multiple(true)),
    after_help = "\
Examples:
  infer_bnn --model cnn                        one encrypted image of the test set
  infer_bnn --model cnn --image seven.png      an image of your own
  infer_bnn --model cnn --meter                what it costs
  infer_bnn --model cnn --clear                the test set in the clear, without encryption
  infer_bnn --model cnn --count 10 --results cnn.json
  infer_bnn --model cnn --batch 50             fifty test images in one query

Weights of your own come from train_bnn."
)]
struct Args {
    /// Which network.
    #[arg(long, value_enum)]
    model: ModelName,
    /// Weights of your own, safetensors; default: those that come with this repository.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// An image of the test set.
    #[arg(long, default_value_t = 0)]
    index: usize,
    /// A PNG or JPEG file instead; for MNIST, light ink on a dark ground.
    #[arg(long, conflicts_with_all = ["index", "count", "batch"])]
    image: Option<PathBuf>,
    /// Crop and resize an image file of another size.
    #[arg(long, requires = "image")]
    resize: bool,
    /// Encrypt nothing: test all test images in the clear, exactly and with the noise of encrypted
    /// inference.
    #[arg(long)]
    clear: bool,
    /// Encrypt nothing: print shapes, ranges, lookups, predicted time and failure probability.
    #[arg(long)]
    meter: bool,
    /// Encrypt so many test images, and compare with the exact twin; default: one batch.
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Images of a query, whose lookups are made together; default: one. A batch takes less time
    /// an image, and longer until the first answer.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Memory for the encrypted values of a batch, in GB. What finds no room together is evaluated
    /// one part after another.
    #[arg(long, value_name = "GB", default_value = "3", value_parser = gigabytes)]
    memory: u64,
    /// Name of the parameter set; default: secure128-bnn-v1, and secure128-bnn-v2 for images that
    /// are enough together for batch lookups.
    #[arg(long, value_name = "NAME")]
    params: Option<String>,
    /// With --count or --batch: where to write the results, JSON. A file of an interrupted run is
    /// gone on with.
    #[arg(long, requires = "many")]
    results: Option<PathBuf>,
    /// The data set's folder or archive; default: looked for in data, and fetched if it is not
    /// there.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Seed of the twin's noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    common: Common,
}

/// Reads a number of gigabytes as bytes.
fn gigabytes(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e6 => Ok((number * 1e9) as u64),
        _ => Err("expected a number of gigabytes, above 0 and at most 1000000".into()),
    }
}

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, infer)
}

fn infer(args: &Args) -> Result<()> {
    let path = args.weights.clone().unwrap_or_else(|| args.model.weights());
    let (config, weights) = public::read(&path)?;
    let shape = args.model.image_shape();
    check_network(&config, shape, args.model.class_names().len())
        .with_context(|| path.display().to_string())?;
    // Before any key is made: what is wrong with the images should be said at once.
    let asked = Asked::read(args)?;
    // Both sets have as many slots.
    let slots = parameters(args.params.as_deref(), None)?.row_size;
    let network = PublicNetwork::new(&config, weights, slots)?;
    let images = args.batch.map_or(1, |batch| batch as usize);
    let together = Together { network: &network, images, memory: args.memory };
    let params = parameters(args.params.as_deref(), Some(together))?;
    let summary = together.summary(&params)?;
    output::note(format!("{}, {}\n{summary}", path.display(), params.name))?;
    if args.clear {
        return in_the_clear(args, (&network, summary.images), &params);
    }
    if let Asked::Many(images, counts) = &asked {
        many::earlier(args, (&many::hash(&path)?, &params.name, images), *counts)?;
    }
    let start = Instant::now();
    let parties = Parties::new(&params, &network, &summary, args.memory)?;
    output::note(format!("keys made in {:.1} s", start.elapsed().as_secs_f64()))?;
    price(args, &parties)?;
    match asked {
        Asked::Price => Ok(()),
        Asked::File(file, pixels) => {
            let pixels = ArrayView2::from_shape((1, pixels.len()), &pixels)?;
            let (class, seconds) = parties.one(config.integers(pixels)?.view())?;
            let name = args.model.class_names()[class];
            let text = format!("{}: {name} ({seconds:.2} s on the server)", file.display());
            let data = json!({ "class": class, "name": name, "seconds": seconds });
            Ok(output::result("class", text, &data)?)
        }
        Asked::Many(images, counts) => many::run(args, &path, &parties, &images, counts),
        Asked::One(images) => one_of_the_test_set(args, &parties, &images),
    }
}

/// What is to be done, with the images that are read for it.
enum Asked {
    /// Nothing but the price, or a test in the clear, which reads its images itself.
    Price,
    /// The pixels of an image file.
    File(PathBuf, Vec<u8>),
    /// Images of the test set: how many, and how many a query.
    Many(ImageSet, (usize, usize)),
    /// One image of the test set.
    One(ImageSet),
}

impl Asked {
    fn read(args: &Args) -> Result<Self> {
        let shape = args.model.image_shape();
        if let Some(file) = &args.image {
            let pixels = if args.resize {
                fhe_data::image_file::read(file, shape)?
            } else {
                own_data::read_unscaled(file, shape)?
            };
            return Ok(if args.meter { Self::Price } else { Self::File(file.clone(), pixels) });
        }
        if args.meter || args.clear {
            return Ok(Self::Price);
        }
        let images = args.model.data(args.data.as_deref())?.test;
        let most = images.len();
        let Some(count) = args.count.or(args.batch) else {
            let index = args.index;
            ensure!(index < most, "--index {index}: the test set has {most}");
            return Ok(Self::One(images));
        };
        let count = count as usize;
        ensure!(count <= most, "{count} images: the test set has {most}");
        let batch = args.batch.map_or(1, |batch| batch as usize);
        ensure!(batch <= count, "--batch {batch}: --count has {count} images");
        Ok(Self::Many(images, (count, batch)))
    }
}

/// Tests all test images in the clear.
fn in_the_clear(args: &Args, network: (&PublicNetwork, usize), params: &Params) -> Result<()> {
    let data = args.model.data(args.data.as_deref())?;
    ensure!(!data.test.is_empty(), "the test set has no images");
    let Twins { exact_accuracy, noisy_accuracy, alike } =
        Twins::run(network, params, &data.test, args.seed)?;
    let images = data.test.len();
    let text = format!(
        "exact {exact_accuracy:.4}, with noise {noisy_accuracy:.4} on {images} test images; \
         {alike:.4} of them decided alike"
    );
    let data = json!({
        "exact_accuracy": exact_accuracy,
        "noisy_accuracy": noisy_accuracy,
        "alike": alike,
        "images": images,
    });
    Ok(output::result("clear", text, &data)?)
}

/// Predicts the time of an image: on the way, or because that was asked for.
fn price(args: &Args, parties: &Parties<'_>) -> Result<()> {
    let threads = rayon::current_num_threads();
    let (images, price) = (parties.summary.images, &parties.summary.list.price);
    let seconds = price.seconds(&parties.engine.unit_costs()?, threads) / images as f64;
    let mut text = format!("predicted: {seconds:.1} s an image on {threads} threads");
    if price.batches > 0 {
        let (batches, batched) = (price.batches, price.batched);
        text += &format!(", {batches} batches of {batched} values for {images} images together");
    }
    if !args.meter {
        return Ok(output::note(text)?);
    }
    let data = json!({
        "lookups": parties.lookups(1),
        "images": images,
        "batches": price.batches,
        "seconds": seconds,
        "threads": threads,
    });
    Ok(output::result("price", text, &data)?)
}

/// Classifies one test image, encrypted and in the clear.
fn one_of_the_test_set(args: &Args, parties: &Parties<'_>, images: &ImageSet) -> Result<()> {
    let index = args.index;
    let network = parties.network;
    let image = integers(network.config(), images, index..index + 1)?;
    let exact = decide(network.exact_scores(image.view())?.view())[0];
    let (class, seconds) = parties.one(image.view())?;
    let label = images.labels()[index] as usize;
    let [label_name, name, exact_name] =
        [label, class, exact].map(|class| args.model.class_names()[class]);
    let text = format!(
        "test image {index} is a {label_name}: encrypted {name}, in the clear {exact_name} \
         ({seconds:.2} s on the server)"
    );
    let data = json!({
        "class": class,
        "name": name,
        "exact": exact,
        "label": label,
        "seconds": seconds,
    });
    Ok(output::result("class", text, &data)?)
}
