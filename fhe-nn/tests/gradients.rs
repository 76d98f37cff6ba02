//! Forward and backward on the clear engine against PyTorch, and PyTorch against finite differences.
//!
//! The engine rounds activations to levels and errors to integers; PyTorch does not. So scores agree to
//! the size of a rounding, and gradients in direction: the cosine between them is near one.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fhe_core::{Clear, Engine, Params, from_torus, to_torus};
use fhe_nn::activation::{Activation, ErrorGate, Kind, TABLES, levels, table};
use fhe_nn::{Conv2d, LayerConfig, Network, NetworkConfig, Shape};
use serde::Deserialize;

const SAMPLES: usize = 4;
const CLASSES: usize = 3;
const RELU: Activation =
    Activation { kind: Kind::Relu, levels: 15, range: 4.0, offset: 2, spacing: 4 };

#[derive(Deserialize)]
struct Fixture {
    inputs: Vec<i32>,
    labels: Vec<usize>,
    weights: Vec<Vec<f64>>,
    biases: Vec<Vec<f64>>,
    scores: Vec<f64>,
    weight_gradients: Vec<Vec<f64>>,
    bias_gradients: Vec<Vec<f64>>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/network.json")).unwrap()
}

fn config() -> NetworkConfig {
    NetworkConfig {
        input: Shape { channels: 2, height: 4, width: 4 },
        z_range: 8.0,
        layers: vec![
            LayerConfig::new("conv1", 3, 3, Some(RELU)),
            LayerConfig::new("conv2", 4, 2, Some(RELU)),
            LayerConfig::new("scores", CLASSES, 1, None),
        ],
    }
}

fn sign(f: &Fixture, i: usize) -> f64 {
    if f.labels[i / CLASSES] == i % CLASSES { 1.0 } else { -1.0 }
}

/// The loss of the real-valued network, by the definition of convolution.
fn loss(f: &Fixture) -> f64 {
    let shapes = [(2, 4, 3), (3, 2, 2), (4, 1, 1)];
    let mut all = 0.0;
    for s in 0..SAMPLES {
        let mut a: Vec<f64> = f.inputs[s * 32..][..32].iter().map(|&x| f64::from(x)).collect();
        let mut z = Vec::new();
        for (layer, (channels, side, k)) in shapes.into_iter().enumerate() {
            let (w, b, out) = (&f.weights[layer], &f.biases[layer], side - k + 1);
            z = (0..b.len() * out * out)
                .map(|i| {
                    let (o, oy, ox) = (i / (out * out), i / out % out, i % out);
                    (0..channels * k * k).fold(b[o], |sum, j| {
                        let (c, dy, dx) = (j / (k * k), j / k % k, j % k);
                        let at = (c * side + oy + dy) * side + ox + dx;
                        sum + w[o * channels * k * k + j] * a[at]
                    })
                })
                .collect();
            let top = f64::from(RELU.levels);
            let level = |z: f64| (z * top / RELU.range).clamp(0.0, top) - f64::from(RELU.offset);
            a = z.iter().map(|&z| level(z)).collect();
        }
        all += (0..CLASSES).map(|k| (-sign(f, s * CLASSES + k) * z[k]).exp().ln_1p()).sum::<f64>();
    }
    all
}

#[test]
fn pytorch_agrees_with_finite_differences() {
    let mut f = fixture();
    let step = 1e-5;
    for layer in 0..3 {
        for i in 0..f.weights[layer].len() {
            let w = f.weights[layer][i];
            let mut at = |w: f64| {
                f.weights[layer][i] = w;
                loss(&f)
            };
            let difference = (at(w + step) - at(w - step)) / (2.0 * step);
            at(w);
            let gradient = f.weight_gradients[layer][i];
            let near = 1e-4 * (1.0 + gradient.abs());
            assert!((difference - gradient).abs() < near, "{layer} {i}: {difference} {gradient}");
        }
    }
}

fn cosine(x: &[f64], y: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    assert_eq!(x.len(), y.len());
    dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
}

#[test]
fn scores_and_gradients_are_those_of_pytorch() {
    let f = fixture();
    let params = Params::toy_insecure().unwrap();
    let (engine, config, n) = (Clear::exact(&params), config(), params.row_size);
    let geometries = config.geometries(n).unwrap();
    let layers = geometries
        .iter()
        .enumerate()
        .map(|(i, g)| {
            let unit = config.unit();
            let torus = |scale: f64, x: &[f64]| -> Vec<u64> {
                x.iter().map(|x| to_torus(x * scale)).collect()
            };
            let weights = torus(unit / config.spacing(i), &f.weights[i]);
            Conv2d::new(&engine, g.clone(), &weights, &torus(unit, &f.biases[i])).unwrap()
        })
        .collect();
    let network = Network::new(&engine, &config, layers).unwrap();

    let mut inputs = vec![vec![0; n]; SAMPLES];
    for (i, &x) in f.inputs.iter().enumerate() {
        let (_, at) = geometries[0].input_at(i % 32 / 16, i % 16 / 4, i % 4);
        inputs[i / 32][at] = x;
    }
    let x = engine.selectors(inputs);
    let trace = network.forward(&engine, &x, 0..SAMPLES).unwrap();
    let scores: Vec<f64> = trace.scores.iter().map(|&z| from_torus(z) / config.unit()).collect();
    for (got, want) in scores.iter().zip(&f.scores) {
        // Half a level in each of 4 activations, times the weights.
        assert!((got - want).abs() < 0.25, "{got} {want}");
    }

    // Errors of PyTorch's scores as integers: 30 times the logistic error.
    let gadget = params.lists.unwrap().selector;
    let errors: Vec<i32> = (0..SAMPLES * CLASSES)
        .map(|i| {
            let y = (sign(&f, i) + 1.0) / 2.0;
            (30.0 * (1.0 / (1.0 + (-f.scores[i]).exp()) - y)).round() as i32
        })
        .collect();
    let amplitude = 1.0 / 16384.0;
    let units: Vec<f64> =
        (1..=3).map(|j| 2f64.powi(-(gadget.base_log as i32) * j)).chain([amplitude]).collect();
    let errors: Vec<u64> = errors
        .iter()
        .flat_map(|&e| units.iter().map(move |unit| to_torus(f64::from(e) * unit)))
        .collect();
    let gate = ErrorGate { limit: 31, scale: 1, amplitude };
    let gates = [gate, ErrorGate { scale: 2, ..gate }];
    let transposed = network.transpose(&engine).unwrap();
    let all = network.backward(&engine, &trace, &transposed, errors, &gates, SAMPLES).unwrap();

    for (layer, errors) in all.iter().enumerate() {
        let input = if layer == 0 { &x } else { &trace.inputs[layer - 1] };
        let of = (input, 0..SAMPLES);
        let gradient = network.weight_gradient(&engine, layer, of, errors).unwrap();
        let conv = &network.layers()[layer];
        let got: Vec<f64> = (0..conv.geometry().blocks())
            .flat_map(|block| conv.values_of(&engine, &gradient, block).unwrap().0)
            .map(from_torus)
            .collect();
        let near = cosine(&got, &f.weight_gradients[layer]);
        assert!(near > 0.98, "layer {layer}: cosine {near}");

        let errors = table(&engine, errors, TABLES - 1).unwrap();
        let area = errors.len() / SAMPLES / f.biases[layer].len();
        let mut got = vec![0.0; f.biases[layer].len()];
        for (i, e) in errors.iter().enumerate() {
            got[i / area % f.biases[layer].len()] += from_torus(*e);
        }
        let near = cosine(&got, &f.bias_gradients[layer]);
        assert!(near > 0.98, "layer {layer}, biases: cosine {near}");
    }
}

#[test]
fn levels_are_what_a_promotion_takes() {
    let params = Params::toy_insecure().unwrap();
    let engine = Clear::exact(&params);
    let z: Vec<u64> = [-3.0, 0.1, 1.0, 3.9, 7.0].iter().map(|z| to_torus(z / 32.0)).collect();
    let a = RELU.lookup(&engine, &z, 8.0).unwrap();
    let slots = vec![(0..5).map(|i| fhe_core::Slot { value: i, coefficient: i }).collect()];
    let promoted = engine.promote(&a, TABLES, &slots).unwrap();
    assert_eq!(promoted.integers[0][..5], [-8, -8, 8, 52, 52]);
    let gates: Vec<f64> =
        table(&engine, &a, 3).unwrap().iter().map(|&x| from_torus(x).abs()).collect();
    assert_eq!(gates, [0.0, 0.25, 0.25, 0.25, 0.0]);
    assert_eq!(levels(&engine, 128, |_| 1).unwrap().len(), 3);
}
