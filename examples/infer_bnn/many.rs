//! Many encrypted images, one batch after another, beside the twins.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use fhe_core::Engine;
use fhe_core::server::SeededRows;
use fhe_data::ImageSet;
use fhe_examples::bnn::integers;
use fhe_examples::bnn::results::{BnnResults, EncryptedImage};
use fhe_examples::{file, progress};
use fhe_nn::public::Summary;
use fhe_train::Provenance;
use indicatif::HumanDuration;

use crate::Args;
use crate::parties::{Client, Server, largest};
use crate::twins::Twins;

/// Encrypts the first images of the test set and compares with the twins.
pub(crate) fn run(
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
        let twins = Twins::run(server.network, server.engine.params(), images, args.seed)?;
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
        let clear: Vec<Vec<i64>> = together
            .iter()
            .filter_map(|&i| images.image(i))
            .map(|image| integers(server.network.config(), image))
            .collect();
        let queries: Vec<SeededRows> = clear
            .iter()
            .zip(&together)
            .map(|(image, i)| client.encrypt(image, &format!("test image {i}")))
            .collect();
        let raw_seconds = server.engine.raw_seconds(2);
        let start = Instant::now();
        let scores = server.scores(&queries, |_| ())?;
        let seconds = start.elapsed().as_secs_f64() / together.len() as f64;
        let classes = client.decide(&scores, together.len())?;
        for ((&index, image), encrypted) in together.iter().zip(&clear).zip(classes) {
            found.images.push(EncryptedImage {
                index,
                label: images.labels()[index] as usize,
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
