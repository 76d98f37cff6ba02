//! No public function panics on its caller's data, or takes numbers that make no sense.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use fhe_core::client::ClientKey;
use fhe_core::store::{EncryptedQuery, Header, Message, write_to};
use fhe_core::{Clear, Cpu, Engine, Meter, Params, Seed};
use fhe_train::{
    Checkpoint, ClearModel, ClearSource, Client, DeepRecipe, EncryptedScores, FastTwin, HeadRecipe,
    HeadTraining, MiniBatch, MiniBatches, Model, OneVsAll, Recipe, Report, Server, ShapeSource,
    Source, Trainer, TrainerOptions, check_rates, confusion, tune,
};
use ndarray::Array2;
use serde_json::json;

fn toy() -> Params {
    Params::toy_insecure_batch().unwrap()
}

/// Whether a result is an error that says a part of a text.
fn says<T>(result: Result<T, impl std::fmt::Display>, part: &str) -> bool {
    result.is_err_and(|error| {
        let text = error.to_string();
        println!("{text}");
        text.contains(part)
    })
}

fn deep(recipe: Recipe) -> DeepRecipe {
    let Recipe::Deep(recipe) = recipe else { panic!("a network") };
    recipe
}

#[test]
fn recipes_that_make_no_sense_are_refused_and_do_not_panic() {
    let (linear, mlp) = (|| Recipe::linear(4, 3), || Recipe::mlp(4, &[4], 3));
    let (all, nan, inf) = (usize::MAX, f64::NAN, f64::INFINITY);
    let cases = [
        (Recipe::linear(0, 3), "inputs is 0"),
        (Recipe::linear(all, 3), "inputs is"),
        (Recipe::linear(4, 0), "classes is 0"),
        (Recipe::linear(4, 1), "classes is 1"),
        (Recipe::linear(4, all), "classes is"),
        (linear().with_passes(0), "passes is 0"),
        (linear().with_passes(all), "passes is"),
        (linear().with_rates_times(nan), "learning_rate is NaN"),
        (linear().with_rates_times(-1.0), "learning_rate is -"),
        (linear().with_rates_times(0.0), "learning_rate is 0"),
        (linear().with_rates_times(inf), "learning_rate is inf"),
        (linear().for_squared_norm(nan), "learning_rate is NaN"),
        (linear().for_squared_norm(0.0), "learning_rate is inf"),
        (linear().for_squared_norm(-5e3), "learning_rate is -"),
        (linear().for_squared_norm(-5e3).for_squared_norm(-5e3), "learning_rate is -"),
        (linear().for_squared_norm(inf), "learning_rate is 0"),
        (Recipe::mlp(0, &[4], 3), "0 @ 1x1 inputs"),
        (Recipe::mlp(all, &[4], 3), "input is"),
        (Recipe::mlp(4, &[0], 3), "outputs"),
        (Recipe::mlp(4, &[all], 3), "outputs"),
        (Recipe::mlp(4, &[4, 0], 3), "outputs"),
        (Recipe::mlp(4, &[4], 0), "outputs"),
        (Recipe::mlp(4, &[4], 1), "classes is 1"),
        (Recipe::mlp(4, &[4], 1001), "classes is 1001"),
        (Recipe::mlp(4, &[4], all), "outputs"),
        (mlp().with_passes(0), "passes is 0"),
        (mlp().with_rates_times(nan), "rate is NaN"),
        (mlp().with_rates_times(-1.0), "rate is -"),
        (mlp().with_rates_times(0.0), "rate is 0"),
        (mlp().with_rates_times(1e30), "rate is"),
        (mlp().for_squared_norm(nan), "squared_norm is NaN"),
        (mlp().for_squared_norm(0.0), "squared_norm is 0"),
        (mlp().for_squared_norm(-1.0), "squared_norm is -1"),
        (mlp().for_squared_norm(inf), "squared_norm is inf"),
    ];
    for (recipe, part) in cases {
        assert!(says(recipe.check(&toy()), part), "{part}");
        assert!(recipe.params(16).is_err() && recipe.rows(&toy(), 0).is_err(), "{part}");
        let _ = (recipe.logit_unit(), recipe.inputs(512), recipe.classes(), recipe.squared_norm());
    }
    // A norm is what a recipe is for, not a factor.
    let once = linear().for_squared_norm(300.0);
    assert_eq!(once.clone().for_squared_norm(300.0), once);
    assert_eq!((once.squared_norm(), linear().squared_norm()), (300.0, 5e3));
}

#[test]
fn numbers_are_the_same_after_their_way_through_json() {
    // A training is gone on with only if its checkpoint has the very same recipe.
    for i in 1..2_000 {
        let recipe = Recipe::mlp(4, &[4], 3).with_rates_times(1.0 / f64::from(i));
        let json = serde_json::to_string(&recipe.for_squared_norm(f64::from(i).sqrt())).unwrap();
        let again: Recipe = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), json);
    }
}

#[test]
fn documented_ranges_of_a_head_are_those_of_its_check() {
    let of = |change: &dyn Fn(&mut HeadRecipe)| {
        let mut recipe = HeadRecipe::default();
        change(&mut recipe);
        recipe.check().is_ok()
    };
    for (classes, fits) in [(0, false), (1, false), (2, true), (1000, true), (1001, false)] {
        assert_eq!(of(&|r| r.classes = classes), fits, "{classes} classes");
    }
    for (passes, fits) in [(0, false), (1, true), (1000, true), (1001, false)] {
        assert_eq!(of(&|r| r.passes = passes), fits, "{passes} passes");
    }
    let least = 2f64.powi(-28);
    for range in [1.0, 8.0, 64.0] {
        let rates = [(0.99 * least, false), (least, true), (1.0 / 16.0, true), (0.063, false)];
        for (rate, fits) in rates {
            let with =
                |r: &mut HeadRecipe| (r.logit_range, r.learning_rate) = (range, rate * range);
            assert_eq!(of(&with), fits, "{rate} of {range}");
        }
    }
    for (range, fits) in [(0.99, false), (1.0, true), (64.0, true), (65.0, false)] {
        let with = |r: &mut HeadRecipe| (r.logit_range, r.learning_rate) = (range, 1e-3 * range);
        assert_eq!(of(&with), fits, "a range of {range}");
    }
    for (bias, fits) in [(f64::NAN, false), (-8.1, false), (-8.0, true), (8.0, true), (8.1, false)]
    {
        assert_eq!(of(&|r| r.bias = bias), fits, "a bias of {bias}");
    }
    for (norm, fits) in [(0.9, false), (1.0, true), (1e9, true), (1.1e9, false)] {
        assert_eq!(of(&|r| r.squared_norm = norm), fits, "a norm of {norm}");
    }
    // The smallest rate still moves something, and none goes backwards.
    let recipe = HeadRecipe { learning_rate: 8.0 * least, ..HeadRecipe::default() };
    let amplitudes = [(0, 1), (0, 0), (9, 0), (5, 5), (6, 5), (usize::MAX, 1)];
    let got = amplitudes.map(|(step, steps)| recipe.amplitude(step, steps));
    assert_eq!(got, [1, 1, 0, 0, 0, 0]);
    let network = DeepRecipe { least_rate: 0.1, ..deep(Recipe::mlp(4, &[4], 3)) };
    let got = amplitudes.map(|(step, steps)| network.schedule(step, steps));
    assert_eq!(got, [1.0, 1.0, 0.1, 0.1, 0.1, 0.1]);
}

#[test]
fn sources_made_by_hand_are_checked() {
    let shape = ShapeSource { samples: 6, batch: 4, classes: 3, squared_norm: 100.0, lanes: None };
    let (all, nan) = (usize::MAX, f64::NAN);
    let shapes = [
        (ShapeSource { samples: 0, ..shape }, "number of samples is 0"),
        (ShapeSource { samples: all, ..shape }, "number of samples is"),
        (ShapeSource { batch: 0, ..shape }, "mini-batch is 0"),
        (ShapeSource { classes: 0, ..shape }, "classes is 0"),
        (ShapeSource { classes: all, ..shape }, "classes is"),
        (ShapeSource { squared_norm: nan, ..shape }, "squared norm"),
        (ShapeSource { squared_norm: -1.0, ..shape }, "squared norm"),
    ];
    let (recipe, meter) = (Recipe::linear(4, 3), Meter::new(&toy()));
    for (source, part) in shapes {
        assert!(says(source.price(&toy(), &recipe), part));
        let _ = Source::<Meter>::batches(&source);
        assert!(says(source.batch(&meter, 5), part));
    }
    assert!(ShapeSource { batch: all, ..shape }.price(&toy(), &recipe).is_ok());
    assert!(says(ShapeSource { classes: 2, ..shape }.price(&toy(), &recipe), "expected"));

    let source = || ClearSource {
        batch: 2,
        classes: 3,
        copies: 1,
        lanes: None,
        features: vec![vec![1; 512]; 4],
        labels: vec![0, 1, 2, 0],
        label_log2: -31,
    };
    let sources = [
        (ClearSource { batch: 0, ..source() }, "mini-batch is 0"),
        (ClearSource { copies: 0, ..source() }, "number of copies is 0"),
        (ClearSource { copies: 3, ..source() }, "number of copies is 3"),
        (ClearSource { copies: all, ..source() }, "number of copies is"),
        (ClearSource { features: Vec::new(), ..source() }, "number of samples is 0"),
        (ClearSource { labels: vec![0; 3], ..source() }, "number of labels is 3"),
        (ClearSource { labels: vec![0, 3, 0, 0], ..source() }, "label of sample 1"),
        (ClearSource { features: vec![vec![1; 5]; 4], ..source() }, "5"),
        (ClearSource { classes: 2, ..source() }, "expected"),
        (ClearSource { classes: 4, ..source() }, "expected"),
    ];
    let clear = Clear::exact(&toy());
    for (source, part) in sources {
        let mut model = Model::new(&clear, &recipe).unwrap();
        let _ = source.batches();
        let steps = [model.train_step(&clear, &source), model.train_step(&clear, &source)];
        let [first, second] = steps;
        assert!(says(first, part) || says(second, part), "{part}");
    }
    let whole = ClearSource { batch: all, ..source() };
    assert_eq!(Model::new(&clear, &recipe).unwrap().train_step(&clear, &whole).unwrap().samples, 4);
}

#[test]
fn losses_take_any_list_and_any_number() {
    for log2 in [i32::MIN, -65, -64, -31, 0, 1, 1024, i32::MAX] {
        let _ = [true, false].map(|yes| OneVsAll::label(yes, log2));
    }
    let clear = Clear::exact(&toy());
    for logit_range in [8.0, 0.0, -1.0, f64::NAN, f64::INFINITY] {
        let loss = OneVsAll { logit_range };
        for (scores, labels) in [(3, 2), (0, 1), (2, 3)] {
            let (z, y) = (vec![0; scores], vec![0; labels]);
            assert!(says(loss.integer_error(&clear, &z, &y, f64::NAN), "expected"));
        }
        let mini_batch = |samples: usize, rows: usize| MiniBatch::<Clear> {
            samples,
            classes: 2,
            x: clear.selectors(Vec::new()),
            labels: clear.zero_rows(rows),
        };
        for (samples, rows, scores) in [(0, 1, 2), (2, 1, 3), (2, 0, 4), (2, 2, 4)] {
            let (y, z) = (mini_batch(samples, rows), vec![0; scores]);
            assert!(says(loss.error(&clear, &z, (&y, 0..samples), i64::MIN), "expected"));
        }
        let (y, z) = (mini_batch(1, 1), vec![0; 2]);
        assert!(says(loss.error(&clear, &z, (&y, 1..2), 1), "expected"));
        assert!(loss.error(&clear, &z, (&y, 0..1), i64::MAX).is_ok());
        assert!(loss.integer_error(&clear, &vec![0; 2], &vec![0; 2], f64::INFINITY).is_ok());
    }
    assert_eq!(ClearSource::label_values(200, 2, -31), ClearSource::label_values(2, 2, -31));
}

#[test]
fn weights_of_another_number_of_classes_are_refused() {
    let clear = Clear::exact(&toy());
    let recipe = HeadRecipe { classes: 3, ..HeadRecipe::default() };
    for rows in [0, 2, 4] {
        let rows = vec![fhe_core::engine::clear::Row::Full(vec![0; 512]); rows];
        assert!(says(HeadTraining::<Clear>::resume(&recipe, rows, 0), "rows of weights"));
    }
    let network = Recipe::mlp(4, &[4], 3);
    assert!(Model::resume(&clear, &network, Vec::new(), usize::MAX, usize::MAX).is_err());
}

#[test]
fn twins_take_only_what_fits() {
    let (params, recipe) = (toy(), deep(Recipe::mlp(4, &[4], 3)));
    let all = usize::MAX;
    for data in [(0, 2), (2, 0)].map(|(batches, batch)| MiniBatches { batches, batch }) {
        assert!(says(FastTwin::new(&params, &recipe, data, None), "mini-batches"));
    }
    let data = MiniBatches { batches: all, batch: all };
    let mut twin = FastTwin::new(&params, &recipe, data, Some(u64::MAX)).unwrap();
    let (good, short, long, beyond) = ([1i8; 4], [1i8; 3], [0i8; 513], [1i8; 5]);
    let refused: [(&[&[i8]], &[u32]); 7] = [
        (&[], &[]),
        (&[&good], &[]),
        (&[&good], &[3]),
        (&[&good], &[u32::MAX]),
        (&[&short], &[0]),
        (&[&long], &[0]),
        (&[&good, &beyond], &[0, 1]),
    ];
    for (samples, labels) in refused {
        assert!(twin.train_step(samples, labels).is_err(), "{samples:?} {labels:?}");
    }
    assert!(twin.train_step(&[&good, &[i8::MIN; 4]], &[0, 2]).is_ok());
    assert!(twin.classify(&[&short]).is_err() && twin.classify(&[]).unwrap().is_empty());

    let (x, labels) = (Array2::<i8>::ones((4, 4)), [0, 1, 2, 0]);
    let run = |x: &Array2<i8>, labels: &[u32], batch| {
        FastTwin::run(&params, &recipe, (x.view(), labels), batch, None, |_, _| Ok(()))
    };
    assert!(says(run(&x, &labels, 0), "mini-batch is 0"));
    assert!(says(run(&x, &labels[..3], 2), "labels is 3"));
    assert!(run(&x, &labels, all).is_ok());
    let linear = Recipe::linear(4, 3);
    let twin = |x: &Array2<i8>, batch| {
        ClearModel::twin(&params, &linear, (x.view(), &labels), batch, None, |_, _| ())
    };
    assert!(says(twin(&x, 0), "mini-batch is 0"));
    assert!(says(twin(&Array2::ones((4, 3)), 2), "features is 3"));
    assert!(says(twin(&Array2::ones((4, 513)), 2), "features is 513"));
    let twin = twin(&x, all).unwrap();
    assert_eq!(twin.scores(Array2::ones((0, 4)).view()).unwrap().dim(), (0, 3));
    assert!(says(twin.scores(Array2::ones((1, 3)).view()), "features is 3"));
    assert!(says(twin.predict(Array2::ones((1, 5)).view()), "features is 5"));
}

#[test]
fn counts_of_classes_are_checked() {
    assert!(says(confusion(usize::MAX, &[], &[]), "number of classes"));
    assert!(says(confusion(1001, &[], &[]), "number of classes"));
    assert!(says(confusion(2, &[0], &[]), "number of predictions is 0"));
    assert!(says(confusion(2, &[0, 2], &[0, 0]), "sample 1"));
    assert!(says(confusion(2, &[0, 1], &[0, u32::MAX]), "sample 1"));
    assert!(says(confusion(0, &[0], &[0]), "sample 0"));
    assert_eq!(fhe_train::accuracy(&confusion(0, &[], &[]).unwrap()), 0.0);
}

#[test]
fn rates_are_tuned_on_samples_that_can_tell_something() {
    type Case<'a> = (Recipe, Array2<i8>, &'a [u32], usize, &'a str);
    let x = |count, value: i8| Array2::<i8>::from_elem((count, 4), value);
    let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
    let ten = &labels[..10];
    let cases: [Case<'_>; 9] = [
        (Recipe::linear(4, 2), x(10, 3), ten, 0, "mini-batch is 0"),
        (Recipe::mlp(4, &[2], 2), x(10, 3), ten, 0, "mini-batch is 0"),
        (Recipe::linear(4, 1), x(10, 3), ten, 5, "classes is 1"),
        (Recipe::linear(4, 2), x(2, 3), &labels[..2], 1, "number of samples is 2"),
        (Recipe::linear(4, 2), x(0, 3), &[], 1, "number of samples is 0"),
        (Recipe::linear(4, 2), x(10, 0), ten, 5, "squared norm, rounded down is 0"),
        (Recipe::mlp(4, &[2], 2), x(10, 0), ten, 5, "squared norm, rounded down is 0"),
        (Recipe::linear(4, 2), x(10, 3), &labels[..9], 5, "number of labels is 9"),
        (Recipe::linear(5, 2), x(10, 3), ten, 5, "number of features is 4"),
    ];
    for (recipe, x, labels, batch, part) in cases {
        assert!(says(tune(&recipe, (x.view(), labels), batch), part), "{part}");
    }
    // Constant samples cannot be told apart, and small ones have rates at the end of their range:
    // here the usual ones are 1.25 for a squared norm of 2, and only the lower ones are tried.
    for value in [1, i8::MIN] {
        let (recipe, report) =
            tune(&Recipe::linear(4, 2), (x(40, value).view(), &labels), 8).unwrap();
        assert!(recipe.check(&toy()).is_ok() && report.accuracy <= 1.0);
    }
    let mut small = x(40, 0);
    small.column_mut(0).fill(1);
    small.column_mut(1).fill(-1);
    let (recipe, report) = tune(&Recipe::linear(4, 2), (small.view(), &labels), 8).unwrap();
    assert!(recipe.check(&toy()).is_ok() && report.trials.iter().all(|t| t.factor < 1.0));
    let far = Recipe::linear(4, 2).with_rates_times(f64::NAN);
    assert!(says(check_rates(&toy(), &far, (x(40, 1).view(), &labels), 8), "learning_rate"));
    assert!(says(check_rates(&toy(), &Recipe::linear(4, 2), (x(40, 1).view(), &labels), 0), "0"));
    // Tuning a tuned recipe finds the same again.
    let (once, _) = tune(&Recipe::linear(4, 2), (x(40, 3).view(), &labels), 8).unwrap();
    let (twice, _) = tune(&once, (x(40, 3).view(), &labels), 8).unwrap();
    assert_eq!(once.squared_norm(), twice.squared_norm());
}

/// A client of toy keys, and a data set of three classes in a file.
fn encrypted(path: &Path, recipe: &Recipe) -> (Client, Server) {
    let client = Client::from_key(ClientKey::new(&toy(), Seed::from_number(7)));
    let x = Array2::<i8>::from_shape_fn((6, 4), |(i, j)| if i % 3 == j { 9 } else { 1 });
    client.encrypt(x.view(), &[0, 1, 2, 0, 1, 2], recipe, 2, path).unwrap();
    let server = Server::from_keys(&client.key().evaluation_keys());
    (client, server)
}

#[test]
fn runs_of_any_options_and_places_end_well() {
    let folder = tempfile::tempdir().unwrap();
    let (path, recipe) = (folder.path().join("data"), Recipe::linear(4, 3));
    let (client, server) = encrypted(&path, &recipe);
    let dataset = server.dataset(&path).unwrap();
    let options = |snapshots| TrainerOptions {
        checkpoint_every: Duration::MAX,
        snapshots,
        stop_after: None,
        raw_lookups: 0,
        ..TrainerOptions::default()
    };
    let open =
        |folder: &Path, options| Trainer::open(folder, server.engine(), &dataset, &recipe, options);
    // A file where the folder should be.
    assert!(says(open(&path, options(1)), "data"));
    assert!(says(server.train(&path, &path, &recipe, |_| ControlFlow::Continue(())), "data"));
    for (snapshots, kept) in [(0, 0), (1, 1), (usize::MAX, 3)] {
        let run = folder.path().join(format!("run{snapshots}"));
        let report = open(&run, options(snapshots)).unwrap();
        let report = report.run(|_| ControlFlow::Continue(())).unwrap().unwrap();
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        assert_eq!(std::fs::read_dir(run.join("snapshots")).unwrap().count(), kept);
        // Snapshots alone do not measure: a short training is not longer for them.
        assert_eq!(report.state.parts[0].raw_measurements, 2);
        // A finished run has nothing left to do, and says so again.
        let again = open(&run, options(snapshots)).unwrap();
        let again = again.run(|_| panic!("nothing is left")).unwrap().unwrap();
        assert_eq!((again.state.step, again.state.lookups), (3, report.state.lookups));
    }
    let never = TrainerOptions { stop_after: Some(0), ..options(1) };
    let run = folder.path().join("never");
    assert!(open(&run, never).unwrap().run(|_| ControlFlow::Continue(())).unwrap().is_none());
    // Broken off after the very last step, a training is complete.
    let watch = |event: fhe_train::Event| match event.step == event.steps {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let model = server.train(&folder.path().join("last"), &path, &recipe, watch).unwrap().unwrap();
    assert_eq!((model.state.step, model.state.part), (3, 0));

    let other = Recipe::linear(4, 2);
    assert!(says(server.price(&dataset, &other), "classes is 2"));
    let query = client.query(Array2::ones((2, 4)).view(), &recipe).unwrap();
    let scores = server.score(&model, &query).unwrap();
    assert_eq!((scores.samples(), scores.classes()), (2, 3));
    let stranger = Client::from_key(ClientKey::new(&toy(), Seed::from_number(8)));
    let cpu = Cpu::new(&stranger.key().evaluation_keys());
    assert!(says(model.clone().model(&cpu), "key"));
    assert!(says(client.query(Array2::ones((1, 513)).view(), &recipe), "features is 513"));
    let none = client.query(Array2::ones((0, 4)).view(), &recipe);
    assert!(
        none.is_err() || EncryptedQuery::from_bytes(&none.unwrap().to_bytes().unwrap()).is_err()
    );
    hostile_scores(&client, &scores);
    hostile_models(&client, &model);
}

/// Bytes of a message with another public part, its checksums right.
fn forged(message: &impl Message, meta: serde_json::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { meta, ..message.header() };
    write_to(&mut bytes, header, &message.payload()).unwrap();
    bytes
}

fn hostile_scores(client: &Client, scores: &EncryptedScores) {
    let unit = scores.meta()["unit"].clone();
    let shapes = [
        json!({"classes": 0, "unit": unit}),
        json!({"classes": 4, "unit": unit}),
        json!({"classes": usize::MAX, "unit": unit}),
        json!({"classes": -3, "unit": unit}),
        json!({"classes": 3, "unit": null}),
        json!({"classes": 3, "unit": 0.0}),
        json!({"classes": 3, "unit": -0.1}),
        json!({"classes": 3, "unit": 1e300}),
        json!({"classes": 3}),
        json!(null),
    ];
    for shape in shapes {
        assert!(says(EncryptedScores::from_bytes(&forged(scores, shape)), "<stream>"));
    }
    let whole = EncryptedScores::from_bytes(&forged(scores, scores.meta())).unwrap();
    assert_eq!(client.read(&whole).unwrap().dim(), (2, 3));
}

fn hostile_models(client: &Client, model: &Checkpoint) {
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut meta = model.meta();
        change(&mut meta);
        Checkpoint::from_bytes(&forged(model, meta))
    };
    let all = usize::MAX;
    let layer = |name: String, outputs: usize, kernel: usize| {
        json!({"name": name, "outputs": outputs, "kernel": kernel,
            "activation": {"levels": 7, "range": 3.0, "offset": 2, "spacing": 4}})
    };
    let network = |input: usize, layers: Vec<serde_json::Value>| {
        let training = vec![json!({"init": 0.1, "rate": 0.1}); layers.len()];
        json!({"kind": "deep", "passes": 1, "seed": 1, "least_rate": 0.0,
            "network": {"input": {"channels": input, "height": input, "width": input},
                "z_range": 8.0, "layers": layers},
            "training": training})
    };
    let recipes = [
        json!({"kind": "head", "classes": all, "passes": 1, "learning_rate": 1e-3,
            "logit_range": 8.0}),
        json!({"kind": "head", "classes": 3, "passes": 0, "learning_rate": 1e-3,
            "logit_range": 8.0}),
        json!({"kind": "head", "classes": 3, "passes": 1, "learning_rate": 1e-3,
            "logit_range": 8.0, "inputs": all}),
        network(all, vec![layer("a".into(), all, all)]),
        network(512, vec![layer("a".into(), 65_536, 1), layer("b".into(), 65_536, 1)]),
        network(512, vec![layer("a".into(), 65_536, 512)]),
        network(1, (0..4_000).map(|i| layer(i.to_string(), 1, 1)).collect()),
        network(1, Vec::new()),
    ];
    // More weights than the recipe has are refused before they have come.
    let (mut long, payload) = (Vec::new(), model.payload());
    write_to(&mut long, model.header(), &[&payload[..], &payload].concat()).unwrap();
    long.truncate(long.len() - payload.len());
    assert!(says(Checkpoint::from_bytes(&long), "weights"));
    let start = std::time::Instant::now();
    for recipe in recipes {
        assert!(says(with(&|meta| meta["recipe"] = recipe.clone()), "recipe"));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(says(with(&|meta| meta["step"] = 4.into()), "step"));
    assert!(says(with(&|meta| meta["part"] = 1.into()), "step"));
    assert!(says(with(&|meta| meta["part"] = (-1).into()), "training state"));
    assert!(says(with(&|meta| meta["recipe"]["classes"] = 2.into()), "<stream>"));
    assert!(says(with(&|meta| meta["recipe"]["classes"] = 4.into()), "<stream>"));
    let same = with(&|_| ()).unwrap();
    assert!(same == *model && client.decrypt(&same).is_ok());
}
