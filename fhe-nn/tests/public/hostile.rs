//! Files that are made to harm: each ends in an error that names its number, at once and in little
//! memory.

use std::io::Write;
use std::time::{Duration, Instant};

use fhe_nn::public::{PublicError, PublicNetwork, from_bytes, read};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use serde_json::{Value, json};

/// A hidden layer and scores, on images of 28x28.
fn network() -> Value {
    json!({
        "input": { "channels": 1, "height": 28, "width": 28 },
        "levels": [0, 1],
        "layers": [
            { "name": "h", "outputs": 2, "kernel": 28,
              "activation": { "first": -1, "step": 2, "thresholds": 1 } },
            { "name": "s", "outputs": 10, "kernel": 1 },
        ],
    })
}

/// A tensor: name, type, shape, bytes.
type Tensor = (&'static str, &'static str, Vec<u64>, Vec<u8>);

fn tensors() -> Vec<Tensor> {
    vec![
        ("h.weight", "I8", vec![2, 1, 28, 28], vec![1; 1568]),
        ("h.thresholds", "I64", vec![2, 1], vec![0; 16]),
        ("s.weight", "I8", vec![10, 2, 1, 1], vec![1; 20]),
    ]
}

/// Returns the header of a file, with its length before it.
fn header(network: &Value, tensors: &[Tensor]) -> Vec<u8> {
    let mut header = json!({ "__metadata__": { "network": network.to_string() } });
    let mut end = 0;
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [end, end + bytes.len()];
        header[*name] = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        end += bytes.len();
    }
    let header = header.to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header].concat()
}

fn file(network: &Value, tensors: &[Tensor]) -> Vec<u8> {
    let data = tensors.iter().flat_map(|(.., bytes)| bytes.clone());
    header(network, tensors).into_iter().chain(data).collect()
}

fn message(bytes: &[u8]) -> String {
    let start = Instant::now();
    let message = from_bytes(bytes).unwrap_err().to_string();
    assert!(start.elapsed() < Duration::from_secs(2), "{message}");
    assert!(!message.contains('\n') && message.len() < 2000, "{message}");
    message
}

#[test]
fn the_untouched_file_is_a_network() {
    let (config, weights) = from_bytes(&file(&network(), &tensors())).unwrap();
    assert!(PublicNetwork::new(&config, weights, 2048).is_ok());
}

// It is long because it is a table.
#[test]
fn absurd_numbers_are_errors_that_name_them() {
    let most = u64::MAX;
    let cases: Vec<(&str, Value, &str)> = vec![
        (
            "/layers/0/activation/thresholds",
            json!(0),
            "layer h: number of thresholds is 0, expected 1 to 4096",
        ),
        (
            "/layers/0/activation/thresholds",
            json!(most),
            "layer h: number of thresholds is 9223372036854775807",
        ),
        (
            "/layers/0/activation/first",
            json!(i32::MIN),
            "layer h: first level is -2147483648, expected -32768 to 32768",
        ),
        ("/layers/0/activation/step", json!(i32::MAX), "layer h: step of the levels is 2147483647"),
        ("/layers/0/activation/step", json!(0), "layer h: step of the levels is 0"),
        ("/layers/0/padding", json!(50_000), "layer h: padding is 50000, expected 0 to 27"),
        (
            "/layers/0/padding",
            json!(1u64 << 63),
            "layer h: padding is 9223372036854775808, expected 0 to 27",
        ),
        ("/layers/0/kernel", json!(most), "layer h: kernel is 18446744073709551615, expected 1 to"),
        ("/layers/0/kernel", json!(29), "layer h: kernel is 29, expected 1 to 28"),
        ("/layers/0/kernel", json!(0), "layer h: kernel is 0, expected 1 to"),
        ("/layers/0/stride", json!(0), "layer h: stride is 0, expected at least 1"),
        ("/layers/0/outputs", json!(0), "layer h: output is 0 @ 1x1, expected 1 to 4194304 values"),
        ("/layers/0/outputs", json!(most), "layer h: output is 18446744073709551615 @ 1x1"),
        (
            "/layers/0/range",
            json!(i64::MAX),
            "layer h: range is 9223372036854775807, expected 1 to 1099511627776",
        ),
        ("/layers/0/range", json!(-5), "layer h: range is -5, expected 1 to"),
        ("/layers/0/range", json!(0), "layer h: range is 0, expected 1 to"),
        (
            "/layers/0/largest_weight",
            json!(-1),
            "layer h: largest weight is -1, expected at least 1",
        ),
        ("/layers/0/largest_weight", json!(i32::MIN), "layer h: largest weight is -2147483648"),
        (
            "/layers/0/pool",
            json!({ "sum": most }),
            "layer h: pool is 18446744073709551615, expected a divisor of 1 and 1",
        ),
        ("/layers/0/pool", json!({ "max": 0 }), "layer h: pool is 0, expected a divisor"),
        ("/layers/0/name", json!(""), "layer : name is one of 0 letters, expected 1 to 200"),
        (
            "/layers/0/name",
            json!("a\u{1b}[2J\nb"),
            "layer a\\u{1b}[2J\\nb: name is one of 7 letters, expected",
        ),
        (
            "/layers/1/residual",
            json!("s"),
            "layer s: residual is s, expected an earlier layer with",
        ),
        (
            "/layers/1/shortcut",
            json!("h"),
            "layer s: residual is h, expected an earlier layer with pre-activations of 10 @ 1x1",
        ),
        (
            "/layers/1/pool",
            json!({ "sum": 1 }),
            "layer s: pool is there, expected none in the last layer",
        ),
        (
            "/levels",
            json!([i64::MIN, i64::MAX]),
            "network: range of an image's integers is -9223372036854775808 to",
        ),
        (
            "/levels",
            json!([5, -5]),
            "network: range of an image's integers is 5 to -5, expected an ascending pair",
        ),
        (
            "/input/width",
            json!(most),
            "network: input is 1 @ 28x18446744073709551615, expected 1 to 4194304 values",
        ),
        ("/input/channels", json!(1u64 << 62), "network: input is 4611686018427387904 @ 28x28"),
        ("/input/height", json!(0), "network: input is 1 @ 0x28"),
        ("/layers", json!([]), "network: number of layers is 0, expected 1 to 1000"),
    ];
    for (place, value, expected) in cases {
        let mut network = network();
        let (parent, key) = place.rsplit_once('/').unwrap();
        match network.pointer_mut(parent).unwrap() {
            Value::Object(fields) => fields.insert(key.into(), value),
            other => panic!("{other}"),
        };
        let message = message(&file(&network, &tensors()));
        assert!(message.starts_with(expected), "{place}: {message}");
    }
}

#[test]
fn layers_are_few_and_their_maps_small() {
    let mut network = network();
    let mut layer = network["layers"][0].clone();
    network["layers"] = Value::Array(vec![layer.clone(); 1001]);
    let many = message(&file(&network, &[]));
    assert_eq!(many, "network: number of layers is 1001, expected 1 to 1000");

    // Each number is within its bounds, but not the windows at all positions.
    network["input"] = json!({ "channels": 1, "height": 2048, "width": 2048 });
    layer["outputs"] = json!(1);
    network["layers"] = json!([layer, { "name": "s", "outputs": 10, "kernel": 1 }]);
    let wide = message(&file(&network, &tensors()));
    assert!(wide.starts_with("layer h: kernel is 28x28 on 1 @ 2048x2048"), "{wide}");
}

/// Returns bytes as blocks of deflate, none of them the last.
fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.flush().unwrap();
    encoder.get_ref().clone()
}

#[test]
fn no_more_is_unpacked_than_the_network_can_have() {
    // Eight gigabytes of zeros behind a good file: the same block again and again.
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bomb.extend(deflated(&file(&network(), &tensors())));
    bomb.extend(deflated(&vec![0; 1 << 24]).repeat(512));
    let said = message(&bomb);
    assert!(said.starts_with("no whole safetensors file"), "{said}");

    // The header admits to all of it.
    let wide: Tensor = ("h.weight", "F64", vec![1 << 40], Vec::new());
    let mut text = header(&network(), &[wide]);
    let end = String::from_utf8(text.split_off(8)).unwrap();
    let end = end.replace("[0,0]", &format!("[0,{}]", 1u64 << 43));
    let bytes = [&(end.len() as u64).to_le_bytes()[..], end.as_bytes()].concat();
    let said = message(&bytes);
    assert_eq!(said, "the tensors have 8796093022208 bytes, expected at most 13216");

    // The header itself is endless.
    let said = message(&[&u64::MAX.to_le_bytes()[..], b"{"].concat());
    assert_eq!(said, "no whole safetensors file: header too large");
}

#[test]
fn unknown_tensors_are_named_and_not_all_of_them() {
    let names: Vec<String> = (0..100).map(|i| format!("other{i:02}\u{1b}.weight")).collect();
    let mut tensors = tensors();
    for name in &names {
        tensors.push((String::leak(name.clone()), "I8", vec![1], vec![0]));
    }
    let said = message(&file(&network(), &tensors));
    assert!(said.starts_with("no layer has a tensor other00\\u{1b}.weight, other01"), "{said}");
    assert!(said.ends_with("and 88 more"), "{said}");
}

#[test]
fn sums_that_could_overflow_are_refused() {
    let mut network = network();
    network["levels"] = json!([-2_000_000_000, 2_000_000_000]);
    network["layers"][0]["largest_weight"] = json!(i32::MAX);
    network["layers"][0]["range"] = json!(1000);
    let mut tensors = tensors();
    let weights = i32::MAX.to_le_bytes().repeat(1568);
    tensors[0] = ("h.weight", "I32", vec![2, 1, 28, 28], weights);
    let (config, weights) = from_bytes(&file(&network, &tensors)).unwrap();
    let error = PublicNetwork::new(&config, weights, 2048).unwrap_err();
    let PublicError::Layer { layer, what, expected, .. } = error else { panic!("{error}") };
    assert_eq!((&layer[..], what), ("h", "largest sum of weights times inputs"));
    assert_eq!(expected, "at most 1099511627776");
}

#[test]
fn lookups_have_some_slots() {
    let (config, weights) = from_bytes(&file(&network(), &tensors())).unwrap();
    for slots in [0, 1, usize::MAX] {
        let error = PublicNetwork::new(&config, weights.clone(), slots).unwrap_err().to_string();
        assert!(error.starts_with("network: number of slots of a lookup is"), "{error}");
    }
}

/// A table has an entry a slot, and channels with other spacings of thresholds have other tables.
#[test]
fn the_tables_of_lookups_fit_into_memory() {
    let mut network = network();
    network["layers"][0]["outputs"] = json!(9);
    network["layers"][0]["activation"] = json!({ "first": 0, "step": 1, "thresholds": 2 });
    let thresholds = |spacing: fn(i64) -> i64| -> Vec<u8> {
        (0..9).flat_map(|o| [300, 300 + spacing(o)]).flat_map(i64::to_le_bytes).collect()
    };
    let file = |spacing| {
        let tensors = [
            ("h.weight", "I8", vec![9, 1, 28, 28], vec![1; 9 * 784]),
            ("h.thresholds", "I64", vec![9, 2], thresholds(spacing)),
            ("s.weight", "I8", vec![10, 9, 1, 1], vec![1; 90]),
        ];
        from_bytes(&file(&network, &tensors)).unwrap()
    };
    let ((config, alike), (_, apart)) = (file(|_| 1), file(|o| 1 + o));
    PublicNetwork::new(&config, alike, 1 << 24).unwrap();
    let error = PublicNetwork::new(&config, apart.clone(), 1 << 24).unwrap_err().to_string();
    assert_eq!(
        error,
        "layer h: number of different spacings of thresholds is 9, expected at most 8"
    );
    PublicNetwork::new(&config, apart, 1 << 20).unwrap();
}

#[test]
fn an_error_of_a_file_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.safetensors");
    let mut network = network();
    network["levels"] = json!([5, -5]);
    std::fs::write(&path, file(&network, &tensors())).unwrap();
    let error = read(&path).unwrap_err();
    let PublicError::File { file, source } = &error else { panic!("{error}") };
    assert_eq!(*file, path);
    assert!(matches!(**source, PublicError::Network { .. }), "{source}");
    assert!(error.to_string().contains("n.safetensors: network: range of"), "{error}");
}

#[test]
fn every_number_type_is_read() {
    let ones: [(&str, &[u8]); 13] = [
        ("BOOL", &[1]),
        ("I8", &[1]),
        ("U8", &[1]),
        ("I16", &1i16.to_le_bytes()),
        ("U16", &1u16.to_le_bytes()),
        ("I32", &1i32.to_le_bytes()),
        ("U32", &1u32.to_le_bytes()),
        ("I64", &1i64.to_le_bytes()),
        ("U64", &1u64.to_le_bytes()),
        ("F16", &[0, 0x3c]),
        ("BF16", &[0x80, 0x3f]),
        ("F32", &1f32.to_le_bytes()),
        ("F64", &1f64.to_le_bytes()),
    ];
    for (dtype, one) in ones {
        let mut tensors = tensors();
        tensors[0] = ("h.weight", dtype, vec![2, 1, 28, 28], one.repeat(1568));
        tensors[1] = ("h.thresholds", dtype, vec![2, 1], one.repeat(2));
        let (_, weights) = from_bytes(&file(&network(), &tensors)).unwrap();
        assert_eq!(weights[0].weights, [vec![1; 784], vec![1; 784]], "{dtype}");
        assert_eq!(weights[0].thresholds, [[1], [1]], "{dtype}");
    }
    // What a double does not hold is not rounded in silence.
    for (dtype, most) in [("I64", (1i64 << 53) + 1), ("U64", i64::MAX)] {
        let mut tensors = tensors();
        tensors[1] = ("h.thresholds", dtype, vec![2, 1], most.to_le_bytes().repeat(2));
        let said = message(&file(&network(), &tensors));
        assert!(said.starts_with("tensor h.thresholds: number is 9"), "{said}");
        assert!(said.ends_with("(number 0), expected integers below 2^53"), "{said}");
    }
}

#[test]
fn members_of_a_compressed_file_follow_each_other() {
    let whole = file(&network(), &tensors());
    let member = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let (first, second) = whole.split_at(whole.len() / 2);
    let parts = [member(first), member(second)].concat();
    assert_eq!(from_bytes(&parts).unwrap(), from_bytes(&whole).unwrap());
    let more = [member(&whole), member(b"more")].concat();
    assert!(message(&more).starts_with("no whole safetensors file"));
}

#[test]
fn bytes_that_are_changed_never_panic() {
    // Each byte replaced by others: an error, or another network. The header says what there is to
    // do, so each of its bytes meets more of them.
    let whole = file(&network(), &tensors());
    let length = usize::from_le_bytes(whole[..8].try_into().unwrap());
    let start = Instant::now();
    let mut read = 0;
    for at in 0..whole.len() {
        let of_header = at < 8 + length;
        for other in if of_header { &b"\x00\x7f\xff9-\"}],"[..] } else { &b"\x00\x80"[..] } {
            let mut bytes = whole.clone();
            bytes[at] = *other;
            if let Ok((config, weights)) = from_bytes(&bytes) {
                read += 1;
                let _ = PublicNetwork::new(&config, weights, 2048);
            }
        }
    }
    // Changed weights are weights.
    assert!(read > 1000, "{read}");
    for cut in 0..whole.len() {
        assert!(from_bytes(&whole[..cut]).is_err(), "{cut}");
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}
