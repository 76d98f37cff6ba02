//! Networks with public weights: the engines beside the definition, files beside PyTorch, what is
//! refused, and the story of a client and a server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod files;
mod groups;
mod hostile;
mod refused;
mod story;

use std::cell::RefCell;

use fhe_core::client::ClientKey;
use fhe_core::{Clear, Cpu, Params, Seed, from_torus, to_torus};
use fhe_nn::Shape;
use fhe_nn::public::{
    Counting, LayerWeights, Levels, Pool, PublicLayerConfig, PublicNetwork, PublicNetworkConfig,
};
use ndarray::ArrayView2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Every kind of layer, small enough that each lookup of the default set is exact.
fn config() -> PublicNetworkConfig {
    let two_signs = Levels { thresholds: 2, counting: Counting::Apart, ..Levels::SIGN };
    let three_levels = Levels { first: 0, step: 1, thresholds: 2, counting: Counting::Joint };
    PublicNetworkConfig {
        input: Shape { channels: 1, height: 4, width: 4 },
        levels: (0, 1),
        mirrored: false,
        layers: vec![
            PublicLayerConfig {
                padding: 1,
                ..PublicLayerConfig::new("stem", 2, 3, Some(two_signs))
            },
            PublicLayerConfig {
                residual: Some("stem".into()),
                pool: Some(Pool::Max(2)),
                ..PublicLayerConfig::new("block", 2, 1, Some(Levels::SIGN))
            },
            PublicLayerConfig {
                pool: Some(Pool::Sum(2)),
                ..PublicLayerConfig::new("few", 2, 1, Some(three_levels))
            },
            PublicLayerConfig { largest_weight: 3, ..PublicLayerConfig::new("scores", 3, 1, None) },
        ],
    }
}

fn weights() -> Vec<LayerWeights> {
    let one = |weights: &[&[i32]], thresholds: &[&[i64]]| LayerWeights {
        weights: weights.iter().map(|w| w.to_vec()).collect(),
        thresholds: thresholds.iter().map(|t| t.to_vec()).collect(),
    };
    vec![
        one(
            &[&[1, -1, 1, 1, 1, -1, -1, 1, 1], &[-1, 1, 1, -1, 1, 1, 1, -1, 1]],
            &[&[2, -1], &[1, 3]],
        ),
        one(&[&[1, -1, 1, 1], &[1, 1, -1, 1]], &[&[1], &[3]]),
        one(&[&[1, 1], &[-1, 1]], &[&[0, 1], &[-1, 1]]),
        one(&[&[3, -2], &[1, 2], &[0, 3]], &[&[0], &[-1], &[2]]),
    ]
}

fn images(config: &PublicNetworkConfig, count: usize) -> Vec<Vec<i64>> {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let (low, high) = config.levels;
    let one = |_| (0..config.input.len()).map(|_| random.random_range(low..=high)).collect();
    (0..count).map(one).collect()
}

fn phases(network: &PublicNetwork, images: &[Vec<i64>]) -> Vec<u64> {
    images.iter().flatten().map(|&x| to_torus(x as f64 * network.input_unit())).collect()
}

fn exactly(network: &PublicNetwork, image: &[i64]) -> Vec<i64> {
    let image = ArrayView2::from_shape((1, image.len()), image).unwrap();
    network.exact_scores(image).unwrap().into_iter().collect()
}

fn rounded(network: &PublicNetwork, scores: &[u64]) -> Vec<i64> {
    scores.iter().map(|&s| (from_torus(s) / network.score_unit()).round() as i64).collect()
}

#[test]
fn the_exact_engine_computes_the_definition() {
    let (config, params) = (config(), Params::secure128_bnn().unwrap());
    let network = PublicNetwork::new(&config, weights(), params.row_size).unwrap();
    let images = images(&config, 60);
    let expected: Vec<i64> = images.iter().flat_map(|x| exactly(&network, x)).collect();
    let clear = Clear::exact(&params);
    let scores = network.forward(&clear, &phases(&network, &images), images.len()).unwrap();
    assert_eq!(rounded(&network, &scores), expected);
    // The images are told apart: three classes, and more than a few scores.
    let mut kinds: Vec<&[i64]> = expected.chunks(3).collect();
    kinds.sort();
    kinds.dedup();
    assert!(kinds.len() > 5, "{kinds:?}");
}

#[test]
fn scores_of_the_mirror_image_are_added() {
    let (config, params) = (config(), Params::secure128_bnn().unwrap());
    let network = PublicNetwork::new(&config, weights(), params.row_size).unwrap();
    let config = PublicNetworkConfig { mirrored: true, ..config };
    let mirrored = PublicNetwork::new(&config, weights(), params.row_size).unwrap();
    let images = images(&config, 20);
    let clear = Clear::exact(&params);
    let phases = phases(&mirrored, &images);
    let done = RefCell::new(Vec::new());
    let watch = |i| done.borrow_mut().push(i);
    let scores = mirrored.forward_watched(&clear, &phases, images.len(), watch).unwrap();
    assert_eq!(done.into_inner(), [0, 1, 2, 3, 0, 1, 2, 3]);
    let mut differ = 0;
    for (image, scores) in images.iter().zip(rounded(&mirrored, &scores).chunks(3)) {
        let flipped: Vec<i64> = image.chunks(4).flat_map(|row| row.iter().rev().copied()).collect();
        let (one, other) = (exactly(&network, image), exactly(&network, &flipped));
        differ += usize::from(one != other);
        let sums: Vec<i64> = one.iter().zip(&other).map(|(a, b)| a + b).collect();
        assert_eq!(exactly(&mirrored, image), sums);
        assert_eq!(scores, sums);
    }
    assert!(differ > 5, "the mirror image has other scores, mostly");
    let lookups = |network: &PublicNetwork| {
        let summary = network.summary(&params, 1).unwrap();
        assert_eq!(summary.lookups_of_image(), summary.list.price.lookups);
        summary.list.price.lookups
    };
    assert_eq!(lookups(&mirrored), 2 * lookups(&network));
}

#[test]
fn encrypted_images_get_the_scores_of_the_definition() {
    let config = PublicNetworkConfig { mirrored: true, ..config() };
    let params = Params::toy_insecure().unwrap();
    let network = PublicNetwork::new(&config, weights(), params.row_size).unwrap();
    // Every lookup is exact here: a failure in less than one of 10^6 runs of this test.
    let (failure, noisy) = network.summary(&params, 1).unwrap().failure();
    assert!(noisy == 0 && failure < 5e-7, "{failure} {noisy}");
    let images = images(&config, 2);
    let key = ClientKey::new(&params, Seed::from_number(5));
    let engine = Cpu::new(&key.evaluation_keys());
    let stored = key.deterministic("images").encrypt_values(&phases(&network, &images), 0).unwrap();
    let scores = network.forward(&engine, &stored.open(&engine).unwrap(), 2).unwrap();
    let expected: Vec<i64> = images.iter().flat_map(|x| exactly(&network, x)).collect();
    assert_eq!(rounded(&network, &key.decrypt_values(&scores).unwrap()), expected);
}

#[test]
fn readings_go_wrong_as_often_as_the_summary_says() {
    let single = readings(&Params::secure128_bnn().unwrap());
    // So many values take a batch, which reads signs from the whole torus less finely.
    let batch = readings(&Params::secure128_bnn_v2().unwrap());
    assert!(batch > 1.5 * single, "{batch} {single}");
}

/// Compares the readings of many images together with the summary, and returns its noise.
fn readings(params: &Params) -> f64 {
    // One layer of signs whose pre-activations are half an integer to five and a half from the
    // threshold.
    const IMAGES: usize = 4000;
    let config = PublicNetworkConfig {
        input: Shape { channels: 1, height: 1, width: 1 },
        levels: (-200, 200),
        mirrored: false,
        layers: vec![
            PublicLayerConfig::new("read", 1, 1, Some(Levels::SIGN)),
            PublicLayerConfig::new("scores", 1, 1, None),
        ],
    };
    let one = |t: i64| LayerWeights { weights: vec![vec![1]], thresholds: vec![vec![t]] };
    let network = PublicNetwork::new(&config, vec![one(1), one(0)], params.row_size).unwrap();
    let summary = network.summary(params, IMAGES).unwrap();
    let read = &summary.layers[0];
    assert!(read.noise > 1.0 && !read.is_exact(), "{}", read.noise);
    assert_eq!(summary.failure(), (0.0, 1));
    assert_eq!(summary.list.price.batches, u64::from(params.batch.is_some()));
    // A threshold is read half a slot early.
    let slots = params.batch.map_or(2 * params.row_size, |batch| batch.slots);
    let early = 0.5 / slots as f64 / network.input_unit();
    for x in [0i64, 2, 5] {
        let images = vec![vec![-x]; IMAGES];
        let engine = Clear::noisy(params, 7 + x as u64);
        let scores = network.forward(&engine, &phases(&network, &images), IMAGES).unwrap();
        let wrong = scores.iter().filter(|&&s| from_torus(s) > 0.0).count() as f64;
        let p = read.failure_at(x as f64 + 0.5 - early);
        let expected = p * IMAGES as f64;
        let std = (IMAGES as f64 * p * (1.0 - p)).sqrt();
        assert!((wrong - expected).abs() < 4.0 * std, "{x}: {wrong} {expected}");
    }
    read.noise
}

/// Channels with a table each take the path that the values of a table are enough for.
#[test]
fn few_values_of_a_table_are_read_one_at_a_time() {
    let levels = Levels { first: 0, step: 1, thresholds: 2, counting: Counting::Joint };
    let config = PublicNetworkConfig {
        input: Shape { channels: 1, height: 1, width: 1 },
        levels: (-20, 20),
        mirrored: false,
        layers: vec![
            PublicLayerConfig::new("read", 2, 1, Some(levels)),
            PublicLayerConfig::new("scores", 1, 1, None),
        ],
    };
    let weights = vec![
        LayerWeights {
            weights: vec![vec![1], vec![1]],
            thresholds: vec![vec![-1, 2], vec![-3, 4]],
        },
        LayerWeights { weights: vec![vec![1, 1]], thresholds: vec![vec![0]] },
    ];
    let params = Params::secure128_bnn_v2().unwrap();
    let network = PublicNetwork::new(&config, weights, params.row_size).unwrap();
    let of = |images| network.summary(&params, images).unwrap();
    let (few, many) = (of(300), of(600));
    assert_eq!((few.list.price.batches, few.list.price.lookups), (0, 600));
    assert_eq!((many.list.price.batches, many.list.price.batched), (2, 1200));
    assert_eq!((few.lookups_of_image(), many.lookups_of_image()), (2, 2));
    assert_eq!(few.layers[0].noise, of(1).layers[0].noise);
    assert!(many.layers[0].noise > 1.1 * few.layers[0].noise, "{many:?}");
    assert!(many.to_string().contains("600 images together take 2 batches"), "{many}");
}

#[test]
fn batch_and_single_images_are_the_same() {
    let (config, params) = (config(), Params::secure128_bnn().unwrap());
    let network = PublicNetwork::new(&config, weights(), params.row_size).unwrap();
    let images = images(&config, 3);
    let clear = Clear::exact(&params);
    let together = network.forward(&clear, &phases(&network, &images), 3).unwrap();
    for (i, image) in images.iter().enumerate() {
        let alone = network.forward(&clear, &phases(&network, std::slice::from_ref(image)), 1);
        assert_eq!(alone.unwrap(), together[3 * i..3 * i + 3]);
    }
    assert_eq!(together.len(), 9);
}
