//! Messages: bytes there and back, what damage and mix-ups say, and that nothing hidden is in them.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io::Read;
use std::sync::LazyLock;

use fhe_core::client::ClientKey;
use fhe_core::server::EvaluationKeys;
use fhe_core::store::{EncryptedQuery, EncryptedValues, Message};
use fhe_core::{Cpu, Engine, Error, Params, Seed, Term, from_torus, to_torus};

static KEY: LazyLock<ClientKey> = LazyLock::new(|| key(7));
static SERVER: LazyLock<Cpu> = LazyLock::new(|| Cpu::new(&KEY.evaluation_keys()));

fn key(number: u64) -> ClientKey {
    ClientKey::new(&Params::toy_insecure().unwrap(), Seed::from_number(number))
}

fn samples() -> Vec<Vec<i32>> {
    let n = KEY.params().row_size as i32;
    (0..2).map(|k| (0..n).map(|i| (i + k) % 7 - 3).collect()).collect()
}

fn query() -> EncryptedQuery {
    KEY.encrypt_query(&samples()).unwrap()
}

fn values() -> EncryptedValues {
    KEY.encrypt_values(&[to_torus(0.125), to_torus(-0.25)]).unwrap()
}

fn scores() -> EncryptedValues {
    let opened = values().open(&SERVER).unwrap();
    EncryptedValues::new(&SERVER, SERVER.scaled_values(&opened, -1).unwrap()).unwrap()
}

/// Hands out a byte at a time, as a slow connection does.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = out.len().min(1);
        self.0.read(&mut out[..len])
    }
}

fn there_and_back<M: Message + PartialEq + std::fmt::Debug>(message: &M) -> M {
    let bytes = message.to_bytes().unwrap();
    assert_eq!(&M::from_bytes(&bytes).unwrap(), message);
    // Two in one stream: reading takes the first and not more.
    let two = [bytes.clone(), bytes.clone()].concat();
    let mut stream = &two[..];
    assert_eq!(&M::read_from(&mut stream).unwrap(), message);
    assert_eq!(stream.len(), bytes.len());
    let error = M::from_bytes(&two).unwrap_err().to_string();
    assert_eq!(error, "<stream>: end: there are bytes behind it");
    // A file has the very same bytes.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("message");
    message.save(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    M::load(&path).unwrap()
}

#[test]
fn every_message_comes_back_from_streams_and_files_as_it_was() {
    there_and_back(&query());
    there_and_back(&values());
    there_and_back(&scores());
    there_and_back(&KEY.evaluation_keys());
    let bytes = query().to_bytes().unwrap();
    assert_eq!(EncryptedQuery::read_from(Slow(&bytes)).unwrap().len(), 2);
}

#[test]
fn messages_compute_and_decrypt() {
    let selectors = there_and_back(&query()).open(&SERVER).unwrap();
    let n = KEY.params().row_size;
    let mut phases = vec![0; n];
    phases[0] = to_torus(1.0 / 64.0);
    let row = KEY.encrypt_rows(&phases).unwrap();
    let terms = [vec![Term { selector: 1, row: 0 }]];
    let product = SERVER.products(&selectors, &row, &terms).unwrap();
    for (got, m) in KEY.decrypt_rows(&product).unwrap().into_iter().zip(&samples()[1]) {
        assert!((from_torus(got) * 64.0 - f64::from(*m)).abs() < 0.01, "{got} {m}");
    }
    let got: Vec<f64> =
        KEY.decrypt(&there_and_back(&scores())).unwrap().into_iter().map(from_torus).collect();
    assert!((got[0] + 0.125).abs() < 1e-6 && (got[1] - 0.25).abs() < 1e-6, "{got:?}");
}

#[test]
fn serde_carries_the_container_with_version_and_checksum() {
    let (query, scores) = (query(), scores());
    let json = serde_json::to_vec(&(&query, &scores)).unwrap();
    let back: (EncryptedQuery, EncryptedValues) = serde_json::from_slice(&json).unwrap();
    assert!(back == (query.clone(), scores));
    let mut bytes: Vec<u8> = serde_json::from_value(serde_json::to_value(&query).unwrap()).unwrap();
    assert_eq!(bytes, query.to_bytes().unwrap());
    *bytes.last_mut().unwrap() ^= 1;
    let error = serde_json::from_value::<EncryptedQuery>(serde_json::json!(bytes)).unwrap_err();
    assert!(error.to_string().contains("its checksum does not match"), "{error}");
}

#[test]
fn each_encryption_is_another_unless_asked_for() {
    assert!(query() != query() && values() != values());
    let rows = || KEY.encrypt_rows(&vec![0; KEY.params().row_size]).unwrap();
    assert_ne!(rows(), rows());
    let again = || KEY.deterministic("figures").encrypt_query(&samples(), 3).unwrap();
    assert!(again() == again());
    // Sample i of a query is a use of its own, and so is each purpose.
    let n = KEY.params().row_size;
    let twice = KEY.encrypt_query(&[vec![1; n], vec![1; n]]).unwrap().payload();
    assert_ne!(twice[..16], twice[twice.len() / 2..][..16]);
    let of = |purpose| KEY.deterministic(purpose).encrypt_values(&[0], 0).unwrap();
    assert_ne!(of("a"), of("b"));
}

#[test]
fn another_key_and_another_kind_are_named() {
    let other = key(8);
    let message = format!("encrypted values: key is {}, expected {}", KEY.id(), other.id());
    assert_eq!(other.decrypt(&scores()).unwrap_err().to_string(), message);
    let engine = Cpu::new(&other.evaluation_keys());
    assert_eq!(values().open(&engine).unwrap_err().to_string(), message);
    let error = query().open(&engine).err().unwrap();
    assert!(error.to_string().starts_with("encrypted query: key is"), "{error}");
    let error = EncryptedValues::from_bytes(&query().to_bytes().unwrap()).unwrap_err();
    let text = "<stream>: kind is encrypted query, expected encrypted values";
    assert_eq!(error.to_string(), text);
}

#[test]
fn values_opened_in_parts_are_those_opened_at_once() {
    let phases: Vec<u64> = (0..7).map(|i| to_torus(f64::from(i) / 64.0)).collect();
    let seeded = KEY.encrypt_values(&phases).unwrap();
    let at_once = seeded.open(&SERVER).unwrap();
    let full = EncryptedValues::new(&SERVER, at_once.clone()).unwrap();
    for values in [&seeded, &full] {
        for (part, lengths) in
            [(0, vec![1; 7]), (3, vec![3, 3, 1]), (7, vec![7]), (usize::MAX, vec![7])]
        {
            let parts = values.open_in_parts(&SERVER, part).unwrap();
            let parts: Vec<_> = parts.map(Result::unwrap).collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), lengths);
            assert!(parts.iter().flat_map(|part| part.elements()).eq(at_once.elements()));
        }
    }
    let none = KEY.encrypt_values(&[]).unwrap();
    assert_eq!(none.open_in_parts(&SERVER, 3).unwrap().count(), 0);
    let stranger = Cpu::new(&key(8).evaluation_keys());
    assert!(seeded.open_in_parts(&stranger, 3).is_err());
}

/// Damages a message at many places; nothing may come of it but an error.
fn damaged<M: Message>(bytes: &[u8]) {
    let places = [0, 8, 13, 40, bytes.len() / 2, bytes.len() - 1];
    for at in places {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x10;
        assert!(matches!(M::from_bytes(&changed), Err(Error::Corrupt { .. })), "byte {at}");
        assert!(matches!(M::from_bytes(&bytes[..at]), Err(Error::Corrupt { .. })), "cut at {at}");
    }
}

#[test]
fn damage_and_cuts_are_errors() {
    damaged::<EncryptedQuery>(&query().to_bytes().unwrap());
    damaged::<EncryptedValues>(&values().to_bytes().unwrap());
    damaged::<EncryptedValues>(&scores().to_bytes().unwrap());
    damaged::<EvaluationKeys>(&KEY.evaluation_keys().to_bytes().unwrap());
}

#[test]
fn lengths_that_do_not_fit_are_errors() {
    let wrong = |header: fhe_core::store::Header, payload: &[u8]| {
        let mut bytes = Vec::new();
        fhe_core::store::write_to(&mut bytes, header, payload).unwrap();
        bytes
    };
    let cases = [query().payload()[1..].to_vec(), Vec::new()];
    for payload in cases {
        let bytes = wrong(query().header(), &payload);
        let error = EncryptedQuery::from_bytes(&bytes).unwrap_err().to_string();
        assert_eq!(error, "<stream>: payload: it is no whole number of samples");
    }
    for message in [values(), scores()] {
        for len in [1, 15, 17] {
            let bytes = wrong(message.header(), &message.payload()[..len]);
            let error = EncryptedValues::from_bytes(&bytes).unwrap_err().to_string();
            assert_eq!(error, "<stream>: payload: it is no whole number of values");
        }
    }
    let keys = KEY.evaluation_keys();
    let mut payload = keys.payload();
    for payload in [payload[..1000].to_vec(), {
        payload.push(0);
        payload
    }] {
        let error = EvaluationKeys::from_bytes(&wrong(keys.header(), &payload)).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
}

#[test]
fn a_header_that_announces_much_takes_no_memory() {
    // 2^40 bytes, in one chunk of 2^32: the stream ends before any of it.
    let mut header = query().header();
    header.chunk_bytes = 1 << 32;
    let mut bytes = Vec::new();
    fhe_core::store::write_to(&mut bytes, header, &[0; 64]).unwrap();
    let text =
        String::from_utf8_lossy(&bytes).replace("\"payload_bytes\":64", "\"payload_bytes\":99");
    let mut long = bytes[..12].to_vec();
    let end = text.rfind('}').unwrap();
    long.extend(&text.as_bytes()[text.find('{').unwrap()..=end]);
    let sum = blake3::hash(&long);
    long.extend(sum.as_bytes());
    assert_eq!(
        EncryptedQuery::from_bytes(&long).unwrap_err().to_string(),
        "<stream>: chunk 0 of 1: the stream ends inside it"
    );
}

#[test]
fn a_query_says_nothing_of_its_content() {
    let header = query().header();
    let (mut a, b) = (
        serde_json::json!(header),
        serde_json::json!(key(7).encrypt_query(&[vec![5; 512]]).unwrap().header()),
    );
    assert_eq!(a, b);
    let names: Vec<_> = a.as_object_mut().unwrap().keys().cloned().collect();
    let expected = ["chunk_bytes", "key_id", "kind", "meta", "params", "payload_bytes", "version"];
    assert_eq!(names, expected);
    assert!(header.meta.is_null());
}
