//! Networks with public weights: the engines beside the definition, files beside PyTorch, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use fhe_core::client::ClientKey;
use fhe_core::{Clear, Cpu, Params, Seed, from_torus, to_torus};
use fhe_nn::Shape;
use fhe_nn::public::{
    self, Counting, LayerWeights, Levels, Pool, PublicLayerConfig, PublicNetwork,
    PublicNetworkConfig, read, write,
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
    let lookups = |network: &PublicNetwork| network.summary(&params).unwrap().list.price.lookups;
    assert_eq!(lookups(&mirrored), 2 * lookups(&network));
}

#[test]
fn encrypted_images_get_the_scores_of_the_definition() {
    let config = PublicNetworkConfig { mirrored: true, ..config() };
    let params = Params::toy_insecure().unwrap();
    let network = PublicNetwork::new(&config, weights(), params.row_size).unwrap();
    // Every lookup is exact here: a failure in less than one of 10^6 runs of this test.
    let (failure, noisy) = network.summary(&params).unwrap().failure();
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
    // One layer of signs whose pre-activations are half an integer to five and a half from the threshold.
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
    let params = Params::secure128_bnn().unwrap();
    let network = PublicNetwork::new(&config, vec![one(1), one(0)], params.row_size).unwrap();
    let summary = network.summary(&params).unwrap();
    let read = &summary.layers[0];
    assert!(read.noise > 1.0 && !read.is_exact(), "{}", read.noise);
    assert_eq!(summary.failure(), (0.0, 1));
    for x in [0i64, 2, 5] {
        let images = vec![vec![-x]; IMAGES];
        let engine = Clear::noisy(&params, 7 + x as u64);
        let scores = network.forward(&engine, &phases(&network, &images), IMAGES).unwrap();
        let wrong = scores.iter().filter(|&&s| from_torus(s) > 0.0).count() as f64;
        let p = read.failure_at(x as f64 + 0.5);
        // A slot of the table is a third of an integer here, which widens the noise by less than a hundredth.
        let expected = p * IMAGES as f64;
        let std = (IMAGES as f64 * p * (1.0 - p)).sqrt();
        assert!((wrong - expected).abs() < 5.0 * std + 0.02 * expected, "{x}: {wrong} {expected}");
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/binarized.safetensors")
}

fn metadata(key: &str) -> Vec<Vec<i64>> {
    let bytes = std::fs::read(fixture()).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()[key]).unwrap()
}

#[test]
fn a_network_from_pytorch_has_the_scores_of_pytorch_bit_for_bit() {
    let (config, weights) = read(&fixture()).unwrap();
    let params = Params::secure128_bnn().unwrap();
    let network = PublicNetwork::new(&config, weights, params.row_size).unwrap();
    let clear = Clear::exact(&params);
    for (image, scores) in metadata("images").iter().zip(metadata("scores")) {
        // PyTorch's order is channel, row, column; here channels lie together.
        let area = config.input.height * config.input.width;
        let c = config.input.channels;
        let image: Vec<i64> = (0..image.len()).map(|i| image[i % c * area + i / c]).collect();
        assert_eq!(exactly(&network, &image), scores);
        let found = network.forward(&clear, &phases(&network, &[image]), 1).unwrap();
        assert_eq!(rounded(&network, &found), scores);
    }
}

#[test]
fn files_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.safetensors", "a.safetensors.gz"] {
        let path = folder.path().join(name);
        write(&path, &config(), &weights()).unwrap();
        assert_eq!(read(&path).unwrap(), (config(), weights()));
    }
}

#[test]
fn networks_that_cannot_be_are_refused_with_the_layer() {
    type Break = fn(&mut PublicNetworkConfig, &mut Vec<LayerWeights>);
    let cases: [(&str, Break); 13] = [
        ("network: number of layers with weights is 3, expected 4", |_, w| drop(w.pop())),
        ("layer stem: number of weights of a filter is 8, expected 9", |_, w| {
            w[0].weights.iter_mut().for_each(|w| w.truncate(8))
        }),
        ("layer block: weight is 0 (number 1 of output 0), expected -1 or 1", |_, w| {
            w[1].weights[0][1] = 0
        }),
        ("layer scores: weight is 4 (number 0 of output 0), expected -3 to 3", |_, w| {
            w[3].weights[0][0] = 4
        }),
        ("layer few: threshold is -1 after 1 in channel 1, expected ascending ones", |_, w| {
            w[2].thresholds[1].reverse()
        }),
        ("layer few: number of channels with thresholds is 1, expected 2", |_, w| {
            drop(w[2].thresholds.pop())
        }),
        ("layer scores: number of biases of a class is 2, expected 1", |_, w| {
            w[3].thresholds[0].push(1)
        }),
        ("layer block: name is that of layer 0, expected one of its own", |c, _| {
            c.layers[0].name = "block".into()
        }),
        (
            "layer block: residual is nobody, expected an earlier layer with pre-activations of",
            |c, _| c.layers[1].residual = Some("nobody".into()),
        ),
        ("layer few: pool is 3, expected a divisor of 2 and 2", |c, _| {
            c.layers[2].pool = Some(Pool::Sum(3))
        }),
        ("layer few: number of thresholds is 2, expected 1 under a maximum", |c, _| {
            c.layers[2].pool = Some(Pool::Max(2))
        }),
        ("layer few: step of the levels is 1, expected 0, as thresholds are apart", |c, w| {
            c.layers[2].activation =
                c.layers[2].activation.map(|l| Levels { counting: Counting::Apart, ..l });
            w[3].weights.iter_mut().for_each(|w| w.extend_from_within(..));
        }),
        ("layer few: activation is none, expected one in every layer but the last", |c, _| {
            c.layers[2].activation = None
        }),
    ];
    for (expected, break_it) in cases {
        let (mut config, mut weights) = (config(), weights());
        break_it(&mut config, &mut weights);
        let message = PublicNetwork::new(&config, weights, 2048).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    let mut wide = config();
    wide.levels = (-1000, 1000);
    let message = PublicNetwork::new(&wide, weights(), 2048).unwrap_err().to_string();
    assert!(
        message.starts_with("layer stem: furthest pre-activation from its centre is"),
        "{message}"
    );
    assert!(message.contains("expected at most 2047"), "{message}");
}

#[test]
fn bad_files_are_refused_with_the_tensor() {
    type Tensors = HashMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)>;
    use safetensors::Dtype::{BF16, F32};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    write(&path, &config(), &weights()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let message = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("a.safetensors: ") && !message.contains('\n'), "{message}");
        message
    };
    for len in [0, 4, 100, whole.len() - 1] {
        let message = message(&whole[..len]);
        assert!(message.contains("no whole safetensors file"), "{message}");
    }
    assert!(message(&[0x1f, 0x8b, 8, 0]).contains("a.safetensors"));
    assert!(message(b"{}").contains("no whole safetensors file"));

    let block = |x: &[f32]| {
        let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
        (F32, vec![2, 4, 1, 1], bytes)
    };
    type Break = Box<dyn Fn(&mut Tensors)>;
    let cases: Vec<(&str, Break)> = vec![
        (
            "no tensor stem.weight; there are block.thresholds",
            Box::new(|t| drop(t.remove("stem.weight"))),
        ),
        (
            "no layer has a tensor other.weight",
            Box::new(move |t| drop(t.insert("other.weight".into(), block(&[1.0; 8])))),
        ),
        (
            "tensor block.weight: shape is [1, 8], expected [2, 4, 1, 1]",
            Box::new(|t| t.get_mut("block.weight").unwrap().1 = vec![1, 8]),
        ),
        (
            "tensor block.weight: number is NaN (number 2), expected finite ones",
            Box::new(move |t| {
                let numbers = [1.0, -1.0, f32::NAN, 1.0, 1.0, 1.0, 1.0, 1.0];
                drop(t.insert("block.weight".into(), block(&numbers)))
            }),
        ),
        (
            "tensor block.weight: number is 0.5 (number 1), expected integers",
            Box::new(move |t| {
                let numbers = [1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
                drop(t.insert("block.weight".into(), block(&numbers)))
            }),
        ),
        (
            "tensor block.weight: type is BF16, expected F32, F64 or integers",
            Box::new(|t| {
                drop(t.insert("block.weight".into(), (BF16, vec![2, 4, 1, 1], vec![0; 16])))
            }),
        ),
        (
            "tensor few.thresholds: shape is [2, 1], expected [2, 2]",
            Box::new(|t| drop(t.insert("few.thresholds".into(), (F32, vec![2, 1], vec![0; 8])))),
        ),
    ];
    std::fs::write(&path, &whole).unwrap();
    let parsed = safetensors::SafeTensors::deserialize(&whole).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&whole).unwrap();
    let serialize = |tensors: &Tensors, metadata: Option<HashMap<String, String>>| {
        let views = tensors.iter().map(|(name, (dtype, shape, data))| {
            let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap();
            (name.clone(), view)
        });
        safetensors::serialize(views.collect::<Vec<_>>(), metadata).unwrap()
    };
    let good: Tensors = parsed
        .iter()
        .map(|(name, t)| (name.to_owned(), (t.dtype(), t.shape().to_vec(), t.data().to_vec())))
        .collect();
    for (expected, break_it) in cases {
        let mut tensors = good.clone();
        break_it(&mut tensors);
        let message = message(&serialize(&tensors, header.metadata().clone()));
        assert!(message.contains(expected), "{message}");
    }
    let without = message(&serialize(&good, None));
    assert!(without.contains("no entry \"network\" in the metadata"), "{without}");
    let other = HashMap::from([("network".to_owned(), "{\"input\": 3}".to_owned())]);
    let wrong = message(&serialize(&good, Some(other)));
    assert!(wrong.contains("metadata \"network\": "), "{wrong}");
    let absent = public::read(&folder.path().join("b.safetensors")).unwrap_err().to_string();
    assert!(absent.contains("b.safetensors: No such file"), "{absent}");
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
