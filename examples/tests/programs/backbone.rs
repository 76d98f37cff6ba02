//! Features of images by a network of others.

use std::fs;

use crate::program::run;
use crate::run::empty;

#[cfg(not(feature = "onnx"))]
#[test]
fn a_backbone_needs_a_program_with_the_feature() {
    let folder = empty();
    let asked = ["--preset", "builtin", "--backbone", "model.onnx"];
    run("setup", folder.path(), &asked).fails(&["model.onnx", "without the feature `onnx`"]);
    run("setup", folder.path(), &["--backbone-size", "32"]).refuses(&["--backbone"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}

/// From a folder of pictures to an encrypted answer: two classes that differ in their colour.
#[cfg(feature = "onnx")]
#[test]
fn a_backbone_makes_features_of_a_folder() {
    use std::path::Path;

    use fhe_examples::client::ClientFolder;
    use image::{Rgb, RgbImage};

    use crate::run::keyed;

    let (images, folder) = (empty(), keyed());
    for i in 0..24u32 {
        let class = images.path().join(["blue", "red"][i as usize % 2]);
        fs::create_dir_all(&class).unwrap();
        let (strong, weak) = (150 + (i * 37 % 90) as u8, (i * 53 % 70) as u8);
        let colour = if i % 2 == 0 { [weak, weak, strong] } else { [strong, weak, weak] };
        let name = class.join(format!("{i}.png"));
        RgbImage::from_pixel(8 + i % 5, 8, Rgb(colour)).save(name).unwrap();
    }
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fhe-data/tests/models/planes.onnx");
    let [root, model] = [images.path(), &model].map(|path| path.to_str().unwrap().to_owned());
    let with = |more: &[&str]| {
        run("setup", folder.path(), &[&["--images", &root, "--backbone", &model], more].concat())
    };
    with(&[]).fails(&["planes.onnx", "normalis"]);
    let options = ["--backbone-mean", "127", "--backbone-scale", "128"];
    let said = with(&options).succeeds();
    assert!(said.contains("2 classes: blue, red"), "{said}");
    let client = ClientFolder::of(folder.path());
    let cached = fs::read_dir(client.feature_cache()).unwrap().count();
    with(&options).succeeds();
    assert_eq!(fs::read_dir(client.feature_cache()).unwrap().count(), cached);
    with(&["--backbone-mean", "100", "--backbone-scale", "128"]).fails(&["setup.json", "backbone"]);

    // An image goes the way of the training images.
    let parts = ["train", "test"].map(|part| client.load(part).unwrap().features);
    assert_eq!(parts[0].width(), 3, "two channels and a constant");
    let names = ["blue/0.png", "red/1.png"].map(|name| images.path().join(name));
    let [blue, red] = names.map(|path| client.encode_file(&path).unwrap());
    assert_ne!(blue, red);
    assert!(parts.iter().any(|part| part.rows().any(|row| Some(row) == red.row(0))));
    run("train", folder.path(), &[]).succeeds();
    let image = format!("{root}/red/1.png");
    run("infer", folder.path(), &["encrypt", "--image", &image]).succeeds();
}
