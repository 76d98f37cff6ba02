//! Known answers: the numbers of two recipes, and the noise that is predicted of them. A formula
//! that is changed changes answers.json with it; that they are right is what the twins of encrypted
//! trainings and the audits of their steps say.

use std::collections::BTreeMap;

use fhe_core::Params;
use fhe_known_answers::{Answers, compare};
use fhe_nn::activation::{Activation, Kind};
use fhe_nn::{Cells, LayerConfig, NetworkConfig, Shape};

use crate::layer_noise::LayerNoise;
use crate::training_plan::TrainingPlan;
use crate::{Binary, DeepRecipe, LayerTraining, OneVsAll};

fn recipe(input: Shape, cells: Cells, layers: Vec<LayerConfig>) -> DeepRecipe {
    let hidden = |rate: f64| LayerTraining { rate, clip: 7.8, ..layer() };
    DeepRecipe {
        passes: 1,
        squared_norm: 11760.0,
        mirrored: false,
        seed: 1,
        least_rate: 0.003,
        first_layer_every: 1,
        network: NetworkConfig { input, cells, z_range: 8.0, shortcut: true, layers },
        training: vec![
            LayerTraining { clip: 0.0, ..hidden(1.1e-5) },
            hidden(6.3e-4),
            LayerTraining { clip: 2.1, error_gain: 0.0, ..hidden(1.2e-3) },
            LayerTraining { clip: 0.0, error_gain: 0.0, ..hidden(2e-3) },
        ],
    }
}

fn layer() -> LayerTraining {
    LayerTraining { init: 0.01, error_gain: 7.75, ..LayerTraining::default() }
}

/// As that of CIFAR-10.
fn convolutional() -> DeepRecipe {
    let relu = |levels, offset, spacing| {
        Some(Activation { kind: Kind::Relu, levels, range: 3.0, offset, spacing })
    };
    recipe(
        Shape { channels: 128, height: 4, width: 4 },
        Cells { side: 2, stride: 2 },
        vec![
            LayerConfig::new("conv1", 16, 3, relu(21, 3, 1)),
            LayerConfig::new("conv2", 32, 2, relu(7, 1, 4)),
            LayerConfig::new("scores", 10, 1, None),
        ],
    )
}

/// With signs, binary weights, a residual connection, pooling and weight decay.
fn binarized() -> DeepRecipe {
    let sign = Activation { kind: Kind::Sign, levels: 1, range: 2.0, offset: 0, spacing: 1 };
    let same = |name: &str| LayerConfig { padding: 1, ..LayerConfig::new(name, 4, 3, Some(sign)) };
    let mut recipe = recipe(
        Shape { channels: 2, height: 3, width: 3 },
        Cells { side: 4, stride: 1 },
        vec![
            LayerConfig { padding: 0, kernel: 1, ..same("one") },
            LayerConfig { residual: Some("one".into()), pool: 3, ..same("two") },
            LayerConfig::new("scores", 2, 1, None),
        ],
    );
    recipe.squared_norm = 400.0;
    let binary = Some(Binary { scale: 0.2, range: 1.0 });
    recipe.training[1] = LayerTraining { decay: 40.0, binary, rate: 0.05, ..layer() };
    recipe.training[1].clip = 8.0;
    recipe.training[1].error_gain = 15.5;
    recipe.training[2].rate = 0.1;
    recipe.training[3].rate = 0.02;
    recipe
}

fn of_plan(answers: &mut Answers, plan: &TrainingPlan) {
    let mut add = |layer: usize, name: &str, value: f64| {
        answers.insert(format!("layer {layer}, {name}"), value);
    };
    for layer in 0..plan.weighted() {
        add(layer, "spacing", plan.spacing(layer));
        add(layer, "weight unit", plan.weight_unit(layer));
        add(layer, "clip", plan.clip(layer));
        add(layer, "update rate", plan.update_rate(layer, 500));
        add(layer, "decay scale", plan.decay_scale(layer, 500) as f64);
        add(layer, "update lookups", plan.update_lookups(layer) as f64);
        if let Some(signs) = plan.signs(layer) {
            add(layer, "sign's scale", signs.scale as f64);
            add(layer, "sign at -0.1", signs.at(-0.1));
            add(layer, "sign at 0", signs.at(0.0));
        }
    }
    for layer in 0..plan.layers() {
        add(layer, "amplitude", plan.amplitude(layer, 0.5, 500));
        if layer + 1 < plan.layers() {
            add(layer, "error scale", plan.gate(layer, 1.0).scale as f64);
        }
    }
    for (layer, scale) in plan.residual_scales().into_iter().enumerate() {
        add(layer, "residual scale", scale.map_or(0.0, |scale| scale as f64));
    }
}

fn of_noise(answers: &mut Answers, plan: &TrainingPlan, params: &Params, samples: usize) {
    let slots = params.batch.unwrap().slots as u64;
    let counts: Vec<u64> = (0..slots).map(|slot| slot % 7).collect();
    for (layer, noise) in LayerNoise::of_layers(plan, params, samples).unwrap().iter().enumerate() {
        let mut add = |name: &str, value: f64| {
            answers.insert(format!("layer {layer} of {samples}, noise, {name}"), value);
        };
        add("expansion", noise.expanded());
        add("reading", noise.reading());
        add("reading of errors", noise.error_reading());
        add("slots", noise.grid().slots as f64);
        add("slots of errors", noise.error_grid().slots as f64);
        add("error", noise.error(0.01));
        add("update", noise.update().reading());
        let kinds = noise.selectors([&counts, &counts[1..]]);
        for (kind, of) in [(None, "selectors of any"), (kinds[0], "selectors of slots")] {
            add(&format!("forward, {of}"), noise.forward(5.0, kind));
            add(&format!("gradient, {of}"), noise.gradient(5.0, kind));
        }
        add("backward, selectors of any", noise.backward(5.0, None));
        add("backward, selectors of slots", noise.backward(5.0, kinds[1]));
    }
}

fn answers(recipe: &DeepRecipe, params: &Params, samples: [usize; 2]) -> Answers {
    let plan = TrainingPlan::new(recipe, params).unwrap();
    let mut answers = Answers::new();
    of_plan(&mut answers, &plan);
    samples.iter().for_each(|&samples| of_noise(&mut answers, &plan, params, samples));
    for part in [0, 1] {
        let rows = recipe.rows(params, part).unwrap() as f64;
        answers.insert(format!("rows after part {part}"), rows);
    }
    let loss = OneVsAll { logit_range: recipe.network.z_range };
    for phase in [-0.2, -0.01, 0.0, 0.03, 0.11] {
        answers.insert(format!("error at {phase}"), loss.integer_at(phase));
    }
    answers
}

#[test]
fn recipes_have_known_numbers() {
    let deep = Params::secure128_deep_v4().unwrap();
    let toy = Params::toy_insecure_batch().unwrap();
    let got = BTreeMap::from([
        ("convolutional", answers(&convolutional(), &deep, [512, 3])),
        ("binarized", answers(&binarized(), &toy, [32, 3])),
    ]);
    compare(&got, include_str!("answers.json")).unwrap();
}
