//! What must stay secret: the noise of everything fresh, the randomness of each use, and the bytes
//! of the key in memory and on the disk.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use fhe_core::client::{ClientKey, is_reproducible};
use fhe_core::noise::Noise;
use fhe_core::store::{ChunkWriter, EncryptedValues, Header, Lock, Message, Secrecy};
use fhe_core::{Cpu, Error, Params, Seed, from_torus};

static KEY: LazyLock<ClientKey> =
    LazyLock::new(|| ClientKey::new(&Params::toy_insecure().unwrap(), Seed::random().unwrap()));

const N: usize = 512;

/// Compares the variance of at least 10^5 independent errors with the predicted one, within 3 %.
///
/// Of a uniform distribution the ratio has a standard deviation of `sqrt(0.8 / count)`, so a right
/// formula fails with a probability below 1e-20.
fn exactly(what: &str, errors: &[f64], variance: f64) {
    assert!(errors.len() >= 100_000, "{what}: {}", errors.len());
    let count = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / count;
    assert!(mean.abs() < 8.0 * (variance / count).sqrt(), "{what}: mean {mean:e}");
    let ratio = errors.iter().map(|e| e * e).sum::<f64>() / count / variance;
    assert!((ratio - 1.0).abs() < 0.03, "{what}: variance is {ratio:.3} of the predicted");
}

#[test]
fn everything_fresh_has_its_noise() {
    let fresh = Noise::new(KEY.params()).fresh();
    let phases = vec![1u64 << 61; 200 * N];
    let error = |phase: &u64| from_torus(phase.wrapping_sub(1 << 61));
    for (what, rows) in [
        ("rows", KEY.encrypt_rows(&phases).unwrap()),
        ("deterministic rows", KEY.deterministic("noise").encrypt_rows(&phases, 0).unwrap()),
    ] {
        let errors: Vec<f64> = KEY.decrypt_rows(&rows).unwrap().iter().map(error).collect();
        exactly(what, &errors, fresh);
    }
    for (what, values) in [
        ("values", KEY.encrypt_values(&phases).unwrap()),
        ("deterministic values", KEY.deterministic("noise").encrypt_values(&phases, 0).unwrap()),
    ] {
        let errors: Vec<f64> = KEY.decrypt(&values).unwrap().iter().map(error).collect();
        exactly(what, &errors, fresh);
    }
}

#[test]
fn a_key_is_never_replaced_and_belongs_to_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.key");
    KEY.save(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    let other = ClientKey::new(KEY.params(), Seed::random().unwrap());
    let refused = other.save(&path).unwrap_err();
    assert!(matches!(refused, Error::Io { .. }), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // Nor through a link that leads nowhere.
    let link = folder.path().join("link.key");
    symlink(folder.path().join("absent"), &link).unwrap();
    other.save(&link).unwrap_err();
    assert_eq!(ClientKey::load(&path).unwrap().id(), KEY.id());
}

#[test]
fn a_lock_leaves_alone_what_a_link_points_to() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link] = ["file", "lock"].map(|name| folder.path().join(name));
    fs::write(&file, "valuable").unwrap();
    symlink(&file, &link).unwrap();
    assert!(matches!(Lock::take(&link).unwrap_err(), Error::Io { .. }));
    assert_eq!(fs::read(&file).unwrap(), b"valuable");
    // What is in a file that is there stays, too.
    drop(Lock::take(&file).unwrap());
    assert_eq!(fs::read(&file).unwrap(), b"valuable");
}

#[test]
fn a_file_on_its_way_leaves_alone_what_a_link_points_to() {
    let folder = tempfile::tempdir().unwrap();
    let [file, path, link] = ["file", "data", "data.part"].map(|name| folder.path().join(name));
    fs::write(&file, "valuable").unwrap();
    symlink(&file, &link).unwrap();
    let header = Header::new("test", KEY.params(), &KEY.id(), serde_json::Value::Null);
    let refused = ChunkWriter::resume(&path, &header, Secrecy::Public).unwrap_err();
    assert!(matches!(refused, Error::Io { .. }), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), b"valuable");
}

#[test]
fn the_name_of_a_key_tells_that_anyone_can_derive_it() {
    let folder = tempfile::tempdir().unwrap();
    let params = Params::toy_insecure().unwrap();
    for (seed, mark) in [(Seed::from_number(3), true), (Seed::random().unwrap(), false)] {
        let key = ClientKey::new(&params, seed);
        let path = folder.path().join(mark.to_string());
        key.save(&path).unwrap();
        let again = ClientKey::load(&path).unwrap();
        assert_eq!((again.id(), is_reproducible(&again.id())), (key.id(), mark));
        // All that is made of it says so.
        let values = key.encrypt_values(&[1]).unwrap();
        let query = key.encrypt_query(&[vec![0; N]]).unwrap();
        let keys = key.evaluation_keys();
        for id in [values.key_id(), query.key_id(), keys.key_id()] {
            assert_eq!(is_reproducible(id), mark);
        }
        let server = Cpu::new(&keys);
        let answer = EncryptedValues::new(&server, values.open(&server).unwrap()).unwrap();
        assert_eq!(is_reproducible(answer.key_id()), mark);
    }
}

#[test]
fn orders_are_secret_and_each_place_is_taken_once() {
    let order = KEY.order("a", 1000);
    assert_eq!(order, KEY.order("a", 1000));
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq(0..1000));
    let stays = |other: &[usize]| order.iter().zip(other).filter(|(i, j)| i == j).count();
    let stranger = ClientKey::new(KEY.params(), Seed::random().unwrap());
    // About one of two random orders agrees, and more than twelve with a probability below 1e-10.
    for other in [KEY.order("b", 1000), stranger.order("a", 1000), (0..1000).collect()] {
        assert!(stays(&other) <= 12);
    }
}

/// The program of the child that [`a_dropped_key_leaves_nothing_in_memory`] looks into.
#[test]
#[ignore = "started by another test"]
fn child_that_drops_a_key() {
    let Some(path) = std::env::var_os("FHE_CORE_TEST_KEY") else { return };
    let key = ClientKey::load(Path::new(&path)).unwrap();
    let wait = |what: &str| {
        println!("\n{what}");
        std::io::stdout().flush().unwrap();
        std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    };
    wait("loaded");
    key.encrypt_query(&vec![vec![1; N]; 8]).unwrap();
    key.encrypt_rows(&[5; N]).unwrap();
    drop(key.evaluation_keys());
    key.save(&Path::new(&path).with_extension("again")).unwrap();
    drop(key.order("samples", 100));
    drop(key);
    wait("dropped");
}

/// Counts where a process holds a half of a secret.
fn copies(child: &Child, secret: &[u8]) -> usize {
    let maps = fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
    let memory = fs::File::open(format!("/proc/{}/mem", child.id())).unwrap();
    let mut found = 0;
    for line in maps.lines().filter(|line| !line.contains("[v")) {
        let (range, rest) = line.split_once(' ').unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let [first, last] = [first, last].map(|x| u64::from_str_radix(x, 16).unwrap());
        let mut bytes = vec![0; (last - first) as usize];
        if rest.starts_with('r')
            && std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, first).is_ok()
        {
            for half in secret.chunks_exact(16) {
                found += bytes.windows(16).filter(|bytes| *bytes == half).count();
            }
        }
    }
    found
}

#[test]
#[cfg(target_os = "linux")]
fn a_dropped_key_leaves_nothing_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.key");
    KEY.save(&path).unwrap();
    // The payload is the last thing in the file but for its checksum.
    let file = fs::read(&path).unwrap();
    let secret = &file[file.len() - 64..file.len() - 32];
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_drops_a_key", "--ignored", "--nocapture"])
        .env("FHE_CORE_TEST_KEY", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |what: &str| assert!(lines.any(|line| line == what), "{what}");
    until("loaded");
    // One copy, of two halves.
    let loaded = copies(&child, secret);
    writeln!(child.stdin.as_ref().unwrap()).unwrap();
    until("dropped");
    let dropped = copies(&child, secret);
    writeln!(child.stdin.as_ref().unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!((loaded, dropped), (2, 0), "halves of the seed in memory");
}
