//! A few samples, forward and backward: what one thread does at a time.

use fhe_nn::{Cells, HiddenLayer};

use super::layer::Layer;
use super::normal::{Normal, disturb};
use super::pool::{pool, unpool};
use super::tables::Tables;
use crate::ERROR_LIMIT;
use crate::layer_noise::LayerNoise;
use fhe_core::noise::SelectorKind;

/// The network, as all samples of a step see it.
pub(super) struct View<'a> {
    /// The layers, and then the shortcut, if there is one.
    pub(super) layers: &'a [Layer],
    /// The same for the way back.
    pub(super) layers_back: &'a [Layer],
    pub(super) noises: &'a [LayerNoise],
    pub(super) tables: &'a Tables,
    pub(super) cells: Cells,
    /// What follows each layer but the last.
    pub(super) hidden: &'a [HiddenLayer],
    /// What errors are multiplied by on their way through each layer's residual connection.
    pub(super) residual_scales: &'a [Option<i64>],
    /// Torus fraction of an error's integer in the gradient of each layer.
    pub(super) amplitudes: &'a [f64],
}

/// What a forward pass leaves.
pub(super) struct Forward {
    /// Inputs of each layer, and of the shortcut, as matrices of windows.
    windows: Vec<Vec<f32>>,
    /// Gates of each layer but the last.
    gates: Vec<Vec<f32>>,
    /// Mean squares of the inputs of each layer, and of the shortcut.
    squares: Vec<f64>,
    /// Of the last layer, class by class.
    pub(super) scores: Vec<f32>,
    /// Of each layer, pre-activations outside the range.
    pub(super) wraps: Vec<u64>,
    /// Of the inputs of each layer, and of the shortcut: the noise of their selectors, if they come
    /// from lookups.
    kinds: Vec<Option<SelectorKind>>,
}

/// What a step's chunk adds up to, for each layer, and for the shortcut.
pub(super) struct Outcome {
    pub(super) gradients: Vec<Vec<f32>>,
    /// Mean squares of the inputs.
    pub(super) squares: Vec<f64>,
    /// Noise of their selectors.
    pub(super) kinds: Vec<Option<SelectorKind>>,
    pub(super) wraps: Vec<u64>,
    /// Errors that did not fit their range, and were read as something else.
    pub(super) lost: Vec<u64>,
}

/// Noise on a pass: none, as of a decrypted model, or that of an encrypted training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moves {
    Exact,
    Noisy,
}

impl View<'_> {
    /// Returns the number of layers, without the shortcut.
    fn depth(&self) -> usize {
        self.hidden.len() + 1
    }

    /// Runs samples through the network.
    pub(super) fn forward(
        &self,
        features: &[&[i8]],
        noise: &mut Option<Normal>,
        moves: Moves,
    ) -> Forward {
        let lanes = features.len() * self.cells.count();
        let mut map = self.first_map(features);
        let mut out = Forward {
            windows: Vec::new(),
            gates: Vec::new(),
            squares: Vec::new(),
            scores: Vec::new(),
            wraps: Vec::new(),
            kinds: vec![None],
        };
        let shortcut = self.layers.get(self.depth()).map(|layer| {
            let inputs = by_input(&map, self.layers[0].geometry.input.channels, lanes);
            let square = mean_square(&map);
            let mut z = layer.forward(&inputs, lanes);
            if moves == Moves::Noisy {
                disturb(noise, &mut z, || self.noises[self.depth()].forward(square, None));
            }
            (inputs, square, z)
        });
        // Outputs of the layers, for residual connections.
        let mut outputs: Vec<Vec<f32>> = Vec::new();
        for (i, (layer, noises)) in self.layers.iter().zip(self.noises).enumerate() {
            let square = mean_square(&map);
            let windows = layer.windows(&map, lanes);
            let mut z = layer.forward(&windows, lanes);
            out.windows.push(windows);
            out.squares.push(square);
            if moves == Moves::Noisy {
                disturb(noise, &mut z, || noises.forward(square, out.kinds[i]));
            }
            let (Some(hidden), Some(tables)) = (self.hidden.get(i), self.tables.hidden.get(i))
            else {
                map = z;
                break;
            };
            if moves == Moves::Noisy {
                disturb(noise, &mut z, || noises.reading());
            }
            let (mut gates, mut wraps) = (vec![0.0; z.len()], 0);
            let mut counts = vec![0; tables.activation.slots()];
            for (z, gate) in z.iter_mut().zip(&mut gates) {
                let slot = tables.activation.slot(*z);
                counts[tables.activation.batch_slot(slot)] += 1;
                *z = tables.activation.value(slot);
                *gate = tables.gate.value(slot);
                wraps += u64::from(tables.activation.is_outside(slot));
            }
            out.wraps.push(wraps);
            out.gates.push(gates);
            let [kind, _] = noises.selectors([&counts, &[]]);
            out.kinds.push(kind.filter(|_| noise.is_some()));
            if let Some(source) = hidden.residual {
                z.iter_mut().zip(&outputs[source]).for_each(|(a, earlier)| *a += earlier);
            }
            map = pool(z, layer.geometry.output, hidden.pool);
            outputs.push(if hidden.is_source { map.clone() } else { Vec::new() });
        }
        if let Some((inputs, square, z)) = shortcut {
            map.iter_mut().zip(&z).for_each(|(sum, z)| *sum += z);
            out.windows.push(inputs);
            out.squares.push(square);
            out.kinds.push(None);
        }
        let mut scores = self.over_cells(&map, features.len());
        if moves == Moves::Noisy {
            disturb(noise, &mut scores, || self.noises[self.hidden.len()].reading());
        }
        let table = &self.tables.score;
        out.wraps.push(scores.iter().filter(|&&z| table.is_outside(table.slot(z))).count() as u64);
        out.scores = scores;
        out
    }

    /// Returns the scores, class by class: sums over cells, whose filters of a class follow each
    /// other.
    fn over_cells(&self, z: &[f32], samples: usize) -> Vec<f32> {
        let cells = self.cells.count();
        let of_class = z.chunks_exact(cells * samples * cells);
        of_class
            .flat_map(|z| {
                (0..samples).map(move |s| {
                    (0..cells).map(|cell| z[cell * samples * cells + s * cells + cell]).sum()
                })
            })
            .collect()
    }

    /// The way back: errors of scores go to the filters of each cell, in the lanes of this cell.
    fn to_cells(&self, errors: &[f32], samples: usize) -> Vec<f32> {
        let cells = self.cells.count();
        let mut out = vec![0.0; errors.len() * cells * cells];
        let of_class = out.chunks_exact_mut(cells * samples * cells);
        for (out, errors) in of_class.zip(errors.chunks_exact(samples)) {
            for (s, cell) in (0..samples).flat_map(|s| (0..cells).map(move |cell| (s, cell))) {
                out[cell * samples * cells + s * cells + cell] = errors[s];
            }
        }
        out
    }

    /// Returns the features as a map of cells, channel by channel.
    fn first_map(&self, features: &[&[i8]]) -> Vec<f32> {
        let cell = self.layers[0].geometry.input;
        let mut map = Vec::with_capacity(cell.len() * features.len() * self.cells.count());
        for c in 0..cell.channels {
            for x in features {
                for index in 0..self.cells.count() {
                    for y in 0..cell.height {
                        let at = self.cells.at(cell, index, (c, y, 0));
                        map.extend(x[at..at + cell.width].iter().map(|&x| f32::from(x)));
                    }
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
        let (samples, last) = (labels.len(), self.depth() - 1);
        let lanes = samples * self.cells.count();
        let mut lost = vec![0; last];
        let mut scores: Vec<f32> =
            forward.scores.iter().map(|&z| self.tables.score.at(z)).collect();
        for (i, e) in scores.iter_mut().enumerate() {
            let is_of_class = labels[i % samples] as usize == i / samples;
            *e -= ERROR_LIMIT as f32 * if is_of_class { 1.0 } else { -1.0 };
        }
        let mut errors = self.to_cells(&scores, samples);
        let mut kind = None;
        let mut gradients = Vec::new();
        // What residual connections bring back to each layer's output.
        let mut added: Vec<Vec<f32>> = vec![Vec::new(); last];
        let mut of_shortcut = None;
        for (i, layer) in self.layers.iter().enumerate().take(self.depth()).rev() {
            let amplitude = self.amplitudes[i] as f32;
            let mut scaled: Vec<f32> = errors.iter().map(|e| amplitude * e).collect();
            disturb(noise, &mut scaled, || self.noises[i].error(self.amplitudes[i]));
            gradients.push(layer.weight_gradient(&forward.windows[i], &scaled, lanes));
            if let Some(shortcut) = self.layers.get(self.depth()).filter(|_| i == last) {
                let inputs = &forward.windows[self.depth()];
                of_shortcut = Some(shortcut.weight_gradient(inputs, &scaled, lanes));
            }
            if i > 0 {
                let gates = &forward.gates[i - 1];
                let back = self.back(i, (&errors, kind), lanes, noise, &mut added);
                (errors, kind) = self.gated(i, back, gates, noise, &mut lost[i - 1]);
            }
        }
        gradients.reverse();
        gradients.extend(of_shortcut);
        let (squares, wraps) = (forward.squares.clone(), forward.wraps.clone());
        Outcome { gradients, squares, kinds: forward.kinds.clone(), wraps, lost }
    }

    /// Returns what comes back to the activation before layer `i`, and hands on what a residual
    /// connection takes.
    fn back(
        &self,
        i: usize,
        (errors, kind): (&[f32], Option<SelectorKind>),
        lanes: usize,
        noise: &mut Option<Normal>,
        added: &mut [Vec<f32>],
    ) -> Vec<f32> {
        let (layer, noises) = (&self.layers_back[i], &self.noises[i]);
        let square = mean_square(errors);
        let mut back = layer.input_gradient(&layer.weights, errors, lanes);
        disturb(noise, &mut back, || noises.backward(square, kind));
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
    ) -> (Vec<f32>, Option<SelectorKind>) {
        let (noises, tables) = (&self.noises[i - 1], &self.tables.hidden[i - 1]);
        u.iter_mut().zip(gates).for_each(|(u, gate)| {
            *u *= tables.scale;
            *lost += u64::from(*gate != 0.0 && u.abs() > 0.125);
            *u += gate - 0.125;
        });
        disturb(noise, &mut u, || noises.error_reading());
        let mut counts = vec![0; tables.error.slots()];
        for u in &mut u {
            let slot = tables.error.slot(*u);
            counts[tables.error.batch_slot(slot)] += 1;
            *u = tables.error.value(slot);
        }
        let [_, kind] = noises.selectors([&[], &counts]);
        (u, kind.filter(|_| noise.is_some()))
    }
}

/// Returns a map of cells, `[c][lane][position]`, as the inputs of a dense layer on all of a cell:
/// `[c][position][lane]`.
fn by_input(map: &[f32], channels: usize, lanes: usize) -> Vec<f32> {
    let positions = map.len() / (channels * lanes).max(1);
    let mut out = Vec::with_capacity(map.len());
    for of_channel in map.chunks_exact(lanes * positions) {
        for position in 0..positions {
            out.extend(of_channel.iter().skip(position).step_by(positions));
        }
    }
    out
}

fn mean_square(x: &[f32]) -> f64 {
    let sum: f64 = x.chunks(4096).map(|x| f64::from(x.iter().map(|x| x * x).sum::<f32>())).sum();
    sum / x.len().max(1) as f64
}
