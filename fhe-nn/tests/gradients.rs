//! Forward and backward on the clear engine against PyTorch, and PyTorch against finite
//! differences.
//!
//! The engine rounds activations to levels and errors to integers; PyTorch does not. So scores
//! agree to the size of a rounding, and gradients in direction: the cosine between them is near
//! one.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fhe_core::{Clear, Engine, Params, from_torus, to_torus};
use fhe_nn::activation::{Activation, ErrorGate, Kind};
use fhe_nn::{
    Cells, Conv2d, Geometry, LayerConfig, Network, NetworkConfig, NetworkPlan, Promotable, Shape,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

const CLASSES: usize = 3;
const RELU: Activation =
    Activation { kind: Kind::Relu, levels: 15, range: 4.0, offset: 2, spacing: 2 };

#[derive(Deserialize)]
struct Fixture {
    inputs: Vec<i32>,
    labels: Vec<usize>,
    weights: Vec<Vec<f64>>,
    biases: Vec<Vec<f64>>,
    scores: Vec<f64>,
    weight_gradients: Vec<Vec<f64>>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/network.json")).unwrap()
}

fn config() -> NetworkConfig {
    NetworkConfig {
        input: Shape { channels: 2, height: 4, width: 4 },
        z_range: 8.0,
        cells: Cells::default(),
        shortcut: false,
        layers: vec![
            LayerConfig::new("conv1", 3, 3, Some(RELU)),
            LayerConfig::new("conv2", 4, 2, Some(RELU)),
            LayerConfig::new("scores", CLASSES, 1, None),
        ],
    }
}

/// A network with its real numbers.
struct Case {
    params: Params,
    config: NetworkConfig,
    inputs: Vec<Vec<i32>>,
    labels: Vec<usize>,
    weights: Vec<Vec<f64>>,
    biases: Vec<Vec<f64>>,
    /// Of the error gates.
    scales: Vec<i64>,
}

impl Case {
    fn of(f: &Fixture) -> Self {
        Self {
            params: Params::secure128_deep_v4().unwrap(),
            config: config(),
            inputs: f.inputs.chunks_exact(32).map(<[i32]>::to_vec).collect(),
            labels: f.labels.clone(),
            weights: f.weights.clone(),
            biases: f.biases.clone(),
            scales: vec![1, 1],
        }
    }

    fn plan(&self) -> NetworkPlan {
        NetworkPlan::new(&self.config, &self.params).unwrap()
    }

    fn sign(&self, i: usize) -> f64 {
        if self.labels[i / CLASSES] == i % CLASSES { 1.0 } else { -1.0 }
    }

    /// Calls `f` with the places in map, weights and input of every term of a convolution.
    fn terms(g: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
        let (k, input, output) = (g.kernel, g.input, g.output);
        for p in 0..output.len() {
            let (o, oy, ox) = (
                p / (output.height * output.width),
                p / output.width % output.height,
                p % output.width,
            );
            for j in 0..input.channels * k * k {
                let (c, y, x) = (j / (k * k), oy + j / k % k, ox + j % k);
                let (y, x) = (y.wrapping_sub(g.padding), x.wrapping_sub(g.padding));
                if y < input.height && x < input.width {
                    let at = (c * input.height + y) * input.width + x;
                    f(p, o * input.channels * k * k + j, at);
                }
            }
        }
    }

    /// Where each place of a layer's map goes in pooling.
    fn pooled(&self, layer: usize, output: Shape) -> Vec<usize> {
        let (side, width, height) = (self.config.layers[layer].pool, output.width, output.height);
        (0..output.len())
            .map(|p| {
                let (c, y, x) = (p / (height * width), p / width % height, p % width);
                (c * (height / side) + y / side) * (width / side) + x / side
            })
            .collect()
    }

    /// Inputs and pre-activations of every layer, by the definitions of convolution, residual
    /// addition and pooling; with activations rounded to levels or not.
    fn forward(&self, sample: usize, rounded: bool) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let first = self.inputs[sample].iter().map(|&x| f64::from(x)).collect();
        let (mut inputs, mut all): (Vec<Vec<f64>>, _) = (vec![first], Vec::new());
        let plan = self.plan();
        for (i, g) in plan.geometries().iter().enumerate() {
            let area = g.output.height * g.output.width;
            let mut z: Vec<f64> = (0..g.output.len()).map(|p| self.biases[i][p / area]).collect();
            Self::terms(g, |p, w, at| z[p] += self.weights[i][w] * inputs[i][at]);
            all.push(z.clone());
            let Some(hidden) = plan.hidden().get(i) else { break };
            let f = hidden.activation;
            let top = f64::from(f.levels);
            let bottom = if f.kind == Kind::Relu { 0.0 } else { -top };
            for z in &mut z {
                let real = (*z * top / f.range).clamp(bottom, top) - f64::from(f.offset);
                *z = if rounded { f64::from(f.at(*z) / f.spacing) } else { real };
            }
            if let Some(source) = hidden.residual {
                z.iter_mut().zip(&inputs[source + 1]).for_each(|(a, earlier)| *a += earlier);
            }
            let mut out = vec![0.0; z.len() / self.config.layers[i].pool.pow(2)];
            self.pooled(i, g.output).iter().zip(z).for_each(|(&to, a)| out[to] += a);
            inputs.push(out);
        }
        (inputs, all)
    }

    fn scores(&self, sample: usize) -> Vec<f64> {
        self.forward(sample, false).1.pop().unwrap()
    }

    /// The way back by the chain rule, in real numbers; activations rounded or not, straight
    /// through.
    fn chain_rule(&self, rounded: bool) -> Vec<Vec<f64>> {
        let plan = self.plan();
        let geometries = plan.geometries();
        let mut gradients: Vec<_> = self.weights.iter().map(|w| vec![0.0; w.len()]).collect();
        for s in 0..self.inputs.len() {
            let (inputs, z) = self.forward(s, rounded);
            let last = self.weights.len() - 1;
            // dL/d(input) of every layer.
            let mut back: Vec<_> = inputs.iter().map(|a| vec![0.0; a.len()]).collect();
            let scores = self.scores(s).into_iter().enumerate();
            let mut errors: Vec<f64> = scores
                .map(|(k, z)| {
                    let y = (self.sign(s * CLASSES + k) + 1.0) / 2.0;
                    1.0 / (1.0 + (-z).exp()) - y
                })
                .collect();
            for i in (0..=last).rev() {
                if i < last {
                    let f = plan.hidden()[i].activation;
                    let of_sum: Vec<f64> = self
                        .pooled(i, geometries[i].output)
                        .iter()
                        .map(|&to| back[i + 1][to])
                        .collect();
                    if let Some(source) = plan.hidden()[i].residual {
                        let of_source = back[source + 1].iter_mut();
                        of_source.zip(&of_sum).for_each(|(sum, e)| *sum += e);
                    }
                    let slope = f64::from(f.levels) / f.range;
                    let gated = of_sum.iter().zip(&z[i]);
                    errors = gated.map(|(e, &z)| if f.gate(z) { slope * e } else { 0.0 }).collect();
                }
                Self::terms(&geometries[i], |p, w, at| {
                    gradients[i][w] += errors[p] * inputs[i][at];
                    back[i][at] += errors[p] * self.weights[i][w];
                });
            }
        }
        gradients
    }

    fn loss(&self) -> f64 {
        let of_sample = |s: usize| -> f64 {
            let scores = self.scores(s).into_iter().enumerate();
            scores.map(|(k, z)| (-self.sign(s * CLASSES + k) * z).exp().ln_1p()).sum()
        };
        (0..self.inputs.len()).map(of_sample).sum()
    }

    /// Derivatives of the loss in the weights, by finite differences.
    fn differences(&mut self) -> Vec<Vec<f64>> {
        let step = 1e-5;
        let mut all = Vec::new();
        for layer in 0..self.weights.len() {
            let mut of_layer = Vec::new();
            for i in 0..self.weights[layer].len() {
                let w = self.weights[layer][i];
                let mut at = |w: f64| {
                    self.weights[layer][i] = w;
                    self.loss()
                };
                of_layer.push((at(w + step) - at(w - step)) / (2.0 * step));
                at(w);
            }
            all.push(of_layer);
        }
        all
    }

    /// Scores, and gradients of weights in any unit, of the network on the exact engine. Without
    /// labels the errors are those of the real scores.
    fn on_engine(&self) -> (Vec<f64>, Vec<Vec<f64>>) {
        let (config, plan) = (&self.config, self.plan());
        let real = (0..self.inputs.len()).flat_map(|s| self.scores(s)).enumerate();
        // 16 times the logistic error.
        let errors = real.map(|(i, z)| {
            let y = (self.sign(i) + 1.0) / 2.0;
            (16.0 * (1.0 / (1.0 + (-z).exp()) - y)).round() as i32
        });
        let polynomials = side_by_side(&plan, &self.inputs);
        let run = Run { plan: &plan, params: &self.params, scales: &self.scales };
        let (scores, gradients) =
            run.engine(&self.weights, &self.biases, polynomials, &errors.collect::<Vec<_>>());
        (scores.into_iter().map(|z| z / config.unit()).collect(), gradients)
    }
}

/// The polynomials of samples, each a map.
fn side_by_side(plan: &NetworkPlan, samples: &[Vec<i32>]) -> Vec<Vec<i32>> {
    let (cell, cells, count) = (plan.config().input, plan.cells(), plan.cells().count());
    let polynomial = |at: usize| {
        let place = (at / cell.area(), at % cell.area() / cell.width, at % cell.width);
        let mut out = vec![0; plan.lanes() * count];
        for (lane, out) in out.iter_mut().enumerate().take(samples.len() * count) {
            *out = samples[lane / count][cells.at(cell, lane % count, place)];
        }
        out
    };
    (0..plan.inputs()).map(polynomial).collect()
}

/// A network on the exact engine.
struct Run<'a> {
    plan: &'a NetworkPlan,
    params: &'a Params,
    scales: &'a [i64],
}

impl Run<'_> {
    /// Returns the phases of scores, and the phases of gradients for errors of the scores.
    fn engine(
        &self,
        weights: &[Vec<f64>],
        biases: &[Vec<f64>],
        polynomials: Vec<Vec<i32>>,
        errors: &[i32],
    ) -> (Vec<f64>, Vec<Vec<f64>>) {
        let (engine, plan) = (Clear::exact(self.params), self.plan);
        let unit = plan.unit();
        let torus =
            |scale: f64, x: &[f64]| -> Vec<u64> { x.iter().map(|x| to_torus(x * scale)).collect() };
        let layers = plan.weighted().enumerate().map(|(i, g)| {
            let spacing = if i < plan.geometries().len() { plan.spacing(i) } else { 1.0 };
            let weights = torus(unit / spacing, &weights[i]);
            Conv2d::new(&engine, g.clone(), &weights, torus(unit, &biases[i])).unwrap()
        });
        let network = Network::new(plan, layers.collect()).unwrap();
        let x = engine.selectors(polynomials);
        let trace = network.forward(&engine, &x, 0).unwrap();
        let samples = errors.len() / plan.classes();
        let at = network.scores_at(samples);
        let scores = engine.extract(&trace.scores, &at).unwrap();

        let amplitude = 1.0 / 16384.0;
        // A score of zero has an error of zero, to which integers are added.
        let none = fhe_core::IntegerTable::new(self.params.row_size, |_| 0).unwrap();
        let zeros = engine.public_values(&vec![0; errors.len()]);
        let of_none = Promotable::lookup(&engine, &zeros, &none, &none.times(amplitude)).unwrap();
        let integers: Vec<u64> = errors.iter().map(|&e| i64::from(e) as u64).collect();
        let errors =
            of_none.add_in_units(&engine, &integers, amplitude, |unit| to_torus(unit) as i64);
        let errors = network.score_errors(&engine, &errors.unwrap(), samples).unwrap();
        let gate = |&scale: &i64| ErrorGate { limit: 31, scale, amplitude };
        let gates: Vec<ErrorGate> = self.scales.iter().map(gate).collect();
        let all = network.backward(&engine, &trace, errors, &gates).unwrap();
        let gradient = |index: usize| {
            let rows = network.weight_gradient(&engine, index, ((&x, 0), &trace), &all).unwrap();
            let at: Vec<_> = network.weighted()[index].geometry().weights_at().collect();
            engine.extract(&rows, &at).unwrap().into_iter().map(from_torus).collect()
        };
        let gradients = (0..network.weighted().len()).map(gradient).collect();
        (scores.into_iter().map(from_torus).collect(), gradients)
    }
}

#[test]
fn pytorch_agrees_with_finite_differences() {
    let f = fixture();
    for (differences, gradients) in Case::of(&f).differences().iter().zip(&f.weight_gradients) {
        assert_eq!(differences.len(), gradients.len());
        for (difference, gradient) in differences.iter().zip(gradients) {
            let near = 1e-4 * (1.0 + gradient.abs());
            assert!((difference - gradient).abs() < near, "{difference} {gradient}");
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
    let (scores, weights) = Case::of(&f).on_engine();
    for (got, want) in scores.iter().zip(&f.scores) {
        // Half a level in each of 4 activations, times the weights.
        assert!((got - want).abs() < 0.35, "{got} {want}");
    }
    for (layer, (got, want)) in weights.iter().zip(&f.weight_gradients).enumerate() {
        let near = cosine(got, want);
        assert!(near > 0.98, "layer {layer}: cosine {near}");
    }
}

/// A network on cells is the network on the whole map, whose last layer is dense: bit for bit. And
/// its shortcut is a dense layer from the map to the scores.
#[test]
fn cells_are_parts_of_a_map() {
    let params = Params::toy_insecure_batch().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut normal = |count: usize, std: f64| -> Vec<f64> {
        (0..count).map(|_| std * fhe_core::noise::gaussian(&mut rng)).collect()
    };
    let on_map = NetworkConfig {
        input: Shape { channels: 2, height: 6, width: 6 },
        layers: vec![
            LayerConfig::new("conv1", 3, 3, Some(RELU)),
            LayerConfig { stride: 2, ..LayerConfig::new("conv2", 4, 2, Some(RELU)) },
            LayerConfig::new("scores", CLASSES, 2, None),
        ],
        ..config()
    };
    let on_cells = NetworkConfig {
        input: Shape { channels: 2, height: 4, width: 4 },
        cells: Cells { side: 2, stride: 2 },
        shortcut: true,
        layers: vec![
            on_map.layers[0].clone(),
            LayerConfig::new("conv2", 4, 2, Some(RELU)),
            LayerConfig::new("scores", CLASSES, 1, None),
        ],
        ..on_map.clone()
    };
    let (whole, cells) = (
        NetworkPlan::new(&on_map, &params).unwrap(),
        NetworkPlan::new(&on_cells, &params).unwrap(),
    );
    assert_eq!((whole.lanes(), cells.lanes()), (512, 128));
    let samples: Vec<Vec<i32>> =
        (0..5).map(|_| normal(72, 2.0).iter().map(|x| x.round() as i32).collect()).collect();
    let (first, second, last) = (normal(54, 0.1), normal(48, 0.1), normal(48, 0.05));
    let biases = |scores: usize| vec![vec![0.1; 3], vec![-0.2; 4], vec![0.0; scores]];
    // Filter o of the last layer, channel c, cell p: to the filter of class and cell.
    let of_cells: Vec<f64> = (0..48).map(|i| last[i / 16 * 16 + i % 4 * 4 + i / 4 % 4]).collect();
    let errors: Vec<i32> = (0..5 * CLASSES as i32).map(|i| i % 7 - 3).collect();
    let run = |plan: &NetworkPlan, weights: &[Vec<f64>], biases: &[Vec<f64>]| {
        let run = Run { plan, params: &params, scales: &[1, 2] };
        run.engine(weights, biases, side_by_side(plan, &samples), &errors)
    };
    let (want, of_whole) =
        run(&whole, &[first.clone(), second.clone(), last.clone()], &biases(CLASSES));
    let mut biases = biases(4 * CLASSES);
    biases.push(vec![0.0; 4 * CLASSES]);
    let nothing = vec![0.0; 4 * CLASSES * 32];
    let weights = [first, second, of_cells, nothing];
    let (got, of_cells) = run(&cells, &weights, &biases);
    assert_eq!(got, want);
    assert_eq!(of_cells[..2], of_whole[..2]);
    let moved: Vec<f64> =
        (0..48).map(|i| of_whole[2][i / 16 * 16 + i % 4 * 4 + i / 4 % 4]).collect();
    assert_eq!(of_cells[2], moved);

    // The gradient of the shortcut's weight of class 1, cell 2, channel 1, row 3 and column 0.
    let at = 6 * (2 + 3) + 36;
    let of_sample = |s: usize| f64::from(errors[s * CLASSES + 1] * samples[s][at]) / 16384.0;
    let index = (4 + 2) * 32 + 16 + 12;
    assert_eq!(of_cells[3][index], (0..5).map(of_sample).sum::<f64>());
    let mut shortcut = weights;
    shortcut[3][index] = 0.5;
    for (i, (got, want)) in run(&cells, &shortcut, &biases).0.iter().zip(want).enumerate() {
        let more = if i % CLASSES == 1 { 0.5 * f64::from(samples[i / CLASSES][at]) } else { 0.0 };
        assert!((got - want - more / 32.0).abs() < 1e-12, "{i}: {got}, {want}");
    }
}

/// A clipped identity, a residual connection around a padded convolution, and pooling.
#[test]
fn gradients_through_residual_connections_and_pooling_are_finite_differences() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    // The connection brings errors back undiminished, so gains must be near 1: a wide spacing, few
    // levels.
    let activation =
        |kind, range, offset, spacing| Some(Activation { kind, levels: 3, range, offset, spacing });
    let config = NetworkConfig {
        input: Shape { channels: 2, height: 6, width: 6 },
        z_range: 16.0,
        cells: Cells::default(),
        shortcut: false,
        layers: vec![
            LayerConfig::new("one", 3, 3, activation(Kind::ClippedIdentity, 6.0, 0, 3)),
            LayerConfig {
                padding: 1,
                residual: Some("one".into()),
                ..LayerConfig::new("two", 3, 3, activation(Kind::Relu, 2.325, 1, 3))
            },
            LayerConfig {
                pool: 2,
                ..LayerConfig::new("three", 3, 1, activation(Kind::Relu, 6.0, 1, 2))
            },
            LayerConfig::new("scores", CLASSES, 2, None),
        ],
    };
    let mut normal = |count: usize, std: f64| -> Vec<f64> {
        (0..count).map(|_| std * fhe_core::noise::gaussian(&mut rng)).collect()
    };
    let weights = vec![normal(54, 0.2), normal(81, 0.2), normal(9, 0.8), normal(36, 0.06)];
    let biases = (0..4).map(|_| normal(3, 0.2)).collect();
    let inputs = (0..8).map(|_| normal(72, 2.0).iter().map(|x| x.round() as i32).collect());
    let inputs = inputs.collect();
    let labels = (0..8).map(|i| i % CLASSES).collect();
    // With rows of 2,048, so that pre-activations are read finely.
    let params = Params::secure128_deep_v4().unwrap();
    let scales = vec![1, 1, 2];
    let mut case = Case { params, config, inputs, labels, weights, biases, scales };
    let (_, gradients) = case.on_engine();
    for (layer, (got, want)) in gradients.iter().zip(case.chain_rule(true)).enumerate() {
        let near = cosine(got, &want);
        // Errors are few integers here, and their rounding is seen.
        assert!(near > 0.88, "layer {layer}: cosine {near}");
    }
    // And the chain rule, without rounding, is the derivative.
    for (got, want) in
        case.chain_rule(false).iter().flatten().zip(case.differences().iter().flatten())
    {
        assert!((got - want).abs() < 1e-4 * (1.0 + want.abs()), "{got} {want}");
    }
}

#[test]
fn integers_are_looked_up_and_promoted() {
    let params = Params::secure128_deep_v4().unwrap();
    let engine = Clear::exact(&params);
    let z: Vec<u64> = [-3.0, 0.1, 1.0, 3.9, 7.0].iter().map(|z| to_torus(z / 32.0)).collect();
    let (integers, gates) = RELU.tables(params.row_size, 8.0).unwrap();
    let a = Promotable::lookup(&engine, &z, &integers, &gates).unwrap();
    let slots = vec![(0..5).map(|i| fhe_core::Slot { value: i, coefficient: i }).collect()];
    let promoted = a.promote(&engine, &slots).unwrap();
    assert_eq!(promoted.integers[0][..5], [-4, -4, 4, 26, 26]);
    let floats = |x: Vec<u64>| -> Vec<f64> { x.into_iter().map(from_torus).collect() };
    let gates: Vec<f64> = floats(a.extra(&engine).unwrap()).iter().map(|x| x.abs()).collect();
    assert_eq!(gates, [0.0, 0.25, 0.25, 0.25, 0.0]);
    // Five digits of 6 bits: the finest unit is 2^-30.
    let finest = 2f64.powi(-30);
    let more = a
        .add_in_units(&engine, &vec![to_torus(finest); 5], 0.25, |unit| (unit / finest) as i64)
        .unwrap();
    let promoted = more.promote(&engine, &slots).unwrap();
    assert_eq!(promoted.integers[0][..5], [-3, -3, 5, 27, 27]);
}
