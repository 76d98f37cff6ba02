//! The operations of binarized inference one by one, on encrypted values, on all threads: what Zhou
//! et al., "Deep Binarized Convolutional Neural Network Inferences over Encrypted Data", CSCloud
//! 2020, report, at the sizes of MNIST.
//!
//! Each operation is checked against integers once before it is timed.
//!
//! `cargo bench -p fhe-benches --bench operations -- convolution` runs those with "convolution" in
//! their name.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fhe_core::client::ClientKey;
use fhe_core::engine::cpu::Values;
use fhe_core::{Cpu, Engine, Params, Seed, Table, Term, from_torus, to_torus};
use fhe_nn::Shape;
use fhe_nn::geometry::Window;
use fhe_nn::public::{
    LayerWeights, Levels, Pool, PublicConv2d, PublicGeometry, PublicLayerConfig, PublicNetwork,
    PublicNetworkConfig,
};
use ndarray::ArrayView2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rows, and columns, of an image.
const SIDE: usize = 28;
/// Torus fraction of one in a digit: sixteen values fill the half torus.
const DIGIT: f64 = 1.0 / 32.0;

struct Setup {
    key: ClientKey,
    cpu: Cpu,
}

static SETUP: LazyLock<Setup> = LazyLock::new(|| {
    let key = ClientKey::new(&Params::secure128_bnn().unwrap(), Seed::from_number(1));
    let cpu = Cpu::new(&key.evaluation_keys());
    Setup { key, cpu }
});

impl Setup {
    fn encrypt(&self, integers: &[i64], unit: f64) -> Values {
        let phases: Vec<u64> = integers.iter().map(|&x| to_torus(x as f64 * unit)).collect();
        let key = self.key.deterministic("operations");
        key.encrypt_values(&phases, 0).unwrap().open(&self.cpu).unwrap()
    }

    fn decrypt(&self, values: &Values, unit: f64) -> Vec<i64> {
        let phases = self.key.decrypt_values(values).unwrap();
        phases.into_iter().map(|x| (from_torus(x) / unit).round() as i64).collect()
    }
}

/// A table on integers of a unit, read half an integer around each.
fn table(unit: f64, f: impl Fn(i64) -> f64) -> Table {
    Table::new(2048, |x| f((x / unit).round() as i64)).unwrap()
}

/// Digits of three bits, the highest first.
fn digits(x: i64, count: u32) -> Vec<i64> {
    (0..count).rev().map(|i| (x >> (3 * i)) & 7).collect()
}

/// Returns whether a number is below another, from their digits: the signs of their differences are
/// summed with powers of two as weights, three at a time.
fn less(cpu: &Cpu, x: &Values, y: &Values) -> Values {
    let mut signs = cpu.scaled_values(x, 1).unwrap();
    cpu.add_scaled_values(&mut signs, y, -1).unwrap();
    let sign = table(DIGIT, |x| x.signum() as f64 * DIGIT);
    signs = cpu.lookup(&signs, std::slice::from_ref(&sign)).unwrap();
    while signs.len() > 1 {
        let windows: Vec<Vec<Option<usize>>> = (0..signs.len())
            .collect::<Vec<_>>()
            .chunks(3)
            .map(|three| {
                let missing = std::iter::repeat_n(None, 3 - three.len());
                missing.chain(three.iter().map(|&i| Some(i))).collect()
            })
            .collect();
        let sums = cpu.weighted_sums(&signs, &windows, &[vec![4, 2, 1]]).unwrap();
        signs = cpu.lookup(&sums, std::slice::from_ref(&sign)).unwrap();
    }
    signs
}

fn comparison(c: &mut Criterion) {
    let setup = &*SETUP;
    let mut group = c.benchmark_group("comparison");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (bits, count) in [(8u32, 3u32), (16, 6)] {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..4 {
            let (x, y) = (random.random_range(0..1i64 << bits), random.random_range(0..1 << bits));
            let encrypt = |x| setup.encrypt(&digits(x, count), DIGIT);
            let found = setup.decrypt(&less(&setup.cpu, &encrypt(x), &encrypt(y)), DIGIT);
            assert_eq!(found, [(x - y).signum()], "{x} {y}");
        }
        let (x, y) =
            (setup.encrypt(&digits(77, count), DIGIT), setup.encrypt(&digits(99, count), DIGIT));
        group.bench_function(format!("{bits} bits"), |b| {
            b.iter(|| less(&setup.cpu, black_box(&x), &y));
        });
    }
    group.finish();
}

/// A rectifier on a number whose first digit is its sign: the sign turns every other digit to zero,
/// or leaves it.
fn relu(cpu: &Cpu, x: &Values) -> Values {
    let len = x.len();
    let eight = cpu.scaled_values(&cpu.take(x, [0]).unwrap(), 8).unwrap();
    let mut rest = cpu.take(x, 1..len).unwrap();
    let signs = cpu.take(&eight, vec![0; len - 1]).unwrap();
    cpu.add_scaled_values(&mut rest, &signs, 1).unwrap();
    // 0..=7 for a positive number, 8..=15 for a negative one, moved to the half torus around zero.
    let shift = cpu.public_values(&vec![to_torus(-8.0 * DIGIT); len - 1]);
    cpu.add_scaled_values(&mut rest, &shift, 1).unwrap();
    let gate = table(DIGIT, |x| if x < 0 { (x + 8) as f64 * DIGIT } else { 0.0 });
    cpu.lookup(&rest, &[gate]).unwrap()
}

fn rectifier(c: &mut Criterion) {
    let setup = &*SETUP;
    let mut group = c.benchmark_group("relu");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (bits, count) in [(8, 3), (16, 5)] {
        let number = |x: i64| {
            let mut all = vec![i64::from(x < 0)];
            all.extend(digits(x & ((1 << (3 * count)) - 1), count));
            setup.encrypt(&all, DIGIT)
        };
        let most = (1i64 << (bits - 1)) - 1;
        for x in [most, -most, 0, 1, -1, most / 3] {
            let found = setup.decrypt(&relu(&setup.cpu, &number(x)), DIGIT);
            assert_eq!(found, digits(x.max(0), count), "{x}");
        }
        let x = number(most / 3);
        group
            .bench_function(format!("{bits} bits"), |b| b.iter(|| relu(&setup.cpu, black_box(&x))));
    }
    group.finish();
}

/// One filter of 3x3 on an image, then a sign for each of 26x26 positions, then a maximum of each
/// 2x2 if `pool` says so; the classifier behind it costs nothing.
fn network(levels: (i64, i64), pool: Option<Pool>) -> PublicNetwork {
    let side = if pool.is_some() { (SIDE - 2) / 2 } else { SIDE - 2 };
    let conv = PublicLayerConfig {
        pool,
        range: (levels.1 > 1).then_some(1200),
        ..PublicLayerConfig::new("convolution", 1, 3, Some(Levels::SIGN))
    };
    let config = PublicNetworkConfig {
        input: Shape { channels: 1, height: SIDE, width: SIDE },
        levels,
        mirrored: false,
        layers: vec![conv, PublicLayerConfig::new("sum", 1, side, None)],
    };
    let sum = LayerWeights { weights: vec![vec![1; side * side]], thresholds: vec![vec![0]] };
    let filter = vec![1, 1, -1, 1, -1, 1, -1, 1, 1];
    let conv = LayerWeights { weights: vec![filter], thresholds: vec![vec![1]] };
    PublicNetwork::new(&config, vec![conv, sum], 2048).unwrap()
}

fn convolution(c: &mut Criterion) {
    let setup = &*SETUP;
    let mut group = c.benchmark_group("convolution");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let bits: Vec<i64> = (0..SIDE * SIDE).map(|_| 2 * random.random_range(0..2) - 1).collect();
    let pixels: Vec<i64> = (0..SIDE * SIDE).map(|_| random.random_range(0..256)).collect();
    let input = Shape { channels: 1, height: SIDE, width: SIDE };
    let stencil = Window { kernel: 3, stride: 1, padding: 0 };
    let geometry = PublicGeometry::new("convolution", input, 1, stencil).unwrap();
    let filter = vec![vec![1, 1, -1, 1, -1, 1, -1, 1, 1]];
    let sums = PublicConv2d::new("convolution", geometry, filter.clone()).unwrap();
    let x = setup.encrypt(&bits, 1.0 / 64.0);
    let found = setup.decrypt(&sums.forward(&setup.cpu, &x, 1).unwrap(), 1.0 / 64.0);
    let expected = geometry.places(1).into_iter().map(|places| {
        places.iter().zip(&filter[0]).map(|(i, &w)| i64::from(w) * bits[i.unwrap()]).sum::<i64>()
    });
    assert!(expected.eq(found));
    group.bench_function("sums of a 3x3 filter, 28x28", |b| {
        b.iter(|| sums.forward(&setup.cpu, black_box(&x), 1).unwrap());
    });
    for (name, levels, image, pool) in [
        ("binarized 3x3 with signs, 28x28", (-1, 1), &bits, None),
        ("hybrid (8-bit image) 3x3 with signs, 28x28", (0, 255), &pixels, None),
        ("binarized 3x3 with signs and max pooling, 28x28", (-1, 1), &bits, Some(Pool::Max(2))),
    ] {
        let network = network(levels, pool);
        let x = setup.encrypt(image, network.input_unit());
        let found =
            setup.decrypt(&network.forward(&setup.cpu, &x, 1).unwrap(), network.score_unit());
        let image = ArrayView2::from_shape((1, image.len()), &image[..]).unwrap();
        let expected = network.exact_scores(image).unwrap()[[0, 0]];
        // Of bits all signs are exact; of pixels a few near the threshold are read wrongly.
        let slack = if levels == (0, 255) { 40 } else { 0 };
        assert!((found[0] - expected).abs() <= slack, "{name}: {found:?} {expected}");
        group.bench_function(name, |b| {
            b.iter(|| network.forward(&setup.cpu, black_box(&x), 1).unwrap());
        });
    }

    // The weights encrypted too: the image is a row, the filter a selector, and one product has all
    // positions.
    let mut polynomial = vec![0u64; 2048];
    for (i, &x) in bits.iter().enumerate() {
        polynomial[i] = to_torus(x as f64 / 64.0);
    }
    let mut filter_polynomial = vec![0i32; 2048];
    for (j, &w) in filter[0].iter().enumerate() {
        filter_polynomial[(j / 3) * SIDE + j % 3] = w;
    }
    let row = setup.key.deterministic("image").encrypt_rows(&polynomial, 0).unwrap();
    let selector =
        setup.key.deterministic("filter").encrypt_query(&[filter_polynomial], 0).unwrap();
    let selector = selector.open(&setup.cpu).unwrap();
    let terms = [vec![Term { selector: 0, row: 0 }]];
    let product = setup.cpu.products(&selector, &row, &terms).unwrap();
    let product = setup.key.decrypt_rows(&product).unwrap();
    for p in 0..(SIDE - 2) * (SIDE - 2) {
        // The polynomial product turns the filter round.
        let last = (p / (SIDE - 2) + 2) * SIDE + p % (SIDE - 2) + 2;
        let expected: i64 = filter[0]
            .iter()
            .enumerate()
            .map(|(j, &w)| i64::from(w) * bits[last - j / 3 * SIDE - j % 3])
            .sum();
        assert_eq!((from_torus(product[last]) * 64.0).round() as i64, expected);
    }
    group.bench_function("sums of an encrypted 3x3 filter, 28x28", |b| {
        b.iter(|| setup.cpu.products(&selector, black_box(&row), &terms).unwrap());
    });
    group.finish();
}

criterion_group!(operations, comparison, rectifier, convolution);
criterion_main!(operations);
