//! Training of a small convolutional network on encrypted data (toy keys): equal to its twin within
//! the noise, and the same model whether or not it was interrupted.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::ops::ControlFlow;
use std::path::Path;

use fhe_core::client::ClientKey;
use fhe_core::engine::{clear, cpu};
use fhe_core::store::{Dataset, DatasetShape, DatasetWriter};
use fhe_core::{Clear, Cpu, Engine, List, Params, Seed, from_torus};
use fhe_nn::activation::{Activation, Kind};
use fhe_nn::{Cells, LayerConfig, NetworkConfig, Shape};
use fhe_train::{
    Binary, Checkpoint, ClearSource, DeepRecipe, LayerTraining, MiniBatch, Model, Recipe,
    ShapeSource, Source, Trainer, TrainerOptions, Work,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SAMPLES: usize = 80;
/// A part of the samples that lie side by side, and a part of what is left.
const BATCH: usize = 40;
const TOGETHER: usize = 32;

fn recipe() -> DeepRecipe {
    let relu = Activation { kind: Kind::Relu, levels: 7, range: 3.0, offset: 2, spacing: 4 };
    DeepRecipe {
        mirrored: false,
        squared_norm: 400.0,
        passes: 1,
        seed: 4,
        least_rate: 0.1,
        first_layer_every: 1,
        network: NetworkConfig {
            input: Shape { channels: 2, height: 3, width: 3 },
            z_range: 8.0,
            cells: Cells { side: 4, stride: 1 },
            shortcut: true,
            layers: vec![
                LayerConfig::new("conv", 4, 2, Some(relu)),
                LayerConfig::new("dense", 3, 2, Some(relu)),
                LayerConfig::new("scores", 2, 1, None),
            ],
        },
        training: vec![
            training(0.1, 2e-3, 0.0, 4.0),
            training(0.3, 0.1, 8.0, 4.0),
            training(0.1, 0.1, 16.0, 0.0),
            training(0.001, 0.01, 0.0, 0.0),
        ],
    }
}

fn training(init: f64, rate: f64, clip: f64, error_gain: f64) -> LayerTraining {
    LayerTraining { init, rate, bias: 0.1, clip, error_gain, ..LayerTraining::default() }
}

/// With sign activations and binary weights, a residual connection, pooling and weight decay.
fn binarized() -> DeepRecipe {
    let sign = Activation { kind: Kind::Sign, levels: 1, range: 2.0, offset: 0, spacing: 1 };
    let mut recipe = recipe();
    let same = |name: &str| LayerConfig { padding: 1, ..LayerConfig::new(name, 4, 3, Some(sign)) };
    recipe.network.layers = vec![
        LayerConfig { padding: 0, kernel: 1, ..same("one") },
        LayerConfig { residual: Some("one".into()), pool: 3, ..same("two") },
        LayerConfig::new("scores", 2, 1, None),
    ];
    recipe.training[1] = LayerTraining {
        decay: 40.0,
        binary: Some(Binary { scale: 0.2, range: 1.0 }),
        ..training(0.3, 0.05, 8.0, 8.0)
    };
    recipe.training[0].error_gain = 8.0;
    recipe
}

fn data() -> ClearSource {
    let recipe = Recipe::Deep(recipe());
    let lanes = recipe.lanes(&Params::toy_insecure_batch().unwrap()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let labels: Vec<u32> = (0..SAMPLES).map(|i| (i % 2) as u32).collect();
    let features = labels
        .iter()
        .map(|&label| {
            let mut x = vec![0; 72];
            for (i, x) in x.iter_mut().enumerate() {
                let pattern = if (i + label as usize).is_multiple_of(2) { 4 } else { -4 };
                *x = pattern + rng.random_range(-3..=3);
            }
            x
        })
        .collect();
    let label_log2 = recipe.label_log2();
    ClearSource { copies: 1, batch: BATCH, classes: 2, lanes, features, labels, label_log2 }
}

fn encrypt(path: &Path, key: &ClientKey, source: &ClearSource) {
    let lanes = source.lanes.as_ref().unwrap();
    let shape = DatasetShape {
        name: "toy".into(),
        samples: SAMPLES,
        values: 2,
        batch: BATCH,
        inputs: key.digest(b"toy"),
        values_log2: source.label_log2,
        copies: source.copies,
        lanes: Some(lanes.stored()),
    };
    let mut writer = DatasetWriter::deterministic(path, key, &shape).unwrap();
    for first in (0..SAMPLES).step_by(BATCH) {
        let label = |i: usize| ClearSource::label_values(source.labels[i], 2, source.label_log2);
        let labels: Vec<Vec<u64>> = (first..first + BATCH).map(label).collect();
        let features = &source.features[first..first + BATCH];
        writer.write_lanes(&labels, &lanes.polynomials(features)).unwrap();
    }
    writer.finish().unwrap();
}

fn options(stop_after: Option<usize>) -> TrainerOptions {
    TrainerOptions { stop_after, raw_lookups: 1, snapshots: 1, ..TrainerOptions::default() }
}

/// Weights of a model in the clear, in one list.
fn flat(model: &Model<Clear>, n: usize) -> Vec<f64> {
    let rows = model.parts().into_iter().flatten().flat_map(|row| row.coefficients(n));
    rows.map(from_torus).collect()
}

/// Lookups of mini-batches, from the hidden values and the rows of weights that are looked up.
fn lookups(steps: usize, hidden: usize, rows: usize) -> usize {
    steps * (BATCH.div_ceil(TOGETHER) * 2 * 512 * hidden + 2 * BATCH + 512 * rows)
}

#[test]
fn encrypted_training_equals_its_twin_and_survives_interruptions() {
    // 4 x 2 x 2 and 3 hidden values; rows of two layers and the shortcut: 16 x 2 filters of 18.
    equals_its_twin(recipe(), lookups(2, 16 + 3, 1 + 1 + 2));
}

#[test]
fn every_second_pass_takes_the_second_copy() {
    // A copy has one mini-batch: three passes take the first, the second and the first one.
    let recipe = DeepRecipe { mirrored: true, passes: 3, ..recipe() };
    equals_its_twin(recipe, lookups(3, 16 + 3, 1 + 1 + 2));
}

#[test]
fn a_binarized_residual_network_equals_its_twin() {
    // 2 x 4 x 3 x 3 hidden values; binary weights take two lookups.
    equals_its_twin(binarized(), lookups(2, 72, 2 + 1 + 2));
}

#[test]
fn a_layer_alone_equals_its_twin() {
    let mut recipe = recipe();
    recipe.network.shortcut = false;
    recipe.network.layers = vec![LayerConfig::new("scores", 2, 3, None)];
    recipe.training.truncate(1);
    equals_its_twin(recipe, lookups(2, 0, 0));
}

fn equals_its_twin(recipe: DeepRecipe, lookups: usize) {
    let params = Params::toy_insecure_batch().unwrap();
    let summary = recipe.summary(&params).unwrap();
    let recipe = Recipe::Deep(recipe);
    let n = params.row_size;
    let source = ClearSource { copies: recipe.copies(), ..data() };
    let steps = SAMPLES / BATCH / recipe.copies() * recipe.passes();
    let key = ClientKey::new(&params, Seed::from_number(3));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    encrypt(&path, &key, &source);
    let cpu = Cpu::new(&key.evaluation_keys());
    let dataset = Dataset::open(&path, &params, &key.id()).unwrap();
    let run = |folder: &Path, stops: &[Option<usize>]| {
        let mut report = None;
        for &stop in stops {
            let trainer = Trainer::open(folder, &cpu, &dataset, &recipe, options(stop)).unwrap();
            report = trainer.run(|_| ControlFlow::Continue(())).unwrap();
        }
        let report = report.unwrap();
        (Checkpoint::load_for(&folder.join("model.ckpt"), &params, &key.id()).unwrap(), report)
    };
    let (once, report) = run(&folder.path().join("once"), &[None]);
    let (resumed, _) = run(&folder.path().join("resumed"), &[Some(1), None]);
    assert_eq!(once.rows, resumed.rows);

    assert_eq!(report.state.lookups, lookups as u64);
    // A summary counts full parts.
    let full = TOGETHER * summary.lookups_a_sample() + summary.lookups_a_batch();
    assert!(steps * full < lookups && lookups < 2 * steps * full, "\n{summary}");
    let lanes = source.lanes.as_ref().unwrap().stored();
    let shape = ShapeSource {
        samples: SAMPLES / source.copies,
        batch: BATCH,
        classes: 2,
        squared_norm: 400.0,
        lanes: Some((lanes, 72)),
    };
    let price = shape.price(&params, &recipe).unwrap().price;
    assert_eq!(price.lookups + price.batched, lookups as u64);

    // The twin differs by the noise.
    let train = |engine: &Clear, steps: usize| {
        let mut model = Model::new(engine, &recipe).unwrap();
        (0..steps).for_each(|_| assert!(model.train_step(engine, &source).unwrap().samples > 0));
        flat(&model, n)
    };
    let exact = Clear::exact(&params);
    let (start, want) = (train(&exact, 0), train(&exact, steps));
    let rows = key.decrypt_rows(&once.rows).unwrap();
    let got: Vec<f64> = rows.into_iter().map(from_torus).collect();
    let distance =
        |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    // The noisy twin is as far from the exact one as the encrypted model is: about as far as two
    // steps reach at all.
    let (learned, off) = (distance(&want, &start), distance(&got, &want));
    let noisy = distance(&train(&Clear::noisy(&params, 1), steps), &want);
    let figures = format!("learned {learned:.4}, off by {off:.4}, the noisy twin by {noisy:.4}");
    assert!(learned > 1e-3 && (0.5..2.0).contains(&(off / noisy)), "{figures}");
}

fn activation(recipe: &mut DeepRecipe) -> &mut Activation {
    recipe.network.layers[0].activation.as_mut().unwrap()
}

#[test]
fn recipes_that_cannot_be_are_refused_with_one_clear_error() {
    type Change = fn(&mut DeepRecipe);
    let cases: [(&str, Change); 27] = [
        ("cells.side", |r| r.network.cells.side = 3),
        ("cells.side", |r| r.network.cells.side = 64),
        ("cells.stride", |r| r.network.cells.stride = 0),
        ("training", |r| r.training.truncate(2)),
        ("shortcut is true, around a single layer", |r| {
            r.network.layers = vec![LayerConfig::new("scores", 2, 3, None)];
            r.training.truncate(2);
            r.training[1].clip = 1.0;
        }),
        ("clip", |r| r.training[1].clip = 0.0),
        ("rate is 0.00001, times clip", |r| r.training[1].rate = 1e-5),
        ("spacing", |r| r.training[0].error_gain = 1e-3),
        ("layer conv", |r| r.network.layers[0].kernel = 9),
        ("layer network: input is 4096", |r| r.network.input.channels = 4096),
        ("layer scores", |r| r.network.layers[2].activation = r.network.layers[0].activation),
        ("layer conv: pool is 3", |r| r.network.layers[0].pool = 3),
        ("layer dense: residual", |r| r.network.layers[1].residual = Some("conv".into())),
        ("layer dense: residual", |r| r.network.layers[1].residual = Some("nowhere".into())),
        ("layer conv: activation.levels is -1", |r| activation(r).levels = -1),
        ("layer conv: activation", |r| activation(r).spacing = 1 << 30),
        ("layer conv: activation", |r| activation(r).offset = i32::MIN),
        ("layer conv: activation", |r| activation(r).range = f64::NAN),
        ("layer conv", |r| r.network.layers[0].padding = usize::MAX / 2),
        ("layer conv", |r| r.network.layers[0].outputs = usize::MAX / 2),
        ("decay", |r| r.training[1].decay = 1e-3),
        ("mirrored", |r| r.mirrored = true),
        ("layer dense: its name", |r| r.network.layers[0].name = "dense".into()),
        ("padding", |r| r.network.layers[0].padding = 1),
        ("decay", |r| r.training[0].decay = 1.0),
        ("binary", |r| r.training[1].binary = Some(Binary { scale: 0.0, range: 1.0 })),
        ("binary.range", |r| r.training[1].binary = Some(Binary { scale: 1.0, range: 1e3 })),
    ];
    for (words, change) in cases {
        let mut recipe = recipe();
        change(&mut recipe);
        let error = Recipe::Deep(recipe)
            .check(&Params::toy_insecure_batch().unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    // Integers that no promotion holds.
    let mut wide = self::recipe();
    wide.network.layers[0].pool = 2;
    wide.network.layers[1].kernel = 1;
    let toy = Clear::exact(&Params::toy_insecure_batch().unwrap());
    let error = Model::new(&toy, &Recipe::Deep(wide)).unwrap_err().to_string();
    assert!(error.contains("layer conv: its output has integers from -32 to 80"), "{error}");

    // A set without keys for lists, and a data set made for another kind of recipe.
    let recipe = Recipe::Deep(recipe());
    let head = Params::secure128().unwrap();
    let error = Model::new(&Clear::exact(&head), &recipe).unwrap_err().to_string();
    assert!(error.contains("secure128-head-v2") && error.contains("lists"), "{error}");

    let params = Params::toy_insecure_batch().unwrap();
    let key = ClientKey::new(&params, Seed::from_number(3));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let other = ClearSource { copies: 1, label_log2: -31, ..data() };
    encrypt(&path, &key, &other);
    let cpu = Cpu::new(&key.evaluation_keys());
    let dataset = Dataset::open(&path, &params, &key.id()).unwrap();
    let error = Trainer::open(folder.path(), &cpu, &dataset, &recipe, options(None)).unwrap_err();
    assert!(error.to_string().contains("another kind"), "{error}");

    // A data set whose samples lie otherwise.
    let path = folder.path().join("other lanes");
    encrypt(&path, &key, &data());
    let dataset = Dataset::open(&path, &params, &key.id()).unwrap();
    let mut other = self::recipe();
    other.network.input.channels = 1;
    let recipe = Recipe::Deep(other);
    let error = Trainer::open(folder.path(), &cpu, &dataset, &recipe, options(None)).unwrap_err();
    let said = "the number of selectors of a part is 18, expected 9 for each 32 samples";
    assert!(error.to_string().contains(said), "{error}");
}

/// Makes steps part by part, and after every few parts saves the model and loads it again.
fn in_parts<E: Engine>(
    engine: &E,
    recipe: &Recipe,
    source: &impl Source<E>,
    every: usize,
    saved: impl Fn(&Model<E>) -> E::Rows,
) -> (Model<E>, Work) {
    let mut model = Model::new(engine, recipe).unwrap();
    let (mut work, mut parts) = (Work::default(), 0);
    while model.step() < 2 {
        work += model.train_part(engine, source).unwrap();
        parts += 1;
        if parts % every == 0 {
            let (step, part) = (model.step(), model.part());
            assert_eq!((step, part), (parts / 2, parts % 2));
            let rows = saved(&model);
            let expected = recipe.rows(engine.params(), part).unwrap();
            assert_eq!(rows.len(), expected, "after {parts} parts");
            model = Model::resume(engine, recipe, rows, step, part).unwrap();
        }
    }
    (model, work)
}

fn saved_in_the_clear(model: &Model<Clear>) -> Vec<clear::Row> {
    model.parts().into_iter().flatten().cloned().collect()
}

#[test]
fn a_step_that_is_stopped_between_its_parts_ends_with_the_same_model() {
    let params = Params::toy_insecure_batch().unwrap();
    let n = params.row_size;
    let source = data();
    let key = ClientKey::new(&params, Seed::from_number(3));
    let folder = tempfile::tempdir().unwrap();
    let (exact, cpu) = (Clear::exact(&params), Cpu::new(&key.evaluation_keys()));
    let saved = |model: &Model<Cpu>| cpu::Rows::concat(n, &model.parts()).unwrap();
    for (i, recipe) in [recipe(), binarized()].into_iter().enumerate() {
        let recipe = Recipe::Deep(recipe);
        let path = folder.path().join(format!("data {i}"));
        encrypt(&path, &key, &source);
        let dataset = Dataset::open(&path, &params, &key.id()).unwrap();
        let mut whole = Model::new(&exact, &recipe).unwrap();
        let mut work = Work::default();
        (0..2).for_each(|_| work += whole.train_step(&exact, &source).unwrap());
        for every in [1, 2, 3] {
            let (model, of_parts) = in_parts(&exact, &recipe, &source, every, saved_in_the_clear);
            assert!(flat(&model, n) == flat(&whole, n), "every {every} parts");
            assert_eq!(of_parts, work);
        }
        let mut whole = Model::new(&cpu, &recipe).unwrap();
        (0..2).for_each(|_| assert!(whole.train_step(&cpu, &dataset).unwrap().samples == BATCH));
        for every in [1, 3] {
            let (model, _) = in_parts(&cpu, &recipe, &dataset, every, saved);
            assert!(saved(&model) == saved(&whole), "every {every} parts");
        }
    }
}

/// A source whose data cannot be read.
struct Broken;

impl Source<Clear> for Broken {
    fn batches(&self) -> usize {
        1
    }

    fn batch_size(&self) -> usize {
        BATCH
    }

    fn batch(&self, _: &Clear, _: usize) -> fhe_train::Result<MiniBatch<Clear>> {
        Err(fhe_train::Error::Lost { step: 7 })
    }
}

#[test]
fn a_step_goes_on_from_what_fits_it_only() {
    let params = Params::toy_insecure_batch().unwrap();
    let engine = Clear::exact(&params);
    let recipe = Recipe::Deep(binarized());
    let source = data();
    let mut model = Model::new(&engine, &recipe).unwrap();
    let between = saved_in_the_clear(&model);
    model.train_part(&engine, &source).unwrap();
    let inside = saved_in_the_clear(&model);
    // Inside a step more is saved.
    assert!(Model::resume(&engine, &recipe, between, 0, 1).is_err());
    // The mini-batch has two parts.
    let mut beyond = Model::resume(&engine, &recipe, inside, 0, 2).unwrap();
    let error = beyond.train_part(&engine, &source).unwrap_err().to_string();
    assert!(error.contains("train_part"), "{error}");
    // After an error the step cannot be gone on with: some weights have changed, others have not.
    let mut model = Model::new(&engine, &recipe).unwrap();
    assert!(model.train_part(&engine, &Broken).is_err());
    let error = model.train_part(&engine, &source).unwrap_err().to_string();
    assert_eq!(error, "step 0 was ended by an error: load the model again to go on");
}
