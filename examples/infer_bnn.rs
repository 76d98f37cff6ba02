//! Encrypted inference with public weights: the client encrypts an image, the server evaluates, the client decrypts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, value_parser};
use fhe_core::client::ClientKey;
use fhe_core::engine::cpu::Values;
use fhe_core::server::SeededRows;
use fhe_core::{Clear, Cpu, Engine, Params, Seed, from_torus, to_torus};
use fhe_data::ImageSet;
use fhe_examples::bnn::results::{BnnResults, EncryptedImage};
use fhe_examples::bnn::{ModelName, integers};
use fhe_examples::{failure, file, progress};
use fhe_nn::public::{self, Network, Summary};
use fhe_train::Provenance;
use indicatif::HumanDuration;
use rayon::prelude::*;

/// Classifies an encrypted image with a network whose weights are public.
///
/// The image is encrypted under the client's key; the server evaluates the network and never sees that key; the scores
/// come back encrypted. Without --image or --count: one test image.
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
    /// Encrypt nothing: test all test images in the clear, exactly and with the noise of encrypted inference.
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
    /// With --count: where to write the results, JSON. A file of an interrupted run is gone on with.
    #[arg(long, requires = "count")]
    results: Option<PathBuf>,
    /// The data set's folder or archive; default: looked for in data, and fetched if it is not there.
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
    let given = args.weights.is_some();
    let (config, weights) = public::read(&path).with_context(|| match given || path.exists() {
        true => "no weights".to_owned(),
        false => {
            "no weights come with this model yet; `train_bnn` makes them, --weights takes them"
                .into()
        }
    })?;
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
    let network = Network::new(&config, weights, params.row_size)?;
    let summary = network.summary(&params)?;
    println!("{}, {}", path.display(), params.name);
    print!("{summary}");
    if args.clear {
        let data = args.model.data(args.data.as_deref())?;
        let twins = Twins::run(&network, &data.test, args.seed)?;
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
    let client = Client { key: ClientKey::new(&params, Seed::random()), network: &network };
    let server = Server { engine: Cpu::new(&client.key.evaluation_keys()), network: &network };
    println!("keys made in {:.1} s", start.elapsed().as_secs_f64());
    let threads = rayon::current_num_threads();
    let predicted = summary.list.price.seconds(&server.engine.unit_costs()?, threads);
    println!("predicted: {predicted:.1} s an image on {threads} threads");
    if args.meter {
        return Ok(());
    }
    if let (Some(file), Some(pixels)) = (&args.image, image) {
        let names = match args.model {
            ModelName::Perceptron | ModelName::Cnn => fhe_data::mnist::CLASS_NAMES,
            ModelName::Resnet | ModelName::Resnet4 => fhe_data::cifar10::CLASS_NAMES,
        };
        let (class, seconds) = one(&client, &server, &integers(&config, &pixels))?;
        println!("{}: {} ({seconds:.2} s on the server)", file.display(), names[class]);
        return Ok(());
    }
    let data = args.model.data(args.data.as_deref())?;
    if let Some(count) = args.count {
        let count = count as usize;
        ensure!(count <= data.test.len(), "--count {count}: the test set has {}", data.test.len());
        return many(args, &path, (&client, &server), &data.test, &summary);
    }
    let index = args.index;
    ensure!(index < data.test.len(), "--index {index}: the test set has {}", data.test.len());
    let image = integers(&config, data.test.image(index));
    let exact = largest(&network.classify_exactly(&image));
    let (class, seconds) = one(&client, &server, &image)?;
    let name = |class: usize| data.class_names.get(class).copied().unwrap_or("?");
    println!(
        "test image {index} is a {}: encrypted {}, in the clear {} ({seconds:.2} s on the server)",
        name(data.test.label(index).into()),
        name(class),
        name(exact)
    );
    Ok(())
}

/// What the client holds.
struct Client<'a> {
    key: ClientKey,
    network: &'a Network,
}

impl Client<'_> {
    fn encrypt(&self, image: &[i64], purpose: &str) -> SeededRows {
        let unit = self.network.input_unit();
        let phases: Vec<u64> = image.iter().map(|&x| to_torus(x as f64 * unit)).collect();
        self.key.encrypt_list_of_values(&phases, purpose, 0)
    }

    /// Returns the class of each image.
    fn decide(&self, scores: &Values, images: usize) -> Result<Vec<usize>> {
        let unit = self.network.score_unit();
        let scores: Vec<f64> =
            self.key.decrypt_values(scores)?.into_iter().map(|s| from_torus(s) / unit).collect();
        Ok(scores.chunks(scores.len() / images.max(1)).map(largest).collect())
    }
}

/// What the server holds: evaluation keys and public weights.
struct Server<'a> {
    engine: Cpu,
    network: &'a Network,
}

impl Server<'_> {
    fn scores(&self, images: &[SeededRows]) -> Result<Values> {
        let values = self.engine.open_values(images);
        Ok(self.network.forward(&self.engine, &values, images.len())?)
    }
}

fn largest<T: PartialOrd + Copy>(scores: &[T]) -> usize {
    (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
}

/// Returns the class of one image, and the seconds of the server's part.
fn one(client: &Client<'_>, server: &Server<'_>, image: &[i64]) -> Result<(usize, f64)> {
    let query = client.encrypt(image, "query");
    let start = Instant::now();
    let scores = server.scores(&[query])?;
    let seconds = start.elapsed().as_secs_f64();
    Ok((client.decide(&scores, 1)?[0], seconds))
}

/// The test set in the clear.
struct Twins {
    exact_accuracy: f64,
    noisy_accuracy: f64,
    alike: f64,
}

impl Twins {
    fn run(network: &Network, images: &ImageSet, seed: u64) -> Result<Self> {
        let params = Params::secure128_bnn()?;
        let bar = progress::bar("in the clear", images.len() as u64, "images");
        let each = (0..images.len()).into_par_iter().map(|i| -> Result<(usize, usize)> {
            let image = integers(network.config(), images.image(i));
            let exact = largest(&network.classify_exactly(&image));
            let unit = network.input_unit();
            let phases = image.iter().map(|&x| to_torus(x as f64 * unit)).collect();
            let engine = Clear::noisy(&params, seed.wrapping_mul(1 << 32) + i as u64);
            let scores = network.forward(&engine, &phases, 1)?;
            let scores: Vec<f64> = scores.into_iter().map(from_torus).collect();
            bar.inc(1);
            Ok((exact, largest(&scores)))
        });
        let decisions: Vec<(usize, usize)> = each.collect::<Result<_>>()?;
        bar.finish();
        let share = |hit: &dyn Fn(usize, &(usize, usize)) -> bool| {
            let hits = decisions.iter().enumerate().filter(|(i, d)| hit(*i, d)).count();
            hits as f64 / images.len().max(1) as f64
        };
        Ok(Self {
            exact_accuracy: share(&|i, d| d.0 == usize::from(images.label(i))),
            noisy_accuracy: share(&|i, d| d.1 == usize::from(images.label(i))),
            alike: share(&|_, d| d.0 == d.1),
        })
    }
}

/// Encrypts the first images of the test set and compares with the twins.
fn many(
    args: &Args,
    weights: &Path,
    (client, server): (&Client<'_>, &Server<'_>),
    images: &ImageSet,
    summary: &Summary,
) -> Result<()> {
    let count = args.count.unwrap_or(1) as usize;
    let hash = blake3::hash(&std::fs::read(weights)?).to_hex()[..16].to_owned();
    let (failure, noisy_lookups) = summary.failure();
    let lookups = summary.list.price.lookups;
    let mut provenance = Provenance::here();
    let earlier: Option<BnnResults> = match &args.results {
        Some(path) if path.exists() => Some(file::read_json(path, "results")?),
        _ => None,
    };
    let mut found = if let Some(earlier) = earlier {
        if earlier.weights != hash || earlier.images.len() >= count {
            bail!(
                "{}: has {} images of weights {}: expected fewer than {count} of weights {hash}; move it away to begin anew",
                args.results.as_deref().unwrap_or(Path::new("")).display(),
                earlier.images.len(),
                earlier.weights
            );
        }
        println!("going on after {} images", earlier.images.len());
        earlier
    } else {
        let twins = Twins::run(server.network, images, args.seed)?;
        println!("exact {:.4}, with noise {:.4}", twins.exact_accuracy, twins.noisy_accuracy);
        BnnResults {
            model: format!("{:?}", args.model).to_lowercase(),
            weights: hash,
            parameter_set: server.engine.params().name.clone(),
            seed: args.seed,
            threads: rayon::current_num_threads(),
            lookups,
            noisy_lookups,
            failure,
            layers: (summary.layers.iter().filter(|layer| layer.lookups > 0))
                .map(|layer| (layer.name.clone(), layer.lookups, layer.noise))
                .collect(),
            test_images: images.len(),
            exact_accuracy: twins.exact_accuracy,
            noisy_accuracy: twins.noisy_accuracy,
            predicted_share: twins.alike,
            images: Vec::new(),
            provenance: provenance.clone(),
        }
    };
    let bar = progress::bar_from("encrypted", found.images.len() as u64, count as u64, "images");
    let batch = args.batch as usize;
    while found.images.len() < count {
        let first = found.images.len();
        let together: Vec<usize> = (first..count.min(first + batch)).collect();
        let clear: Vec<Vec<i64>> =
            together.iter().map(|&i| integers(server.network.config(), images.image(i))).collect();
        let queries: Vec<SeededRows> = clear
            .iter()
            .zip(&together)
            .map(|(image, i)| client.encrypt(image, &format!("test image {i}")))
            .collect();
        let raw_seconds = server.engine.raw_seconds(2);
        let start = Instant::now();
        let scores = server.scores(&queries)?;
        let seconds = start.elapsed().as_secs_f64() / together.len() as f64;
        let classes = client.decide(&scores, together.len())?;
        for ((&index, image), encrypted) in together.iter().zip(&clear).zip(classes) {
            found.images.push(EncryptedImage {
                index,
                label: images.label(index).into(),
                exact: largest(&server.network.classify_exactly(image)),
                encrypted,
                seconds,
                raw_seconds,
            });
        }
        provenance.measure_memory();
        found.provenance = provenance.clone();
        if let Some(path) = &args.results {
            file::write_json(path, &found)?;
        }
        bar.set_position(found.images.len() as u64);
        bar.set_message(format!("{seconds:.1} s an image"));
    }
    bar.finish();
    let all: f64 = found.images.iter().map(|image| image.seconds).sum();
    println!(
        "{} of {count} encrypted images decided as the exact twin does (predicted share {:.4}); {:.2} s an image, \
         efficiency {:.3}, {} in all",
        found.same(),
        found.predicted_share,
        all / count as f64,
        found.efficiency(),
        HumanDuration(std::time::Duration::from_secs_f64(all))
    );
    Ok(())
}
