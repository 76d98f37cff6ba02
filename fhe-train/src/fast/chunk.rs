//! A few samples, forward and backward: what one thread does at a time.

use fhe_nn::HiddenLayer;

use super::layer::Layer;
use super::normal::{Normal, disturb};
use super::pool::{pool, unpool};
use super::tables::Tables;
use crate::ERROR_LIMIT;
use crate::layer_noise::LayerNoise;

/// The network, as all samples of a step see it.
pub(super) struct View<'a> {
    pub(super) layers: &'a [Layer],
    pub(super) noises: &'a [LayerNoise],
    pub(super) tables: &'a Tables,
    /// What follows each layer but the last.
    pub(super) hidden: &'a [HiddenLayer],
    /// What errors are multiplied by on their way through each layer's residual connection.
    pub(super) residual_scales: &'a [Option<i64>],
    /// Weights for the way back, of every layer; those of the first are not used.
    pub(super) transposed: &'a [Vec<f32>],
    /// Torus fraction of an error's integer in the gradient of each layer.
    pub(super) amplitudes: &'a [f64],
}

/// What a forward pass leaves.
pub(super) struct Forward {
    /// Inputs of each layer, as matrices of windows.
    windows: Vec<Vec<f32>>,
    /// Gates of each layer but the last.
    gates: Vec<Vec<f32>>,
    /// Sums of squares of the integers of each layer's input: for each sample, for each group.
    norms: Vec<Vec<Vec<f64>>>,
    /// Of the last layer, class by class.
    pub(super) scores: Vec<f32>,
    /// Of each layer, pre-activations outside the range.
    pub(super) wraps: Vec<u64>,
}

/// What a step's chunk adds up to, for each layer.
pub(super) struct Outcome {
    pub(super) gradients: Vec<Vec<f32>>,
    /// Sums of the errors' integers over samples and positions.
    pub(super) errors: Vec<Vec<f32>>,
    /// Sums of squares of the inputs' integers, for each group.
    pub(super) norms: Vec<Vec<f64>>,
    pub(super) wraps: Vec<u64>,
    /// Errors that did not fit their range, and were read as something else.
    pub(super) lost: Vec<u64>,
}

/// Noise on a pass: none, that of a decrypted model, or that of an encrypted training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moves {
    Exact,
    Noisy,
}

impl View<'_> {
    /// Runs samples through the network.
    pub(super) fn forward(
        &self,
        features: &[&[i8]],
        noise: &mut Option<Normal>,
        moves: Moves,
    ) -> Forward {
        let samples = features.len();
        let mut map = self.first_map(features);
        let mut out = Forward {
            windows: Vec::new(),
            gates: Vec::new(),
            norms: vec![features.iter().map(|x| self.first_norms(x)).collect()],
            scores: Vec::new(),
            wraps: Vec::new(),
        };
        // Outputs of the layers, for residual connections.
        let mut outputs: Vec<Vec<f32>> = Vec::new();
        for (i, (layer, noises)) in self.layers.iter().zip(self.noises).enumerate() {
            let windows = layer.windows(&map, samples);
            let mut z = layer.forward(&windows, samples);
            out.windows.push(windows);
            let norms: Vec<f64> = out.norms[i].iter().map(|groups| groups.iter().sum()).collect();
            by_sample(&mut z, layer.area(), samples, |s, z| {
                disturb(noise, z, || match moves {
                    Moves::Exact => noises.idle(norms[s], layer.idle),
                    Moves::Noisy => noises.forward(norms[s], layer.idle) + noises.reading(),
                });
            });
            let (Some(hidden), Some(tables)) = (self.hidden.get(i), self.tables.hidden.get(i))
            else {
                let table = &self.tables.score;
                out.wraps
                    .push(z.iter().filter(|&&z| table.is_outside(table.slot(z))).count() as u64);
                out.scores = z;
                break;
            };
            let (mut gates, mut wraps) = (vec![0.0; z.len()], 0);
            for (z, gate) in z.iter_mut().zip(&mut gates) {
                let slot = tables.activation.slot(*z);
                *z = tables.activation.value(slot);
                *gate = tables.gate.value(slot);
                wraps += u64::from(tables.activation.is_outside(slot));
            }
            out.wraps.push(wraps);
            out.gates.push(gates);
            if let Some(source) = hidden.residual {
                z.iter_mut().zip(&outputs[source]).for_each(|(a, earlier)| *a += earlier);
            }
            let shape = layer.geometry.output;
            map = pool(z, shape, hidden.pool);
            outputs.push(if hidden.is_source { map.clone() } else { Vec::new() });
            let next = &self.noises[i + 1];
            let (channels, area) = (shape.channels, map.len() / (shape.channels * samples));
            let mut norms = vec![vec![0.0; next.gradient_input_of(channels - 1) + 1]; samples];
            let mut at = 0;
            by_sample(&mut map, area, samples, |s, a| {
                norms[s][next.gradient_input_of(at / samples)] +=
                    f64::from(a.iter().map(|a| a * a).sum::<f32>());
                at += 1;
            });
            out.norms.push(norms);
        }
        out
    }

    /// Returns the sums of squares of a sample's features in each polynomial of the first layer's
    /// gradient.
    fn first_norms(&self, features: &[i8]) -> Vec<f64> {
        let (g, noises) = (&self.layers[0].geometry, &self.noises[0]);
        let mut norms = vec![0.0; noises.gradient_input_of(g.input.channels - 1) + 1];
        if norms.len() == 1 {
            return vec![squares(features)];
        }
        for c in 0..g.input.channels {
            let at = |i: usize| g.input_at(c, i / g.input.width, i % g.input.width).1;
            let of_channel = (0..g.input.area()).map(|i| f64::from(features[at(i)]).powi(2));
            norms[noises.gradient_input_of(c)] += of_channel.sum::<f64>();
        }
        norms
    }

    /// Returns the features as a map, channel by channel.
    fn first_map(&self, features: &[&[i8]]) -> Vec<f32> {
        let g = &self.layers[0].geometry;
        let (input, samples) = (g.input, features.len());
        let mut map = Vec::with_capacity(input.len() * samples);
        for c in 0..input.channels {
            for x in features {
                for y in 0..input.height {
                    let (_, at) = g.input_at(c, y, 0);
                    map.extend(x[at..at + input.width].iter().map(|&x| f32::from(x)));
                }
            }
        }
        map
    }

    /// Takes the errors of the scores back through the network.
    pub(super) fn backward(
        &self,
        forward: &Forward,
        labels: &[u32],
        noise: &mut Option<Normal>,
    ) -> Outcome {
        let (samples, last) = (labels.len(), self.layers.len() - 1);
        let mut lost = vec![0; last];
        let mut errors: Vec<f32> =
            forward.scores.iter().map(|&z| self.tables.score.at(z)).collect();
        for (i, e) in errors.iter_mut().enumerate() {
            let is_of_class = labels[i % samples] as usize == i / samples;
            *e -= ERROR_LIMIT as f32 * if is_of_class { 1.0 } else { -1.0 };
        }
        let (mut gradients, mut sums) = (Vec::new(), Vec::new());
        // What residual connections bring back to each layer's output.
        let mut added: Vec<Vec<f32>> = vec![Vec::new(); last];
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let of_output = errors.chunks_exact(samples * layer.area());
            sums.push(of_output.map(|e| e.iter().sum()).collect());
            let amplitude = self.amplitudes[i] as f32;
            let mut scaled: Vec<f32> = errors.iter().map(|e| amplitude * e).collect();
            disturb(noise, &mut scaled, || self.noises[i].error(self.amplitudes[i]));
            gradients.push(layer.weight_gradient(&forward.windows[i], &scaled, samples));
            if i > 0 {
                let gates = &forward.gates[i - 1];
                let back = self.back(i, &errors, samples, noise, &mut added);
                errors = self.gated(i, back, gates, noise, &mut lost[i - 1]);
            }
        }
        gradients.reverse();
        sums.reverse();
        let norms = forward.norms.iter().map(|samples| total(samples)).collect();
        Outcome { gradients, errors: sums, norms, wraps: forward.wraps.clone(), lost }
    }

    /// Returns what comes back to the activation before layer `i`, and hands on what a residual
    /// connection takes.
    fn back(
        &self,
        i: usize,
        errors: &[f32],
        samples: usize,
        noise: &mut Option<Normal>,
        added: &mut [Vec<f32>],
    ) -> Vec<f32> {
        let (layer, noises) = (&self.layers[i], &self.noises[i]);
        let mut norms = vec![0.0; samples];
        for (at, e) in errors.chunks_exact(layer.area()).enumerate() {
            norms[at % samples] += f64::from(e.iter().map(|e| e * e).sum::<f32>());
        }
        let mut back = layer.input_gradient(&self.transposed[i], errors, samples);
        let input = layer.geometry.input;
        by_sample(&mut back, input.height * input.width, samples, |s, u| {
            disturb(noise, u, || noises.backward(norms[s]));
        });
        back.iter_mut().zip(&added[i - 1]).for_each(|(u, more)| *u += more);
        let hidden = &self.hidden[i - 1];
        let back = unpool(back, self.layers[i - 1].geometry.output, hidden.pool);
        if let (Some(source), Some(scale)) = (hidden.residual, self.residual_scales[i - 1]) {
            let (scale, sum) = (scale as f32, &mut added[source]);
            sum.resize(back.len(), 0.0);
            sum.iter_mut().zip(&back).for_each(|(sum, u)| *sum += scale * u);
        }
        back
    }

    /// Returns the integers of the errors of the layer before layer `i`.
    fn gated(
        &self,
        i: usize,
        mut u: Vec<f32>,
        gates: &[f32],
        noise: &mut Option<Normal>,
        lost: &mut u64,
    ) -> Vec<f32> {
        let (noises, tables) = (&self.noises[i - 1], &self.tables.hidden[i - 1]);
        u.iter_mut().zip(gates).for_each(|(u, gate)| {
            *u *= tables.scale;
            *lost += u64::from(*gate != 0.0 && u.abs() > 0.125);
            *u += gate - 0.125;
        });
        disturb(noise, &mut u, || noises.error_reading());
        u.iter_mut().for_each(|u| *u = tables.error.at(*u));
        u
    }
}

/// Calls `f` with the sample of each stretch of a map, and the stretch, channel by channel.
fn by_sample(map: &mut [f32], area: usize, samples: usize, mut f: impl FnMut(usize, &mut [f32])) {
    for (i, x) in map.chunks_exact_mut(area).enumerate() {
        f(i % samples, x);
    }
}

fn squares(x: &[i8]) -> f64 {
    f64::from(x.iter().map(|&x| i32::from(x) * i32::from(x)).sum::<i32>())
}

fn total(rows: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; rows.first().map_or(0, Vec::len)];
    for row in rows {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    sum
}
