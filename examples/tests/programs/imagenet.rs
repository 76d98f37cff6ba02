//! Sets in ImageNet's layout, by a network of others.
#![cfg(feature = "onnx")]

use std::fs;
use std::path::{Path, PathBuf};

use fhe_examples::client::ClientFolder;
use image::{Rgb, RgbImage};

use crate::program::{Outcome, run};
use crate::run::{empty, keyed};

/// The synsets, in ascending order: blue, green and red pictures.
const SYNSETS: [&str; 3] = ["n01440764", "n02119789", "n03000684"];

fn model(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fhe-data/tests/models");
    folder.join(name).to_str().unwrap().to_owned()
}

/// Draws a picture of a class; its number says the format, the size and the shade.
fn draw(folder: &Path, name: &str, class: usize, number: u32) -> PathBuf {
    let shade = |strong| match strong {
        true => 150 + (number * 37 % 90) as u8,
        false => (number * 53 % 70) as u8,
    };
    let colour = Rgb([2, 1, 0].map(|channel| shade(channel == class)));
    fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    let format =
        if number.is_multiple_of(3) { image::ImageFormat::Png } else { image::ImageFormat::Jpeg };
    RgbImage::from_pixel(12 + number, 10, colour).save_with_format(&path, format).unwrap();
    path
}

/// Draws a training set `train`, twelve pictures a class, and a validation set `val` of two a
/// class with their ground truth, `truth.csv`, and names of the classes, `names.txt`.
fn sets(root: &Path) {
    for (class, synset) in SYNSETS.iter().enumerate() {
        for number in 0..12 {
            let name = format!("{synset}_{number:02}.JPEG");
            draw(&root.join("train").join(synset), &name, class, number);
        }
    }
    let mut truth = String::from("ImageId,PredictionString\n");
    for number in 1..=6 {
        let (class, name) = (number as usize % 3, format!("ILSVRC2012_val_{number:08}"));
        draw(&root.join("val"), &format!("{name}.JPEG"), class, number);
        truth.push_str(&format!("{name},{} 1 2 3 4\n", SYNSETS[class]));
    }
    fs::write(root.join("truth.csv"), truth).unwrap();
    let names = "n01440764 tench, Tinca tinca\nn02119789 kit fox\nn03000684 chain saw\n";
    fs::write(root.join("names.txt"), names).unwrap();
}

/// Runs `setup` with the model on a training set; arguments that begin with a full stop and a slash
/// are paths in the folder of the sets.
fn setup(folder: &Path, root: &Path, more: &[&str]) -> Outcome {
    let model = model("planes.onnx");
    let fixed = ["--imagenet", "./train", "--backbone", &model];
    let normalised = ["--backbone-mean", "127", "--backbone-scale", "128"];
    let path = |argument: &&str| match argument.strip_prefix("./") {
        Some(inner) => root.join(inner).to_str().unwrap().to_owned(),
        None => (*argument).to_owned(),
    };
    let arguments: Vec<String> = fixed.iter().chain(&normalised).chain(more).map(path).collect();
    run("setup", folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

const VALIDATION: [&str; 4] = ["--imagenet-val", "./val", "--ground-truth", "./truth.csv"];

#[test]
fn a_tree_of_synsets_to_a_trained_model() {
    let (files, folder) = (empty(), keyed());
    let (root, path) = (files.path(), folder.path());
    sets(root);
    fs::write(root.join("train").join(SYNSETS[1]).join("boxes.txt"), "x").unwrap();
    let all = [&VALIDATION[..], &["--synsets", "./names.txt", "--per-class", "6"]].concat();
    let ended = setup(path, root, &all);
    let warned = "warning: 1 files are no images by their names: ";
    assert!(ended.err.contains(warned) && ended.err.contains("boxes.txt"), "{}", ended.err);
    assert!(ended.err.contains("features: 18/18 pictures"), "{}", ended.err);
    let said = ended.succeeds();
    let read =
        "18 samples to train on, 6 to test on; 3 classes: tench, Tinca tinca, kit fox, chain";
    assert!(said.starts_with(read), "{said}");
    let client = ClientFolder::of(path);
    let cached = || fs::read_dir(client.feature_cache()).unwrap().count();
    assert_eq!(cached(), 2);
    setup(path, root, &all).succeeds();
    assert_eq!(cached(), 2);
    setup(path, root, &VALIDATION).fails(&["setup.json", "preset is imagenet"]);

    // Classes are mixed, and a question goes the way of the pictures to train on.
    let [train, test] = ["train", "test"].map(|part| client.load(part).unwrap());
    assert!(!train.labels.is_sorted() && test.labels == [1, 2, 0, 1, 2, 0]);
    for (class, synset) in SYNSETS.iter().enumerate() {
        for number in [0, 5] {
            let file = root.join("train").join(synset).join(format!("{synset}_{number:02}.JPEG"));
            let question = client.encode_file(&file).unwrap();
            let mut rows = train.features.rows().zip(&train.labels);
            let found =
                rows.any(|(row, &label)| Some(row) == question.row(0) && label == class as u32);
            assert!(found, "{}", file.display());
        }
    }
    run("train", path, &[]).succeeds();
    let said = run("infer", path, &["decrypt"]).succeeds();
    assert!(said.contains("on 6 test samples"), "{said}");
}

#[test]
fn a_part_may_be_held_back() {
    let (files, folder) = (empty(), keyed());
    sets(files.path());
    let ended = setup(folder.path(), files.path(), &["--test-share", "0.25", "--per-class", "8"]);
    let said = ended.succeeds();
    let read = "18 samples to train on, 6 to test on; 3 classes: n01440764, n02119789, n03000684";
    assert!(said.starts_with(read), "{said}");
    let [train, test] =
        ["train", "test"].map(|part| ClientFolder::of(folder.path()).load(part).unwrap().labels);
    let mut all = [train, test].concat();
    all.sort_unstable();
    assert!(all == [[0; 8], [1; 8], [2; 8]].concat());
}

#[test]
fn what_is_wrong_with_a_tree_is_said_before_pictures_are_read() {
    let (files, folder) = (empty(), empty());
    let root = files.path();
    sets(root);
    let fails = |more: &[&str], words: &[&str]| {
        setup(folder.path(), root, more).fails(words);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{more:?} made something");
    };
    fails(&["--test-share", "1"], &["test_share", "0 to below 1"]);
    fails(&VALIDATION[..2], &["--imagenet-val", "val: no file of LOC_val_solution.csv"]);
    fails(
        &["--imagenet-val", "./val", "--ground-truth", "./absent.csv"],
        &["--imagenet-val", "absent.csv", "No such file"],
    );
    // A class without a picture to test on, and one without a picture to train on.
    let validation = root.join("sorted");
    for synset in &SYNSETS[..2] {
        draw(&validation.join(synset), "a.JPEG", 0, 1);
    }
    let sorted = ["--imagenet-val", "./sorted"];
    fails(&sorted, &["sorted: no picture of the class n03000684 to test on"]);
    draw(&validation.join("n09999999"), "a.JPEG", 0, 1);
    fails(&sorted, &["--imagenet-val", "n09999999 is not one of the 3 synsets"]);
    fs::create_dir(root.join("train/n04000000")).unwrap();
    fails(&[], &["--imagenet", "n04000000: no file ending in .JPEG"]);
    fs::remove_dir(root.join("train/n04000000")).unwrap();
    // More classes than a linear classifier has.
    let picture = fs::read(root.join("train/n01440764/n01440764_00.JPEG")).unwrap();
    for number in 0..998 {
        let class = root.join(format!("train/n1{number:07}"));
        fs::create_dir(&class).unwrap();
        fs::write(class.join("a.JPEG"), &picture).unwrap();
    }
    fails(&[], &["labels", "classes", "1001", "1000"]);
}

#[test]
fn damaged_pictures_are_refused_by_their_names() {
    let (files, folder) = (empty(), empty());
    sets(files.path());
    let picture = files.path().join("train/n02119789/n02119789_05.JPEG");
    fs::write(&picture, "no picture").unwrap();
    setup(folder.path(), files.path(), &[]).fails(&["picture 17: ", "n02119789_05.JPEG"]);
}

#[test]
fn models_that_are_none() {
    let (files, folder) = (empty(), empty());
    sets(files.path());
    let train = files.path().join("train").to_str().unwrap().to_owned();
    let text = files.path().join("names.txt").to_str().unwrap().to_owned();
    let cases: [(String, &[&str]); 5] = [
        (text, &["names.txt: no ONNX model: "]),
        (model("unknown.onnx"), &["operators that are not supported: com.example.Sharpen"]),
        (model("open.onnx"), &["leaves the size open", "--backbone-size"]),
        (model("grey.onnx"), &["1 channels, expected 3"]),
        (model("absent.onnx"), &["absent.onnx", "No such file"]),
    ];
    for (model, words) in cases {
        let arguments = ["--imagenet", &train, "--backbone", &model];
        let normalised = ["--backbone-mean", "127", "--backbone-scale", "128"];
        run("setup", folder.path(), &[&arguments[..], &normalised].concat()).fails(words);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}
