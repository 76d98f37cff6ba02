//! Exported models give the same scores in NumPy, by the lines that the book prints.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;
use std::process::Command;

use fhe_data::{Quantizer, read_npy};
use fhe_train::{ClearModel, Recipe, tune};
use ndarray::{Array2, ArrayView2};

/// Runs each of the book's Python listings in a folder, in an order given by a word of each.
fn run_listings(folder: &Path, words: [&str; 2]) {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/export.md");
    let text = fs::read_to_string(book).unwrap();
    let listings: Vec<&str> =
        text.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(listings.len(), words.len());
    for word in words {
        let mut fitting = listings.iter().filter(|listing| listing.contains(word));
        let (listing, more) = (fitting.next().unwrap(), fitting.next());
        assert!(more.is_none(), "two listings with {word}");
        let ended =
            Command::new("python3").args(["-c", listing]).current_dir(folder).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}

/// Writes a matrix of doubles as NumPy does.
fn write_npy(path: &Path, x: ArrayView2<'_, f64>) {
    let header = format!(
        "{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, {}), }}\n",
        x.nrows(),
        x.ncols()
    );
    let length = (header.len() as u16).to_le_bytes();
    let data: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    let parts = [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), &data];
    fs::write(path, parts.concat()).unwrap();
}

/// Samples of three classes whose features have different units; one feature never varies.
fn floats() -> (Array2<f64>, Vec<u32>) {
    let noise = |i: usize, j: usize| ((i * 7919 + j * 104_729) % 1009) as f64 / 1009.0 - 0.5;
    let value = |(i, j): (usize, usize)| match j {
        3 => 2.5,
        _ => (f64::from(i as u32 % 3 == j as u32) + noise(i, j)) * 10f64.powi(j as i32) - 3.0,
    };
    (Array2::from_shape_fn((90, 5), value), (0..90).map(|i| i % 3).collect())
}

/// Trains a clear twin, exports it, and compares its scores with those of the listings.
fn numpy_agrees(recipe: &Recipe) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (floats, labels) = floats();
    let quantizer = Quantizer::fit(floats.view(), 6).unwrap();
    let x = quantizer.encode(floats.view()).unwrap();
    let (recipe, _) = tune(recipe, (x.view(), &labels), 16).unwrap();
    let params = recipe.params(16).unwrap();
    let model =
        ClearModel::twin(&params, &recipe, (x.view(), &labels), 16, None, |_, _| ()).unwrap();

    write_npy(&at("floats.npy"), floats.view());
    quantizer.save(&at("quantizer.safetensors")).unwrap();
    model.save_safetensors(&at("model.safetensors")).unwrap();
    run_listings(folder.path(), ["floats.npy", "scores.npy"]);

    let integers = read_npy(&at("x.npy")).unwrap().values;
    assert_eq!(integers, x.view().mapv(f64::from));
    let (scores, expected) =
        (read_npy(&at("scores.npy")).unwrap().values, model.scores(x.view()).unwrap());
    let off = (&scores - &expected).mapv(f64::abs).fold(0.0, |most: f64, &x| most.max(x));
    assert!(off < 1e-9, "{off}");
    let size = expected.mapv(f64::abs).fold(0.0, |most: f64, &x| most.max(x));
    assert!(size > 0.1, "scores that are all near 0 tell nothing: {size}");
}

#[test]
#[ignore = "needs python3 with numpy and safetensors"]
fn a_linear_classifier_has_the_same_scores_in_numpy() {
    numpy_agrees(&Recipe::linear(6, 3).with_passes(4));
}

#[test]
#[ignore = "needs python3 with numpy and safetensors"]
fn a_network_has_the_same_scores_in_numpy() {
    numpy_agrees(&Recipe::mlp(6, &[5], 3).with_passes(2));
    numpy_agrees(&Recipe::mlp(6, &[6, 4], 3).with_passes(2));
    numpy_agrees(&with_shortcut());
}

/// A network whose scores also take the input itself.
fn with_shortcut() -> Recipe {
    let mut recipe = serde_json::to_value(Recipe::mlp(6, &[5], 3).with_passes(2)).unwrap();
    recipe["network"]["shortcut"] = true.into();
    let training = recipe["training"].as_array_mut().unwrap();
    training.push(training.last().unwrap().clone());
    serde_json::from_value(recipe).unwrap()
}

#[test]
fn a_shortcut_is_a_layer_of_its_own() {
    let (recipe, labels) = (with_shortcut(), [0, 1, 2, 0]);
    let x = Array2::from_shape_fn((4, 6), |(i, j)| ((3 * i + 5 * j) % 13) as i8 - 6);
    let params = recipe.params(4).unwrap();
    let data = (x.view(), &labels[..]);
    let model = ClearModel::twin(&params, &recipe, data, 4, None, |_, _| ()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.save_safetensors(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for (name, shape) in [("shortcut.weight", vec![3, 6]), ("shortcut.bias", vec![3])] {
        assert_eq!(tensors.tensor(name).unwrap().shape(), shape);
    }
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let network: serde_json::Value =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["network"]).unwrap();
    assert_eq!(network["shortcut"], true);
    assert_eq!(network["layers"].as_array().unwrap().len(), 2);
    assert!(network.get("cells").is_none());
}
