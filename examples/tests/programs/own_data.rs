//! Data of the user's own: feature files of all kinds, image folders and IDX files.

use std::fs;
use std::path::Path;

use fhe_examples::client::ClientFolder;
use fhe_examples::server::ServerFolder;
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use ndarray::Array2;
use safetensors::SafeTensors;

use crate::program::{Outcome, run};
use crate::run::{empty, keyed};

/// The classes of [`flowers`].
const SPECIES: [&str; 3] = ["setosa", "versicolor", "virginica"];
/// Options that read the file of [`write_csv`].
pub(crate) const CSV: [&str; 4] = ["--features", "flowers.csv", "--label-column", "species"];

/// Four measures of flowers of three kinds, which take turns. They are multiples of 1/16: floats of
/// any width hold them.
pub(crate) fn flowers(count: usize) -> Vec<[f64; 4]> {
    let centres = [[80, 55, 24, 4], [95, 45, 68, 21], [106, 48, 89, 33]];
    let noise = |i: usize, j: usize| ((i * 7919 + j * 104_729) % 1009 * 13 / 1009) as i32 - 6;
    let measure = |i: usize, j: usize| f64::from(centres[i % 3][j] + noise(i, j)) / 16.0;
    (0..count).map(|i| [0, 1, 2, 3].map(|j| measure(i, j))).collect()
}

/// Writes flowers with a header line, and their species in the middle.
pub(crate) fn write_csv(folder: &Path, count: usize) {
    let mut text = String::from("sepal length,sepal width,species,petal length,petal width\n");
    for (i, [a, b, c, d]) in flowers(count).into_iter().enumerate() {
        text.push_str(&format!("{a},{b},{},{c},{d}\n", SPECIES[i % 3]));
    }
    fs::write(folder.join("flowers.csv"), text).unwrap();
}

/// Writes an array as NumPy does.
pub(crate) fn write_npy(path: &Path, descr: &str, shape: &str, data: &[u8]) {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (text.len() as u16).to_le_bytes();
    let parts = [b"\x93NUMPY\x01\x00".as_slice(), &length, text.as_bytes(), data];
    fs::write(path, parts.concat()).unwrap();
}

/// Writes flowers as doubles, and their species as integers of 64 bits.
pub(crate) fn write_arrays(folder: &Path, count: usize) {
    let bytes: Vec<u8> = flowers(count).concat().iter().flat_map(|x| x.to_le_bytes()).collect();
    write_npy(&folder.join("x.npy"), "<f8", &format!("({count}, 4)"), &bytes);
    let labels: Vec<u8> = (0..count as i64).flat_map(|i| (i % 3).to_le_bytes()).collect();
    write_npy(&folder.join("y.npy"), "<i8", &format!("({count},)"), &labels);
}

/// Describes a tensor as the header of a safetensors file does.
fn tensor(kind: &str, shape: &[usize], offsets: [usize; 2]) -> serde_json::Value {
    serde_json::json!({ "dtype": kind, "shape": shape, "data_offsets": offsets })
}

/// Writes flowers as floats of 32 bits beside another tensor.
fn write_tensors(folder: &Path, count: usize) {
    let x: Vec<u8> =
        flowers(count).concat().iter().flat_map(|&x| (x as f32).to_le_bytes()).collect();
    let end = x.len();
    let (x_is, y_is) = (tensor("F32", &[count, 4], [0, end]), tensor("U8", &[1], [end, end + 1]));
    let header = serde_json::json!({ "x": x_is, "y": y_is }).to_string();
    let length = (header.len() as u64).to_le_bytes();
    let parts = [length.as_slice(), header.as_bytes(), &x, &[0]];
    fs::write(folder.join("x.safetensors"), parts.concat()).unwrap();
}

/// Returns arguments with the names of files in a folder.
pub(crate) fn within(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let name = |argument: &&str| match folder.join(argument) {
        path if path.exists() => path.to_str().unwrap().to_owned(),
        _ => (*argument).to_owned(),
    };
    arguments.iter().map(name).collect()
}

/// Sets a run up with files that lie in a folder.
pub(crate) fn setup(run_folder: &Path, files: &Path, arguments: &[&str]) -> Outcome {
    let arguments = within(files, arguments);
    run("setup", run_folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn flowers_from_a_table_to_an_encrypted_answer() {
    let (files, folder) = (empty(), keyed());
    let path = folder.path();
    write_csv(files.path(), 60);
    let said = setup(path, files.path(), &CSV).succeeds();
    assert!(said.contains("a linear classifier, 8 passes"), "{said}");
    let read = "48 samples to train on, 12 to test on; 3 classes: setosa, versicolor, virginica";
    assert!(said.starts_with(read), "{said}");
    let recipe = ServerFolder::of(path).read_recipe().unwrap();
    assert_eq!((recipe.inputs(2048), recipe.classes(), recipe.passes()), (5, 3, 8));
    run("train", path, &[]).succeeds();
    let said = run("infer", path, &["decrypt"]).succeeds();
    let accuracy: f64 = said.split(": ").nth(1).unwrap()[..6].parse().unwrap();
    assert!(accuracy > 0.8 && said.contains("on 12 test samples"), "{said}");
    assert!(path.join("client/model-confusion.svg").exists());

    // A row of a file with labels, which are left out.
    let table = files.path().join("flowers.csv");
    let row = ["encrypt", "--features", table.to_str().unwrap(), "--row", "9"];
    run("infer", path, &row).fails(&["flowers.csv", "column 3", "expected a finite number"]);
    run("infer", path, &[&row[..], &["--label-column", "species"]].concat()).succeeds();
    run("infer", path, &["score"]).succeeds();
    let said = run("infer", path, &["read"]).succeeds();
    assert!(said.starts_with("class 0: setosa\n") && said.contains("2: virginica"), "{said}");
    run("infer", path, &[&row[..4], &["60"], &["--label-column", "3"]].concat())
        .fails(&["--row 60", "flowers.csv has 60 rows"]);
    let pixel = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/pixel.png");
    run("infer", path, &["encrypt", "--image", pixel.to_str().unwrap()])
        .fails(&["set up with features, and takes no images"]);
    fs::write(files.path().join("narrow.csv"), "1,2,3\n").unwrap();
    let narrow = files.path().join("narrow.csv");
    run("infer", path, &["encrypt", "--features", narrow.to_str().unwrap()])
        .fails(&["narrow.csv", "3 features, expected 4"]);

    exports(path, files.path());
}

/// The model is exported as the book says.
fn exports(path: &Path, elsewhere: &Path) {
    let said = run("infer", path, &["export"]).succeeds();
    assert!(said.contains("client/model.safetensors"), "{said}");
    assert!(said.contains("client/encoder.safetensors"), "{said}");
    let bytes = fs::read(path.join("client/model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort();
    assert_eq!(names, ["scores.bias", "scores.weight"]);
    let (weight, bias) = (file.tensor("scores.weight"), file.tensor("scores.bias"));
    assert_eq!(weight.as_ref().unwrap().shape(), [3, 5]);
    assert_eq!(weight.unwrap().dtype(), safetensors::Dtype::F64);
    assert_eq!(bias.unwrap().data(), [0; 24]);
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    assert_eq!(metadata["format"], "fhe-train model 1");
    let network: serde_json::Value = serde_json::from_str(&metadata["network"]).unwrap();
    assert_eq!(network["layers"][0]["name"], "scores");

    let other = elsewhere.join("deep/model.safetensors");
    run("infer", path, &["export", "--out", other.to_str().unwrap()]).succeeds();
    // What is before the numbers has no order.
    let numbers = bytes.len() - 8 * (3 * 5 + 3)..;
    assert!(fs::read(&other).unwrap()[numbers.clone()] == bytes[numbers]);
    // A folder cannot be written over, and nothing is left of the attempt.
    let taken = other.parent().unwrap();
    run("infer", path, &["export", "--out", taken.to_str().unwrap()]).fails(&["deep"]);
    let mut left: Vec<_> = fs::read_dir(elsewhere).unwrap().map(|e| e.unwrap().path()).collect();
    left.sort();
    assert_eq!(left, ["deep", "flowers.csv", "narrow.csv"].map(|name| elsewhere.join(name)));
}

/// What the client holds in the clear: integers and labels to train on, and to test on.
fn clear(run_folder: &Path) -> [(Array2<i8>, Vec<u32>); 2] {
    ["train", "test"].map(|part| {
        let found = ClientFolder::of(run_folder).load(part).unwrap();
        (found.features.view().to_owned(), found.labels)
    })
}

#[test]
fn all_formats_of_features_say_the_same() {
    let (files, table) = (empty(), keyed());
    write_csv(files.path(), 60);
    write_arrays(files.path(), 60);
    write_tensors(files.path(), 60);
    let labels: Vec<&str> = (0..60).map(|i| SPECIES[i % 3]).collect();
    fs::write(files.path().join("y.txt"), labels.join("\n")).unwrap();
    setup(table.path(), files.path(), &CSV).succeeds();
    let recipe = |folder: &Path| ServerFolder::of(folder).read_recipe().unwrap();
    let names = |folder: &Path| ClientFolder::of(folder).read_setup().unwrap().classes;
    assert_eq!(names(table.path()), SPECIES);

    let arrays = keyed();
    let options = ["--features", "x.npy", "--labels", "y.npy"];
    setup(arrays.path(), files.path(), &options).succeeds();
    assert!(clear(arrays.path()) == clear(table.path()));
    assert_eq!(names(arrays.path()), ["0", "1", "2"]);
    assert_eq!(recipe(arrays.path()), recipe(table.path()));

    let tensors = keyed();
    let options = ["--features", "x.safetensors", "--tensor", "x", "--labels", "y.txt"];
    setup(tensors.path(), files.path(), &options[..2]).fails(&[
        "x.safetensors",
        "tensor",
        "there are: x, y",
    ]);
    setup(tensors.path(), files.path(), &options).succeeds();
    assert!(clear(tensors.path()) == clear(table.path()));

    // Another order of the samples is another run.
    setup(tensors.path(), files.path(), &[&options[..], &["--seed", "2"]].concat())
        .fails(&["client/setup.json", "seed is 1"]);
    setup(tensors.path(), files.path(), &[&options[..], &["--test-share", "0.5"]].concat())
        .fails(&["client/setup.json", "this run has features", "test-share 0.5"]);
    let row = within(files.path(), &["encrypt", "--features", "x.safetensors", "--tensor", "x"]);
    let row: Vec<&str> = row.iter().map(String::as_str).collect();
    run("infer", tensors.path(), &row).succeeds();
}

/// Draws images of three classes, squares of another colour each, in several sizes, formats and
/// colour types.
pub(crate) fn draw_folder(folder: &Path, each: u32) {
    let colours = [("cherry", [220, 30, 40]), ("leaf", [30, 180, 60]), ("sky", [60, 120, 240])];
    for (name, colour) in colours {
        let class = folder.join(name);
        fs::create_dir_all(&class).unwrap();
        for i in 0..each {
            let (width, height) = (24 + 9 * i, 60 - 3 * i);
            let inside = |x: u32, y: u32| x > 4 + i && x < width - 5 && y > 5 && y < height - 4 - i;
            let light = |x: u32, y: u32| ((x * 7 + y * 13 + i * 29) % 40) as u8;
            let rgb = RgbImage::from_fn(width, height, |x, y| match inside(x, y) {
                true => Rgb(colour),
                false => Rgb([light(x, y); 3]),
            });
            let rgb: DynamicImage = rgb.into();
            let (picture, ending): (DynamicImage, _) = match i % 4 {
                0 => (rgb, "png"),
                1 => (rgb, "jpg"),
                2 => (rgb.to_rgb16().into(), "png"),
                _ => (
                    RgbaImage::from_fn(width, height, |x, y| match inside(x, y) {
                        true => Rgba([colour[0], colour[1], colour[2], 255]),
                        false => Rgba([0, 0, 0, light(x, y)]),
                    })
                    .into(),
                    "PNG",
                ),
            };
            picture.save(class.join(format!("{i}.{ending}"))).unwrap();
        }
    }
    let grey = GrayImage::from_fn(40, 40, |x, y| Luma([((x * y) % 256) as u8]));
    grey.save(folder.join("sky/grey.jpeg")).unwrap();
}

#[test]
fn a_folder_of_images() {
    let (files, folder) = (empty(), keyed());
    let images = files.path().join("images");
    draw_folder(&images, 8);
    fs::write(images.join("leaf/notes.txt"), "not an image").unwrap();
    let options = ["--images", "images", "--dictionary", "32"];
    let ended = setup(folder.path(), files.path(), &options);
    assert!(ended.err.contains("1 files are no images by their names"), "{}", ended.err);
    assert!(ended.err.contains("notes.txt"), "{}", ended.err);
    ended.succeeds();
    let client = ClientFolder::of(folder.path());
    assert_eq!(client.read_setup().unwrap().classes, ["cherry", "leaf", "sky"]);
    let (train, test) = (client.load("train").unwrap(), client.load("test").unwrap());
    assert_eq!((train.labels.len(), test.labels.len()), (19, 6));
    let recipe = ServerFolder::of(folder.path()).read_recipe().unwrap();
    assert_eq!((recipe.classes(), recipe.inputs(2048)), (3, train.features.width()));
    let image = images.join("sky/1.jpg");
    run("infer", folder.path(), &["encrypt", "--image", image.to_str().unwrap()]).succeeds();
    let table = files.path().join("x.csv");
    fs::write(&table, "1,2\n").unwrap();
    run("infer", folder.path(), &["encrypt", "--features", table.to_str().unwrap()])
        .fails(&["x.csv", "set up with images, and takes no features"]);
}

/// Writes a set of images of 12 rows and 9 columns in three classes: a bar whose place is the
/// class. If `transposed`, columns lie where others have rows.
pub(crate) fn write_idx(folder: &Path, prefix: &str, transposed: bool, packed: bool) {
    fs::create_dir_all(folder).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        if packed {
            let file = fs::File::create(folder.join(format!("{prefix}{name}.gz"))).unwrap();
            let mut file = GzEncoder::new(file, Compression::fast());
            std::io::Write::write_all(&mut file, bytes).unwrap();
            file.finish().unwrap();
        } else {
            fs::write(folder.join(format!("{prefix}{name}")), bytes).unwrap();
        }
    };
    let test = if prefix.is_empty() { "t10k" } else { "test" };
    for (part, count) in [("train", 36u32), (test, 9)] {
        let (rows, columns) = if transposed { (9, 12) } else { (12, 9) };
        let mut pixels: Vec<u8> =
            [2051, count, rows, columns].iter().flat_map(|x: &u32| x.to_be_bytes()).collect();
        let mut labels: Vec<u8> = [2049, count].iter().flat_map(|x| x.to_be_bytes()).collect();
        for i in 0..count {
            labels.push([2, 3, 7][i as usize % 3]);
            for p in 0..rows * columns {
                let (row, column) = (p / columns, p % columns);
                let (y, x) = if transposed { (column, row) } else { (row, column) };
                let bar = y / 4 == i % 3 && x > i % 5;
                pixels.push(if bar { 250 } else { ((x * 31 + y * 17 + i * 7) % 60) as u8 });
            }
        }
        write(&format!("{part}-images-idx3-ubyte"), &pixels);
        write(&format!("{part}-labels-idx1-ubyte"), &labels);
    }
}

#[test]
fn idx_files_of_another_size() {
    let (files, plain, turned) = (empty(), keyed(), keyed());
    write_idx(&files.path().join("plain"), "", false, false);
    write_idx(&files.path().join("turned"), "emnist-letters-", true, true);
    setup(plain.path(), files.path(), &["--idx", "plain"]).succeeds();
    setup(turned.path(), files.path(), &["--idx", "turned"]).succeeds();
    let client = ClientFolder::of(plain.path());
    assert_eq!(client.read_setup().unwrap().classes, ["2", "3", "7"]);
    assert_eq!(client.load("train").unwrap().labels.len(), 36);
    assert!(clear(plain.path()) == clear(turned.path()), "EMNIST lies transposed");
    let rows = keyed();
    setup(rows.path(), files.path(), &["--idx", "turned", "--orientation", "rows"]).succeeds();
    assert!(clear(plain.path()) != clear(rows.path()));
    // Two sets in one folder: one is to be named.
    write_idx(&files.path().join("turned"), "mine-", false, false);
    let two = keyed();
    let options = ["--idx", "turned", "--idx-prefix", "mine-"];
    setup(two.path(), files.path(), &options[..2]).fails(&["turned", "emnist-letters-, mine-"]);
    setup(two.path(), files.path(), &options).succeeds();
    assert!(clear(plain.path()) == clear(two.path()));
}

#[test]
fn a_rate_that_does_not_suit_the_data_is_warned_about() {
    let files = empty();
    write_csv(files.path(), 300);
    let recipe = |rate: &str| {
        let text = format!(
            "kind = \"head\"\nclasses = 3\npasses = 1\nlearning_rate = {rate}\nlogit_range = 8.0\n"
        );
        fs::write(files.path().join("recipe.toml"), text).unwrap();
        let folder = keyed();
        let options = [&CSV[..], &["--recipe", "recipe.toml"]].concat();
        let ended = setup(folder.path(), files.path(), &options);
        let warned = ended.err.contains("warning: the rates may not suit the data");
        let text = ended.err.clone();
        ended.succeeds();
        (warned, text)
    };
    let (warned, text) = recipe("1e-1");
    assert!(warned && text.contains("0.125 times the rates"), "{text}");
    let (warned, text) = recipe("1e-2");
    assert!(!warned, "{text}");
}

#[test]
fn test_samples_may_come_from_a_file_of_their_own() {
    let (files, others, folder) = (empty(), empty(), keyed());
    write_arrays(files.path(), 60);
    write_arrays(others.path(), 9);
    let [x, y] = ["x.npy", "y.npy"].map(|name| others.path().join(name));
    let [x, y] = [x.to_str().unwrap(), y.to_str().unwrap()];
    let train = ["--features", "x.npy", "--labels", "y.npy"];
    let with = |more: &[&str]| setup(folder.path(), files.path(), &[&train[..], more].concat());
    with(&["--test-features", x]).fails(&["x.npy", "no labels"]);
    with(&["--test-labels", y]).refuses(&["--test-features"]);
    with(&["--test-features", x, "--test-labels", y, "--test-share", "0.1"])
        .refuses(&["--test-share"]);
    // Classes that are numbered by the training samples, and one that these do not have.
    let labels: Vec<u8> = (0..9i64).flat_map(|i| (i % 3 + i / 8 * 4).to_le_bytes()).collect();
    write_npy(Path::new(y), "<i8", "(9,)", &labels);
    with(&["--test-features", x, "--test-labels", y]).fails(&["6", "0, 1, 2"]);
    let labels: Vec<u8> = (0..9i64).flat_map(|i| (2 - i % 2).to_le_bytes()).collect();
    write_npy(Path::new(y), "<i8", "(9,)", &labels);
    let said = with(&["--test-features", x, "--test-labels", y]).succeeds();
    assert!(said.starts_with("60 samples to train on, 9 to test on; 3 classes"), "{said}");
    let test = ClientFolder::of(folder.path()).load("test").unwrap();
    assert_eq!(test.labels, [2, 1, 2, 1, 2, 1, 2, 1, 2]);
}

/// Large data sets take mini-batches that fill batches of lookups.
#[test]
fn mini_batches_suit_the_number_of_scores() {
    use fhe_examples::own_data::batch;
    assert_eq!((batch(13_107, 10), batch(13_108, 10)), (16, 273));
    assert_eq!((batch(50_000, 10), batch(20_000, 200), batch(1_281_167, 1000)), (1041, 327, 65));
    assert_eq!((batch(200, 1000), batch(0, 10)), (16, 16));
}
