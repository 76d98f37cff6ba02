//! What holds for every place at which a training was left.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fhe_core::{Clear, Params};
use fhe_nn::activation::{Activation, Kind};
use fhe_nn::{Cells, LayerConfig, NetworkConfig, Shape};
use fhe_train::{ClearSource, DeepRecipe, LayerTraining, Model, Recipe, Source, State, Work};
use ndarray::Array2;
use proptest::prelude::*;

/// Two of its samples lie side by side, so that a mini-batch has several parts.
fn deep(passes: usize, every: usize) -> Recipe {
    let relu = Activation { kind: Kind::Relu, levels: 7, range: 3.5, offset: 1, spacing: 4 };
    let layer =
        LayerTraining { init: 0.1, rate: 0.01, error_gain: 4.0, ..LayerTraining::default() };
    let last = LayerTraining { clip: 5.0, ..layer.clone() };
    Recipe::Deep(DeepRecipe {
        passes,
        squared_norm: 100.0,
        mirrored: false,
        seed: 1,
        least_rate: 0.0,
        first_layer_every: every,
        network: NetworkConfig {
            input: Shape { channels: 2, height: 1, width: 1 },
            cells: Cells { side: 16, stride: 1 },
            z_range: 8.0,
            shortcut: false,
            layers: vec![
                LayerConfig::new("hidden", 2, 1, Some(relu)),
                LayerConfig::new("scores", 2, 1, None),
            ],
        },
        training: vec![layer, last],
    })
}

/// Trains in the clear, and leaves the training and goes on with it after the parts that say so.
/// Returns the weights, the work, and where it was after each part.
fn trained(
    recipe: &Recipe,
    source: &ClearSource,
    stops: impl Fn(usize) -> bool,
) -> (Vec<fhe_core::engine::clear::Row>, Work, Vec<(usize, usize)>) {
    let engine = Clear::exact(&Params::toy_insecure_batch().unwrap());
    let steps = Source::<Clear>::batches(source) * recipe.passes();
    let mut model = Model::new(&engine, recipe).unwrap();
    let (mut work, mut places) = (Work::default(), Vec::new());
    let rows = |model: &Model<Clear>| model.parts().into_iter().flatten().cloned().collect();
    while model.step() < steps {
        work += model.train_part(&engine, source).unwrap();
        let (step, part) = (model.step(), model.part());
        places.push((step, part));
        if stops(places.len()) {
            let rows: Vec<_> = rows(&model);
            let said = recipe.rows(&Params::toy_insecure_batch().unwrap(), part).unwrap();
            assert_eq!(rows.len(), said);
            model = Model::resume(&engine, recipe, rows, step, part).unwrap();
        }
    }
    (rows(&model), work, places)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_training_goes_on_from_any_place_as_if_it_had_not_stopped(
        is_deep in any::<bool>(),
        (samples, batch, passes) in (1..9usize, 1..6usize, 1..3usize),
        every in 1..4usize,
        stops in prop::collection::vec(any::<bool>(), 1..8),
    ) {
        let recipe =
            if is_deep { deep(passes, every) } else { Recipe::linear(5, 2).with_passes(passes) };
        let width = if is_deep { 512 } else { 5 };
        let x = Array2::from_shape_fn((samples, width), |(i, j)| ((i * 7 + j * 3) % 9) as i8 - 4);
        let labels: Vec<u32> = (0..samples).map(|i| (i % 2) as u32).collect();
        let params = Params::toy_insecure_batch().unwrap();
        let source = ClearSource::new(&params, &recipe, (x.view(), &labels), batch).unwrap();
        let (once, work, places) = trained(&recipe, &source, |_| false);
        let (stopped, again, same) = trained(&recipe, &source, |part| stops[part % stops.len()]);
        prop_assert_eq!(same, places.clone());
        prop_assert_eq!(again, work);
        prop_assert!(stopped == once, "another model");
        // One part after the other, and a step after its last part.
        prop_assert!(places.is_sorted() && places.iter().all(|place| place.1 * 2 < batch));
        prop_assert_eq!(places.last(), Some(&(samples.div_ceil(batch) * passes, 0)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_state_of_a_training_comes_back_from_its_file(
        (rate, norm) in (1e-9..1e3f64, 1e-3..1e9f64),
        (step, part, steps) in (any::<u32>(), any::<u32>(), any::<u32>()),
        (dataset, inputs) in (".*", ".*"),
        every in 1..100usize,
    ) {
        let recipe = deep(3, every).for_squared_norm(norm).with_rates_times(rate);
        let state = State {
            recipe,
            dataset,
            inputs,
            batch: every,
            step: step as usize,
            part: part as usize,
            steps: steps as usize,
            images: u64::from(step),
            lookups: u64::from(steps),
            parts: Vec::new(),
        };
        let read: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        prop_assert!(read.is_part_of(&state));
        prop_assert_eq!(&read, &state);
        let mut table = toml::Table::try_from(&state.recipe).unwrap();
        table.entry("kind").or_insert("deep".into());
        let text = toml::to_string(&table).unwrap();
        prop_assert_eq!(Recipe::from_toml(&text).unwrap(), state.recipe);
    }
}
