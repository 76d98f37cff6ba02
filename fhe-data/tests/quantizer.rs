//! Features of many kinds as integers.

use fhe_data::{Encoded, Error, Quantizer};
use ndarray::{Array2, array, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// About normal features, each with a mean and a standard deviation of its own.
fn normal(rows: usize, features: usize, seed: u64) -> Array2<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    Array2::from_shape_fn((rows, features), |(_, j)| {
        let unit = 10f64.powi(j as i32 % 13 - 6);
        unit * (1000.0 + normal())
    })
}

#[test]
fn integers_are_standardised_features() {
    let x = normal(500, 40, 1);
    let quantizer = Quantizer::fit(x.view(), 64).unwrap();
    let encoded = quantizer.encode(x.view()).unwrap();
    assert_eq!((encoded.len(), encoded.width(), quantizer.features()), (500, 64, 40));
    assert_eq!(quantizer.scale(), 7.0 / 2.5);
    for (row, integers) in x.rows().into_iter().zip(encoded.view().rows()) {
        for j in 0..40 {
            let z = (row[j] - quantizer.mean()[j]) / quantizer.std_dev()[j];
            let wanted = (2.8 * z).clamp(-7.0, 7.0);
            // A half unit of rounding, and what the sums in double precision lose.
            assert!((f64::from(integers[j]) - wanted).abs() < 0.5001, "{wanted} {}", integers[j]);
        }
        assert!(integers.slice(s![40..63]).iter().all(|&q| q == 0));
        assert_eq!(integers[63], 4);
    }
    // 2.8^2 a feature and the constant: rounding adds 1/12, clipping takes less.
    let norm = quantizer.squared_norm();
    assert!((300.0..335.0).contains(&norm), "{norm}");
    assert!((norm - encoded.mean_square_norm()).abs() < 1e-9);
    let clipped = encoded.values().iter().filter(|v| v.abs() == 7).count() as f64;
    // Beyond 6.5 / 2.8 standard deviations: two in a hundred.
    assert!((0.01..0.03).contains(&(clipped / (500.0 * 40.0))), "{clipped}");
}

#[test]
fn many_features_have_the_norm_of_the_recipes() {
    for features in [800, 2047] {
        let x = normal(300, features, 2);
        let quantizer = Quantizer::fit(x.view(), 2048).unwrap();
        let norm = quantizer.encode(x.view()).unwrap().mean_square_norm();
        assert!((norm - 5016.0).abs() < 5.0, "{features}: {norm}");
        assert!((norm - quantizer.squared_norm()).abs() < 1e-9);
    }
}

#[test]
fn few_features_say_what_they_reach() {
    let quantizer = Quantizer::fit(normal(150, 4, 3).view(), 2048).unwrap();
    let norm = quantizer.squared_norm();
    assert!((16.0 + 28.0..16.0 + 33.0).contains(&norm), "{norm}");
    let without = quantizer.with_bias(0).unwrap().squared_norm();
    assert!((norm - 16.0 - without).abs() < 1e-9, "{without}");
}

#[test]
fn every_number_type_gives_the_same() {
    let bytes = Array2::from_shape_fn((30, 5), |(i, j)| ((i * i * 7 + j * 31) % 120) as u8);
    let fit = |encoded: Encoded| encoded.values().to_vec();
    let wanted = fit(Quantizer::fit(bytes.view(), 8).unwrap().encode(bytes.view()).unwrap());
    macro_rules! same {
        ($($kind:ty),*) => {$({
            let x = bytes.mapv(|v| v as $kind);
            let quantizer = Quantizer::fit(x.view(), 8).unwrap();
            assert_eq!(fit(quantizer.encode(x.view()).unwrap()), wanted, stringify!($kind));
        })*};
    }
    same!(i8, i16, i32, i64, i128, u16, u32, u64, usize, f32, f64);
    // Columns first, and every other row of twice as many.
    let columns = bytes.t().as_standard_layout().into_owned();
    assert_eq!(fit(Quantizer::fit(columns.t(), 8).unwrap().encode(columns.t()).unwrap()), wanted);
}

#[test]
fn constant_features_are_zero() {
    // A tenth has no exact form: its sums would not be exact either.
    let x = array![[0.1, 5.0, 1e9], [0.1, 6.0, 1e9], [0.1, 9.0, 1e9]];
    let quantizer = Quantizer::fit(x.view(), 4).unwrap();
    assert_eq!(quantizer.constant_features().collect::<Vec<_>>(), [0, 2]);
    let encoded = quantizer.encode(array![[7.0, 6.5, 0.0]].view()).unwrap();
    assert_eq!(encoded.values(), [0, 0, 0, 4]);
    assert_eq!((encoded.row(0), encoded.row(1)), (Some(&[0, 0, 0, 4][..]), None));
}

#[test]
fn large_offsets_lose_nothing() {
    let times = array![[1_700_000_000.0f64], [1_700_000_001.0], [1_700_000_002.0]];
    let small = array![[0.0], [1.0], [2.0]];
    let encode = |x: &Array2<f64>| Quantizer::fit(x.view(), 2).unwrap().encode(x.view()).unwrap();
    assert_eq!(encode(&times), encode(&small));
}

#[test]
fn bad_features_are_located() {
    let op = "Quantizer::fit";
    let text = |x: Array2<f64>, width| Quantizer::fit(x.view(), width).unwrap_err().to_string();
    let rows = "expected at least 2";
    assert_eq!(text(Array2::zeros((0, 3)), 8), format!("{op}: 0 rows, {rows}"));
    assert_eq!(text(Array2::ones((1, 3)), 8), format!("{op}: 1 rows, {rows}"));
    let room = "the width less one for the constant";
    assert_eq!(text(Array2::ones((3, 8)), 8), format!("{op}: 8 features, expected 1 to 7: {room}"));
    assert_eq!(text(Array2::ones((3, 0)), 8), format!("{op}: 0 features, expected 1 to 7: {room}"));
    assert_eq!(text(Array2::ones((3, 1)), 0), format!("{op}: 1 features, expected 1 to 0: {room}"));
    let same = "every one of the 2 features is the same in all rows";
    assert_eq!(text(Array2::ones((3, 2)), 8), format!("{op}: {same}"));
    let wanted = "expected a number of size at most 1e100";
    for (value, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (-1e200, "-1")] {
        let mut x = normal(5, 3, 4);
        x[[3, 2]] = value;
        let text = text(x.clone(), 8);
        assert!(text.starts_with(&format!("{op}: row 3, column 2: {shown}")), "{text}");
        assert!(text.ends_with(wanted), "{text}");
        let fitted = Quantizer::fit(normal(5, 3, 4).view(), 8).unwrap();
        let error = fitted.encode(x.view()).unwrap_err();
        assert!(matches!(error, Error::Feature { row: 3, column: 2, .. }), "{error}");
    }
    let fitted = Quantizer::fit(normal(5, 3, 4).view(), 8).unwrap();
    let error = fitted.encode(normal(5, 2, 4).view()).unwrap_err();
    assert_eq!(error.to_string(), "Quantizer::encode: 2 features, expected 3");
    assert!(fitted.encode(Array2::<f32>::zeros((0, 3)).view()).unwrap().is_empty());
    let error = Quantizer::fit(normal(5, 3, 4).view(), usize::MAX).unwrap_err();
    assert!(matches!(error, Error::Config { field: "width", .. }), "{error}");
    assert!(matches!(fitted.with_bias(-8), Err(Error::Config { field: "bias", .. })));
}

#[test]
fn the_thread_count_changes_nothing() {
    let x = normal(100, 900, 5);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Quantizer::fit(x.view(), 1024).unwrap())
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn stored_quantizers_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quantizer");
    let quantizer = Quantizer::fit(normal(50, 20, 6).view(), 32).unwrap().with_bias(-3).unwrap();
    quantizer.save(&path).unwrap();
    // Equal contents are equal files, and nothing else is left in the folder.
    for _ in 0..5 {
        let again = folder.path().join("again");
        quantizer.save(&again).unwrap();
        assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&path).unwrap());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    assert_eq!(Quantizer::load(&path).unwrap(), quantizer);
    assert!(matches!(Encoded::load(&path), Err(Error::Malformed { field: "kind", .. })));
    let text = serde_json::to_value(&quantizer).unwrap();
    let back: Quantizer = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(back, quantizer);
    for (field, value) in
        [("bias", 8.0), ("scale", 0.0), ("width", 20.0), ("feature_norm", -1.0), ("other", 0.0)]
    {
        let mut text = text.clone();
        let number =
            if value < 0.0 || field == "scale" { value.into() } else { (value as u8).into() };
        text.as_object_mut().unwrap().insert(field.into(), number);
        let error = serde_json::from_value::<Quantizer>(text).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn encodings_are_matrices() {
    let matrix = array![[1i8, 2, 3], [4, 5, 6]];
    let encoded = Encoded::try_from(matrix.clone()).unwrap();
    assert_eq!(encoded.view(), matrix);
    // Transposed, the rows are no longer one after another in memory.
    let transposed = Encoded::try_from(matrix.reversed_axes()).unwrap();
    assert_eq!(transposed.values(), [1, 4, 2, 5, 3, 6]);
    let empty = Encoded::try_from(Array2::<i8>::zeros((0, 3))).unwrap();
    assert_eq!((empty.len(), empty.width(), empty.view().dim()), (0, 3, (0, 3)));
    let error = Encoded::try_from(array![[0i8, 1], [2, -8]]).unwrap_err().to_string();
    assert_eq!(error, "Encoded::new: row 1, column 1: -8, expected -7 to 7");
    assert!(matches!(
        Encoded::try_from(Array2::<i8>::zeros((3, 0))),
        Err(Error::Config { field: "width", .. })
    ));
}
