//! Absurd options and settings are refused, each with one error that says what was expected.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;

use fhe_examples::preset::Preset;

use crate::program::{command, outcome, run};
use crate::run::{SETUP, change, copy, empty, untrained};

#[test]
fn numbers_out_of_range() {
    let folder = empty();
    let refused = [
        ("train", "--stop-after", "0", "1.."),
        ("train", "--checkpoint-seconds", "soon", "invalid digit"),
        ("train", "--passes", "-1", "unexpected argument"),
        ("setup", "--count", "0", "2..=1000000"),
        ("setup", "--count", "1", "2..=1000000"),
        (
            "setup",
            "--preset",
            "mnist",
            "[possible values: builtin, builtin-deep, cifar10, mnist-deep, cifar10-deep]",
        ),
        ("setup", "--dictionary", "many", "invalid digit"),
    ];
    for (program, option, value, expected) in refused {
        let said = outcome(command(program, folder.path()).args([option, value]));
        said.refuses(&[expected]);
    }
    for value in ["0", "9999999"] {
        run("setup", folder.path(), &["--dictionary", value]).fails(&["dictionary", "1 to 8192"]);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn options_of_the_other_preset() {
    let folder = empty();
    run("setup", folder.path(), &["--data", "x"]).fails(&["--data", "--preset cifar10"]);
    let arguments = ["--preset", "cifar10", "--count", "32"];
    run("setup", folder.path(), &arguments).fails(&["--count", "--preset builtin"]);
}

#[test]
fn a_run_keeps_its_options() {
    let copy = copy(&[]);
    let other =
        |name: &str, value| run("setup", copy.path(), &[&SETUP[..], &[name, value]].concat());
    other("--seed", "7").fails(&["client/setup.json", "seed is 1"]);
    let arguments = ["--count", "33", "--dictionary", "32"];
    run("setup", copy.path(), &arguments)
        .fails(&["client/setup.json", "number of images is 32, this run has 33"]);
    run("train", copy.path(), &["--passes", "2"]).fails(&["server/model.ckpt", "recipe"]);
}

#[test]
fn a_recipe_out_of_range() {
    let copy = untrained();
    for passes in ["0", "1000000"] {
        run("train", copy.path(), &["--passes", passes]).fails(&[
            "--passes",
            &format!("passes is {passes}"),
            "1 to 1000",
        ]);
    }
    let recipe = copy.path().join("server/recipe.json");
    let text = fs::read_to_string(&recipe).unwrap();
    let wrong = [
        ("\"passes\": 1", "\"passes\": 1, \"momentum\": 0.9", "unknown field `momentum`"),
        ("\"passes\": 1", "\"passes\": -1", "invalid value"),
        ("\"passes\": 1,", "", "missing field `passes`"),
        ("0.0005", "1e9", "learning_rate is 1000000000, expected 2^-28 to 1/16 of logit_range"),
        ("0.0005", "1e999", "number out of range"),
        ("\"classes\": 10", "\"classes\": 9", "classes is 9"),
    ];
    for (from, to, expected) in wrong {
        assert!(text.contains(from), "{text}");
        change(&recipe, |bytes| *bytes = text.replace(from, to).into());
        let words = if from.contains("classes") {
            vec![expected]
        } else {
            vec!["server/recipe.json", expected]
        };
        run("train", copy.path(), &[]).fails(&words);
    }
}

#[test]
fn a_recipe_of_another_kind() {
    let copy = untrained();
    let recipe = serde_json::to_vec(&Preset::BuiltinDeep.recipe().unwrap()).unwrap();
    change(&copy.path().join("server/recipe.json"), |bytes| *bytes = recipe);
    let words = ["server/recipe.json", "secure128-head-v2", "no gadgets for lists"];
    run("train", copy.path(), &[]).fails(&words);
    assert!(!copy.path().join("server/model.ckpt").exists());
}

#[test]
fn images_that_cannot_be_encrypted() {
    let copy = copy(&[]);
    run("infer", copy.path(), &["encrypt", "--index", "999999"])
        .fails(&["--index 999999", "32 samples"]);
    let file = copy.path().join("text.png");
    fs::write(&file, "no image").unwrap();
    let encrypt = ["encrypt", "--image", file.to_str().unwrap()];
    run("infer", copy.path(), &encrypt).fails(&["text.png"]);
    // Another size than the preset's is taken on request.
    let pixel = copy.path().join("pixel.png");
    fs::write(&pixel, include_bytes!("pixel.png")).unwrap();
    let encrypt = ["encrypt", "--image", pixel.to_str().unwrap(), "--resize"];
    run("infer", copy.path(), &encrypt[..3])
        .fails(&["--resize", "pixel.png: 1x1 pixels, expected 32x32"]);
    run("infer", copy.path(), &encrypt).succeeds();
    run("infer", copy.path(), &["encrypt", "--resize"]).refuses(&["--image"]);
}

#[test]
fn cifar10_that_is_no_cifar10() {
    let folder = empty();
    let data = folder.path().join("cifar-10-batches-bin");
    let batch = data.join("data_batch_1.bin");
    let path = data.to_str().unwrap();
    let setup =
        || run("setup", &folder.path().join("run"), &["--preset", "cifar10", "--data", path]);
    setup().fails(&[path, "No such file"]);
    fs::create_dir(&data).unwrap();
    setup().fails(&[path, "no file data_batch_1.bin"]);
    // A file of zeros has the label 0 in each of its 10,000 records of 3,073 bytes.
    let file = File::create(&batch).unwrap();
    file.set_len(30_729_999).unwrap();
    setup().fails(&["data_batch_1.bin", "30729999 bytes", "3073"]);
    file.set_len(30_730_000).unwrap();
    file.write_all_at(&[10], 5 * 3073).unwrap();
    setup().fails(&["data_batch_1.bin", "record 5", "label 10"]);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn cifar10_is_looked_for_and_fetched() {
    let folder = empty();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    // A proxy that nobody answers at keeps the test from the network.
    let setup = || {
        let mut command = command("setup", &folder.path().join("run"));
        command.args(["--preset", "cifar10"]).current_dir(folder.path());
        command.env("ALL_PROXY", &closed).env_remove("NO_PROXY").env_remove("no_proxy");
        outcome(&mut command)
    };
    setup().fails(&["cifar-10-binary.tar.gz at data/", "by hand", "cs.toronto.edu"]);
    let archive = folder.path().join("data/cifar-10-binary.tar.gz");
    fs::write(&archive, "no archive").unwrap();
    setup().fails(&["data/cifar-10-binary.tar.gz", "unpacking"]);
    fs::create_dir(folder.path().join("data/cifar-10-batches-bin")).unwrap();
    setup().fails(&["data/cifar-10-batches-bin", "no file data_batch_1.bin"]);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_recipe_of_your_own() {
    let folder = empty();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = include_str!("../../recipes/builtin-deep.toml");
    let setup = |recipe: &str, arguments: &[&str]| {
        let tiny = ["--preset", "builtin-deep", "--count", "8", "--dictionary", "64"];
        let own = ["--batch", "4", "--encrypt", "4", "--recipe", recipe];
        run("setup", &folder.path().join("run"), &[&tiny[..], &own[..], arguments].concat())
    };
    setup("nowhere.toml", &[]).fails(&["nowhere.toml", "No such file"]);
    let broken = write("broken.toml", &good.replace("passes = 1", "passes = \"one\""));
    setup(&broken, &[]).fails(&["broken.toml", "passes", "invalid type"]);
    let broken = write("broken.toml", &good.replace("rate = ", "rats = "));
    setup(&broken, &[]).fails(&["broken.toml", "unknown field `least_rats`"]);
    let other_kind = write("other_kind.toml", &good.replace("deep", "wide"));
    setup(&other_kind, &[]).fails(&["other_kind.toml", "head", "deep"]);
    let absurd = write("absurd.toml", &good.replace("passes = 1", "passes = 0"));
    setup(&absurd, &[]).fails(&["passes is 0", "1 to 1000"]);
    assert!(!folder.path().join("run").exists(), "nothing was made");

    let folder_of_head = empty();
    let arguments = ["--preset", "builtin", "--recipe", &write("deep.toml", good)];
    run("setup", folder_of_head.path(), &arguments).fails(&["secure128-head-v2", "lists"]);
    let wide = write("wide.toml", &good.replace("levels = 21", "levels = 70"));
    setup(&wide, &[]).fails(&["layer", "its output has integers", "expected -31 to 31"]);

    let fine = write("fine.toml", good);
    setup(&fine, &[]).succeeds();
    let other = write("other.toml", &good.replace("passes = 1", "passes = 2"));
    setup(&other, &[]).fails(&["client/training.json", "another recipe"]);
    run("train", &folder.path().join("run"), &["--recipe", &absurd])
        .fails(&["absurd.toml", "passes is 0"]);
    let head =
        "kind = \"head\"\nclasses = 10\npasses = 1\nlearning_rate = 5e-4\nlogit_range = 8.0\n";
    run("train", &folder.path().join("run"), &["--recipe", &write("head.toml", head)])
        .fails(&["kind", "another kind"]);
    let price = run("train", &folder.path().join("run"), &["--price"]).succeeds();
    assert!(price.contains("parameters") && price.contains("lookups a sample"), "{price}");
}
