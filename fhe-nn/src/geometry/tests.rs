//! All three products of a layer against their definitions.

use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Polynomials modulo X^N + 1.
fn multiply(a: &[i64], b: &[i64]) -> Vec<i64> {
    let n = a.len();
    let mut out = vec![0; n];
    for (i, a) in a.iter().enumerate().filter(|(_, a)| **a != 0) {
        for (j, b) in b.iter().enumerate() {
            let sign = if i + j < n { 1 } else { -1 };
            out[(i + j) % n] += sign * a * b;
        }
    }
    out
}

fn of([kernel, stride, padding]: [usize; 3]) -> Window {
    Window { kernel, stride, padding }
}

fn add(x: &mut [i64], y: &[i64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// A layer, its input, weights and errors, and the three products that they shall have.
struct Case {
    g: Geometry,
    a: Vec<i64>,
    w: Vec<i64>,
    e: Vec<i64>,
    z: Vec<i64>,
    da: Vec<i64>,
    dw: Vec<i64>,
}

/// The place of a number in a map.
fn at(s: Shape, c: usize, y: usize, x: usize) -> usize {
    (c * s.height + y) * s.width + x
}

/// All places of a map.
fn map(s: Shape) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..s.channels)
        .flat_map(move |c| (0..s.height).flat_map(move |y| (0..s.width).map(move |x| (c, y, x))))
}

impl Case {
    /// Draws numbers, and computes the products by the definition of convolution and its
    /// derivatives.
    fn drawn(g: Geometry, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw =
            |len: usize| -> Vec<i64> { (0..len).map(|_| rng.random_range(-9..=9)).collect() };
        let (a, w, e) = (draw(g.input.len()), draw(g.weights()), draw(g.output.len()));
        let (z, da, dw) = (vec![0; e.len()], vec![0; a.len()], vec![0; w.len()]);
        let mut case = Self { g, a, w, e, z, da, dw };
        let (input, out) = (case.g.input, case.g.output);
        for (o, oy, ox) in map(out) {
            for v in case.g.weights_of(o).collect::<Vec<_>>() {
                let g = &case.g;
                let (y, x) = (oy * g.stride + v.dy, ox * g.stride + v.dx);
                let inside = |v: usize, side: usize| (g.padding..side + g.padding).contains(&v);
                if inside(y, input.height) && inside(x, input.width) {
                    let i = at(input, v.channel, y - g.padding, x - g.padding);
                    let (o, v) = (at(out, o, oy, ox), case.weight(v));
                    case.z[o] += case.a[i] * case.w[v];
                    case.da[i] += case.e[o] * case.w[v];
                    case.dw[v] += case.e[o] * case.a[i];
                }
            }
        }
        case
    }

    fn weight(&self, v: Weight) -> usize {
        let k = self.g.kernel;
        ((v.output * self.g.input.channels + v.channel) * k + v.dy) * k + v.dx
    }

    /// Forward and weight gradient of a block of outputs.
    fn check_block(&self, block: usize, n: usize) {
        let (g, out) = (&self.g, self.g.output);
        let mut inputs = vec![vec![0; n]; g.groups()];
        for (c, y, x) in map(g.input) {
            let (group, i) = g.input_at(c, y, x);
            inputs[group][i] = self.a[at(g.input, c, y, x)];
        }
        let mut rows = vec![vec![0; n]; g.groups()];
        let mut errors = vec![0; n];
        for o in g.outputs_of(block) {
            for v in g.weights_of(o) {
                let (group, i) = g.weight_at(v);
                rows[group][i] = self.w[self.weight(v)];
            }
            for (_, y, x) in map(Shape { channels: 1, ..out }) {
                errors[g.error_at(o, y, x)] = self.e[at(out, o, y, x)];
            }
        }
        let mut sum = vec![0; n];
        for (x, w) in inputs.iter().zip(&rows) {
            add(&mut sum, &multiply(x, w));
        }
        let gradients: Vec<_> = inputs.iter().map(|x| multiply(x, &errors)).collect();
        for o in g.outputs_of(block) {
            for (_, y, x) in map(Shape { channels: 1, ..out }) {
                assert_eq!(sum[g.output_at(o, y, x)], self.z[at(out, o, y, x)], "forward");
            }
            for v in g.weights_of(o) {
                let (group, i) = g.gradient_at(v);
                assert_eq!(gradients[group][i], self.dw[self.weight(v)], "weight gradient");
            }
        }
    }

    /// Input gradient of a block of channels.
    fn check_transposed_block(&self, block: usize, n: usize) {
        let (g, input) = (&self.g, self.g.input);
        let mut back = vec![vec![0; n]; g.error_groups()];
        for (o, y, x) in map(g.output) {
            let (group, i) = g.back_error_at(o, y, x);
            back[group][i] = self.e[at(g.output, o, y, x)];
        }
        let first = block * g.transposed_filters();
        let channels = first..(first + g.transposed_filters()).min(input.channels);
        let mut rows = vec![vec![0; n]; g.error_groups()];
        for v in (0..g.output.channels).flat_map(|o| g.weights_of(o)) {
            if channels.contains(&v.channel) {
                let (group, i) = g.transposed_at(v);
                rows[group][i] = self.w[self.weight(v)];
            }
        }
        let mut sum = vec![0; n];
        for (x, w) in back.iter().zip(&rows) {
            add(&mut sum, &multiply(x, w));
        }
        for (c, y, x) in map(input).filter(|(c, ..)| channels.contains(c)) {
            let (got, want) = (sum[g.input_gradient_at(c, y, x)], self.da[at(input, c, y, x)]);
            assert_eq!(got, want, "input gradient");
        }
    }
}

/// The weight gradient over samples, in polynomials as full as can be and in some that are not.
fn check_over_samples(g: &Geometry, samples: usize) {
    let cases: Vec<Case> = (0..samples).map(|seed| Case::drawn(g.clone(), seed as u64)).collect();
    let (n, together) = (g.row_size(), g.samples_together());
    let mut sums = vec![0; g.weights()];
    for cases in cases.chunks(together) {
        let mut inputs = vec![vec![0; n]; g.input.channels];
        let mut errors = vec![vec![0; n]; g.output.channels];
        for (s, case) in cases.iter().enumerate() {
            for (c, y, x) in map(g.input) {
                inputs[c][g.input_over_samples(s + together, y, x)] = case.a[at(g.input, c, y, x)];
            }
            for (o, y, x) in map(g.output) {
                errors[o][g.error_over_samples(s, y, x)] = case.e[at(g.output, o, y, x)];
            }
        }
        for v in (0..g.output.channels).flat_map(|o| g.weights_of(o)) {
            let product = multiply(&inputs[v.channel], &errors[v.output]);
            sums[cases[0].weight(v)] += product[g.gradient_over_samples(v)];
        }
    }
    let mut want = vec![0; g.weights()];
    cases.iter().for_each(|case| add(&mut want, &case.dw));
    assert_eq!(sums, want, "weight gradient over samples");
}

/// All three products of a layer against the definition of convolution and its derivatives.
fn check(input: Shape, outputs: usize, window: [usize; 3], group: usize, n: usize) {
    let case = Case::drawn(Geometry::new("test", n, input, outputs, of(window), group).unwrap(), 5);
    (0..case.g.blocks()).for_each(|block| case.check_block(block, n));
    (0..case.g.transposed_blocks()).for_each(|block| case.check_transposed_block(block, n));
    let together = case.g.samples_together();
    [1, together, together + 1].iter().for_each(|&samples| check_over_samples(&case.g, samples));
}

#[test]
fn every_weight_has_a_place_of_its_own_in_a_gradient() {
    let input = Shape { channels: 19, height: 4, width: 4 };
    let geometry = Geometry::new("test", 64, input, 5, of([3, 1, 0]), 4).unwrap();
    for layout in [GradientLayout::Channels, GradientLayout::Samples] {
        let g = geometry.clone().with_gradient(layout);
        let weights = (0..g.output.channels).flat_map(|o| g.weights_of(o));
        let mut places: Vec<_> = weights.map(|w| g.summed_gradient_at(w)).collect();
        let rows = g.gradient_rows();
        assert!(places.iter().all(|&(list, row, at)| row < rows[list] && at < 64));
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), g.weights());
    }
}

#[test]
fn a_layout_is_the_one_with_fewer_lists() {
    let (input, window) = (Shape { channels: 56, height: 6, width: 6 }, of([3, 1, 0]));
    let first =
        |samples| Geometry::first("test", 2048, (input, 128), window, samples).unwrap().gradient();
    // 128 lists a sample, or 128 of all and 32 of the gradient's weights; 56 share a polynomial.
    let layouts = [1, 2, 56, 57].map(first);
    use GradientLayout::{Channels, Samples};
    assert_eq!(layouts, [Channels, Samples, Samples, Channels]);
    let input = Shape { channels: 128, height: 4, width: 4 };
    let hidden = |samples| {
        let g = Geometry::hidden("test", 2048, (input, 256), window, (samples, 3)).unwrap();
        (g.gradient(), g.groups())
    };
    // 56 lists a sample, or 3 and 640 of all and 144 of the gradient's weights.
    assert_eq!([14, 15].map(hidden), [(Channels, 8), (Samples, 1)]);
    let dense = Shape { channels: 512, height: 1, width: 1 };
    let g = Geometry::hidden("test", 2048, (dense, 256), of([1, 1, 0]), (2048, 3)).unwrap();
    assert_eq!(g.gradient(), Channels);
}

#[test]
fn products_are_convolutions_and_their_derivatives() {
    let shape = |channels, height, width| Shape { channels, height, width };
    // A dense layer, rows shared by three filters.
    check(shape(20, 1, 1), 7, [1, 1, 0], 20, 64);
    // More inputs than one polynomial holds, and a last group that is not full.
    check(shape(50, 1, 1), 5, [1, 1, 0], 16, 64);
    check(shape(7, 4, 4), 5, [3, 1, 0], 3, 128);
    check(shape(3, 4, 5), 6, [3, 1, 1], 2, 128);
    check(shape(4, 6, 6), 9, [2, 2, 0], 2, 256);
    check(shape(5, 5, 4), 3, [3, 2, 1], 5, 256);
    // As full as can be.
    check(shape(8, 4, 4), 16, [3, 1, 0], 8, 128);
}

#[test]
fn what_does_not_fit_is_named() {
    let big = Shape { channels: 1, height: 50, width: 50 };
    let error = Geometry::new("conv1", 2048, big, 4, of([3, 1, 0]), 1).unwrap_err().to_string();
    assert!(error.contains("conv1") && error.contains("50x50"), "{error}");
    let small = Shape { channels: 1, height: 2, width: 2 };
    let error = Geometry::new("conv2", 2048, small, 4, of([3, 1, 0]), 1).unwrap_err().to_string();
    assert!(error.contains("conv2") && error.contains("3x3"), "{error}");
}
