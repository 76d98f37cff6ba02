//! Files of NumPy, of spreadsheets and of named tensors.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

use fhe_data::{
    Column, Error, Features, Labels, Quantizer, Selection, read_csv, read_features, read_labels,
    read_npy, read_safetensors,
};
use half::{bf16, f16};
use ndarray::{Array2, array};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

/// A folder, and a file in it.
fn file(name: &str, bytes: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// An array file as `numpy.save` writes it.
fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let dict = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    let padded = (10 + dict.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((padded as u16).to_le_bytes());
    bytes.extend(format!("{dict:<width$}\n", width = padded - 1).bytes());
    bytes.extend(data);
    bytes
}

/// What an error says after the folder's name.
fn text(folder: &TempDir, error: &Error) -> String {
    let prefix = format!("{}/", folder.path().display());
    error.to_string().strip_prefix(&prefix).unwrap().to_owned()
}

const VALUES: [[i8; 3]; 2] = [[1, 2, 3], [4, 5, 100]];

fn wanted() -> Array2<f64> {
    array![[1.0, 2.0, 3.0], [4.0, 5.0, 100.0]]
}

/// The six values as bytes of each type, little-endian.
fn types() -> Vec<(&'static str, Dtype, Vec<u8>)> {
    let all = VALUES.concat();
    macro_rules! bytes {
        ($convert:expr) => {
            all.iter().flat_map(|&v| $convert(v).to_le_bytes()).collect()
        };
    }
    vec![
        ("i1", Dtype::I8, bytes!(|v| v)),
        ("i2", Dtype::I16, bytes!(i16::from)),
        ("i4", Dtype::I32, bytes!(i32::from)),
        ("i8", Dtype::I64, bytes!(i64::from)),
        ("u1", Dtype::U8, bytes!(|v| v as u8)),
        ("u2", Dtype::U16, bytes!(|v| v as u16)),
        ("u4", Dtype::U32, bytes!(|v| v as u32)),
        ("u8", Dtype::U64, bytes!(|v| v as u64)),
        ("f2", Dtype::F16, bytes!(f16::from)),
        ("f4", Dtype::F32, bytes!(f32::from)),
        ("f8", Dtype::F64, bytes!(f64::from)),
        ("", Dtype::BF16, bytes!(bf16::from)),
    ]
}

#[test]
fn npy_files_of_every_type_and_byte_order() {
    for (kind, dtype, bytes) in types().into_iter().filter(|(kind, ..)| !kind.is_empty()) {
        for order in ["<", ">"] {
            let mut bytes = bytes.clone();
            if order == ">" {
                let size = bytes.len() / 6;
                bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            }
            let (_folder, path) =
                file("a.npy", npy(&format!("{order}{kind}"), "False", "(2, 3)", &bytes));
            let features = read_npy(&path).unwrap();
            assert_eq!(features.values, wanted(), "{order}{kind} {dtype:?}");
            assert_eq!((features.sample_shape, features.names.len()), (vec![3], 0));
        }
    }
    let (_folder, path) = file("a.npy", npy("|b1", "False", "(2,)", &[0, 1]));
    assert_eq!(read_npy(&path).unwrap().values, array![[0.0], [1.0]]);
}

#[test]
fn npy_files_in_fortran_order_and_of_three_axes() {
    // [2, 3] column by column.
    let (_folder, path) = file("a.npy", npy("|i1", "True", "(2, 3)", &[1, 4, 2, 5, 3, 100]));
    assert_eq!(read_npy(&path).unwrap().values, wanted());
    // [2, 3, 2]: element (i, j, k) is 100 i + 10 j + k, in either order.
    let value = |i: u8, j: u8, k: u8| 100 * i + 10 * j + k;
    let mut c = Vec::new();
    let mut fortran = Vec::new();
    for at in 0..12 {
        c.push(value(at / 6, at / 2 % 3, at % 2));
        fortran.push(value(at % 2, at / 2 % 3, at / 6));
    }
    let (_folder, path) = file("a.npy", npy("|u1", "False", "(2, 3, 2)", &c));
    let (_folder_too, other) = file("a.npy", npy("|u1", "True", "(2, 3, 2)", &fortran));
    let features = read_npy(&path).unwrap();
    assert_eq!((features.sample_shape.as_slice(), features.values.dim()), (&[3, 2][..], (2, 6)));
    assert_eq!(features.values.row(1), array![100.0, 101.0, 110.0, 111.0, 120.0, 121.0]);
    assert_eq!(read_npy(&other).unwrap(), features);
}

#[test]
fn bad_npy_files() {
    let whole = npy("<f8", "False", "(2, 3)", &[0; 48]);
    let says = |bytes: &[u8]| {
        let (folder, path) = file("a.npy", bytes);
        text(&folder, &read_npy(&path).unwrap_err())
    };
    let length = "length of the data in bytes";
    assert_eq!(says(&whole[..whole.len() - 1]), format!("a.npy: {length} is 47, expected 48"));
    assert_eq!(says(&[&whole[..], b"x"].concat()), format!("a.npy: {length} is 49, expected 48"));
    assert_eq!(says(b"no array"), "a.npy: field npy header is missing or malformed");
    assert_eq!(says(&whole[..40]), "a.npy: field npy header is missing or malformed");
    // Sizes that no file holds; nothing of that size is allocated.
    let huge = npy("<f8", "False", "(4000000000, 4000000000)", &[0; 48]);
    assert_eq!(says(&huge), format!("a.npy: {length} is 48, expected less than 2^64"));
    let large = npy("<f8", "False", "(4000000000, 1000)", &[0; 48]);
    assert_eq!(says(&large), format!("a.npy: {length} is 48, expected 32000000000000"));
    let empty = npy("<f8", "False", "(0, 4000000000, 4000000000, 4000000000)", &[]);
    assert_eq!(says(&empty), "a.npy: field shape is missing or malformed");
    assert_eq!(
        says(&npy("<f8", "False", "(-1, 3)", &[])),
        "a.npy: field shape is missing or malformed"
    );
    assert_eq!(
        says(&npy("<f8", "False", "()", &[0; 8])),
        "a.npy: field shape is missing or malformed"
    );
    assert_eq!(
        says(&npy("<f8", "Maybe", "(1, 1)", &[0; 8])),
        "a.npy: field fortran_order is missing or malformed"
    );
    let types = "bool, integers of 8 to 64 bits, floats of 16 to 64 bits, or bfloat16";
    for kind in ["<c16", "|O", "<U5", "<f16", "", "é1"] {
        let got = says(&npy(kind, "False", "(1, 1)", &[0; 16]));
        assert_eq!(got, format!("a.npy: numbers of type {kind}, expected {types}"));
    }
    let mut second = whole.clone();
    second[6] = 4;
    assert_eq!(says(&second), "a.npy: field npy header is missing or malformed");
    // No byte of the header can make it panic.
    for at in 0..whole.len() - 48 {
        for byte in [0, b'(', b'\'', b'9', 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            let (_folder, path) = file("a.npy", bytes);
            drop(read_npy(&path));
        }
    }
    assert!(matches!(read_npy(Path::new("/no/such/file.npy")), Err(Error::Io { .. })));
}

#[test]
fn tensors_of_every_type() {
    let types = types();
    let views = types.iter().map(|(_, dtype, bytes)| {
        (format!("{dtype:?}"), TensorView::new(*dtype, vec![2, 3], bytes).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    let (folder, path) = file("a.safetensors", &bytes);
    for (_, dtype, _) in &types {
        let features = read_safetensors(&path, Some(&format!("{dtype:?}"))).unwrap();
        assert_eq!(features.values, wanted(), "{dtype:?}");
    }
    let known = "BF16, F16, F32, F64, I16, I32, I64, I8, U16, U32, U64, U8";
    let says = |tensor| text(&folder, &read_safetensors(&path, tensor).unwrap_err());
    assert_eq!(says(Some("x")), format!("a.safetensors: no tensor x; there are: {known}"));
    assert_eq!(says(None), format!("a.safetensors: select one tensor; there are: {known}"));
    for cut in [0, 7, 20, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert_eq!(
            says(Some("F32")),
            "a.safetensors: field safetensors header or length is missing or malformed"
        );
    }
}

#[test]
fn the_only_tensor_needs_no_name() {
    let data: Vec<u8> = (0..8).collect();
    let view = TensorView::new(Dtype::U8, vec![2, 2, 2], &data).unwrap();
    let bytes = safetensors::serialize([("x", view)], None).unwrap();
    let (_folder, path) = file("a.safetensors", bytes);
    let features = read_features(&path, &Selection::default()).unwrap();
    assert_eq!(features.sample_shape, [2, 2]);
    assert_eq!(features.values, array![[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]);
}

fn csv(content: &str, label: Option<Column>, header: Option<bool>) -> Result<Features, String> {
    let (folder, path) = file("a.csv", content);
    read_csv(&path, label.as_ref(), header).map_err(|error| text(&folder, &error))
}

#[test]
fn tables_with_and_without_a_header() {
    let iris =
        "sepal, petal, species\n5.1, 1.4, setosa\n\n 7.0,4.7, versicolor\r\n4.9,1.5,setosa\n";
    let features = csv(iris, Some(Column::Name("species".into())), None).unwrap();
    assert_eq!(features.values, array![[5.1, 1.4], [7.0, 4.7], [4.9, 1.5]]);
    assert_eq!(
        (features.names, features.sample_shape),
        (vec!["sepal".into(), "petal".into()], vec![2])
    );
    let labels = features.labels.unwrap();
    assert_eq!(labels.labels, [0, 1, 0]);
    assert_eq!(labels.class_names, ["setosa", "versicolor"]);

    let bare = "setosa,5.1,1.4\nvirginica,7e0,-4.7\n";
    let features = csv(bare, "1".parse().ok(), None).unwrap();
    assert_eq!(features.values, array![[5.1, 1.4], [7.0, -4.7]]);
    assert!(features.names.is_empty());
    assert_eq!(features.labels.unwrap().class_names, ["setosa", "virginica"]);

    // A byte-order mark, and columns that are named by numbers.
    let features = csv("\u{feff}x,y\n1,2\n", None, None).unwrap();
    assert_eq!(
        (features.values, features.names),
        (array![[1.0, 2.0]], vec!["x".into(), "y".into()])
    );
    assert_eq!(csv("0,1\n5,6\n", None, Some(true)).unwrap().values, array![[5.0, 6.0]]);
    assert_eq!(csv("0,1\n5,6\n", None, None).unwrap().values.nrows(), 2);
    assert_eq!(csv("", None, None).unwrap().values.dim(), (0, 0));

    let (_folder, path) = file("a.tsv", "1\t2\n3\t4\n");
    let features = read_features(&path, &Selection::default()).unwrap();
    assert_eq!(features.values, array![[1.0, 2.0], [3.0, 4.0]]);
}

#[test]
fn bad_tables() {
    let says = |content: &str, label: Option<&str>| {
        csv(content, label.map(|label| label.parse().unwrap()), None).unwrap_err()
    };
    assert_eq!(says("1,2\n3\n", None), "a.csv: line 2: 1 cells, expected 2");
    let wanted = "expected a finite number";
    assert_eq!(says("x,y\n1,2\n\n3,\n", None), format!("a.csv: line 4, column 2: \"\", {wanted}"));
    assert_eq!(says("1,2\n3,nan\n", None), format!("a.csv: line 2, column 2: \"nan\", {wanted}"));
    assert_eq!(says("1,a\n3,4\n", None), format!("a.csv: line 1, column 2: \"a\", {wanted}"));
    assert_eq!(says("x,y\n1,\n", Some("y")), "a.csv: line 2, column 2: \"\", expected a label");
    assert_eq!(says("x,y\n1,2\n", Some("z")), "a.csv: no column z; there are: x, y");
    assert_eq!(says("x,y\n1,2\n", Some("3")), "a.csv: no column 3; there are: x, y");
    assert_eq!(
        says("1,2\n1,2\n", Some("0")),
        "a.csv: no column 0; there are: 1 to 2, without names"
    );
    let (folder, path) = file("a.csv", b"1,2\n3,\xff\n");
    let error = read_csv(&path, None, None).unwrap_err();
    assert!(
        matches!(&error, Error::Csv { .. }) && text(&folder, &error).contains("UTF-8"),
        "{error}"
    );
}

#[test]
fn labels_are_integers_or_names() {
    let read = |name: &str, content: &[u8], column: Option<&str>| {
        let (folder, path) = file(name, content);
        let label_column = column.map(|column| column.parse().unwrap());
        let selection = Selection { label_column, ..Selection::default() };
        read_labels(&path, &selection).map_err(|error| text(&folder, &error))
    };
    let numbers = |names: [&str; 3]| names.map(str::to_owned).to_vec();
    let wanted = Labels { labels: vec![2, 0, 1, 2], class_names: numbers(["2", "9", "10"]) };
    let data: Vec<u8> = [10i64, 2, 9, 10].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(read("a.npy", &npy("<i8", "False", "(4,)", &data), None).unwrap(), wanted);
    assert_eq!(read("a.npy", &npy("<i8", "False", "(4, 1)", &data), None).unwrap(), wanted);
    assert_eq!(read("a.txt", b"10\n2\n9\r\n10\n", None).unwrap(), wanted);
    assert_eq!(read("a.csv", b"label\n10\n2\n9\n10\n", Some("label")).unwrap(), wanted);
    assert_eq!(read("a.csv", b"10\n2\n9\n10\n", None).unwrap(), wanted);
    assert_eq!(read("a.csv", b"id,y\n1,10\n2,2\n3,9\n4,10\n", Some("2")).unwrap(), wanted);
    assert_eq!(
        read("a.csv", b"1,10\n2,2\n", None).unwrap_err(),
        "a.csv: select one column; there are: 1 to 2, without names"
    );
    assert_eq!(
        read("a.npy", &npy("<f4", "False", "(1,)", &1.5f32.to_le_bytes()), None).unwrap_err(),
        "a.npy: record 0: label 1.5, expected an integer"
    );
    assert_eq!(
        read("a.npy", &npy("<i8", "False", "(2, 2)", &data), None).unwrap_err(),
        "a.npy: field shape is missing or malformed"
    );
    assert_eq!(
        read("a.txt", b"a\n\nb\n", None).unwrap_err(),
        "a.txt: line 2, column 1: \"\", expected a label"
    );
    assert_eq!(
        read("a.txt", b"a\n", Some("1")).unwrap_err(),
        "a.txt: files of this format have no label column to select"
    );
}

#[test]
fn a_thousand_classes_and_those_of_another_set() {
    let names: Vec<String> = (0..3000).map(|i| (i * 7 % 1000).to_string()).collect();
    let labels = Labels::from_names(&names);
    assert_eq!((labels.class_names.len(), labels.labels[1], labels.labels[999]), (1000, 7, 993));
    let test = Labels::from_names(&["999", "5"]).with_classes(&labels.class_names).unwrap();
    assert_eq!(test.labels, [999, 5]);
    let error = Labels::from_names(&["a"]).with_classes(&labels.class_names[..2]).unwrap_err();
    assert_eq!(error.to_string(), "class a is not one of 0, 1");
}

#[test]
fn other_formats_are_refused() {
    let (folder, path) = file("a.xlsx", "x");
    let error = read_features(&path, &Selection::default()).unwrap_err();
    assert_eq!(text(&folder, &error), "a.xlsx: expected .npy, .csv, .tsv or .safetensors");
    let (folder, path) = file("A.NPY", npy("|u1", "False", "(2, 1)", &[1, 2]));
    assert!(read_features(&path, &Selection::default()).is_ok());
    let selection = Selection { tensor: Some("x".into()), ..Selection::default() };
    let error = read_features(&path, &selection).unwrap_err();
    assert_eq!(text(&folder, &error), "A.NPY: files of this format have no tensor to select");
}

#[test]
fn features_go_through_the_quantizer() {
    let (_folder, path) = file("a.csv", "x,y,class\n1,10,a\n2,30,b\n3,20,a\n");
    let label_column = Some(Column::Name("class".into()));
    let features =
        read_features(&path, &Selection { label_column, ..Selection::default() }).unwrap();
    let quantizer = Quantizer::fit(features.values.view(), 4).unwrap();
    let encoded = quantizer.encode(features.values.view()).unwrap();
    assert_eq!(encoded.values(), [-3, -3, 0, 4, 0, 3, 0, 4, 3, 0, 0, 4]);
}

#[test]
fn integers_that_doubles_do_not_hold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let most = 1i64 << 53;
    let npy = |descr: &str, numbers: [i64; 2]| {
        let swapped = descr.starts_with('>');
        let bytes = |x: i64| if swapped { x.to_be_bytes() } else { x.to_le_bytes() };
        npy(descr, "False", "(2, 1)", &numbers.map(bytes).concat())
    };
    let path = folder.path().join("a.npy");
    for descr in ["<i8", ">i8", "<u8"] {
        fs::write(&path, npy(descr, [0, most])).unwrap();
        assert_eq!(read_npy(&path).unwrap().values, array![[0.0], [9_007_199_254_740_992.0]]);
        fs::write(&path, npy(descr, [0, most + 1])).unwrap();
        let error = read_npy(&path).unwrap_err().to_string();
        let wanted = "a.npy: number 1 is the integer 9007199254740993, expected at most 2^53";
        assert!(error.contains(wanted), "{error}");
        assert!(read_labels(&path, &Selection::default()).is_err());
    }
    fs::write(&path, npy("<i8", [i64::MIN, 0])).unwrap();
    let error = read_npy(&path).unwrap_err().to_string();
    assert!(error.contains("number 0 is the integer -9223372036854775808"), "{error}");
    let path = folder.path().join("a.csv");
    for (cell, fits) in [
        ("9007199254740992", true),
        ("-9007199254740992", true),
        ("9007199254740993", false),
        ("-9007199254740993", false),
        ("123456789012345678901234567890", false),
        // A decimal number is rounded as all are.
        ("9007199254740993.5", true),
        ("1e300", true),
    ] {
        fs::write(&path, format!("1,2\n3,{cell}\n")).unwrap();
        let read = read_csv(&path, None, None);
        assert_eq!(read.is_ok(), fits, "{cell}");
        if let Err(error) = read {
            let wanted = "line 2, column 2: ";
            assert!(error.to_string().contains(wanted), "{error}");
            assert!(error.to_string().contains("expected an integer of at most 2^53"), "{error}");
        }
    }
}
