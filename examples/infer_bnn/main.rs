//! Encrypted inference with public weights: the client encrypts an image, the server evaluates, the
//! client decrypts.

mod many;
mod parties;
mod twins;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Parser, value_parser};
use fhe_core::Params;
use fhe_examples::bnn::{ModelName, integers};
use fhe_examples::failure;
use fhe_nn::public::client::decide;
use fhe_nn::public::{self, PublicNetwork};
use ndarray::ArrayView2;
use parties::Parties;
use twins::Twins;

/// Classifies an encrypted image with a network whose weights are public.
///
/// The image is encrypted under the client's key; the server evaluates the network and never sees
/// that key; the scores come back encrypted. Without --image or --count: one test image.
#[derive(Parser)]
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
    #[arg(long, conflicts_with_all = ["index", "count"])]
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
    /// Encrypt so many test images, one after another, and compare with the exact twin.
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Evaluate so many images together; with --count.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    batch: u32,
    /// With --count: where to write the results, JSON. A file of an interrupted run is gone on
    /// with.
    #[arg(long, requires = "count")]
    results: Option<PathBuf>,
    /// The data set's folder or archive; default: looked for in data, and fetched if it is not
    /// there.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Seed of the twin's noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    failure::exit_code(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let path = args.weights.clone().unwrap_or_else(|| args.model.weights());
    let (config, weights) = public::read(&path)?;
    let shape = args.model.image_shape();
    ensure!(
        config.input.len() == shape.bytes(),
        "{}: takes images of {}, expected {shape} for this model",
        path.display(),
        config.input
    );
    // Before any key is made: what is wrong with the image should be said at once.
    let image = match &args.image {
        None => None,
        Some(file) if args.resize => Some(fhe_data::image_file::read(file, shape)?),
        Some(file) => Some(
            fhe_data::image_file::read_unscaled(file, shape)
                .context("--resize takes images of another size")?,
        ),
    };
    let params = Params::secure128_bnn()?;
    let network = PublicNetwork::new(&config, weights, params.row_size)?;
    let summary = network.summary(&params)?;
    println!("{}, {}", path.display(), params.name);
    print!("{summary}");
    if args.clear {
        let data = args.model.data(args.data.as_deref())?;
        let twins = Twins::run(&network, &params, &data.test, args.seed)?;
        println!(
            "exact {:.4}, with noise {:.4} on {} test images; {:.4} of them decided alike",
            twins.exact_accuracy,
            twins.noisy_accuracy,
            data.test.len(),
            twins.alike
        );
        return Ok(());
    }
    let start = Instant::now();
    let parties = Parties::new(&params, &network, &summary);
    println!("keys made in {:.1} s", start.elapsed().as_secs_f64());
    let threads = rayon::current_num_threads();
    let predicted = summary.list.price.seconds(&parties.engine.unit_costs()?, threads);
    println!("predicted: {predicted:.1} s an image on {threads} threads");
    if args.meter {
        return Ok(());
    }
    if let (Some(file), Some(pixels)) = (&args.image, image) {
        let pixels = ArrayView2::from_shape((1, pixels.len()), &pixels)?;
        let (class, seconds) = parties.one(config.integers(pixels)?.view())?;
        let name = args.model.class_names()[class];
        println!("{}: {name} ({seconds:.2} s on the server)", file.display());
        return Ok(());
    }
    let data = args.model.data(args.data.as_deref())?;
    if let Some(count) = args.count {
        let count = count as usize;
        ensure!(count <= data.test.len(), "--count {count}: the test set has {}", data.test.len());
        return many::run(args, &path, &parties, &data.test);
    }
    let index = args.index;
    ensure!(index < data.test.len(), "--index {index}: the test set has {}", data.test.len());
    let image = integers(&config, &data.test, index..index + 1)?;
    let exact = decide(network.exact_scores(image.view())?.view())[0];
    let (class, seconds) = parties.one(image.view())?;
    let names = args.model.class_names();
    println!(
        "test image {index} is a {}: encrypted {}, in the clear {} ({seconds:.2} s on the server)",
        names[data.test.labels()[index] as usize],
        names[class],
        names[exact]
    );
    Ok(())
}
