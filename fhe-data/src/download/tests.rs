use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::*;

const CONTENT: &[u8] = b"ten classes of small pictures";

/// The path of a request and its `Range` header.
type Request = (String, Option<String>);

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Answers one request; returns the `Range` header that came. Sends `send` bytes at most.
fn serve(send: usize) -> (String, JoinHandle<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/archive", listener.local_addr().unwrap());
    (url, thread::spawn(move || answer(&listener, send).1))
}

/// Answers one request for each number, which is the most bytes to send; returns the requests'
/// paths and ranges.
fn serve_all(sends: Vec<usize>) -> (String, JoinHandle<Vec<Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/folder", listener.local_addr().unwrap());
    (url, thread::spawn(move || sends.into_iter().map(|send| answer(&listener, send)).collect()))
}

/// Answers one request with at most `send` bytes; returns its path and its `Range` header.
fn answer(listener: &TcpListener, send: usize) -> Request {
    let (mut stream, _) = listener.accept().unwrap();
    let (mut path, mut range) = (String::new(), None);
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let line = line.unwrap();
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("GET ") {
            path = rest.split(' ').next().unwrap().to_owned();
        }
        if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
            range = Some(value.to_owned());
        }
    }
    let from = range.as_deref().map_or(0, |r| r.trim_end_matches('-').parse().unwrap());
    let body = &CONTENT[from..];
    let status = if from > 0 {
        format!("206 Partial Content\r\nContent-Range: bytes {from}-28/29")
    } else {
        "200 OK".to_owned()
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..send.min(body.len())]).unwrap();
    (path, range)
}

#[test]
fn fetches_and_renames() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("a.tar.gz");
    let (url, server) = serve(usize::MAX);
    let last = RefCell::new(None);
    fetch(&url, &sha256(CONTENT), &target, &|p| _ = last.replace(Some(p))).unwrap();
    assert_eq!(server.join().unwrap(), None);
    assert_eq!(fs::read(&target).unwrap(), CONTENT);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let last = last.into_inner().unwrap();
    assert_eq!((last.done, last.total), (29, 29));
}

#[test]
fn goes_on_after_a_broken_connection() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("a.tar.gz");
    let (url, server) = serve(10);
    let error = fetch(&url, &sha256(CONTENT), &target, &|_| ()).unwrap_err();
    assert!(matches!(error, Error::Io { op: "receiving", .. }), "{error}");
    server.join().unwrap();
    assert!(!target.exists());
    let (url, server) = serve(usize::MAX);
    fetch(&url, &sha256(CONTENT), &target, &|_| ()).unwrap();
    assert_eq!(server.join().unwrap().unwrap(), "10-");
    assert_eq!(fs::read(&target).unwrap(), CONTENT);
}

#[test]
fn mnist_fetches_the_files_that_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let sum = sha256(CONTENT);
    let fetch = |url: &str, fourth: &str| {
        mnist_from(url, &[&sum, &sum, &sum, fourth], folder.path(), &|_| ())
    };
    fs::write(folder.path().join(mnist::FILES[0]), "plain").unwrap();
    let (url, server) = serve_all(vec![usize::MAX, 10]);
    let error = fetch(&url, &sum).unwrap_err();
    assert!(matches!(error, Error::Io { op: "receiving", .. }), "{error}");
    let path = |name: &str| format!("/folder/{name}.gz");
    let paths: Vec<String> = server.join().unwrap().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, [path(mnist::FILES[1]), path(mnist::FILES[2])]);
    // What arrived stays; what was broken off goes on; a wrong checksum is no file.
    let (url, server) = serve_all(vec![usize::MAX; 2]);
    let error = fetch(&url, &sha256(b"other")).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    let requests = server.join().unwrap();
    assert_eq!(requests[0], (path(mnist::FILES[2]), Some("10-".to_owned())));
    assert_eq!(requests[1], (path(mnist::FILES[3]), None));
    let file = |name: &str| fs::read(folder.path().join(format!("{name}.gz")));
    assert_eq!(file(mnist::FILES[2]).unwrap(), CONTENT);
    assert!(file(mnist::FILES[0]).is_err() && file(mnist::FILES[3]).is_err());
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("a.tar.gz");
    let (url, server) = serve(usize::MAX);
    let error = fetch(&url, &sha256(b"other"), &target, &|_| ()).unwrap_err();
    server.join().unwrap();
    assert!(matches!(&error, Error::Checksum { got, .. } if *got == sha256(CONTENT)), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_unreachable_server_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let error = fetch(&url, "", &folder.path().join("a"), &|_| ()).unwrap_err();
    assert!(matches!(error, Error::Http { .. }), "{error}");
}
