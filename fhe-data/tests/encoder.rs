//! Fitting, encoding and storing.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use fhe_data::{
    ComponentsOver, Encoded, Encoder, EncoderConfig, Error, IMAGE_BYTES, ImageSet, ImageShape,
    builtin,
};

fn tiny() -> EncoderConfig {
    EncoderConfig {
        dictionary: 16,
        components: 20,
        fit_patches: 2_000,
        dictionary_rounds: 3,
        ..EncoderConfig::small()
    }
}

fn tiny_map() -> EncoderConfig {
    EncoderConfig {
        dictionary: 16,
        components: 20,
        fit_patches: 2_000,
        dictionary_rounds: 3,
        ..EncoderConfig::convnet_small()
    }
}

fn fit(config: EncoderConfig, set: &ImageSet) -> Encoder {
    Encoder::fit(config, set, &|_| ()).unwrap()
}

fn encode(encoder: &Encoder, set: &ImageSet) -> Encoded {
    encoder.encode(set.images(), &|_| ()).unwrap()
}

fn threads<T: Send>(count: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap().install(run)
}

#[test]
fn the_thread_count_changes_nothing() {
    let set = builtin(5, 600, 0).train;
    // Wide enough for subspace iteration.
    let wide = EncoderConfig { dictionary: 140, subspace_rounds: 2, ..tiny() };
    for config in [tiny(), wide, tiny_map()] {
        let run = || encode(&fit(config.clone(), &set), &set.head(50));
        let one = threads(1, run);
        assert_eq!(one, threads(3, run));
        assert_eq!(one.len(), 50);
    }
}

#[test]
fn values_are_as_documented() {
    let split = builtin(5, 300, 40);
    let encoder = fit(tiny(), &split.train);
    let encoded = encode(&encoder, &split.train);
    assert_eq!(encoded.width(), 2048);
    for row in encoded.rows() {
        assert!(row.iter().all(|v| (-7..=7).contains(v)));
        assert!(row[20..2047].iter().all(|&v| v == 0));
        assert_eq!(row[2047], 4);
    }
    // An image is encoded alike alone and among others.
    let alone = encoder.encode(split.train.image(7).unwrap(), &|_| ()).unwrap();
    assert_eq!(alone.row(0), encoded.row(7));
    let error = encoder.encode(&[0; IMAGE_BYTES - 1], &|_| ()).unwrap_err();
    assert!(matches!(error, Error::PixelCount { got: 3071, .. }));
}

#[test]
fn the_norm_is_as_configured() {
    let set = builtin(5, 1000, 0).train;
    // Many components and a small norm, so that hardly a value is clipped.
    let config = EncoderConfig { components: 120, mean_square_norm: 400.0, ..tiny() };
    let norm = encode(&fit(config, &set), &set).mean_square_norm();
    assert!((380.0..460.0).contains(&norm), "{norm}");
}

#[test]
fn maps_keep_places() {
    let set = builtin(5, 400, 0).train;
    let encoder = fit(tiny_map(), &set);
    assert_eq!(encoder.config().map_shape(), [20, 6, 6]);
    let encoded = encode(&encoder, &set);
    for row in encoded.rows() {
        assert!(row.iter().all(|v| (-7..=7).contains(v)));
        assert!(row[720..].iter().all(|&v| v == 0));
    }
    // The last pool sees pixels from 21 on, in rows and columns; those before it see up to 27.
    let mut image = set.image(3).unwrap().to_vec();
    for (at, pixel) in image.iter_mut().enumerate() {
        if at % 1024 / 32 >= 28 && at % 32 >= 28 {
            *pixel = 255 - *pixel;
        }
    }
    let changed = encoder.encode(&image, &|_| ()).unwrap();
    let rows = (changed.row(0).unwrap(), encoded.row(3).unwrap());
    let differ: Vec<usize> = (0..720).filter(|&i| rows.0[i] != rows.1[i]).collect();
    assert!(!differ.is_empty() && differ.iter().all(|i| i % 36 == 35), "{differ:?}");
}

#[test]
fn maps_have_the_norm_that_is_configured() {
    let set = builtin(5, 1000, 0).train;
    let config = EncoderConfig { mean_square_norm: 720.0, ..tiny_map() };
    let encoded = encode(&fit(config, &set), &set);
    // Rounding adds about 1/12 to each square.
    let norm = encoded.mean_square_norm();
    assert!((720.0..820.0).contains(&norm), "{norm}");
    // The components' mean is over all places; with it gone, little of a constant is left.
    let sum: i64 = encoded.values().iter().map(|&v| i64::from(v)).sum();
    assert!((sum as f64 / (1000.0 * 720.0)).abs() < 0.05, "{sum}");
}

#[test]
fn one_pool_is_an_image_by_itself() {
    let set = builtin(5, 100, 0).train;
    let one = EncoderConfig { pool_grid: 1, pool_window: 27, mirror: false, ..tiny() };
    let map = EncoderConfig { components_over: ComponentsOver::Channels, ..one.clone() };
    assert_eq!(encode(&fit(one, &set), &set), encode(&fit(map, &set), &set));
}

#[test]
fn channels_of_the_image_hold_what_a_head_would_take() {
    let set = builtin(5, 400, 0).train;
    let both = fit(tiny_map().with_image_channels(2), &set);
    assert_eq!(both.config().map_shape(), [22, 6, 6]);
    // 72 components of the whole image, each of the mean square of a head's.
    let head = EncoderConfig {
        components: 72,
        mean_square_norm: 5000.0 * 72.0 / 2047.0,
        fit_images: 12_000,
        ..EncoderConfig { pool_grid: 2, pool_window: 14, mirror: true, ..tiny() }
    };
    let map = encode(&fit(tiny_map(), &set), &set);
    let (both, head) = (encode(&both, &set), encode(&fit(head, &set), &set));
    for ((both, map), head) in both.rows().zip(map.rows()).zip(head.rows()) {
        assert_eq!(both[..720], map[..720]);
        assert_eq!(both[720..792], head[..72]);
    }
}

#[test]
fn a_head_has_no_channels_of_the_image() {
    let error = tiny().with_image_channels(1).check().unwrap_err();
    assert!(matches!(error, Error::Config { field: "image_channels", .. }), "{error}");
    let error = tiny_map().with_image_channels(usize::MAX).check().unwrap_err();
    assert!(matches!(error, Error::Config { field: "components", .. }), "{error}");
}

#[test]
fn a_setting_that_older_files_lack_means_the_image() {
    let mut value = serde_json::to_value(tiny()).unwrap();
    for field in ["components_over", "image_channels"] {
        value.as_object_mut().unwrap().remove(field).unwrap();
    }
    assert_eq!(serde_json::from_value::<EncoderConfig>(value).unwrap(), tiny());
}

#[test]
fn flat_images_are_no_trouble() {
    let set = ImageSet::new("flat", vec![128; 4 * IMAGE_BYTES], vec![0; 4]).unwrap();
    let encoded = encode(&fit(tiny(), &set), &set);
    assert!(encoded.row(0).unwrap()[..2047].iter().all(|&v| v == 0));
}

#[test]
fn bad_settings_are_named() {
    let set = builtin(5, 10, 0).train;
    let settings = [
        ("patch", EncoderConfig { patch: 1, ..tiny() }),
        ("pool_window", EncoderConfig { pool_window: 28, ..tiny() }),
        ("components", EncoderConfig { components: 129, ..tiny() }),
        ("components", EncoderConfig { components: 33, ..tiny_map() }),
        ("components", EncoderConfig { components: 1821, dictionary: 1000, ..tiny_map() }),
        ("mirror", EncoderConfig { mirror: true, ..tiny_map() }),
        ("bias", EncoderConfig { bias: 8, ..tiny() }),
        ("threshold", EncoderConfig { threshold: f32::NAN, ..tiny() }),
    ];
    for (wanted, config) in settings {
        let error = Encoder::fit(config, &set, &|_| ()).unwrap_err();
        assert!(matches!(error, Error::Config { field, .. } if field == wanted), "{error}");
    }
    let error = Encoder::fit(tiny(), &set.head(1), &|_| ()).unwrap_err();
    assert!(matches!(error, Error::TooFewImages { got: 1, .. }));
    let grey = ImageSet::with_shape("grey", ImageShape::GREY28, vec![0; 1568], vec![0; 2]).unwrap();
    let error = Encoder::fit(tiny(), &grey, &|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "Encoder::fit: images of 1x28x28, expected 3x32x32");
}

#[test]
fn files_give_back_what_was_saved() {
    let set = builtin(5, 100, 0).train;
    for config in [tiny(), tiny_map(), tiny_map().with_image_channels(2)] {
        give_back(&set, config);
    }
}

fn give_back(set: &ImageSet, config: EncoderConfig) {
    let folder = tempfile::tempdir().unwrap();
    let encoder = fit(config, set);
    let encoded = encode(&encoder, set);
    let (a, b) = (folder.path().join("encoder"), folder.path().join("encoded"));
    encoder.save(&a).unwrap();
    encoded.save(&b).unwrap();
    let loaded = Encoder::load(&a).unwrap();
    assert_eq!(loaded.config(), encoder.config());
    assert_eq!(encode(&loaded, set), encoded);
    assert_eq!(Encoded::load(&b).unwrap(), encoded);
    assert!(matches!(Encoded::load(&a), Err(Error::Malformed { field: "kind", .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&b).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

fn load_changed(file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Error {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    let changed = file.with_extension("changed");
    fs::write(&changed, bytes).unwrap();
    Encoded::load(&changed).unwrap_err()
}

#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("encoded");
    let values = (0..4096).map(|i| (i % 15 - 7) as i8).collect();
    Encoded::new(2048, values).unwrap().save(&file).unwrap();
    let flipped = load_changed(&file, |bytes| bytes[3000] ^= 1);
    assert!(matches!(flipped, Error::Checksum { algorithm: "blake3", .. }), "{flipped}");
    let truncated = load_changed(&file, |bytes| bytes.truncate(3000));
    assert!(matches!(truncated, Error::Malformed { field: "tensors" | "safetensors header", .. }));
    let empty = load_changed(&file, Vec::clear);
    assert!(matches!(empty, Error::Malformed { field: "safetensors header", .. }), "{empty}");
    let newer = load_changed(&file, |bytes| {
        let wanted = br#""version":"1""#;
        let at = bytes.windows(wanted.len()).position(|w| w == wanted).unwrap();
        bytes[at + wanted.len() - 2] = b'2';
    });
    assert!(matches!(newer, Error::Version { got: 2, wanted: 1, .. }), "{newer}");
    // Every byte of the file counts: none can change unnoticed.
    for at in (0..fs::read(&file).unwrap().len()).step_by(97) {
        load_changed(&file, |bytes| bytes[at] ^= 4);
    }
    assert!(matches!(Encoded::load(&folder.path().join("none")), Err(Error::Io { .. })));
}

#[test]
fn equal_encoders_are_equal_files() {
    let folder = tempfile::tempdir().unwrap();
    let set = builtin(1, 40, 0).train;
    let saved = |i: usize| {
        let file = folder.path().join(format!("{i}.safetensors"));
        fit(tiny(), &set).save(&file).unwrap();
        fs::read(file).unwrap()
    };
    let first = saved(0);
    // An order that is drawn anew would differ in one of them.
    assert!((1..5).all(|i| saved(i) == first));
}
