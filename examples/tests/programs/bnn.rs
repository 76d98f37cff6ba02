//! Networks with public weights: trained on drawn images, evaluated in the clear and encrypted, and
//! bad input.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use fhe_examples::bnn::results::BnnResults;

use crate::ends;
use crate::program::{Outcome, outcome, path, signal};
use crate::run::empty;

const RECIPE: &str = r#"
[network]
input = { channels = 1, height = 28, width = 28 }
levels = [0, 1]

[[network.layers]]
name = "hidden"
outputs = 24
kernel = 28
activation = { first = -1, step = 2, thresholds = 1 }

[[network.layers]]
name = "scores"
outputs = 10
kernel = 1

[training]
epochs = 8
batch = 50
rate = 1e-2
shift = 0
mirror = false
"#;

/// Writes a set in MNIST's layout: a white square whose place is the class.
fn write_images(folder: &Path) {
    let parts = [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 500u32),
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 100),
    ];
    for (images, labels, count) in parts {
        let mut pixels: Vec<u8> =
            [2051u32, count, 28, 28].iter().flat_map(|x| x.to_be_bytes()).collect();
        let mut classes: Vec<u8> = [2049u32, count].iter().flat_map(|x| x.to_be_bytes()).collect();
        for i in 0..count {
            let class = i % 10;
            classes.push(class as u8);
            let (top, left) = (class / 4 * 9, class % 4 * 7);
            let inside =
                |p: u32| (top..top + 9).contains(&(p / 28)) && (left..left + 7).contains(&(p % 28));
            // A twentieth of the pixels is turned over.
            pixels.extend((0..784).map(|p| {
                let turned = (p * 7919 + i * 104_729) % 1009 < 50;
                if inside(p) != turned { 255 } else { 0 }
            }));
        }
        fs::write(folder.join(images), pixels).unwrap();
        fs::write(folder.join(labels), classes).unwrap();
    }
}

fn program(name: &str, folder: &Path, arguments: &[&str]) -> Outcome {
    outcome(Command::new(path(name)).current_dir(folder).args(arguments))
}

#[test]
fn a_network_is_trained_and_evaluated() {
    let folder = empty();
    let here = folder.path();
    write_images(here);
    fs::write(here.join("recipe.toml"), RECIPE).unwrap();
    let train = [
        "--model",
        "perceptron",
        "--recipe",
        "recipe.toml",
        "--data",
        ".",
        "--out",
        "w.safetensors",
    ];
    let said = program("train_bnn", here, &train).succeeds();
    let printed = said.lines().last().unwrap().split(' ').next().unwrap().to_owned();
    assert!(printed.parse::<f64>().unwrap() > 0.9, "{said}");

    let infer = ["--model", "perceptron", "--weights", "w.safetensors", "--data", "."];
    let clear = program("infer_bnn", here, &[&infer[..], &["--clear"]].concat()).succeeds();
    assert!(clear.contains("24 lookups and"), "{clear}");
    // What was printed is the accuracy of what was written.
    assert!(clear.contains(&format!("exact {printed},")), "{clear}, {printed}");
    let quiet =
        program("infer_bnn", here, &[&infer[..], &["--clear", "--json", "--quiet"]].concat());
    let event: serde_json::Value = serde_json::from_str(&quiet.succeeds()).unwrap();
    assert!(event["data"]["exact_accuracy"].as_f64().unwrap() > 0.9, "{event}");
    let count = |count| {
        let more = ["--count", count, "--batch", "2", "--results", "r.json"];
        program("infer_bnn", here, &[&infer[..], &more].concat())
    };
    // Asked to stop, it keeps the images that are done.
    let results = here.join("r.json");
    let mut asked = Command::new(path("infer_bnn"))
        .current_dir(here)
        .args([&infer[..], &["--count", "6", "--batch", "2", "--results", "r.json"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !results.exists() {
        assert!(asked.try_wait().unwrap().is_none(), "it ended before it was asked to");
        sleep(Duration::from_millis(1));
    }
    signal(&asked, "INT");
    let (ended, said) = ends::said(&mut asked);
    assert_eq!(ended, Some(130), "{said}");
    assert!(said.contains("of 6 images; the same command goes on"), "{said}");
    let said = count("6").succeeds();
    assert!(said.contains("going on after "), "{said}");
    count("6").fails(&["r.json: has 6 images"]);
    let found: BnnResults =
        serde_json::from_str(&fs::read_to_string(here.join("r.json")).unwrap()).unwrap();
    // The classes lie far apart: all of six encrypted decisions are those of the exact twin.
    assert_eq!((found.images.len(), found.same(), found.lookups), (6, 6, 24));
    assert!(found.exact_accuracy > 0.9 && found.efficiency() > 0.0, "{found:?}");
    assert_eq!((found.batch, found.together), (2, 2));
    let shares: f64 = found.images.iter().map(|image| image.seconds).sum();
    assert!((found.seconds_per_image - shares / 6.0).abs() < 1e-9, "{found:?}");
    // Results of other batches are not gone on with.
    let single = ["--count", "7", "--results", "r.json"];
    program("infer_bnn", here, &[&infer[..], &single].concat()).fails(&[
        "r.json: has 6 images",
        "in batches of 2: expected",
        "in batches of 1",
    ]);
    // Nor those of another seed, or of other images.
    let seeded = ["--count", "7", "--batch", "2", "--results", "r.json", "--seed", "9"];
    program("infer_bnn", here, &[&infer[..], &seeded].concat())
        .fails(&["r.json: has images of seed 1, expected 9"]);
    let labels = fs::read(here.join("t10k-labels-idx1-ubyte")).unwrap();
    let mut others = labels.clone();
    *others.last_mut().unwrap() ^= 1;
    fs::write(here.join("t10k-labels-idx1-ubyte"), others).unwrap();
    count("7").fails(&["r.json: has images of another test set"]);
    fs::write(here.join("t10k-labels-idx1-ubyte"), labels).unwrap();
    batches(here, &infer);
}

/// Batches that fit in memory, in part or not at all, and those that are none.
fn batches(here: &Path, infer: &[&str]) {
    let batch = |more: &[&str]| program("infer_bnn", here, &[infer, more].concat());
    // An image holds 784 pixels, 24 sums and their 24 signs: 13.6 MB.
    let said = batch(&["--batch", "5", "--memory", "0.03", "--json"]).succeeds();
    let found = said.lines().find(|line| line.contains("encrypted images")).unwrap();
    let found: serde_json::Value = serde_json::from_str(found).unwrap();
    let of = |name: &str| found["data"][name].as_u64().unwrap();
    assert!((of("batch"), of("together")) == (5, 2), "{found}");
    assert_eq!(found["data"]["images"].as_array().unwrap().len(), 5);
    batch(&["--batch", "5", "--memory", "0.001"])
        .fails(&["number of bytes for the values of an image is 1000000, expected at least"]);
    batch(&["--batch", "101"]).fails(&["101 images: the test set has 100"]);
    batch(&["--batch", "5", "--count", "4"]).fails(&["--batch 5: --count has 4 images"]);
    batch(&["--batch", "0"]).refuses(&["--batch", "1.."]);
    batch(&["--memory", "none"]).refuses(&["--memory", "a number of gigabytes"]);
    batch(&["--params", "none"]).fails(&["none", "secure128-bnn-v1"]);
}

#[test]
fn a_training_goes_on_with_thresholds_apart() {
    let folder = empty();
    let here = folder.path();
    write_images(here);
    let sign = "first = -1, step = 2, thresholds = 1";
    let tied = RECIPE.replace(sign, "first = -3, step = 2, thresholds = 3");
    fs::write(here.join("tied.toml"), &tied).unwrap();
    let apart = RECIPE.replace(sign, "first = -1, step = 2, thresholds = 3, apart = true");
    fs::write(here.join("apart.toml"), &apart).unwrap();
    let train = |recipe: &str, more: &[&str]| {
        let first = ["--model", "perceptron", "--data", ".", "--recipe", recipe];
        program("train_bnn", here, &[&first[..], more].concat())
    };
    let share = |said: &str| said.lines().last().unwrap().split(' ').next().unwrap().to_owned();
    let said = train("tied.toml", &["--out", "tied.safetensors"]).succeeds();
    // The same function, as long as nothing is trained.
    let from = ["--from", "tied.latent.safetensors", "--out", "apart.safetensors"];
    let spread = train("apart.toml", &[&from[..], &["--epochs", "0"]].concat()).succeeds();
    assert_eq!(share(&spread), share(&said));
    let infer =
        ["--model", "perceptron", "--weights", "apart.safetensors", "--data", ".", "--clear"];
    let clear = program("infer_bnn", here, &infer).succeeds();
    // Three signs of a pre-activation take one lookup, and as many weights as three units.
    assert!(clear.contains("24 lookups and 19536 weighted terms"), "{clear}");
    let exact: f64 = clear.split("exact ").last().unwrap()[..6].parse().unwrap();
    assert!(exact > 0.9, "{clear}");
    // And goes on with the noise of reading, which is printed beside.
    fs::write(here.join("noisy.toml"), apart + "noise = true\nrange = 3.5\n").unwrap();
    let more = ["--epochs", "1", "--out", "noisy.safetensors"];
    let said = train("noisy.toml", &[&from[..2], &more[..]].concat()).succeeds();
    let noisy = said.split("with noise ").nth(1).unwrap();
    assert!(noisy[..6].parse::<f64>().unwrap() > 0.9, "{said}");
    train("tied.toml", &["--from", "absent.safetensors", "--out", "w.safetensors"])
        .fails(&["absent.safetensors"]);
    let other = tied.replace("name = \"hidden\"", "name = \"other\"");
    fs::write(here.join("other.toml"), other).unwrap();
    let said =
        train("other.toml", &[&from[..2], &["--epochs", "0", "--out", "w.safetensors"]].concat());
    assert!(said.succeeds().contains("tied.latent.safetensors: has no other, begun anew"));
    let wide = tied.replace("outputs = 24", "outputs = 25");
    fs::write(here.join("wide.toml"), wide).unwrap();
    train("wide.toml", &["--from", "tied.latent.safetensors", "--out", "v.safetensors"])
        .fails(&["tied.latent.safetensors", "hidden.latent"]);
}

#[test]
fn bad_input_is_one_error() {
    let folder = empty();
    let here = folder.path();
    fs::write(here.join("broken.safetensors"), "no tensors").unwrap();
    let pixel = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/pixel.png");
    let pixel = pixel.to_str().unwrap();
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["--model", "cnn", "--image", pixel],
            &["pixel.png: 1x1 pixels, expected 28x28", "--resize"],
        ),
        (&["--model", "cnn", "--image", "absent.png"], &["absent.png"]),
        (&["--model", "cnn", "--data", "absent"], &["absent"]),
        (&["--model", "cnn", "--count", "2", "--data", "absent"], &["absent"]),
        (
            &["--model", "cnn", "--weights", "absent.safetensors"],
            &["absent.safetensors", "No such file"],
        ),
        (
            &["--model", "cnn", "--weights", "broken.safetensors"],
            &["broken.safetensors: no whole safetensors"],
        ),
    ];
    for (arguments, words) in cases {
        let ended = program("infer_bnn", here, arguments);
        assert!(!ended.err.contains("keys made"), "keys take long: {}", ended.err);
        ended.fails(words);
    }
    let weights = fhe_examples::bnn::ModelName::Cnn.weights();
    program("infer_bnn", here, &["--model", "resnet", "--weights", weights.to_str().unwrap()])
        .fails(&["takes images of 1 @ 28x28", "expected 3x32x32"]);
    fs::write(here.join("r.toml"), RECIPE.replace("epochs = 8", "epochs = \"many\"")).unwrap();
    let train = ["--model", "cnn", "--recipe", "r.toml", "--out", "w.safetensors"];
    program("train_bnn", here, &train).fails(&["r.toml: no recipe", "invalid type"]);
    assert!(!here.join("w.safetensors").exists());
}

/// What was said of a training that did not begin.
fn refused(here: &Path, more: &[&str], words: &[&str]) {
    let first = ["--model", "perceptron", "--data", ".", "--out", "w.safetensors"];
    program("train_bnn", here, &[&first[..], more].concat()).fails(words);
}

#[test]
fn an_interrupted_training_goes_on_as_it_was() {
    let folder = empty();
    let here = folder.path();
    write_images(here);
    // Long enough to be interrupted.
    fs::write(here.join("r.toml"), RECIPE.replace("epochs = 8", "epochs = 30")).unwrap();
    let train = |out: &str, recipe: &str| {
        let mut program = Command::new(path("train_bnn"));
        program.current_dir(here).args(["--model", "perceptron", "--data", "."]);
        program.args(["--recipe", recipe, "--out", out]);
        program
    };
    outcome(&mut train("whole.safetensors", "r.toml")).succeeds();
    let checkpoint = here.join("w.latent.safetensors");
    let mut asked = train("w.safetensors", "r.toml")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !checkpoint.exists() {
        assert!(asked.try_wait().unwrap().is_none(), "it ended before its first epoch did");
        sleep(Duration::from_millis(1));
    }
    asked.kill().unwrap();
    asked.wait().unwrap();
    let kept = fs::read(&checkpoint).unwrap();
    let said = outcome(&mut train("w.safetensors", "r.toml")).succeeds();
    assert!(said.contains("w.latent.safetensors: going on after epoch "), "{said}");
    let weights = |name: &str| fs::read(here.join(name)).unwrap();
    assert_eq!(weights("w.safetensors"), weights("whole.safetensors"));

    // What differs is named, and the checkpoint stays as it was.
    fs::write(&checkpoint, &kept).unwrap();
    let other = |from: &str, to: &str| {
        let text = fs::read_to_string(here.join("r.toml")).unwrap();
        assert!(text.contains(from));
        fs::write(here.join("other.toml"), text.replace(from, to)).unwrap();
    };
    let with = |more: &[&str], word: &str| {
        let all = [&["--recipe", "other.toml"][..], more].concat();
        refused(here, &all, &["w.latent.safetensors", "it is of a training with", word, "--out"]);
    };
    for (from, to, word) in [
        ("outputs = 24", "outputs = 23", "another network"),
        ("epochs = 30", "epochs = 31", "30 epochs, not 31"),
        ("rate = 1e-2", "rate = 1e-3", "other settings of the training"),
    ] {
        other(from, to);
        with(&[], word);
    }
    other("epochs = 30", "epochs = 30");
    with(&["--seed", "2"], "seed 1, not 2");
    with(&["--from", "whole.latent.safetensors"], "another beginning");
    let labels = here.join("train-labels-idx1-ubyte");
    let mut bytes = fs::read(&labels).unwrap();
    bytes.swap(8, 9);
    fs::write(&labels, bytes).unwrap();
    with(&[], "other training images");
    assert_eq!(fs::read(&checkpoint).unwrap(), kept);
    // A checkpoint of earlier versions does not say what it is of.
    let tensors = safetensors::SafeTensors::deserialize(&kept).unwrap();
    let old = safetensors::serialize(tensors.tensors(), None).unwrap();
    fs::write(&checkpoint, old).unwrap();
    refused(here, &["--recipe", "other.toml"], &["does not say of which training it is"]);
}

#[test]
fn what_cannot_be_trained_is_refused_before_work() {
    let folder = empty();
    let here = folder.path();
    write_images(here);
    let recipe = |from: &str, to: &str| {
        assert!(RECIPE.contains(from), "{from}");
        fs::write(here.join("r.toml"), RECIPE.replace(from, to)).unwrap();
    };
    for (from, to, words) in [
        ("outputs = 10", "outputs = 2", "the network has 2 scores, expected 10"),
        ("outputs = 10", "outputs = 12", "the network has 12 scores, expected 10"),
        ("channels = 1", "channels = 2", "the network takes images of 2 @ 28x28, expected 1x28x28"),
        ("batch = 50", "batch = 1", "training.batch is 1, expected 2 to 500"),
        ("batch = 50", "batch = 501", "training.batch is 501, expected 2 to 500"),
        ("rate = 1e-2", "rate = nan", "training.rate is NaN"),
        ("rate = 1e-2", "rate = 0.0", "training.rate is 0"),
        ("shift = 0", "shift = 29", "training.shift is 29, expected at most 28"),
        ("mirror = false", "mirror = false\nrange = -1.0", "training.range is -1"),
        ("epochs = 8", "epochs = 1000000000", "training.epochs is 1000000000"),
    ] {
        recipe(from, to);
        refused(here, &["--recipe", "r.toml"], &[words]);
        assert!(
            !here.join("w.latent.safetensors").exists() && !here.join("w.safetensors").exists()
        );
    }
    // Without test images there is no accuracy.
    recipe("epochs = 8", "epochs = 1");
    let none = [&2051u32.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 28]].concat();
    fs::write(here.join("t10k-images-idx3-ubyte"), none).unwrap();
    fs::write(here.join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 0]).unwrap();
    refused(here, &["--recipe", "r.toml"], &["there are no test images"]);
}

#[test]
fn networks_of_other_classes_are_refused() {
    use fhe_nn::public::{LayerWeights, to_bytes};

    let folder = empty();
    let here = folder.path();
    for outputs in [1usize, 12] {
        let text = RECIPE.replace("outputs = 10", &format!("outputs = {outputs}"));
        fs::write(here.join("r.toml"), text).unwrap();
        let network = fhe_examples::bnn::Recipe::read(&here.join("r.toml")).unwrap().network;
        let layer = |outputs, inputs| LayerWeights {
            weights: vec![vec![1; inputs]; outputs],
            thresholds: vec![vec![0]; outputs],
        };
        let bytes = to_bytes(&network, &[layer(24, 784), layer(outputs, 24)]).unwrap();
        fs::write(here.join("w.safetensors"), bytes).unwrap();
        program("infer_bnn", here, &["--model", "perceptron", "--weights", "w.safetensors"])
            .fails(&["w.safetensors: the network has", &format!("{outputs} scores, expected 10")]);
    }
}
