//! Many encrypted images, one batch after another, beside the twins.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use fhe_core::Engine;
use fhe_data::ImageSet;
use fhe_examples::bnn::results::{BnnResults, EncryptedImage};
use fhe_examples::bnn::{hash_of_images, integers};
use fhe_examples::program;
use fhe_examples::signals::Stop;
use fhe_examples::{file, output, progress};
use fhe_nn::public::client::decide;
use fhe_train::Provenance;
use indicatif::HumanDuration;
use serde_json::json;

use crate::Args;
use crate::parties::Parties;
use crate::twins::Twins;

/// What results call the weights by.
pub(crate) fn hash(weights: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(weights)?)?;
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}

/// Encrypts the first images of the test set and compares with the twins.
///
/// With a file of results a signal ends it after the batch in progress, and so does a standard
/// output that fails.
pub(crate) fn run(
    args: &Args,
    weights: &Path,
    parties: &Parties<'_>,
    images: &ImageSet,
    (count, batch): (usize, usize),
) -> Result<()> {
    let together = parties.together(batch)?;
    let hash = hash(weights)?;
    let mut provenance = fhe_examples::results::here();
    let set = &parties.engine.params().name;
    let mut found = match earlier(args, (&hash, set, images), (count, batch))? {
        Some(earlier) => {
            output::note(format!("going on after {} images", earlier.images.len()))?;
            earlier
        }
        None => {
            let begun = begun(args, hash, parties, images, provenance.clone())?;
            BnnResults { batch, together, ..begun }
        }
    };
    if batch > 1 {
        let megabytes = (parties.summary.bytes * together as u64) as f64 / 1e6;
        let text = format!("{batch} images a query, {together} together: {megabytes:.0} MB");
        output::note(text)?;
    }
    let stop = args.results.as_ref().map(|_| Stop::listen()).transpose()?;
    let requested = || stop.as_ref().is_some_and(Stop::requested);
    let lookups = |images| parties.lookups(images);
    let bar =
        progress::bar_from("encrypted", lookups(found.images.len()), lookups(count), "lookups");
    while found.images.len() < count && !requested() {
        let first = found.images.len();
        let last = count.min(first + batch);
        found.add(evaluated(parties, images, first..last, |lookups| bar.inc(lookups))?);
        provenance.measure_memory();
        found.provenance = provenance.clone();
        if let Some(path) = &args.results {
            file::write_json(path, &found)?;
        }
        let seconds = found.images.last().map_or(0.0, |image| image.seconds);
        bar.set_message(format!("{last} of {count} images, {seconds:.1} s an image"));
        bar.set_position(lookups(last));
    }
    bar.finish();
    if let Some(stop) = stop.filter(|_| found.images.len() < count) {
        let done = found.images.len();
        let text = format!("stopped after {done} of {count} images; the same command goes on");
        output::result("stopped", text, &json!({ "done": done, "images": count }))?;
        return program::stopped(&stop);
    }
    let all: f64 = found.images.iter().map(|image| image.seconds).sum();
    let text = format!(
        "{} of {count} encrypted images decided as the exact twin does (predicted share {:.4}); \
         {:.2} s an image, efficiency {:.3}, {} in all",
        found.same(),
        found.predicted_share,
        found.seconds_per_image,
        found.efficiency(),
        HumanDuration(Duration::from_secs_f64(all))
    );
    Ok(output::result("encrypted images", text, &found)?)
}

/// Reads the results of an interrupted run, if there are any.
pub(crate) fn earlier(
    args: &Args,
    (hash, set, images): (&str, &str, &ImageSet),
    (count, batch): (usize, usize),
) -> Result<Option<BnnResults>> {
    let Some(path) = args.results.as_deref().filter(|path| path.exists()) else {
        return Ok(None);
    };
    let earlier: BnnResults = file::read_json(path, "results")?;
    let name = path.display();
    // Older files do not say of which images they are.
    ensure!(
        earlier.test_set == hash_of_images(images),
        "{name}: has images of another test set; move it away to begin anew"
    );
    ensure!(
        earlier.seed == args.seed,
        "{name}: has images of seed {}, expected {}; move it away to begin anew",
        earlier.seed,
        args.seed
    );
    let alike = (earlier.weights.as_str(), earlier.parameter_set.as_str(), earlier.batch)
        == (hash, set, batch);
    if !alike || earlier.images.len() >= count {
        bail!(
            "{}: has {} images of weights {} with {} in batches of {}: expected fewer than \
             {count} of weights {hash} with {set} in batches of {batch}; move it away to begin \
             anew",
            path.display(),
            earlier.images.len(),
            earlier.weights,
            earlier.parameter_set,
            earlier.batch
        );
    }
    Ok(Some(earlier))
}

/// Returns the results of a run that begins: those of the twins.
fn begun(
    args: &Args,
    hash: String,
    parties: &Parties<'_>,
    images: &ImageSet,
    provenance: Provenance,
) -> Result<BnnResults> {
    let (params, summary) = (parties.engine.params(), parties.summary);
    let twins = Twins::run((parties.network, summary.images), params, images, args.seed)?;
    let Twins { exact_accuracy, noisy_accuracy, .. } = twins;
    output::note(format!("exact {exact_accuracy:.4}, with noise {noisy_accuracy:.4}"))?;
    let (failure, noisy_lookups) = summary.failure();
    Ok(BnnResults {
        model: format!("{:?}", args.model).to_lowercase(),
        weights: hash,
        parameter_set: params.name.clone(),
        seed: args.seed,
        threads: rayon::current_num_threads(),
        lookups: summary.lookups_of_image(),
        noisy_lookups,
        failure,
        layers: (summary.layers.iter().filter(|layer| layer.lookups > 0))
            .map(|layer| (layer.name.clone(), layer.lookups, layer.noise))
            .collect(),
        test_set: hash_of_images(images),
        test_images: images.len(),
        exact_accuracy: twins.exact_accuracy,
        noisy_accuracy: twins.noisy_accuracy,
        predicted_share: twins.alike,
        batch: 1,
        together: 1,
        images: Vec::new(),
        seconds_per_image: 0.0,
        provenance,
    })
}

/// Evaluates a batch of images together. Each takes an equal share of the seconds.
fn evaluated(
    parties: &Parties<'_>,
    images: &ImageSet,
    batch: std::ops::Range<usize>,
    done: impl Fn(u64),
) -> Result<Vec<EncryptedImage>> {
    let clear = integers(parties.network.config(), images, batch.clone())?;
    let exact = decide(parties.network.exact_scores(clear.view())?.view());
    let raw_seconds = parties.engine.raw_seconds(2);
    let (encrypted, seconds) = parties.classify(clear.view(), done)?;
    let seconds = seconds / batch.len() as f64;
    let image = |((index, &exact), &encrypted): ((usize, &usize), &usize)| {
        let label = images.labels()[index] as usize;
        EncryptedImage { index, label, exact, encrypted, seconds, raw_seconds }
    };
    Ok(batch.zip(&exact).zip(&encrypted).map(image).collect())
}
