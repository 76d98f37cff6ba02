//! Forward and backward on the clear engine against PyTorch, and PyTorch against finite
//! differences.
//!
//! The engine rounds activations to levels and errors to integers; PyTorch does not. So scores
//! agree to the size of a rounding, and gradients in direction: the cosine between them is near
//! one.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fhe_core::{Clear, List, Params, from_torus, to_torus};
use fhe_nn::activation::{Activation, ErrorGate, Kind};
use fhe_nn::geometry::GradientLayout;
use fhe_nn::{
    Conv2d, Geometry, GradientInput, LayerConfig, Network, NetworkConfig, NetworkPlan, Promotable,
    Shape,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

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
    /// Samples for which the layers are laid out.
    together: usize,
}

impl Case {
    fn of(f: &Fixture) -> Self {
        Self {
            params: Params::toy_insecure().unwrap(),
            config: config(),
            inputs: f.inputs.chunks_exact(32).map(<[i32]>::to_vec).collect(),
            labels: f.labels.clone(),
            weights: f.weights.clone(),
            biases: f.biases.clone(),
            scales: vec![1, 2],
            together: 1,
        }
    }

    fn plan(&self) -> NetworkPlan {
        NetworkPlan::for_parts(&self.config, &self.params, self.together).unwrap()
    }

    /// The inputs, a polynomial for each channel.
    fn channels(&self, g: &Geometry) -> Vec<Vec<i32>> {
        let area = g.input.area();
        let of_channel = |c: usize| {
            let mut out = vec![0; g.row_size()];
            for (s, at) in (0..self.inputs.len()).flat_map(|s| (0..area).map(move |at| (s, at))) {
                let place = g.input_over_samples(s, at / g.input.width, at % g.input.width);
                out[place] = self.inputs[s][c * area + at];
            }
            out
        };
        (0..g.input.channels).map(of_channel).collect()
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

    /// Scores, and gradients of weights and biases in any unit, of the network on the exact engine.
    fn on_engine(&self) -> (Vec<f64>, Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let params = &self.params;
        let (engine, config, n) = (Clear::exact(params), &self.config, params.row_size);
        let plan = self.plan();
        let layers = plan
            .geometries()
            .iter()
            .enumerate()
            .map(|(i, g)| {
                let unit = config.unit();
                let torus = |scale: f64, x: &[f64]| -> Vec<u64> {
                    x.iter().map(|x| to_torus(x * scale)).collect()
                };
                let weights = torus(unit / plan.spacing(i), &self.weights[i]);
                Conv2d::new(&engine, g.clone(), &weights, &torus(unit, &self.biases[i])).unwrap()
            })
            .collect();
        let network = Network::new(&plan, layers).unwrap();

        let inputs = self.inputs.iter().map(|x| [&x[..], &vec![0; n - x.len()]].concat()).collect();
        let (x, samples) = (engine.selectors(inputs), self.inputs.len());
        let channels = engine.selectors(self.channels(&plan.geometries()[0]));
        let trace = network.forward(&engine, &x, 0..samples).unwrap();
        let scores: Vec<f64> =
            trace.scores.iter().map(|&z| from_torus(z) / config.unit()).collect();

        // Errors of the real scores as integers: 30 times the logistic error.
        let gadget = params.lists.unwrap().selector;
        let real = (0..samples).flat_map(|s| self.scores(s)).enumerate();
        let errors = real.map(|(i, z)| {
            let y = (self.sign(i) + 1.0) / 2.0;
            (30.0 * (1.0 / (1.0 + (-z).exp()) - y)).round() as i32
        });
        let amplitude = 1.0 / 16384.0;
        let units: Vec<f64> =
            (1..=3).map(|j| 2f64.powi(-(gadget.base_log as i32) * j)).chain([amplitude]).collect();
        let errors =
            errors.flat_map(|e| units.iter().map(move |unit| to_torus(f64::from(e) * unit)));
        let errors = Promotable::from_values(errors.collect()).unwrap();
        let gate = |&scale: &i64| ErrorGate { limit: 31, scale, amplitude };
        let gates: Vec<ErrorGate> = self.scales.iter().map(gate).collect();
        let transposed = network.transpose(&engine).unwrap();
        let all = network.backward(&engine, &trace, &transposed, errors, &gates, samples).unwrap();

        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for (layer, errors) in all.iter().enumerate() {
            let conv = &network.layers()[layer];
            let over_samples = conv.geometry().gradient() == GradientLayout::Samples;
            let input = match layer.checked_sub(1) {
                Some(before) => trace.inputs[before].for_gradient(samples),
                None if over_samples => conv.geometry().channels_of_part(&channels, 0, samples),
                None => GradientInput::Samples(&x, 0..samples),
            };
            let gradient = network.weight_gradient(&engine, layer, input, errors).unwrap();
            // In two stretches, where there are so many blocks.
            let most = conv.geometry().weights() / 2;
            let stretches = conv.geometry().stretches(most).into_iter();
            let values = stretches
                .flat_map(|blocks| conv.gradient_values(&engine, &gradient, blocks).unwrap());
            weights.push(values.map(from_torus).collect());

            let errors = errors.finest();
            let outputs = self.biases[layer].len();
            let area = errors.len() / samples / outputs;
            let mut bias = vec![0.0; outputs];
            for (i, e) in errors.iter().enumerate() {
                bias[i / area % outputs] += from_torus(*e);
            }
            biases.push(bias);
        }
        (scores, weights, biases)
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
    agrees_with_pytorch(Params::toy_insecure().unwrap(), 1);
}

#[test]
fn gradients_over_samples_are_those_of_pytorch() {
    let plan = Case { together: 14, ..Case::of(&fixture()) }.plan();
    assert_eq!(plan.geometries()[0].gradient(), GradientLayout::Samples);
    agrees_with_pytorch(Params::toy_insecure().unwrap(), 14);
}

/// The lookups of the hidden layers are long enough for batches of the set.
#[test]
fn scores_and_gradients_in_batches_are_those_of_pytorch() {
    agrees_with_pytorch(Params::toy_insecure_batch().unwrap(), 1);
}

fn agrees_with_pytorch(params: Params, together: usize) {
    let f = fixture();
    let (scores, weights, biases) = Case { params, together, ..Case::of(&f) }.on_engine();
    for (got, want) in scores.iter().zip(&f.scores) {
        // Half a level in each of 4 activations, times the weights.
        assert!((got - want).abs() < 0.25, "{got} {want}");
    }
    for layer in 0..3 {
        let near = cosine(&weights[layer], &f.weight_gradients[layer]);
        assert!(near > 0.98, "layer {layer}: cosine {near}");
        let near = cosine(&biases[layer], &f.bias_gradients[layer]);
        assert!(near > 0.98, "layer {layer}, biases: cosine {near}");
    }
}

/// A clipped identity, a residual connection around a padded convolution, and pooling.
#[test]
fn gradients_through_residual_connections_and_pooling_are_finite_differences() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    // The connection brings errors back undiminished, so gains must be near 1: a wide spacing, few
    // levels.
    let activation =
        |kind, range, offset| Activation { kind, levels: 3, range, offset, spacing: 3 };
    let config = NetworkConfig {
        input: Shape { channels: 2, height: 6, width: 6 },
        z_range: 16.0,
        layers: vec![
            LayerConfig::new("one", 3, 3, Some(activation(Kind::ClippedIdentity, 6.0, 0))),
            LayerConfig {
                padding: 1,
                residual: Some("one".into()),
                pool: 2,
                ..LayerConfig::new("two", 3, 3, Some(activation(Kind::Relu, 2.0, 1)))
            },
            LayerConfig::new("scores", CLASSES, 2, None),
        ],
    };
    let mut normal = |count: usize, std: f64| -> Vec<f64> {
        (0..count).map(|_| std * fhe_core::noise::gaussian(&mut rng)).collect()
    };
    let weights = vec![normal(54, 0.2), normal(81, 0.2), normal(36, 0.03)];
    let biases = vec![normal(3, 0.2), normal(3, 0.2), normal(3, 0.2)];
    let inputs = (0..8).map(|_| normal(72, 2.0).iter().map(|x| x.round() as i32).collect());
    let inputs = inputs.collect();
    let labels = (0..8).map(|i| i % CLASSES).collect();
    // With rows of 2,048, so that pre-activations are read finely.
    let params = Params::secure128_deep().unwrap();
    let scales = vec![1, 4];
    let mut case = Case { params, config, inputs, labels, weights, biases, scales, together: 1 };
    // Over channels; the first layer over samples; the second one, whose input is padded.
    for (together, layouts) in [(1, [false; 2]), (8, [true, false]), (100, [false, true])] {
        case.together = together;
        let plan = case.plan();
        let over = plan.geometries().iter().map(|g| g.gradient() == GradientLayout::Samples);
        assert_eq!(over.take(2).collect::<Vec<_>>(), layouts, "{together}");
        let (_, gradients, _) = case.on_engine();
        for (layer, (got, want)) in gradients.iter().zip(case.chain_rule(true)).enumerate() {
            let near = cosine(got, &want);
            assert!(near > 0.97, "{together} together, layer {layer}: cosine {near}");
        }
    }
    // And the chain rule, without rounding, is the derivative.
    for (got, want) in
        case.chain_rule(false).iter().flatten().zip(case.differences().iter().flatten())
    {
        assert!((got - want).abs() < 1e-4 * (1.0 + want.abs()), "{got} {want}");
    }
}

#[test]
fn integers_and_gates_are_looked_up_together_and_promoted() {
    let params = Params::toy_insecure().unwrap();
    let engine = Clear::exact(&params);
    let z: Vec<u64> = [-3.0, 0.1, 1.0, 3.9, 7.0].iter().map(|z| to_torus(z / 32.0)).collect();
    let (integers, gates) = RELU.tables(params.row_size, 8.0).unwrap();
    let a = Promotable::lookup(&engine, &z, &integers, &gates).unwrap();
    let slots = vec![(0..5).map(|i| fhe_core::Slot { value: i, coefficient: i }).collect()];
    let promoted = a.promote(&engine, &slots).unwrap();
    assert_eq!(promoted.integers[0][..5], [-8, -8, 8, 52, 52]);
    let floats = |x: Vec<u64>| -> Vec<f64> { x.into_iter().map(from_torus).collect() };
    let gates: Vec<f64> = floats(a.extra(&engine).unwrap()).iter().map(|x| x.abs()).collect();
    assert_eq!(gates, [0.0, 0.25, 0.25, 0.25, 0.0]);
    // Digits of 7 bits: the finest unit is 2^-21.
    let finest: Vec<f64> = floats(a.finest(&engine).unwrap());
    assert_eq!(finest, [-8.0, -8.0, 8.0, 52.0, 52.0].map(|x| x / 2f64.powi(21)));
    let (base, amplitude) = (128.0, 0.25);
    let more = a
        .add_in_units(&engine, &vec![to_torus(1.0 / 2f64.powi(21)); 5], amplitude, |unit| {
            (unit * base * base * base).round() as i64
        })
        .unwrap();
    let promoted = more.promote(&engine, &slots).unwrap();
    assert_eq!(promoted.integers[0][..5], [-7, -7, 9, 53, 53]);
    assert_eq!(Promotable::<Clear>::from_values(vec![0; 8]).unwrap().len(), 2);
    let error = Promotable::<Clear>::from_values(vec![0; 6]).unwrap_err().to_string();
    assert_eq!(error, "layer promotion: got 6 values, expected 8");
}
