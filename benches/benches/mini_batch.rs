//! One training step of a head, at the default parameter set, on all threads: 16 samples of random
//! features and 10 classes, from the file to the new weights.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fhe_core::client::ClientKey;
use fhe_core::store::{Dataset, DatasetShape, DatasetWriter};
use fhe_core::{Cpu, Params, Seed};
use fhe_train::{ClearSource, HeadRecipe, HeadTraining};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SAMPLES: usize = 16;
const CLASSES: usize = 10;

/// Encrypts one mini-batch of features with about the norm that the encoder aims at.
fn encrypt(path: &Path, key: &ClientKey) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let samples: Vec<_> = (0..SAMPLES)
        .map(|_| {
            let features = (0..key.params().row_size).map(|_| rng.random_range(-2..=2)).collect();
            (
                features,
                ClearSource::label_values(rng.random_range(0..CLASSES as u8).into(), CLASSES, -31),
            )
        })
        .collect();
    let shape = DatasetShape {
        name: "mini-batch".into(),
        samples: SAMPLES,
        values: CLASSES,
        batch: SAMPLES,
        inputs: key.digest(b"mini-batch"),
        values_log2: -31,
        copies: 1,
        lanes: None,
    };
    let mut writer = DatasetWriter::deterministic(path, key, &shape).unwrap();
    writer.write_batch(&samples).unwrap();
    writer.finish().unwrap();
}

fn train_step(c: &mut Criterion) {
    let key = ClientKey::new(&Params::secure128().unwrap(), Seed::from_number(1));
    let cpu = Cpu::new(&key.evaluation_keys());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    encrypt(&path, &key);
    let dataset = Dataset::open(&path, key.params(), &key.id()).unwrap();
    // So many passes that the learning rate does not reach zero while we measure.
    let recipe = HeadRecipe { classes: CLASSES, passes: 1000, ..HeadRecipe::default() };
    let mut head = HeadTraining::new(&cpu, &recipe).unwrap();

    let mut group = c.benchmark_group("mini-batch");
    group.sample_size(10);
    group.warm_up_time(Duration::from_secs(1));
    group.measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(SAMPLES as u64));
    group.bench_function(format!("{SAMPLES} samples, {CLASSES} classes"), |b| {
        b.iter(|| head.train_step(&cpu, &dataset).unwrap());
    });
    group.finish();
}

criterion_group!(mini_batch, train_step);
criterion_main!(mini_batch);
