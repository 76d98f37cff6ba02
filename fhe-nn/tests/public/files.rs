//! Files: beside PyTorch, there and back, and damaged.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use fhe_core::{Clear, Params};
use fhe_nn::public::{self, PublicNetwork, read, write};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{config, exactly, phases, rounded, weights};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/binarized.safetensors")
}

fn metadata(key: &str) -> Vec<Vec<i64>> {
    let bytes = std::fs::read(fixture()).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()[key]).unwrap()
}

#[test]
fn a_network_from_pytorch_has_the_scores_of_pytorch_bit_for_bit() {
    let (config, weights) = read(&fixture()).unwrap();
    let params = Params::secure128_bnn().unwrap();
    let network = PublicNetwork::new(&config, weights, params.row_size).unwrap();
    let clear = Clear::exact(&params);
    for (image, scores) in metadata("images").iter().zip(metadata("scores")) {
        // PyTorch's order is channel, row, column; here channels lie together.
        let area = config.input.height * config.input.width;
        let c = config.input.channels;
        let image: Vec<i64> = (0..image.len()).map(|i| image[i % c * area + i / c]).collect();
        assert_eq!(exactly(&network, &image), scores);
        let found = network.forward(&clear, &phases(&network, &[image]), 1).unwrap();
        assert_eq!(rounded(&network, &found), scores);
    }
}

#[test]
fn files_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.safetensors", "a.safetensors.gz"] {
        let path = folder.path().join(name);
        write(&path, &config(), &weights()).unwrap();
        assert_eq!(read(&path).unwrap(), (config(), weights()));
    }
}

// It is long because it is a table.
#[test]
fn bad_files_are_refused_with_the_tensor() {
    type Tensors = HashMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)>;
    use safetensors::Dtype::{F8_E4M3, F32};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    write(&path, &config(), &weights()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let message = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("a.safetensors: ") && !message.contains('\n'), "{message}");
        message
    };
    for len in [0, 4, 100, whole.len() - 1] {
        let message = message(&whole[..len]);
        assert!(message.contains("no whole safetensors file"), "{message}");
    }
    assert!(message(&[0x1f, 0x8b, 8, 0]).contains("a.safetensors"));
    assert!(message(b"{}").contains("no whole safetensors file"));

    let block = |x: &[f32]| {
        let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
        (F32, vec![2, 4, 1, 1], bytes)
    };
    type Break = Box<dyn Fn(&mut Tensors)>;
    let cases: Vec<(&str, Break)> = vec![
        (
            "no tensor stem.weight; there are block.thresholds",
            Box::new(|t| drop(t.remove("stem.weight"))),
        ),
        (
            "no layer has a tensor other.weight",
            Box::new(move |t| drop(t.insert("other.weight".into(), block(&[1.0; 8])))),
        ),
        (
            "tensor block.weight: shape is [1, 8], expected [2, 4, 1, 1]",
            Box::new(|t| t.get_mut("block.weight").unwrap().1 = vec![1, 8]),
        ),
        (
            "tensor block.weight: number is NaN (number 2), expected finite ones",
            Box::new(move |t| {
                let numbers = [1.0, -1.0, f32::NAN, 1.0, 1.0, 1.0, 1.0, 1.0];
                drop(t.insert("block.weight".into(), block(&numbers)))
            }),
        ),
        (
            "tensor block.weight: number is 0.5 (number 1), expected integers",
            Box::new(move |t| {
                let numbers = [1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
                drop(t.insert("block.weight".into(), block(&numbers)))
            }),
        ),
        (
            "tensor block.weight: type is F8_E4M3, expected bool, integers of 8 to 64 bits, floats",
            Box::new(|t| {
                drop(t.insert("block.weight".into(), (F8_E4M3, vec![2, 4, 1, 1], vec![0; 8])))
            }),
        ),
        (
            "tensor few.thresholds: shape is [2, 1], expected [2, 2]",
            Box::new(|t| drop(t.insert("few.thresholds".into(), (F32, vec![2, 1], vec![0; 8])))),
        ),
    ];
    std::fs::write(&path, &whole).unwrap();
    let parsed = safetensors::SafeTensors::deserialize(&whole).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&whole).unwrap();
    let serialize = |tensors: &Tensors, metadata: Option<HashMap<String, String>>| {
        let views = tensors.iter().map(|(name, (dtype, shape, data))| {
            let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap();
            (name.clone(), view)
        });
        safetensors::serialize(views.collect::<Vec<_>>(), metadata).unwrap()
    };
    let good: Tensors = parsed
        .iter()
        .map(|(name, t)| (name.to_owned(), (t.dtype(), t.shape().to_vec(), t.data().to_vec())))
        .collect();
    for (expected, break_it) in cases {
        let mut tensors = good.clone();
        break_it(&mut tensors);
        let message = message(&serialize(&tensors, header.metadata().clone()));
        assert!(message.contains(expected), "{message}");
    }
    let without = message(&serialize(&good, None));
    assert!(without.contains("no entry \"network\" in the metadata"), "{without}");
    let other = HashMap::from([("network".to_owned(), "{\"input\": 3}".to_owned())]);
    let wrong = message(&serialize(&good, Some(other)));
    assert!(wrong.contains("metadata \"network\": "), "{wrong}");
    let absent = public::read(&folder.path().join("b.safetensors")).unwrap_err().to_string();
    assert!(absent.contains("b.safetensors: No such file"), "{absent}");
}

#[test]
fn packed_files_are_read_as_gunzip_reads_them() {
    let plain = std::fs::read(fixture()).unwrap();
    let member = |bytes: &[u8]| {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    };
    let (first, last) = (member(&plain[..1000]), member(&plain[1000..]));
    let expected = public::from_bytes(&plain).unwrap();
    for zeros in [0, 1, 512, 100_000] {
        let zeros = vec![0; zeros];
        let packed = [&first[..], &zeros, &last, &zeros].concat();
        assert!(public::from_bytes(&packed).unwrap() == expected);
    }
    for behind in [&b"x"[..], b"\0\0x", &first[..20]] {
        let packed = [&first[..], &last, behind].concat();
        assert!(public::from_bytes(&packed).is_err(), "{behind:?}");
    }
}
