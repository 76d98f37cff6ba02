//! Fetches the official files of CIFAR-10 and MNIST.
//!
//! Bytes go to a `.part` file beside the target; a later call goes on where it ends. The target
//! appears, by renaming, only when the checksum is right.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};

use crate::{Error, Progress, Result, file, mnist};

/// The address of the official archive in binary layout.
pub const CIFAR10_URL: &str = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";
/// The SHA-256 checksum of that archive, in hexadecimal.
pub const CIFAR10_SHA256: &str = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd";

/// The folder of the official MNIST files, packed: a mirror, for their first home no longer serves
/// them.
pub const MNIST_URL: &str = "https://ossci-datasets.s3.amazonaws.com/mnist";
/// The SHA-256 checksums of the packed files, in hexadecimal, in the order of [`mnist::FILES`].
pub const MNIST_SHA256: [&str; 4] = [
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
];

/// Bytes at most of an official archive and of everything fetched: a limit against a server that
/// never ends.
const MOST_BYTES: u64 = 1 << 30;
const BUFFER_BYTES: usize = 1 << 16;
/// How long a silent server is waited for.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

/// Fetches CIFAR-10 into `folder`, unless it is there, and returns the archive's path.
///
/// # Errors
/// As [`fetch`].
pub fn cifar10(folder: &Path, progress: &dyn Fn(Progress)) -> Result<PathBuf> {
    let target = folder.join("cifar-10-binary.tar.gz");
    if !target.is_file() {
        fetch(CIFAR10_URL, CIFAR10_SHA256, &target, progress)?;
    }
    Ok(target)
}

/// Fetches the four MNIST files into `folder`, those that are not there, packed or plain.
///
/// [`mnist::read`] then reads the folder. Progress starts again with each file.
///
/// # Errors
/// As [`fetch`]; files that arrived before stay.
pub fn mnist(folder: &Path, progress: &dyn Fn(Progress)) -> Result<()> {
    mnist_from(MNIST_URL, &MNIST_SHA256, folder, progress)
}

fn mnist_from(
    url: &str,
    checksums: &[&str; 4],
    folder: &Path,
    progress: &dyn Fn(Progress),
) -> Result<()> {
    for (name, sha256) in mnist::FILES.iter().zip(checksums) {
        let target = folder.join(format!("{name}.gz"));
        if !target.is_file() && !folder.join(name).is_file() {
            fetch(&format!("{url}/{name}.gz"), sha256, &target, progress)?;
        }
    }
    Ok(())
}

/// Fetches `url` to `target` and checks its SHA-256 checksum.
///
/// # Errors
/// [`Error::Http`] or [`Error::HttpStatus`] if the server cannot be reached or refuses,
/// [`Error::Io`] if a file cannot be written or the connection breaks (call again to go on),
/// [`Error::Checksum`] if the contents are wrong (the `.part` file is then removed).
pub fn fetch(url: &str, sha256: &str, target: &Path, progress: &dyn Fn(Progress)) -> Result<()> {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = target.with_file_name(name);
    receive(url, &part, progress)?;
    let got = hash(&part)?;
    if got != sha256 {
        fs::remove_file(&part).map_err(Error::io("removing", &part))?;
        let wanted = sha256.to_owned();
        return Err(Error::Checksum { file: part, algorithm: "sha256", got, wanted });
    }
    fs::rename(&part, target).map_err(Error::io("renaming", &part))?;
    file::flush_name(target)
}

/// Appends to `part` what it lacks.
fn receive(url: &str, part: &Path, progress: &dyn Fn(Progress)) -> Result<()> {
    let have = fs::metadata(part).map_or(0, |metadata| metadata.len());
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(PATIENCE)
        .timeout_connect(PATIENCE)
        .timeout_per_read(PATIENCE)
        .build()
        .into();
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
    }
    let http = |source| Error::Http { url: url.to_owned(), source: Box::new(source) };
    let response = request.call().map_err(http)?;
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let resumed = match response.status().as_u16() {
        200 => false,
        206 => {
            let from = format!("bytes {have}-");
            if !header(CONTENT_RANGE).is_some_and(|range| range.starts_with(&from)) {
                return Err(Error::HttpStatus { url: url.to_owned(), got: 206 });
            }
            true
        }
        // Nothing is left to send: the part is complete, or wrong as its checksum will tell.
        416 if have > 0 => return Ok(()),
        got => {
            return Err(Error::HttpStatus { url: url.to_owned(), got });
        }
    };
    let mut done = if resumed { have } else { 0 };
    let length = header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let total = length.map_or(0, |length| length.saturating_add(done));
    let writing = || Error::io("writing", part);
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .append(resumed)
        .truncate(!resumed)
        .open(part)
        .map_err(writing())?;
    let mut body = response.into_body().into_reader().take(MOST_BYTES);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = body.read(&mut buffer).map_err(Error::io("receiving", part))?;
        if read == 0 {
            break;
        }
        file.write_all(&buffer[..read]).map_err(writing())?;
        done += read as u64;
        progress(Progress { stage: "download", done, total });
    }
    file.sync_all().map_err(writing())
}

/// Returns the SHA-256 checksum of a file, in hexadecimal.
fn hash(path: &Path) -> Result<String> {
    let reading = || Error::io("reading", path);
    let mut file = File::open(path).map_err(reading())?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(reading())?;
        if read == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests;
