//! The fast twin beside the specification.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fhe_core::{Clear, Engine, Params, from_torus};
use fhe_nn::activation::{Activation, Kind};
use fhe_nn::{Cells, LayerConfig, NetworkConfig, Shape};
use fhe_train::{
    Binary, ClearSource, DeepRecipe, FastHead, FastTwin, HeadRecipe, HeadTraining, LayerTraining,
    MiniBatches, NetworkTraining, Recipe,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CLASSES: usize = 3;

const RELU: Option<Activation> =
    Some(Activation { kind: Kind::Relu, levels: 7, range: 3.0, offset: 2, spacing: 4 });

fn training(init: f64, rate: f64) -> LayerTraining {
    let (bias, clip, error_gain) = (0.1, 3.0, 3.0);
    LayerTraining { init, rate, bias, clip, error_gain, ..LayerTraining::default() }
}

fn recipe(input: Shape, layers: Vec<LayerConfig>, init: [f64; 3]) -> DeepRecipe {
    let (cells, shortcut) = (Cells::default(), false);
    let network = NetworkConfig { input, cells, z_range: 8.0, shortcut, layers };
    let training = vec![training(init[0], 3e-5), training(init[1], 1e-2), training(init[2], 1e-2)];
    DeepRecipe {
        mirrored: false,
        squared_norm: 400.0,
        passes: 2,
        seed: 3,
        least_rate: 0.1,
        first_layer_every: 1,
        network,
        training,
    }
}

fn dense() -> DeepRecipe {
    let input = Shape { channels: 100, height: 1, width: 1 };
    let layers = vec![
        LayerConfig::new("one", 12, 1, RELU),
        LayerConfig::new("two", 9, 1, RELU),
        LayerConfig::new("scores", CLASSES, 1, None),
    ];
    recipe(input, layers, [0.05, 0.2, 0.2])
}

fn conv() -> DeepRecipe {
    let input = Shape { channels: 3, height: 6, width: 6 };
    let layers = vec![
        LayerConfig::new("one", 10, 3, RELU),
        LayerConfig::new("two", 12, 3, RELU),
        LayerConfig::new("scores", CLASSES, 2, None),
    ];
    recipe(input, layers, [0.1, 0.08, 0.1])
}

/// Everything at once: all kinds of activation, padding, a residual connection, pooling, binary
/// weights, weight decay, cells, a shortcut.
fn wired() -> DeepRecipe {
    let input = Shape { channels: 2, height: 8, width: 8 };
    let activation = |kind, levels| Activation { kind, levels, range: 3.0, offset: 0, spacing: 1 };
    let padding = 1;
    let layers = vec![
        LayerConfig::new("one", 4, 3, Some(activation(Kind::ClippedIdentity, 3))),
        LayerConfig { padding, ..LayerConfig::new("two", 4, 3, Some(activation(Kind::Relu, 3))) },
        LayerConfig {
            padding,
            residual: Some("one".into()),
            pool: 2,
            ..LayerConfig::new("three", 4, 3, Some(activation(Kind::Sign, 1)))
        },
        LayerConfig::new("scores", CLASSES, 3, None),
    ];
    let mut recipe = recipe(input, layers, [0.2, 0.15, 0.15]);
    recipe.training.push(LayerTraining { init: 0.03, ..recipe.training[2].clone() });
    recipe.training.iter_mut().for_each(|layer| layer.error_gain = 8.0);
    // Its gradient is a sum over them.
    recipe.training[0].rate = 1e-6;
    recipe.training[1].decay = 40.0;
    recipe.training.push(LayerTraining { init: 1e-3, rate: 2e-3, ..LayerTraining::default() });
    recipe.network.cells = Cells { side: 2, stride: 1 };
    recipe.network.shortcut = true;
    recipe.training[2].binary = Some(Binary { scale: 0.15, range: 0.8 });
    recipe
}

/// Samples of three classes: a pattern each, with noise.
fn data(recipe: &DeepRecipe, params: &Params, count: usize) -> ClearSource {
    let lanes = Recipe::Deep(recipe.clone()).lanes(params).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let len = recipe.network.map().len();
    let patterns: Vec<Vec<i32>> =
        (0..CLASSES).map(|_| (0..len).map(|_| rng.random_range(-3..=3)).collect()).collect();
    let labels: Vec<u32> = (0..count).map(|i| (i % CLASSES) as u32).collect();
    let features = labels
        .iter()
        .map(|&label| {
            let pattern = &patterns[label as usize];
            pattern.iter().map(|p| p + rng.random_range(-4..=4)).collect()
        })
        .collect();
    let (copies, batch, classes, label_log2) = (1, 12, CLASSES, -24);
    ClearSource { copies, batch, classes, lanes, features, labels, label_log2 }
}

fn bytes(source: &ClearSource) -> Vec<Vec<i8>> {
    source.features.iter().map(|x| x.iter().map(|&x| x as i8).collect()).collect()
}

/// Weights of a network, in the fast twin's order.
fn parts(engine: &Clear, deep: &NetworkTraining<Clear>) -> Vec<Vec<f64>> {
    let layers = deep.network().weighted().iter();
    layers
        .map(|layer| {
            let at: Vec<_> = layer.geometry().weights_at().collect();
            let values = engine.extract(layer.weights(), &at).unwrap();
            values.into_iter().map(from_torus).collect()
        })
        .collect()
}

fn train_deep(
    engine: &Clear,
    recipe: &DeepRecipe,
    source: &ClearSource,
    steps: usize,
) -> NetworkTraining<Clear> {
    let mut deep = NetworkTraining::new(engine, recipe).unwrap();
    for _ in 0..steps {
        deep.train_step(engine, source).unwrap();
    }
    deep
}

fn train_fast(
    params: &Params,
    recipe: &DeepRecipe,
    source: &ClearSource,
    steps: usize,
    noise: Option<u64>,
) -> (FastTwin, usize) {
    let samples = bytes(source);
    let batches = samples.len().div_ceil(source.batch);
    let data = MiniBatches { batches, batch: source.batch };
    let mut twin = FastTwin::new(params, recipe, data, noise).unwrap();
    let mut lookups = 0;
    for step in 0..steps {
        let first = step % batches * source.batch;
        let range = first..(first + source.batch).min(samples.len());
        let x: Vec<&[i8]> = samples[range.clone()].iter().map(|x| &x[..]).collect();
        lookups += twin.train_step(&x, &source.labels[range]).unwrap().lookups;
    }
    (twin, lookups)
}

fn floats(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

fn fast_parts(twin: &FastTwin) -> Vec<Vec<f64>> {
    twin.weights().into_iter().map(|(w, _)| floats(w)).collect()
}

/// Root mean square of the difference.
fn distance(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    (x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>() / x.len() as f64).sqrt()
}

#[test]
fn without_noise_it_is_the_exact_training() {
    let params = Params::toy_insecure_batch().unwrap();
    exact_trainings_agree(&params, &[dense(), conv()], 6);
    // With binary weights, a value that lies between two slots may be read as either by the two,
    // and what follows grows from step to step.
    exact_trainings_agree(&params, &[wired()], 1);
}

fn exact_trainings_agree(params: &Params, recipes: &[DeepRecipe], steps: usize) {
    let engine = Clear::exact(params);
    for recipe in recipes {
        let source = data(recipe, params, 44);
        let deep = train_deep(&engine, recipe, &source, steps);
        let (twin, lookups) = train_fast(params, recipe, &source, steps, None);
        let start = parts(&engine, &NetworkTraining::new(&engine, recipe).unwrap());
        let (exact, fast) = (parts(&engine, &deep), fast_parts(&twin));
        for (i, ((exact, fast), start)) in exact.iter().zip(&fast).zip(&start).enumerate() {
            let (error, update) = (distance(exact, fast), distance(exact, start));
            assert!(update > 0.0 && error < 0.01 * update, "layer {i}: {error} of {update}");
        }
        let mut again = NetworkTraining::new(&engine, recipe).unwrap();
        let expected: usize =
            (0..steps).map(|_| again.train_step(&engine, &source).unwrap().lookups).sum();
        assert_eq!(lookups, expected);

        let test = data(recipe, params, 60);
        let scores = scores(&engine, deep, &test);
        let classes: Vec<usize> = scores
            .chunks_exact(CLASSES)
            .map(|s| {
                let best = |a: &usize, b: &usize| from_torus(s[*a]).total_cmp(&from_torus(s[*b]));
                (0..CLASSES).max_by(best).unwrap()
            })
            .collect();
        let samples = bytes(&test);
        let samples: Vec<&[i8]> = samples.iter().map(|x| &x[..]).collect();
        let same = classes
            .iter()
            .zip(twin.classify(&samples).unwrap())
            .filter(|(a, b)| **a == *b as usize);
        assert!(same.count() >= 59, "{classes:?}");
    }
}

/// The scores of samples, by a training's network.
fn scores(engine: &Clear, deep: NetworkTraining<Clear>, samples: &ClearSource) -> Vec<u64> {
    let x = samples.lanes.as_ref().unwrap().polynomials(&samples.features);
    let model = fhe_train::Model::Deep(Box::new(deep.finished(engine).unwrap()));
    model.scores(engine, &engine.selectors(x), samples.features.len()).unwrap()
}

#[test]
fn its_noise_is_that_of_the_specification() {
    noise_agrees(&Params::toy_insecure_batch().unwrap(), &[dense(), conv(), wired()]);
}

fn noise_agrees(params: &Params, recipes: &[DeepRecipe]) {
    for recipe in recipes {
        let source = data(recipe, params, 24);
        let steps = 2;
        let exact = fast_parts(&train_fast(params, recipe, &source, steps, None).0);
        // Mean squares of the difference that noise makes, over some seeds.
        let spread = |noisy: &dyn Fn(u64) -> Vec<Vec<f64>>| {
            let mut sums = vec![0.0; exact.len()];
            for seed in 1..=4 {
                for (sum, (noisy, exact)) in sums.iter_mut().zip(noisy(seed).iter().zip(&exact)) {
                    *sum += distance(noisy, exact).powi(2);
                }
            }
            sums
        };
        let specified = spread(&|seed| {
            let engine = Clear::noisy(params, seed);
            parts(&engine, &train_deep(&engine, recipe, &source, steps))
        });
        let fast =
            spread(&|seed| fast_parts(&train_fast(params, recipe, &source, steps, Some(seed)).0));
        for (i, (specified, fast)) in specified.iter().zip(&fast).enumerate() {
            let ratio = (fast / specified).sqrt();
            assert!((0.75..1.25).contains(&ratio), "layer {i}: {ratio}");
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let params = Params::toy_insecure_batch().unwrap();
    let recipe = conv();
    let mut source = data(&recipe, &params, 80);
    source.batch = 80;
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fast_parts(&train_fast(&params, &recipe, &source, 2, Some(5)).0))
    };
    assert!(with(1) == with(3));
}

#[test]
fn a_summary_foretells_pre_activations_and_what_wraps() {
    let params = Params::secure128_deep_v4().unwrap();
    let engine = Clear::exact(&params);
    for mut recipe in [conv(), wired()] {
        // Many scores, so that their spread is that of the first weights; wide enough to wrap
        // sometimes.
        let last = recipe.network.layers.len() - 1;
        recipe.network.layers[last].outputs = 200;
        let cells = recipe.network.cells.count() as f64;
        recipe.training[last].init *= 3.0 / cells.sqrt();
        recipe.squared_norm = (4.0 + 20.0 / 3.0) * recipe.network.map().len() as f64;
        let summary = recipe.summary(&params).unwrap();
        let source = data(&recipe, &params, 60);
        let scores = scores(&engine, NetworkTraining::new(&engine, &recipe).unwrap(), &source);
        let z: Vec<f64> = scores.iter().map(|&z| from_torus(z) / recipe.network.unit()).collect();
        let std = (z.iter().map(|z| z * z).sum::<f64>() / z.len() as f64).sqrt();
        let foretold = &summary.layers[last];
        assert!((0.8..1.25).contains(&(std / foretold.std)), "{std} {foretold:?}");
        let wraps =
            z.iter().filter(|z| z.abs() > recipe.network.z_range).count() as f64 / z.len() as f64;
        assert!(
            (wraps - foretold.wraps).abs() < 0.03 + 0.5 * foretold.wraps,
            "{wraps} {foretold:?}"
        );
    }
}

#[test]
fn mini_batches_that_cannot_be_are_refused() {
    let params = Params::toy_insecure_batch().unwrap();
    let refused = |batches, batch| {
        let data = MiniBatches { batches, batch };
        FastTwin::new(&params, &dense(), data, None).unwrap_err().to_string()
    };
    assert!(refused(0, 4).contains("mini-batches is 0 of 4 samples"));
    assert!(refused(4, 0).contains("mini-batches is 4 of 0 samples"));
    let data = MiniBatches { batches: 1, batch: 4 };
    let mut twin = FastTwin::new(&params, &dense(), data, Some(1)).unwrap();
    let error = twin.train_step(&[], &[]).unwrap_err().to_string();
    assert!(error.contains("mini-batch is of no samples"), "{error}");
    let x = [1i8; 100];
    for (samples, labels, words) in [
        (&[&x[..]][..], &[3u32][..], "labels"),
        (&[&x[..]], &[0, 0], "labels"),
        (&[&x[..99]], &[0], "input"),
    ] {
        let error = twin.train_step(samples, labels).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(twin.step(), 0);
}

/// Weights of a linear classifier after two passes over 240 samples in mini-batches of 100, by the
/// specification and by the fast twin.
fn heads(params: &Params, noise: Option<u64>) -> [Vec<f64>; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let labels: Vec<u32> = (0..240).map(|i| i % CLASSES as u32).collect();
    let x = ndarray::Array2::from_shape_fn((240, params.row_size), |(i, j)| {
        ((i % CLASSES * (j + 3)) % 7) as i8 - 3 + rng.random_range(-3..=3)
    });
    let recipe = HeadRecipe {
        classes: CLASSES,
        passes: 2,
        bias: -0.5,
        learning_rate: 1e-4,
        ..HeadRecipe::default()
    };
    let engine = noise.map_or_else(|| Clear::exact(params), |seed| Clear::noisy(params, seed));
    let data = (x.view(), &labels[..]);
    let source = ClearSource::new(params, &Recipe::Head(recipe.clone()), data, 100).unwrap();
    let mut head = HeadTraining::new(&engine, &recipe).unwrap();
    (0..6).for_each(|_| assert!(head.train_step(&engine, &source).unwrap().lookups > 0));
    let rows = head.layer().weights().iter().flat_map(|row| row.coefficients(params.row_size));
    let twin = FastHead::run(params, &recipe, data, 100, noise, |_, _| Ok(())).unwrap();
    assert_eq!(twin.step(), 6);
    [rows.map(from_torus).collect(), twin.weights().iter().map(|&w| f64::from(w)).collect()]
}

#[test]
fn the_fast_head_is_the_specification_without_noise_and_as_noisy_with_it() {
    let norm = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt()
    };
    // Scores one at a time and constants packed; in batches and constants expanded.
    for params in [Params::toy_insecure().unwrap(), Params::toy_insecure_batch().unwrap()] {
        let [want, got] = heads(&params, None);
        let size = norm(&want, &vec![0.0; want.len()]);
        assert!(norm(&want, &got) < 1e-3 * size, "{}: {}", params.name, norm(&want, &got) / size);
        // Of ten seeds of each.
        let mean = |which: usize| -> f64 {
            let of = |seed| norm(&heads(&params, Some(seed))[which], &want).powi(2);
            ((0..10).map(of).sum::<f64>() / 10.0).sqrt()
        };
        let (specified, fast) = (mean(0), mean(1));
        assert!(specified > 10.0 * norm(&want, &got), "there is noise");
        let name = &params.name;
        assert!((0.9..1.1).contains(&(fast / specified)), "{name}: {fast}, {specified}");
    }
}
