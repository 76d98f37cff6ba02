//! The encoder against raw pixels, both under a linear head, on the built-in images.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fhe_data::{Encoder, EncoderConfig, ImageSet, builtin};

/// Trains a one-vs-all logistic head on rows of one width; returns test accuracy.
fn head(train: &[Vec<f32>], test: &[Vec<f32>], sets: [&ImageSet; 2], passes: usize) -> f64 {
    let width = train[0].len();
    let norm: f32 = train.iter().flatten().map(|v| v * v).sum::<f32>() / train.len() as f32;
    let mut weights = vec![0.0f32; 10 * width];
    let scores = |weights: &[f32], x: &[f32]| -> Vec<f32> {
        let dot = |w: &[f32]| w.iter().zip(x).map(|(w, x)| w * x).sum();
        weights.chunks_exact(width).map(dot).collect()
    };
    let steps = passes * train.len();
    for step in 0..steps {
        let i = step % train.len();
        let rate = 0.4 / norm * (1.0 - step as f32 / steps as f32);
        for (k, z) in scores(&weights, &train[i]).into_iter().enumerate() {
            let y = f32::from(u8::from(sets[0].labels()[i] as usize == k));
            let e = 1.0 / (1.0 + (-z).exp()) - y;
            let row = &mut weights[k * width..(k + 1) * width];
            row.iter_mut().zip(&train[i]).for_each(|(w, x)| *w -= rate * e * x);
        }
    }
    let right = (0..test.len()).filter(|&i| {
        let z = scores(&weights, &test[i]);
        let best = (0..10).fold(0, |best, k| if z[k] > z[best] { k } else { best });
        best == sets[1].labels()[i] as usize
    });
    right.count() as f64 / test.len() as f64
}

fn pixels(set: &ImageSet) -> Vec<Vec<f32>> {
    let centred = |i| {
        let image = set.image(i).unwrap().iter().map(|&p| f32::from(p) / 128.0 - 1.0);
        image.chain([1.0]).collect()
    };
    (0..set.len()).map(centred).collect()
}

fn encoded(encoder: &Encoder, set: &ImageSet) -> Vec<Vec<f32>> {
    let rows = encoder.encode(set.images(), &|_| ()).unwrap();
    rows.rows().map(|row| row.iter().map(|&v| f32::from(v)).collect()).collect()
}

#[test]
fn maps_suffice_for_a_linear_head() {
    let split = builtin(1, 2000, 500);
    let encoder = Encoder::fit(EncoderConfig::convnet_small(), &split.train, &|_| ()).unwrap();
    let (train, test) = (encoded(&encoder, &split.train), encoded(&encoder, &split.test));
    let accuracy = head(&train, &test, [&split.train, &split.test], 2);
    println!("map {accuracy:.3}");
    assert!(accuracy > 0.8, "map: {accuracy}");
}

#[test]
fn the_encoder_beats_raw_pixels() {
    let split = builtin(1, 2000, 500);
    let sets = [&split.train, &split.test];
    let raw = head(&pixels(&split.train), &pixels(&split.test), sets, 5);
    let encoder = Encoder::fit(EncoderConfig::small(), &split.train, &|_| ()).unwrap();
    let train = encoded(&encoder, &split.train);
    let test = encoded(&encoder, &split.test);
    let learned = head(&train, &test, sets, 1);
    println!("raw pixels {raw:.3}, encoded {learned:.3}");
    assert!(raw < 0.55, "raw pixels: {raw}");
    assert!(learned > 0.85, "encoded: {learned}");
}
