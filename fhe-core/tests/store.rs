//! Files: what must never change, interruptions, and nonsense that is refused and not a panic.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::LazyLock;

use fhe_core::client::ClientKey;
use fhe_core::engine::cpu::{Rows, Values};
use fhe_core::store::{
    ChunkReader, ChunkWriter, Dataset, DatasetShape, DatasetWriter, EncryptedValues, Header, Lanes,
    Message, Secrecy, write_file, write_to,
};
use fhe_core::{
    Cpu, Engine, Error, List, Params, ParamsSpec, Result, Seed, Term, from_torus, to_torus,
};

static KEY: LazyLock<ClientKey> =
    LazyLock::new(|| ClientKey::new(&Params::toy_insecure().unwrap(), Seed::from_number(7)));

const N: usize = 512;

fn shape() -> DatasetShape {
    DatasetShape {
        name: "golden".into(),
        samples: 3,
        values: 2,
        batch: 2,
        inputs: KEY.digest(b"golden"),
        values_log2: -31,
        copies: 1,
        lanes: None,
    }
}

fn sample(k: i32) -> (Vec<i32>, Vec<u64>) {
    ((0..N as i32).map(|i| (i + k) % 7 - 3).collect(), vec![1 << 62, k as u64])
}

fn hash(path: &Path) -> String {
    blake3::hash(&std::fs::read(path).unwrap()).to_hex()[..32].to_owned()
}

fn write(mut writer: DatasetWriter<'_>) {
    if writer.next_sample() == 0 {
        writer.write_batch(&[sample(0), sample(1)]).unwrap();
    }
    writer.write_batch(&[sample(2)]).unwrap();
    writer.finish().unwrap();
}

#[test]
fn keys_and_deterministic_data_are_the_same_forever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    KEY.save(&path).unwrap();
    assert_eq!(hash(&path), "7ed635d8c91153516b99b43d911148ac");
    KEY.evaluation_keys().save(&path).unwrap();
    assert_eq!(hash(&path), "e21592bb12fd5b453ad4ad16a00d888d");
    write(DatasetWriter::deterministic(&path, &KEY, &shape()).unwrap());
    assert_eq!(hash(&path), "76b0dec25fd312f0c1f8109c2e5735cc");
    let key = KEY.deterministic("golden");
    let rows = key.encrypt_rows(&[5; N], 3).unwrap();
    assert_eq!(rows.elements()[..2], [14_959_930_466_038_541_818, 15_222_035_026_016_728_000]);
    let cpu = Cpu::new(&KEY.evaluation_keys());
    let value = key.encrypt_values(&[9], 3).unwrap().open(&cpu).unwrap();
    let [first, body] = [value.elements()[0], value.elements()[N]];
    assert_eq!([first, body], [2_220_044_510_252_652_641, 2_027_427_033_668_368_484]);
}

#[test]
fn an_interrupted_data_set_goes_on_with_the_randomness_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let (path, whole) = (folder.path().join("data"), folder.path().join("whole"));
    let mut writer = DatasetWriter::create(&path, &KEY, &shape()).unwrap();
    writer.write_batch(&[sample(0), sample(1)]).unwrap();
    drop(writer);
    let part = folder.path().join("data.part");
    std::fs::copy(&part, folder.path().join("whole.part")).unwrap();

    let writer = DatasetWriter::create(&path, &KEY, &shape()).unwrap();
    assert_eq!(writer.next_sample(), 2);
    write(writer);
    // From the first sample on, under the same header: what was not interrupted.
    let other = folder.path().join("whole.part");
    let cut = std::fs::metadata(&other).unwrap().len() - 100;
    std::fs::OpenOptions::new().write(true).open(&other).unwrap().set_len(cut).unwrap();
    let writer = DatasetWriter::create(&whole, &KEY, &shape()).unwrap();
    assert_eq!(writer.next_sample(), 0);
    write(writer);
    assert_eq!(hash(&path), hash(&whole));

    // A run that starts anew, or with other inputs, draws anew.
    write(DatasetWriter::create(&whole, &KEY, &shape()).unwrap());
    assert_ne!(hash(&path), hash(&whole));
    let mut writer = DatasetWriter::create(&path, &KEY, &shape()).unwrap();
    writer.write_batch(&[sample(0), sample(1)]).unwrap();
    let old = nonce(&part);
    drop(writer);
    let shape = DatasetShape { inputs: KEY.digest(b"other"), ..shape() };
    let writer = DatasetWriter::create(&path, &KEY, &shape).unwrap();
    assert_eq!(writer.next_sample(), 0);
    assert_ne!(nonce(&part), old);
    drop(writer);

    let data = Dataset::open(&path, KEY.params(), &KEY.id()).unwrap();
    let (selectors, values) = data.batch(&Cpu::new(&KEY.evaluation_keys()), 1).unwrap();
    assert_eq!((selectors.len(), values.len()), (1, 1));
    let first = from_torus(KEY.decrypt_rows(&values).unwrap()[0]);
    assert!((first - 0.25).abs() < 1e-6, "{first}");
}

/// The random number in the header of a file.
fn nonce(path: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let at = text.find("\"nonce\":\"").unwrap();
    text[at + 9..at + 41].to_owned()
}

/// Something that a caller may get wrong, and a part of what the error says.
type Nonsense<'a> = (&'a str, Box<dyn Fn() -> Result<()> + 'a>, &'a str);

fn case<'a, T>(name: &'a str, call: impl Fn() -> Result<T> + 'a, text: &'a str) -> Nonsense<'a> {
    (name, Box::new(move || call().map(drop)), text)
}

fn refuses_all(cases: Vec<Nonsense<'_>>) {
    for (name, call, text) in cases {
        let found = match catch_unwind(AssertUnwindSafe(call)) {
            Err(_) => "a panic".into(),
            Ok(Ok(())) => "accepted".into(),
            Ok(Err(error)) => error.to_string(),
        };
        assert!(found.contains(text), "{name}: {found}");
    }
}

#[test]
fn a_client_refuses_wrong_lengths_and_magnitudes() {
    let other = ClientKey::new(
        &Params::new(ParamsSpec { row_size: 1024, ..(*Params::toy_insecure().unwrap()).clone() })
            .unwrap(),
        Seed::from_number(7),
    );
    let with = |x: i32| {
        let mut m = vec![0; N];
        m[5] = x;
        [m]
    };
    let bound = KEY.params().selector_bound() as i32;
    assert_eq!(bound, 1 << 17);
    for x in [bound, -bound] {
        KEY.encrypt_query(&with(x)).unwrap();
    }
    assert!(KEY.encrypt_rows(&[]).unwrap().is_empty());
    assert!(KEY.encrypt_values(&[]).unwrap().is_empty());
    let none: [Vec<i32>; 0] = [];
    let large = "number 5 is ";
    let key = KEY.deterministic("nonsense");
    refuses_all(vec![
        case("5 coefficients", || KEY.encrypt_rows(&[0; 5]), "got 5 coefficients, expected 512"),
        case("513", || KEY.encrypt_rows(&[0; 513]), "got 513 coefficients, expected 1024"),
        case("5 again", || key.encrypt_rows(&[0; 5], 0), "got 5 coefficients"),
        case("no sample", || KEY.encrypt_query(&none), "got 0 samples"),
        case("a short sample", || KEY.encrypt_query(&[[1; 5]]), "got 5 coefficients, expected 512"),
        case("a long sample", || KEY.encrypt_query(&[[1; 513]]), "got 513 coefficients"),
        case("no sample again", || key.encrypt_query(&none, 0), "got 0 samples"),
        case("a large integer", || KEY.encrypt_query(&with(bound + 1)), "number 5 is 131073"),
        case("a small one", || KEY.encrypt_query(&with(-bound - 1)), "number 5 is -131073"),
        case("the largest", || KEY.encrypt_query(&with(i32::MAX)), large),
        case("the smallest", || KEY.encrypt_query(&with(i32::MIN)), large),
        case("the largest again", || key.encrypt_query(&with(i32::MAX), u64::MAX), large),
        case(
            "values of another dimension",
            || KEY.decrypt_values(&Values::from_elements(5, vec![0; 6]).unwrap()),
            "got 5 mask elements, expected 512",
        ),
        case(
            "rows of another size",
            || KEY.decrypt_rows(&Rows::from_elements(64, vec![0; 128]).unwrap()),
            "got 64 coefficients, expected 512",
        ),
        case(
            "another parameter set",
            || KEY.decrypt(&other.encrypt_values(&[0])?),
            "parameter set is",
        ),
        case("an unknown set", || Params::named("secure1024"), "known: secure128-head-v2"),
    ]);
    for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(to_torus(x), 0);
    }
}

#[test]
fn files_refuse_absurd_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let path = &folder.path().join("file");
    let header = |chunk_bytes, payload_bytes| Header {
        chunk_bytes,
        payload_bytes,
        ..Header::new("test", KEY.params(), "key", serde_json::Value::Null)
    };
    let resume = |header: Header| ChunkWriter::resume(path, &header, Secrecy::Public);
    let of = |change: fn(&mut DatasetShape)| {
        let mut shape = shape();
        change(&mut shape);
        move || DatasetWriter::create(path, &KEY, &shape)
    };
    let small = Values::from_elements(5, vec![0; 6]).unwrap();
    let cpu = Cpu::new(&KEY.evaluation_keys());
    let large = Header { meta: "x".repeat(1 << 20).into(), ..header(1, 0) };
    refuses_all(vec![
        case("no chunk", || resume(header(0, 10)), "the sizes are absurd"),
        case("a huge chunk", || resume(header(u64::MAX, 10)), "the sizes are absurd"),
        case("a huge file", || resume(header(1, u64::MAX)), "the sizes are absurd"),
        case("a huge header", || write_to(Vec::new(), large.clone(), &[]), "bytes (at most)"),
        case("stream", || write_to(Vec::new(), header(0, 0), &[1]), "the sizes are absurd"),
        case("file", || write_file(path, header(0, 0), Secrecy::Public, &[1]), "absurd"),
        case("no folder", || DatasetWriter::create(&path.join("x"), &KEY, &shape()), "creating"),
        case("no samples", of(|s| s.samples = 0), "got 0 samples"),
        case("all samples", of(|s| s.samples = usize::MAX), "samples"),
        case("no mini-batch", of(|s| s.batch = 0), "got 0 samples of a mini-batch"),
        case("a huge mini-batch", of(|s| s.batch = usize::MAX), "samples of a mini-batch"),
        case("many values", of(|s| s.values = usize::MAX), "values a sample"),
        case("no copies", of(|s| s.copies = 0), "whole mini-batches in each copy"),
        case("many copies", of(|s| s.copies = usize::MAX), "whole mini-batches in each copy"),
        case("half a mini-batch", of(|s| s.copies = 3), "got 3 samples"),
        case("scores", || EncryptedValues::new(&cpu, small.clone()), "got 5 mask elements"),
    ]);
}

#[test]
fn samples_of_a_data_set_lie_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = &folder.path().join("data");
    // Mini-batches of two samples and of one, which is what is left of it.
    let shape =
        |samples, selectors| DatasetShape { lanes: Some(Lanes { samples, selectors }), ..shape() };
    let mut writer = DatasetWriter::create(path, &KEY, &shape(2, 3)).unwrap();
    let polynomial = |k: i32| sample(k).0;
    let values = |k: i32| sample(k).1;
    let two = [values(0), values(1)];
    let all: Vec<Vec<i32>> = (0..3).map(polynomial).collect();
    let alone = writer.write_batch(&[sample(0), sample(1)]).unwrap_err().to_string();
    assert!(alone.contains("side by side"), "{alone}");
    for (polynomials, text) in [
        (&all[..0], "got 0 selectors, expected 3"),
        (&all[..2], "got 2 selectors, expected 3"),
        (&[all.clone(), all.clone()].concat()[..], "got 6 selectors, expected 3"),
        (&[all[0].clone(), all[1].clone(), vec![0; 5]][..], "got 5 coefficients"),
    ] {
        let error = writer.write_lanes(&two, polynomials).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(writer.next_sample(), 0);
    writer.write_lanes(&two, &all).unwrap();
    drop(writer);
    // An interrupted one goes on.
    let mut writer = DatasetWriter::create(path, &KEY, &shape(2, 3)).unwrap();
    assert_eq!(writer.next_sample(), 2);
    writer.write_lanes(&[values(2)], &all).unwrap();
    writer.finish().unwrap();

    let cpu = Cpu::new(&KEY.evaluation_keys());
    let data = Dataset::open(path, KEY.params(), &KEY.id()).unwrap();
    for (index, samples) in [(0, 2), (1, 1)] {
        let (selectors, values) = data.batch(&cpu, index).unwrap();
        assert_eq!((selectors.len(), values.len()), (3, 1));
        // Of each sample a quarter, then its number, which is nothing beside the noise.
        let phases = KEY.decrypt_rows(&values).unwrap();
        let quarters = phases.iter().map(|&x| (4.0 * from_torus(x)).round() as usize);
        assert!(quarters.eq((0..N).map(|i| usize::from(i < samples))));
        // Each selector times a row of 1/16 in its first coefficient.
        let row = cpu.public_rows(&[&[1 << 60][..], &vec![0; N - 1]].concat()).unwrap();
        let terms: Vec<Vec<Term>> = (0..3).map(|i| vec![Term { selector: i, row: 0 }]).collect();
        let products = cpu.products(&selectors, &row, &terms).unwrap();
        let phases = KEY.decrypt_rows(&products).unwrap();
        for (phases, want) in phases.chunks_exact(N).zip(&all) {
            let got = phases.iter().map(|&x| (16.0 * from_torus(x)).round() as i32);
            assert_eq!(&got.collect::<Vec<_>>(), want);
        }
    }
    assert!(matches!(data.batch(&cpu, 2), Err(Error::Index { .. })));
    for shape in [shape(2, usize::MAX), shape(1, usize::MAX / 2)] {
        let error = DatasetWriter::create(path, &KEY, &shape).unwrap_err().to_string();
        assert!(error.contains("selectors of a mini-batch"), "{error}");
    }
}

#[test]
fn a_data_set_takes_what_its_shape_says_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = &folder.path().join("data");
    let mut writer = DatasetWriter::create(path, &KEY, &shape()).unwrap();
    let mut wrong = |samples: &[(Vec<i32>, Vec<u64>)], text: &str| {
        let error = writer.write_batch(samples).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert_eq!(writer.next_sample(), 0);
    };
    wrong(&[], "got 0 samples, expected 2");
    wrong(&[sample(0)], "got 1 samples, expected 2");
    wrong(&[sample(0), sample(1), sample(2)], "got 3 samples, expected 2");
    wrong(&[sample(0), (vec![0; 5], vec![0; 2])], "got 5 coefficients");
    wrong(&[sample(0), (vec![0; N], vec![0; 3])], "got 3 values, expected 2");
    wrong(&[sample(0), (vec![i32::MAX; N], vec![0; 2])], "number 0 is 2147483647");
    let early = DatasetWriter::create(&folder.path().join("early"), &KEY, &shape()).unwrap();
    assert!(early.finish().unwrap_err().to_string().contains("got 0 chunks, expected 2"));
    writer.write_batch(&[sample(0), sample(1)]).unwrap();
    writer.write_batch(&[sample(2)]).unwrap();
    for samples in [vec![], vec![sample(3)]] {
        let error = writer.write_batch(&samples).unwrap_err();
        assert!(matches!(error, Error::Index { index: 2, len: 2, .. }), "{error}");
    }
    writer.finish().unwrap();

    let cpu = Cpu::new(&KEY.evaluation_keys());
    let data = Dataset::open(path, KEY.params(), &KEY.id()).unwrap();
    let reader = ChunkReader::open(path, "encrypted data set").unwrap();
    for index in [2, usize::MAX] {
        assert!(matches!(data.batch(&cpu, index), Err(Error::Index { .. })));
        assert!(matches!(reader.read(index as u64), Err(Error::Index { .. })));
    }
}

#[test]
fn a_data_set_of_the_former_format_is_refused_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    write(DatasetWriter::create(&path, &KEY, &shape()).unwrap());
    let header = ChunkReader::open(&path, "encrypted data set").unwrap().header().clone();
    assert_eq!(header.version, 2);
    let former = Header { version: 1, payload_bytes: 0, ..header };
    let writer = ChunkWriter::resume(&path, &former, Secrecy::Public).unwrap();
    writer.finish().unwrap();
    let error = Dataset::open(&path, KEY.params(), &KEY.id()).unwrap_err().to_string();
    assert!(error.ends_with("data: version is 1, expected 2"), "{error}");
}

#[test]
fn unusual_sets_that_are_accepted_work() {
    let toy = (*Params::toy_insecure().unwrap()).clone();
    let gadget = |base_log, levels| fhe_core::params::Gadget { base_log, levels };
    let sets = [
        ParamsSpec { row_size: 64, short_dimension: 1, lookup_group: 1, ..toy.clone() },
        ParamsSpec {
            row_size: 64,
            short_dimension: 64,
            lookup_group: 4,
            lists: None,
            ..toy.clone()
        },
        ParamsSpec { key_switch: gadget(31, 1), lookup: gadget(52, 1), ..toy.clone() },
        ParamsSpec { key_switch: gadget(1, 31), selector: gadget(1, 52), ..toy.clone() },
        ParamsSpec { selector: gadget(52, 1), reflect: gadget(52, 1), ..toy.clone() },
        ParamsSpec { pack: gadget(1, 1), row_noise_bits: 60, short_noise_bits: 0, ..toy.clone() },
    ];
    for spec in sets {
        let n = spec.row_size;
        let key = ClientKey::new(&Params::new(spec).unwrap(), Seed::from_number(1));
        let cpu = Cpu::new(&key.evaluation_keys());
        key.encrypt_query(&[vec![1; n]]).unwrap().open(&cpu).unwrap();
        key.encrypt_values(&[1]).unwrap().open(&cpu).unwrap();
    }
}
