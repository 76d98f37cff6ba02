//! Training against formulas that share no code with it: what is minimised is the one-vs-all
//! logistic loss, by its own gradient, at a rate that falls.

use fhe_core::Params;
use fhe_train::{ClearModel, HeadRecipe, Recipe};
use ndarray::Array2;

const CLASSES: usize = 4;
const INPUTS: usize = 6;
const SAMPLES: usize = 24;
const RATE: f64 = 2e-3;

/// Samples of small integers, and classes that depend on them.
fn data() -> (Array2<i8>, Vec<u32>) {
    let x = Array2::from_shape_fn((SAMPLES, INPUTS), |(i, j)| {
        ((i * 7 + j * 13 + i * j) % 15) as i8 - 7
    });
    let labels = x.rows().into_iter().map(|row| (row[0].unsigned_abs() as u32) % CLASSES as u32);
    let labels = labels.collect();
    (x, labels)
}

/// The loss of one weight matrix, `sum log(1 + exp(-y z))` over samples and classes.
fn loss(weights: &[[f64; INPUTS]; CLASSES], x: &Array2<i8>, labels: &[u32]) -> f64 {
    let mut sum = 0.0;
    for (sample, &label) in x.rows().into_iter().zip(labels) {
        for (class, w) in weights.iter().enumerate() {
            let z: f64 = w.iter().zip(sample).map(|(w, &x)| w * f64::from(x)).sum();
            let y = if label as usize == class { 1.0 } else { -1.0 };
            sum += (-y * z).exp().ln_1p();
        }
    }
    sum
}

/// The gradient of the loss by central differences.
fn gradient(
    weights: &[[f64; INPUTS]; CLASSES],
    x: &Array2<i8>,
    labels: &[u32],
) -> Vec<[f64; INPUTS]> {
    let step = 1e-5;
    let at = |class: usize, input: usize, by: f64| {
        let mut moved = *weights;
        moved[class][input] += by;
        loss(&moved, x, labels)
    };
    let of =
        |class| std::array::from_fn(|j| (at(class, j, step) - at(class, j, -step)) / (2.0 * step));
    (0..CLASSES).map(of).collect()
}

/// Trains by `w -= rate * left * gradient`, where `left` falls from 1 by the same at each step, and
/// would be 0 after the last one.
fn descent(
    x: &Array2<i8>,
    labels: &[u32],
    batch: usize,
    passes: usize,
) -> [[f64; INPUTS]; CLASSES] {
    let mut weights = [[0.0; INPUTS]; CLASSES];
    let batches = SAMPLES.div_ceil(batch);
    let steps = batches * passes;
    for step in 0..steps {
        let first = step % batches * batch;
        let part = first..(first + batch).min(SAMPLES);
        let samples = x.slice(ndarray::s![part.clone(), ..]).to_owned();
        let rate = RATE * (steps - step) as f64 / steps as f64;
        let gradient = gradient(&weights, &samples, &labels[part]);
        for (w, g) in weights.iter_mut().zip(gradient) {
            w.iter_mut().zip(g).for_each(|(w, g)| *w -= rate * g);
        }
    }
    weights
}

#[test]
fn a_linear_classifier_descends_the_logistic_loss() {
    let params = Params::toy_insecure().unwrap();
    let (x, labels) = data();
    for (batch, passes) in [(SAMPLES, 1), (8, 1), (10, 3)] {
        let recipe = Recipe::Head(HeadRecipe {
            classes: CLASSES,
            inputs: Some(INPUTS),
            passes,
            learning_rate: RATE,
            ..HeadRecipe::default()
        });
        let model = ClearModel::twin(&params, &recipe, (x.view(), &labels), batch, None, |_, _| ())
            .unwrap();
        let found = model.scores(x.view()).unwrap();
        let weights = descent(&x, &labels, batch, passes);
        let wanted = Array2::from_shape_fn((SAMPLES, CLASSES), |(i, class)| {
            weights[class].iter().zip(x.row(i)).map(|(w, &x)| w * f64::from(x)).sum::<f64>()
        });
        // The table of errors has 512 steps from -8 to 8, so an error is off by a 128th at most.
        let size = wanted.iter().fold(0.0, |most: f64, z| most.max(z.abs()));
        let off = (&found - &wanted).iter().fold(0.0, |most: f64, d| most.max(d.abs()));
        assert!(size > 0.1, "the training moves: {size}");
        assert!(off < 0.02 * size, "batch {batch}, {passes} passes: off by {off} of {size}");
    }
}
