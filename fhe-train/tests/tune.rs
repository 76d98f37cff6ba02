//! Networks whose rates are tuned learn what a linear classifier learns.

use fhe_core::Params;
use fhe_data::Quantizer;
use fhe_train::{ClearModel, FastTwin, Recipe, tune};
use ndarray::{Array2, ArrayView2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Noisy 8x8 images of ten kinds that have half of their shades in common.
fn digits(count: usize) -> (Array2<f32>, Vec<u32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let common: Vec<f32> = (0..64).map(|_| rng.random_range(0.0..16.0)).collect();
    let mut prototype = || -> Vec<f32> {
        common.iter().map(|shade| 0.5 * shade + 0.5 * rng.random_range(0.0..16.0_f32)).collect()
    };
    let prototypes: Vec<Vec<f32>> = (0..10).map(|_| prototype()).collect();
    let labels: Vec<u32> = (0..count).map(|_| rng.random_range(0..10)).collect();
    let images = Array2::from_shape_fn((count, 64), |(i, j)| {
        let noise: f32 = rng.random_range(-9.0..9.0);
        (prototypes[labels[i] as usize][j] + noise).clamp(0.0, 16.0)
    });
    (images, labels)
}

#[test]
fn tuned_networks_are_nearly_as_good_as_a_linear_classifier_where_that_is_best() {
    let (images, labels) = digits(1_600);
    let quantizer = Quantizer::fit(images.slice(s![..600, ..]), 65).unwrap();
    let x = quantizer.encode(images.view()).unwrap();
    let (train, test) = x.view().split_at(Axis(0), 600);
    let data: (ArrayView2<'_, i8>, &[u32]) = (train, &labels[..600]);
    let share = |predicted: &[u32]| {
        predicted.iter().zip(&labels[600..]).filter(|(class, label)| class == label).count()
    };

    let linear = Recipe::linear(65, 10).for_squared_norm(520.0).with_passes(2);
    let params = Params::secure128_deep_v4().unwrap();
    let twin = ClearModel::twin(&params, &linear, data, 20, Some(1), |_, _| ()).unwrap();
    let best = share(&twin.predict(test).unwrap().to_vec());
    assert!(best > 880, "{best}");

    let rows: Vec<Vec<i8>> = test.outer_iter().map(|row| row.to_vec()).collect();
    let rows: Vec<&[i8]> = rows.iter().map(Vec::as_slice).collect();
    for hidden in [&[16][..], &[32, 16]] {
        // Samples that lie side by side should be many. Of five seeds of noise the networks are 48
        // to 63 samples of 1,000 behind.
        let recipe = Recipe::mlp(65, hidden, 10).with_passes(20);
        let (tuned, report) = tune(&recipe, data, 100).unwrap();
        let (params, Recipe::Deep(tuned)) = (tuned.params(100).unwrap(), tuned) else {
            panic!("a network")
        };
        assert_eq!(params.name, Params::secure128_deep_v4().unwrap().name);
        let twin = FastTwin::run(&params, &tuned, data, 100, Some(1), |_, _| Ok(())).unwrap();
        let got = share(&twin.classify(&rows).unwrap());
        assert!(got + 75 >= best, "{hidden:?}: {got} after {best}, {report:?}");
    }
}
