//! Data of the user's own that is wrong: one error that names the place, and nothing is made.

use std::fs;
use std::path::Path;

use crate::own_data::{
    draw_folder, flowers, within, write_arrays, write_csv, write_idx, write_npy,
};
use crate::program::{Outcome, run};
use crate::run::empty;

/// Runs `setup` in a folder that must stay empty.
fn setup(files: &Path, arguments: &[&str]) -> Outcome {
    let folder = empty();
    let arguments = within(files, arguments);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = run("setup", folder.path(), &arguments);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?} made something");
    ended
}

/// Writes the text of a file, and returns its name.
fn write<'a>(files: &Path, name: &'a str, bytes: impl AsRef<[u8]>) -> &'a str {
    fs::write(files.join(name), bytes).unwrap();
    name
}

#[test]
fn options_that_do_not_belong_together() {
    let files = empty();
    let cases: [(&[&str], &str); 23] = [
        (&["--preset", "builtin", "--images", "x"], "--images"),
        (&["--images", "x", "--features", "y.csv"], "--features"),
        (&["--idx", "x", "--images", "y"], "--images"),
        (&["--labels", "y.npy"], "--features"),
        (&["--images", "x", "--labels", "y.npy"], "--labels"),
        (&["--label-column", "1"], "--features"),
        (&["--idx", "x", "--label-column", "1"], "--label-column"),
        (&["--features", "x.csv", "--labels", "y.csv", "--label-column", "1"], "--label-column"),
        (&["--images", "x", "--count", "10"], "--count"),
        (&["--features", "x.csv", "--dictionary", "32"], "--dictionary"),
        (&["--test-share", "0.5"], "--images"),
        (&["--idx", "x", "--test-share", "0.5"], "--test-share"),
        (&["--features", "x.csv", "--orientation", "rows"], "--orientation"),
        (&["--features", "x.npy", "--label-tensor", "y"], "--labels"),
        (&["--imagenet", "x"], "--backbone"),
        (&["--imagenet", "x", "--images", "y"], "--images"),
        (&["--imagenet", "x", "--backbone", "y", "--preset", "builtin"], "--preset"),
        (&["--imagenet", "x", "--dictionary", "32"], "--dictionary"),
        (&["--imagenet", "x", "--backbone", "y", "--labels", "z.npy"], "--labels"),
        (&["--imagenet-val", "x"], "--imagenet"),
        (&["--images", "x", "--per-class", "3"], "--per-class"),
        (&["--imagenet", "x", "--backbone", "y", "--ground-truth", "z"], "--imagenet-val"),
        (
            &["--imagenet", "x", "--backbone", "y", "--imagenet-val", "z", "--test-share", "0"],
            "--test-share",
        ),
    ];
    for (arguments, word) in cases {
        setup(files.path(), arguments).refuses(&[word]);
    }
    let infer: [(&[&str], &str); 4] = [
        (&["--row", "1"], "--features"),
        (&["--image", "x.png", "--row", "1"], "--row"),
        (&["--image", "x.png", "--index", "1"], "--index"),
        (&["--image", "x.png", "--features", "y.csv"], "--features"),
    ];
    for (arguments, word) in infer {
        run("infer", files.path(), &[&["encrypt"], arguments].concat()).refuses(&[word]);
    }
}

#[test]
fn features_without_their_labels() {
    let files = empty();
    let here = files.path();
    write_arrays(here, 30);
    write_csv(here, 30);
    setup(here, &["--features", "x.npy"]).fails(&["x.npy: no labels", "--labels"]);
    setup(here, &["--features", "flowers.csv"]).fails(&["flowers.csv: line 2, column 3", "setosa"]);
    setup(here, &["--features", "flowers.csv", "--label-column", "kind"]).fails(&[
        "flowers.csv",
        "column kind",
        "there are: sepal length",
        "petal width",
    ]);
    setup(here, &["--features", "flowers.csv", "--label-column", "6"])
        .fails(&["flowers.csv", "column 6"]);
    setup(here, &["--features", "x.npy", "--label-column", "1"])
        .fails(&["x.npy", "no label column"]);
    let short: Vec<u8> = (0..29i32).flat_map(|i| (i % 3).to_le_bytes()).collect();
    write_npy(&here.join("y.npy"), "<i4", "(29,)", &short);
    let arguments = ["--features", "x.npy", "--labels", "y.npy"];
    setup(here, &arguments).fails(&["x.npy: 30 samples, and 29 labels"]);
    write_npy(&here.join("y.npy"), "|u1", "(30,)", &[4; 30]);
    setup(here, &arguments).fails(&["x.npy: one class only", "two or more"]);
    let halves: Vec<u8> = (0..30).flat_map(|i| (f64::from(i) / 2.0).to_le_bytes()).collect();
    write_npy(&here.join("y.npy"), "<f8", "(30,)", &halves);
    setup(here, &arguments).fails(&["y.npy: record 1: label 0.5", "integer"]);
    let absent = ["--features", "x.npy", "--labels", "absent.npy"];
    setup(here, &absent).fails(&["absent.npy", "No such file"]);
    // Labels that are numbers of another kind make as many classes.
    let many: String = (0..1100).map(|i| format!("{i},{}.5\n", i % 7)).collect();
    write(here, "many.csv", many);
    setup(here, &["--features", "many.csv", "--label-column", "1"])
        .fails(&["labels", "classes", "1100"]);
}

#[test]
fn features_that_are_no_numbers() {
    let files = empty();
    let here = files.path();
    write_arrays(here, 30);
    let mut numbers = flowers(30).concat();
    numbers[4 * 7 + 2] = f64::NAN;
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    write_npy(&here.join("nan.npy"), "<f8", "(30, 4)", &bytes);
    setup(here, &["--features", "nan.npy", "--labels", "y.npy"]).fails(&[
        "nan.npy: row 7, column 2",
        "NaN",
        "at most 1e100",
    ]);
    numbers[4 * 7 + 2] = 1e200;
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    write_npy(&here.join("huge.npy"), "<f8", "(30, 4)", &bytes);
    setup(here, &["--features", "huge.npy", "--labels", "y.npy"])
        .fails(&["huge.npy: row 7, column 2", "at most 1e100"]);
    write_npy(&here.join("cut.npy"), "<f8", "(30, 4)", &bytes[..200]);
    setup(here, &["--features", "cut.npy", "--labels", "y.npy"])
        .fails(&["cut.npy", "length of the data in bytes is 200, expected 960"]);
    write_npy(&here.join("same.npy"), "|u1", "(30, 4)", &[3; 120]);
    setup(here, &["--features", "same.npy", "--labels", "y.npy"])
        .fails(&["same.npy", "the same in all rows"]);
    let wide = vec![1u8; 12 * 2048];
    write_npy(&here.join("wide.npy"), "|u1", "(12, 2048)", &wide);
    write_npy(&here.join("z.npy"), "|u1", "(12,)", &[0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    setup(here, &["--features", "wide.npy", "--labels", "z.npy"]).fails(&[
        "wide.npy",
        "2048 features",
        "1 to 2047",
    ]);
    write(here, "gap.csv", "1,2,a\n3,,b\n");
    setup(here, &["--features", "gap.csv", "--label-column", "3"])
        .fails(&["gap.csv: line 2, column 2"]);
    write(here, "ragged.csv", "1,2,a\n3,b\n");
    setup(here, &["--features", "ragged.csv", "--label-column", "3"])
        .fails(&["ragged.csv: line 2: 2 cells, expected 3"]);
    write(here, "x.xlsx", "");
    setup(here, &["--features", "x.xlsx", "--labels", "y.npy"])
        .fails(&["x.xlsx", "expected .npy, .csv, .tsv or .safetensors"]);
    let share = ["--features", "x.npy", "--labels", "y.npy", "--test-share", "1"];
    setup(here, &share).fails(&["test_share", "0 to below 1"]);
}

#[test]
fn recipes_and_numbers_of_samples_that_do_not_fit() {
    let files = empty();
    let here = files.path();
    write_csv(here, 30);
    let csv = ["--features", "flowers.csv", "--label-column", "species"];
    let with = |more: &[&str]| setup(here, &[&csv[..], more].concat());
    with(&["--encrypt", "9"]).fails(&["9 samples to train on", "at least 10", "--recipe"]);
    let head =
        "kind = \"head\"\nclasses = 2\npasses = 1\nlearning_rate = 5e-4\nlogit_range = 8.0\n";
    with(&["--recipe", write(here, "two.toml", head)])
        .fails(&["the recipe has 2 classes, and the data 3"]);
    let deep = include_str!("../../recipes/builtin-deep.toml");
    with(&["--recipe", write(here, "deep.toml", deep)])
        .fails(&["the recipe has 10 classes, and the data 3"]);
    let three = deep.replace("outputs = 10", "outputs = 3");
    with(&["--recipe", write(here, "three.toml", three)])
        .fails(&["the recipe takes samples of 2880 integers, and these have 5"]);
}

#[test]
fn folders_that_are_no_classes_of_images() {
    let files = empty();
    let here = files.path();
    let images = here.join("images");
    setup(here, &["--images", "absent"]).fails(&["absent", "No such file"]);
    draw_folder(&images, 5);
    fs::create_dir(images.join("void")).unwrap();
    setup(here, &["--images", "images"]).fails(&["images/void", "no file ending in .png"]);
    fs::write(images.join("void/a.txt"), "no image").unwrap();
    setup(here, &["--images", "images"]).fails(&["images/void", "no file ending in .png"]);
    fs::remove_dir_all(images.join("void")).unwrap();

    let photo = images.join("leaf/1.jpg");
    let whole = fs::read(&photo).unwrap();
    fs::write(&photo, &whole[..whole.len() / 2]).unwrap();
    setup(here, &["--images", "images"]).fails(&["images/leaf/1.jpg", "ends before its image"]);
    fs::write(&photo, "no image").unwrap();
    setup(here, &["--images", "images"]).fails(&["images/leaf/1.jpg"]);
    fs::write(&photo, &whole).unwrap();
    setup(here, &["--images", "images", "--dictionary", "0"]).fails(&["dictionary", "1 to 8192"]);

    let one = here.join("one");
    fs::create_dir(&one).unwrap();
    fs::rename(images.join("leaf"), one.join("leaf")).unwrap();
    setup(here, &["--images", "one"]).fails(&["one: 1 subfolders, expected at least 2"]);
    // A class that occurs in the test part only.
    for part in ["train", "test"] {
        draw_folder(&here.join("parts").join(part), 5);
    }
    fs::remove_dir_all(here.join("parts/train/sky")).unwrap();
    setup(here, &["--images", "parts"]).fails(&["class sky is not one of cherry, leaf"]);
}

#[test]
fn files_that_are_no_idx() {
    let files = empty();
    let here = files.path();
    fs::create_dir(here.join("void")).unwrap();
    setup(here, &["--idx", "void"]).fails(&["void: no file", "train-images-idx3-ubyte"]);
    let set = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let folder = here.join("set");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        write_idx(&folder, "", false, false);
        let path = folder.join(name);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        setup(here, &["--idx", "set"])
    };
    let images = "train-images-idx3-ubyte";
    set(images, &|bytes| bytes[3] = 9).fails(&[images, "magic number is 2057, expected 2051"]);
    set(images, &|bytes| bytes.truncate(1000)).fails(&[images, "length in bytes is 1000"]);
    set(images, &|bytes| bytes.truncate(10)).fails(&[images, "rows"]);
    set(images, &|bytes| bytes[11] = 0).fails(&[images, "rows is 0, expected 1 to 4096"]);
    let labels = "train-labels-idx1-ubyte";
    set(labels, &|bytes| bytes[7] = 35).fails(&[labels, "number of labels is 35, expected 36"]);
    // The test part has another size of images.
    set("t10k-images-idx3-ubyte", &|bytes| (bytes[11], bytes[15]) = (9, 12)).fails(&[
        "images of",
        "9x12",
        "12x9",
    ]);
    write_idx(&here.join("set"), "", false, false);
    for labels in ["train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"] {
        let path = here.join("set").join(labels);
        let mut bytes = fs::read(&path).unwrap();
        bytes[8..].fill(1);
        fs::write(&path, bytes).unwrap();
    }
    setup(here, &["--idx", "set"]).fails(&["set: one class only"]);
}
