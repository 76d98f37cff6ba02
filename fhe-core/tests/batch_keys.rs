//! Evaluation keys with a batch part as a message: there and back, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

use fhe_core::client::ClientKey;
use fhe_core::params::{BatchSpec, Gadget, Limbs, LookupPath};
use fhe_core::server::EvaluationKeys;
use fhe_core::store::{Header, Message, write_to};
use fhe_core::{Cpu, Engine, Error, Params, ParamsSpec, Seed, Table, from_torus, to_torus};

static CLIENT: LazyLock<ClientKey> = LazyLock::new(|| client(7));
static KEYS: LazyLock<EvaluationKeys> = LazyLock::new(|| CLIENT.evaluation_keys());
static PAYLOAD: LazyLock<Vec<u8>> = LazyLock::new(|| KEYS.payload());

fn client(number: u64) -> ClientKey {
    ClientKey::new(&Params::toy_insecure_batch().unwrap(), Seed::from_number(number))
}

/// Numbers of bodies of all parts, as the header has them.
fn lengths() -> Vec<usize> {
    serde_json::from_value(KEYS.header().meta).unwrap()
}

/// Numbers of bodies of all parts but those for batches: what the same set without a batch part
/// has.
fn lengths_without_batch() -> Vec<usize> {
    let mut spec = (*Params::toy_insecure_batch().unwrap()).clone();
    spec.batch = None;
    let keys = ClientKey::new(&Params::new(spec).unwrap(), Seed::from_number(7)).evaluation_keys();
    serde_json::from_value(keys.header().meta).unwrap()
}

/// Where each part begins: its mask seed, and 16 bytes later its bodies.
fn places(lengths: &[usize]) -> Vec<usize> {
    lengths
        .iter()
        .scan(0, |at, len| {
            let place = *at;
            *at += 16 + 8 * len;
            Some(place)
        })
        .collect()
}

/// A container with right checksums, whatever is in it.
fn forged(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, header, payload).unwrap();
    bytes
}

fn refused(bytes: &[u8]) -> String {
    let error = EvaluationKeys::from_bytes(bytes).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    error.to_string()
}

fn refused_in_a_file(bytes: &[u8], path: &Path) -> String {
    std::fs::write(path, bytes).unwrap();
    let said = EvaluationKeys::load(path).unwrap_err().to_string();
    // Which file, and once.
    said.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&said).to_owned()
}

#[test]
fn keys_come_back_from_streams_and_files_as_they_were() {
    let bytes = KEYS.to_bytes().unwrap();
    assert!(EvaluationKeys::from_bytes(&bytes).unwrap() == *KEYS);
    // Pieces are a matter of memory: the bytes are those of the payload as a whole.
    assert!(forged(KEYS.header(), &PAYLOAD) == bytes);
    assert_eq!(KEYS.pieces().bytes(), PAYLOAD.len() as u64);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evaluation.keys");
    KEYS.save(&path).unwrap();
    assert!(std::fs::read(&path).unwrap() == bytes);
    let loaded = EvaluationKeys::load(&path).unwrap();
    assert!(loaded == *KEYS);

    // And they look up in batches.
    let params = CLIENT.params();
    let (cpu, n) = (Cpu::new(&loaded), params.row_size);
    let sign = Table::new(n, |x| if x < 0.0 { -0.125 } else { 0.125 }).unwrap();
    let phases = vec![to_torus(0.1), to_torus(-0.1)];
    let values = CLIENT.encrypt_values(&phases).unwrap().open(&cpu).unwrap();
    let picks: Vec<usize> = (0..n).map(|i| i % 2).collect();
    let values = cpu.take(&values, picks).unwrap();
    assert_eq!(params.lookup_path(values.len()), LookupPath::Batch);
    let got = cpu.lookup(&values, &[sign.within_half_torus()]).unwrap();
    for (i, got) in CLIENT.decrypt_values(&got).unwrap().into_iter().enumerate() {
        let want = if i % 2 == 0 { 0.125 } else { -0.125 };
        assert!((from_torus(got) - want).abs() < 0.01, "value {i}");
    }
}

/// Of a set without a batch part `tests/store.rs` compares the keys' bytes with what they have
/// always been. With a batch part the same parts come first.
#[test]
fn keys_for_batches_come_behind_the_others() {
    let without = lengths_without_batch();
    assert_eq!(lengths()[..without.len()], without);
    assert!(lengths().len() > without.len() + 3);
}

/// A client keeps its seed alone, so that no generator of keys may change.
#[test]
fn keys_are_the_same_forever() {
    let hash = blake3::hash(&KEYS.to_bytes().unwrap()).to_hex();
    assert_eq!(hash[..32], *"72f3ae1d2c721ec0596545df16367fbb");
}

/// Odd shapes that the check of parameter sets lets through: nothing panics.
#[test]
fn unusual_batch_parts_that_are_accepted_work() {
    let toy = (*Params::toy_insecure_batch().unwrap()).clone();
    let batch = toy.batch.unwrap();
    let gadget = |base_log, levels| Gadget { base_log, levels };
    let limbs = |count, bits| Limbs { count, bits };
    let (rows, slots) = (2, 16);
    let small = ParamsSpec { row_size: 64, short_dimension: 1, lookup_group: 1, ..toy };
    let least = BatchSpec { rows, slots, table: limbs(4, 40), special: limbs(1, 40), ..batch };
    for batch in [
        least,
        BatchSpec { down: gadget(1, 52), square: gadget(52, 1), ..least },
        BatchSpec { overflow: 1024, special: limbs(16, 50), ..least },
        BatchSpec { rows: 16, slots: 64, table: limbs(6, 49), ..batch },
        BatchSpec { squarings: 12, exponential: limbs(16, 40), ..least },
    ] {
        let params = Params::new(ParamsSpec { batch: Some(batch), ..small.clone() }).unwrap();
        let key = ClientKey::new(&params, Seed::from_number(1));
        let bytes = key.evaluation_keys().to_bytes().unwrap();
        let cpu = Cpu::new(&EvaluationKeys::from_bytes(&bytes).unwrap());
        let values = key.encrypt_values(&[1 << 61; 70]).unwrap().open(&cpu).unwrap();
        let table = Table::new(64, |x| x / 4.0).unwrap();
        assert_eq!(cpu.lookup(&values, &[table]).unwrap().elements().len(), 70 * 65);
        assert!(params.memory().peak() > 0);
    }
}

#[test]
fn the_same_seed_gives_the_same_keys_and_no_two_parts_share_a_mask_seed() {
    assert!(client(7).evaluation_keys() == *KEYS);
    let places = places(&lengths());
    let seed = |at: &usize| PAYLOAD[*at..at + 16].to_vec();
    let seeds: HashSet<Vec<u8>> = places.iter().map(seed).collect();
    assert_eq!(seeds.len(), places.len());
    // Another key shares none of them.
    let other = client(8).evaluation_keys().payload();
    assert!(places.iter().all(|at| !seeds.contains(&other[*at..at + 16])));
    // What is printed of keys does not grow with them.
    assert!(format!("{:?}", *KEYS).len() < 200 && format!("{:?}", *CLIENT).len() < 200);
}

#[test]
fn keys_of_another_client_or_set_are_refused() {
    let (params, other) = (CLIENT.params(), client(8));
    let said = KEYS.expect_key(params, &other.id()).unwrap_err().to_string();
    let (own, others) = (CLIENT.id(), other.id());
    assert_eq!(said, format!("evaluation keys: key is {own}, expected {others}"));
    let today = Params::toy_insecure().unwrap();
    let said = KEYS.expect_key(&today, &own).unwrap_err().to_string();
    let (got, expected) = (&params.name, &today.name);
    assert_eq!(said, format!("evaluation keys: parameter set is {got}, expected {expected}"));
    // Values of another key do not get into the engine.
    let values = other.encrypt_values(&[0]).unwrap();
    let said = values.open(&Cpu::new(&KEYS)).unwrap_err().to_string();
    assert!(said.starts_with("encrypted values: key is"), "{said}");
    // A header that names another set: the lengths tell.
    let header = Header { params: (*today).clone(), ..KEYS.header() };
    let said = refused(&forged(header, &PAYLOAD[..1 << 20]));
    assert_eq!(said, "<stream>: lengths: the lengths do not fit the parameter set");
}

#[test]
fn damage_in_the_batch_part_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evaluation.keys");
    let bytes = KEYS.to_bytes().unwrap();
    let mut flipped = bytes.clone();
    let at = bytes.len() - 5000;
    flipped[at] ^= 1;
    let chunks = PAYLOAD.len().div_ceil(1 << 20);
    let field = format!("chunk {} of {chunks}", chunks - 1);
    let problem = "its checksum does not match";
    assert_eq!(refused_in_a_file(&flipped, &path), format!("{field}: {problem}"));
    assert_eq!(refused(&flipped), format!("<stream>: {field}: {problem}"));
    // Cut short: a file knows its length, a stream where it ends.
    let said = refused_in_a_file(&bytes[..at], &path);
    let (got, expected) = (at, bytes.len());
    let length = format!("length is {got} bytes, expected {expected} bytes");
    assert!(said.ends_with(&length), "{said}");
    let said = refused(&bytes[..at]);
    assert_eq!(said, format!("<stream>: {field}: the stream ends inside it"));
}

#[test]
fn lengths_that_do_not_fit_are_refused_before_anything_is_read() {
    let unfit = "the lengths do not fit the parameter set";
    let mut longer = lengths();
    *longer.last_mut().unwrap() += 1;
    let header = Header { meta: serde_json::json!(longer), ..KEYS.header() };
    let said = refused(&forged(header, &PAYLOAD));
    assert_eq!(said, format!("<stream>: lengths: {unfit}"));
    // The keys of a set without a batch part, under the name of one that has it.
    let without = lengths_without_batch();
    let header = Header { meta: serde_json::json!(without), ..KEYS.header() };
    let end = places(&lengths())[without.len()];
    let said = refused(&forged(header, &PAYLOAD[..end]));
    assert_eq!(said, format!("<stream>: lengths: {unfit}"));
    let said = refused(&forged(KEYS.header(), &PAYLOAD[..PAYLOAD.len() - 8]));
    assert_eq!(said, format!("<stream>: payload: {unfit}"));
    let more = [&PAYLOAD[..], &[0; 8]].concat();
    let said = refused(&forged(KEYS.header(), &more));
    assert_eq!(said, "<stream>: payload_bytes: larger than such a payload can be");
}

/// The arithmetic takes residues as they are. A key file with right checksums can hold any, so each
/// is compared with its prime.
#[test]
fn bodies_that_are_no_residues_are_refused() {
    let (lengths, first) = (lengths(), lengths_without_batch().len());
    let places = places(&lengths);
    // The last parts are rows, with bodies modulo 2^64: two, and one for each 64 bits of the key.
    let keys = lengths.len() - first;
    let rows = keys - 2 - CLIENT.params().row_size / 64;
    let read = |part: usize, body: usize, value: u64| {
        let mut payload = PAYLOAD.clone();
        let at = places[first + part] + 16 + 8 * body;
        payload[at..at + 8].copy_from_slice(&value.to_le_bytes());
        EvaluationKeys::from_bytes(&forged(KEYS.header(), &payload))
    };
    // The first prime has 50 bits, the second 42.
    let ring = CLIENT.params().batch.unwrap().values(CLIENT.params().row_size);
    let last = |part: usize| lengths[first + part] - 1;
    for (part, body, value) in [
        (0, 0, u64::MAX),
        (0, ring, 1 << 42),
        (0, 2 * ring - 1, 1 << 42),
        (1, last(1), 1 << 50),
        (2, last(2), 1 << 50),
        (rows - 1, 0, 1 << 63),
    ] {
        let said = read(part, body, value).unwrap_err().to_string();
        let rule = "a residue is not below its prime";
        assert_eq!(said, format!("<stream>: batch key {part} of {keys}: {rule}"));
    }
    assert!(read(0, 0, 1 << 49).is_ok());
    assert!(read(0, ring - 1, 1 << 42).is_ok());
    assert!(read(rows, 0, u64::MAX).is_ok());
    assert!(read(keys - 1, last(keys - 1), u64::MAX).is_ok());
}
