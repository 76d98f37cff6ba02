//! Features of small ONNX files (`models/make.py` makes them) beside plain arithmetic, and an error
//! for everything that is wrong with a file.
#![cfg(feature = "onnx")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod cache;
mod labelled;

use std::fs;
use std::path::{Path, PathBuf};

use fhe_data::backbone::{
    Backbone, BackboneError, BackboneOptions, FeatureCache, Normalisation, Picture, RgbImage,
    set_pictures,
};
use fhe_data::{Error, ImageSet, ImageShape, Quantizer};
use image::Rgb;
use ndarray::{Array2, Axis, concatenate, s};

/// A normalisation of three means, and scales that differ.
const UNEVEN: Normalisation =
    Normalisation { mean: [120.0, 100.0, 90.0], scale: [64.0, 32.0, 128.0] };

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name)
}

fn uneven() -> BackboneOptions {
    BackboneOptions { normalisation: Some(UNEVEN), ..BackboneOptions::default() }
}

fn named(output: &str) -> BackboneOptions {
    BackboneOptions { output: Some(output.into()), ..uneven() }
}

fn open(name: &str, options: &BackboneOptions) -> Backbone {
    Backbone::open(&path(name), options).unwrap()
}

/// Returns the message of an error without the file that it begins with.
fn refusal(name: &str, options: &BackboneOptions) -> String {
    let error = Backbone::open(&path(name), options).unwrap_err();
    assert!(matches!(error, Error::Backbone { .. }), "{error}");
    error.to_string().split_once(".onnx: ").unwrap().1.to_owned()
}

/// Pictures of 4 x 4 pixels that differ.
fn pictures(count: u32) -> Vec<RgbImage> {
    let byte = |i: u32, x, y, c: u32| {
        ((i * 131 + i / 256 * (y + 1) + x * 29 + y * 53 + c * 97 + x * y * 11) % 256) as u8
    };
    let picture = |i| RgbImage::from_fn(4, 4, |x, y| Rgb([0, 1, 2].map(|c| byte(i, x, y, c))));
    (0..count).map(picture).collect()
}

/// The `i`-th weight of a tensor, as `make.py` has it.
fn weight(i: usize, seed: usize) -> f64 {
    ((7 * i + seed) % 11) as f64 / 8.0 - 5.0 / 8.0
}

/// The convolution of 2 x 2 steps, `[channel][position]`.
fn map(picture: &RgbImage, normalisation: Normalisation) -> [[f64; 4]; 2] {
    let pixel = |c: usize, y: usize, x: usize| {
        let byte = f64::from(picture.get_pixel(x as u32, y as u32).0[c]);
        (byte - f64::from(normalisation.mean[c])) / f64::from(normalisation.scale[c])
    };
    let mut map = [[0.0; 4]; 2];
    for (o, row) in map.iter_mut().enumerate() {
        for (at, sum) in row.iter_mut().enumerate() {
            *sum = weight(o, 2);
            for (c, dy, dx) in (0..12).map(|i| (i / 4, i / 2 % 2, i % 2)) {
                let kernel = weight(o * 12 + c * 4 + dy * 2 + dx, 1);
                *sum += kernel * pixel(c, at / 2 * 2 + dy, at % 2 * 2 + dx);
            }
        }
    }
    map
}

/// The mean of what is positive in each channel.
fn features(picture: &RgbImage, normalisation: Normalisation) -> Vec<f64> {
    let mean = |row: [f64; 4]| row.iter().map(|sum| sum.max(0.0)).sum::<f64>() / 4.0;
    map(picture, normalisation).map(mean).to_vec()
}

fn logits(picture: &RgbImage, normalisation: Normalisation) -> Vec<f64> {
    let input = features(picture, normalisation);
    let sum = |o: usize| weight(2 * o, 3) * input[0] + weight(2 * o + 1, 3) * input[1];
    (0..5).map(|o| sum(o) + weight(o, 4)).collect()
}

/// Checks rows against numbers in double precision.
fn assert_near(got: &Array2<f32>, wanted: &[Vec<f64>]) {
    assert_eq!(got.nrows(), wanted.len());
    let mut varied = false;
    for (row, wanted) in got.rows().into_iter().zip(wanted) {
        assert_eq!(row.len(), wanted.len());
        for (&got, wanted) in row.iter().zip(wanted) {
            let error = (f64::from(got) - wanted).abs();
            assert!(error <= 1e-5 * (1.0 + wanted.abs()), "{row} is not {wanted}");
            varied |= wanted.abs() > 0.1;
        }
    }
    assert!(varied || wanted.is_empty());
}

fn expected(
    pictures: &[RgbImage],
    value: fn(&RgbImage, Normalisation) -> Vec<f64>,
) -> Vec<Vec<f64>> {
    pictures.iter().map(|picture| value(picture, UNEVEN)).collect()
}

#[test]
fn the_input_of_the_last_dense_layer_is_found() {
    let pictures = pictures(7);
    for (name, size) in [
        ("planes.onnx", None),
        ("pixels.onnx", None),
        ("two_outputs.onnx", None),
        ("open.onnx", Some(4)),
        ("unknown_behind.onnx", None),
        ("beside.onnx", None),
    ] {
        let backbone = open(name, &BackboneOptions { size, ..uneven() });
        assert_eq!((backbone.output(), backbone.width()), ("features", 2), "{name}");
        assert_eq!((backbone.input_size(), backbone.normalisation()), ((4, 4), UNEVEN));
        assert_near(&backbone.features(&pictures).unwrap(), &expected(&pictures, features));
    }
}

#[test]
fn a_named_value_is_taken() {
    let pictures = pictures(3);
    for name in ["planes.onnx", "pixels.onnx"] {
        let backbone = open(name, &named("logits"));
        assert_eq!((backbone.output(), backbone.width()), ("logits", 5));
        assert_near(&backbone.features(&pictures).unwrap(), &expected(&pictures, logits));
    }
    // A mean that still has rows and columns, one of each.
    let backbone = open("planes.onnx", &named("mean"));
    assert_near(&backbone.features(&pictures).unwrap(), &expected(&pictures, features));
    let backbone = open("no_dense.onnx", &named("features"));
    assert_near(&backbone.features(&pictures).unwrap(), &expected(&pictures, features));
}

#[test]
fn a_model_may_take_two_pictures_at_a_time() {
    let backbone = open("batch.onnx", &uneven());
    for count in [0, 1, 2, 5] {
        let pictures = pictures(count);
        let features_found = backbone.features(&pictures).unwrap();
        assert_eq!(features_found.dim(), (count as usize, 2));
        assert_near(&features_found, &expected(&pictures, features));
    }
}

#[test]
fn metadata_say_size_and_normalisation() {
    let backbone = open("metadata.onnx", &BackboneOptions::default());
    let stated = Normalisation { mean: [100.0, 110.0, 120.0], scale: [64.0; 3] };
    assert_eq!((backbone.input_size(), backbone.normalisation()), ((4, 4), stated));
    let pictures = pictures(4);
    let wanted: Vec<_> = pictures.iter().map(|picture| features(picture, stated)).collect();
    assert_near(&backbone.features(&pictures).unwrap(), &wanted);
    // Options come before them.
    let backbone = open("metadata.onnx", &BackboneOptions { size: Some(6), ..uneven() });
    assert_eq!((backbone.input_size(), backbone.normalisation()), ((6, 6), UNEVEN));
}

#[test]
fn pictures_are_cropped_and_resized() {
    let backbone = open("planes.onnx", &uneven());
    // Blue sides left and right of an even square of 40 pixels.
    let colour = Rgb([200, 130, 60]);
    let square = |x| if (10..50).contains(&x) { colour } else { Rgb([0, 0, 255]) };
    let wide = RgbImage::from_fn(60, 40, |x, _| square(x));
    let small = RgbImage::from_pixel(4, 4, colour);
    let got = backbone.features(&[wide]).unwrap();
    assert_near(&got, &[features(&small, UNEVEN)]);
}

#[test]
fn files_and_sets_are_pictures_too() {
    let backbone = open("planes.onnx", &uneven());
    let pictures = pictures(2);
    let wanted = backbone.features(&pictures).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = (0..2).map(|i| folder.path().join(format!("{i}.png"))).collect();
    for (picture, file) in pictures.iter().zip(&files) {
        picture.save(file).unwrap();
    }
    assert_eq!(backbone.features(&files).unwrap(), wanted);
    let planes = |picture: &RgbImage| -> Vec<u8> {
        (0..3).flat_map(|c| picture.pixels().map(move |pixel| pixel.0[c])).collect()
    };
    let shape = ImageShape { channels: 3, height: 4, width: 4 };
    let bytes = pictures.iter().flat_map(planes).collect();
    let set = ImageSet::with_shape("x", shape, bytes, vec![0, 1]).unwrap();
    assert_eq!(backbone.features(&set_pictures(&set)).unwrap(), wanted);
    // A grey image is one of three equal planes.
    let shape = ImageShape { channels: 1, ..shape };
    let grey = ImageSet::with_shape("x", shape, (0..16).collect(), vec![0]).unwrap();
    let equal = RgbImage::from_fn(4, 4, |x, y| Rgb([(4 * y + x) as u8; 3]));
    assert_eq!(
        backbone.features(&set_pictures(&grey)).unwrap(),
        backbone.features(&[equal]).unwrap()
    );
}

#[test]
fn threads_change_nothing() {
    let backbone = open("planes.onnx", &uneven());
    let pictures = pictures(300);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| backbone.features(&pictures).unwrap())
    };
    assert_eq!(on(1), on(3));
    let parts = [s![..7, ..], s![7.., ..]].map(|part| on(2).slice(part).to_owned());
    let joined = concatenate(Axis(0), &[parts[0].view(), parts[1].view()]).unwrap();
    assert_eq!(on(1), joined);
}

#[test]
fn ids_tell_what_features_depend_on() {
    let id = |name, options: &BackboneOptions| open(name, options).id().to_owned();
    let size = |size| BackboneOptions { size: Some(size), ..uneven() };
    let other = Normalisation { mean: [120.0, 100.0, 91.0], ..UNEVEN };
    let ids = [
        id("planes.onnx", &uneven()),
        id("planes.onnx", &named("logits")),
        id("planes.onnx", &BackboneOptions { normalisation: Some(other), ..uneven() }),
        id("two_outputs.onnx", &uneven()),
        id("open.onnx", &size(4)),
        id("open.onnx", &size(5)),
    ];
    for (i, one) in ids.iter().enumerate() {
        assert_eq!(one.len(), 64);
        assert!(ids[..i].iter().all(|before| before != one));
    }
    // Neither does what says the same in other words.
    assert_eq!(ids[0], id("planes.onnx", &BackboneOptions { size: Some(4), ..uneven() }));
    assert_eq!(ids[0], id("planes.onnx", &named("features")));
}

#[test]
fn weights_beside_the_model_belong_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("beside.onnx");
    fs::copy(path("beside.onnx"), &copy).unwrap();
    let error = || Backbone::open(&copy, &uneven()).unwrap_err().to_string();
    assert!(error().contains("weights kernel are in the file \"beside.weights\""), "{}", error());
    let mut weights = fs::read(path("beside.weights")).unwrap();
    let beside = folder.path().join("beside.weights");
    fs::write(&beside, &weights[..103]).unwrap();
    assert!(error().contains("weights kernel"), "{}", error());
    weights[50] ^= 1;
    fs::write(&beside, &weights).unwrap();
    let other = Backbone::open(&copy, &uneven()).unwrap();
    assert_ne!(other.id(), open("beside.onnx", &uneven()).id());
    assert_eq!(
        refusal("outside.onnx", &uneven()),
        "the weights kernel are in the file \"../models/beside.weights\": expected a plain name of \
         a file beside the model that has all their bytes"
    );
}

#[test]
fn files_that_are_no_models() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.onnx");
    let whole = fs::read(path("planes.onnx")).unwrap();
    for bytes in [&b""[..], b"no model at all", &[0x89, b'P', b'N', b'G', 13, 10], &whole[..300]] {
        fs::write(&file, bytes).unwrap();
        let error = Backbone::open(&file, &uneven()).unwrap_err().to_string();
        assert!(error.contains("a.onnx: no ONNX model: "), "{error}");
    }
    let missing = Backbone::open(&folder.path().join("b.onnx"), &uneven()).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }));
    // A file without bytes on the disk that is larger than any model.
    fs::File::create(&file).unwrap().set_len((2 << 30) + 1).unwrap();
    let error = Backbone::open(&file, &uneven()).unwrap_err();
    let most = 2 << 30;
    assert!(matches!(error, Error::Backbone { source: BackboneError::TooLarge { most: m }, .. }
            if m == most));
}

#[test]
fn models_that_are_no_backbones() {
    for (name, wanted) in [
        ("unknown.onnx", "operators that are not supported: com.example.Sharpen"),
        ("dangling.onnx", "the value map is used, but nothing before makes it"),
        (
            "grey.onnx",
            "input x: shape N x 1 x 4 x 4, which has 1 channels, expected 3: red, green, blue",
        ),
        (
            "alpha.onnx",
            "input x: shape N x 32 x 32 x 4, which has 4 channels, expected 3: red, green, blue",
        ),
        ("flat.onnx", "input x: shape N x 48, expected N x 3 x H x W or N x H x W x 3"),
        ("bytes.onnx", "input x: numbers of type UINT8, expected FLOAT"),
        ("many.onnx", "input x: 100000 pictures at a time, expected 1 to 1024"),
        (
            "open.onnx",
            "input x: shape batch_size x num_channels x height x width leaves the size open: give \
             the option `size`",
        ),
        ("bad_metadata.onnx", "the metadata entry input_size is 4x4, expected a number of pixels"),
        (
            "no_dense.onnx",
            "the model does not end in a dense layer (Gemm or MatMul): give the option `output`; \
             there are: features, mean, active, map",
        ),
        (
            "two_heads.onnx",
            "several dense layers at the end: give the option `output`; their inputs are: \
             features, logits",
        ),
    ] {
        assert_eq!(refusal(name, &uneven()), wanted, "{name}");
    }
}

#[test]
fn options_that_do_not_fit() {
    assert_eq!(
        refusal("planes.onnx", &BackboneOptions::default()),
        "the model does not say how pixels are normalised: give the option `normalisation`, as its \
         training had it"
    );
    assert_eq!(
        refusal("planes.onnx", &named("embedding")),
        "no output embedding; there are: probabilities, logits, features, mean, active, map"
    );
    assert_eq!(
        refusal("planes.onnx", &named("map")),
        "the value map has shape 1 x 2 x 2 x 2, expected one row of numbers for each picture"
    );
    assert_eq!(
        refusal("two_inputs.onnx", &named("sum")),
        "the features depend on 2 inputs (x, y), expected 1: the pictures"
    );
    assert_eq!(
        refusal("planes.onnx", &BackboneOptions { size: Some(5), ..uneven() }),
        "input x: the model takes 4 x 4 pixels, the option `size` says 5"
    );
    for size in [0, 4097, usize::MAX] {
        let refused = refusal("open.onnx", &BackboneOptions { size: Some(size), ..uneven() });
        let wanted = format!("pictures of {size} x {size} pixels, expected 1 to 4096");
        assert!(refused.starts_with(&wanted), "{refused}");
    }
    for (normalisation, wanted) in [
        (Normalisation::common(0.0, 0.0), "normalisation.scale is [0.0, 0.0, 0.0], expected"),
        (Normalisation::common(f32::NAN, 1.0), "normalisation.mean is [NaN, NaN, NaN], expected"),
    ] {
        let normalisation = Some(normalisation);
        let refused = refusal("planes.onnx", &BackboneOptions { normalisation, ..uneven() });
        assert!(refused.starts_with(wanted), "{refused}");
    }
}

#[test]
fn models_that_the_runtime_refuses() {
    let refused = refusal("misfit.onnx", &uneven());
    assert!(refused.starts_with("deriving the model's shapes: "), "{refused}");
    // The runtime panics here.
    let refused = refusal("text.onnx", &uneven());
    assert!(refused.starts_with("reading the model's operators: "), "{refused}");
}

#[test]
fn features_that_are_not_finite_name_their_picture() {
    let backbone = open("logarithm.onnx", &named("log"));
    // All of one colour: then a channel is active everywhere or nowhere.
    let plain = |i: u32| RgbImage::from_pixel(4, 4, Rgb([1, 2, 4].map(|bit| (i & bit) as u8 * 60)));
    let mut some = pictures(3);
    some.extend((0..8).map(plain));
    let inactive = |picture: &RgbImage| features(picture, UNEVEN).contains(&0.0);
    let bad = some.iter().position(inactive).unwrap();
    assert!(bad > 0, "a picture before has features");
    let error = backbone.features(&some).unwrap_err();
    let Error::Backbone { source: BackboneError::NotFinite { picture, feature, got }, .. } = error
    else {
        unreachable!("{error}")
    };
    assert_eq!((picture, got), (bad, f32::NEG_INFINITY));
    assert!(features(&some[bad], UNEVEN)[feature] == 0.0);
    // In a cache, too, pictures are counted from the first one.
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::open(folder.path()).unwrap();
    let mut many = vec![some[0].clone(); 300];
    many[290] = some[bad].clone();
    let error = cache.features(&backbone, &many, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("picture 290: feature"), "{error}");
}

#[test]
fn pictures_that_cannot_be_read_are_named() {
    let backbone = open("planes.onnx", &uneven());
    let mut some = pictures(3);
    some[1] = RgbImage::new(0, 4);
    let error = backbone.features(&some).unwrap_err().to_string();
    assert!(error.starts_with("picture 1: images of 3x4x0, expected"), "{error}");
    let files = [path("make.py"), path("nowhere.png")];
    let error = backbone.features(&files).unwrap_err().to_string();
    assert!(error.starts_with("picture 0: ") && error.contains("make.py: "), "{error}");
}

/// A picture that has not the size that it is asked for.
struct Wrong;

impl Picture for Wrong {
    fn planes(&self, shape: ImageShape) -> fhe_data::Result<Vec<u8>> {
        Ok(vec![0; 2 * shape.bytes()])
    }

    fn digest(&self) -> fhe_data::Result<[u8; 32]> {
        Ok([0; 32])
    }
}

#[test]
fn pictures_of_a_wrong_size_are_refused() {
    let error = open("planes.onnx", &uneven()).features(&[Wrong]).unwrap_err().to_string();
    assert_eq!(error, "picture 0: Picture::planes: 96 pixel bytes, expected 48");
}

#[test]
fn features_go_to_the_quantizer() {
    let backbone = open("planes.onnx", &uneven());
    let features = backbone.features(&pictures(50)).unwrap();
    let quantizer = Quantizer::fit(features.view(), 16).unwrap();
    assert_eq!(quantizer.encode(features.view()).unwrap().len(), 50);
}

#[test]
fn bytes_that_are_changed_never_panic() {
    // Each byte of two files, replaced by another one: an error, or some features.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.onnx");
    let picture = pictures(1);
    for name in ["metadata.onnx", "pixels.onnx"] {
        let whole = fs::read(path(name)).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] = bytes[at].wrapping_mul(29).wrapping_add(at as u8 | 1);
            fs::write(&file, &bytes).unwrap();
            if let Ok(backbone) = Backbone::open(&file, &uneven()) {
                let _ = backbone.features(&picture);
            }
        }
    }
}
