//! What a program says: text for people, or an event a line for other programs.
//!
//! All of standard output goes through here. As text, notes and results are lines on standard
//! output; progress and warnings go to standard error. With `--json` each of them is one object on
//! a line of standard output. With `--quiet` only results and errors are said. Errors are always
//! said on standard error too.
//!
//! | `event` | other fields |
//! |---|---|
//! | `started` | `program`, `version`, `threads` |
//! | `progress` | `what`, `done`, `total`, `unit`, `per_second`, `seconds_left`, `message` |
//! | `note` | `text` |
//! | `warning` | `text` |
//! | `result` | `name`, `data` |
//! | `error` | `text` |
//!
//! Standard output that cannot be written to is an [`OutputError`]. A program that loses no work by
//! it ends there. Work that would be lost asks [`failed`] where it asks for signals, and ends as it
//! does after one of these.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::json;

/// How a program talks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// As JSON, an event a line.
    pub json: bool,
    /// Only results and errors.
    pub quiet: bool,
}

/// Standard output could not be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// Nobody reads it any more.
    #[error("standard output was closed")]
    Closed,
    /// The system says why, such as a full disk.
    #[error("writing to standard output: {}", system(.0))]
    Failed(i32),
}

fn system(code: &i32) -> io::Error {
    io::Error::from_raw_os_error(*code)
}

static MANNER: OnceLock<Manner> = OnceLock::new();
static MUTED: AtomicBool = AtomicBool::new(false);
static FAILED: OnceLock<OutputError> = OnceLock::new();

/// Sets how this program talks, once, before it says anything.
pub fn set(manner: Manner) {
    // A second call has no effect.
    let _ = MANNER.set(manner);
}

/// Returns how this program talks.
#[must_use]
pub fn manner() -> Manner {
    let manner = MANNER.get().copied().unwrap_or_default();
    Manner { quiet: manner.quiet || is_muted(), ..manner }
}

/// Says nothing but errors from here on: another process says it.
pub fn mute() {
    MUTED.store(true, Ordering::Relaxed);
}

fn is_muted() -> bool {
    MUTED.load(Ordering::Relaxed)
}

/// Returns whether standard output failed: then nobody hears of the work that goes on.
#[must_use]
pub fn failed() -> bool {
    FAILED.get().is_some()
}

/// Returns the failure of standard output, if there was one.
///
/// # Errors
/// [`OutputError`].
pub fn check() -> Result<(), OutputError> {
    FAILED.get().map_or(Ok(()), |error| Err(*error))
}

/// Says what is being done or was found on the way.
///
/// # Errors
/// [`OutputError`].
pub fn note(text: impl Display) -> Result<(), OutputError> {
    match manner() {
        Manner { quiet: true, .. } => Ok(()),
        Manner { json: true, .. } => event(&json!({ "event": "note", "text": text.to_string() })),
        Manner { .. } => line(&text.to_string()),
    }
}

/// Says what the program was started for: `text` to people, `data` under `name` to programs.
///
/// # Errors
/// [`OutputError`].
pub fn result(name: &str, text: impl Display, data: &impl Serialize) -> Result<(), OutputError> {
    if is_muted() {
        Ok(())
    } else if manner().json {
        event(&json!({ "event": "result", "name": name, "data": data }))
    } else {
        line(&text.to_string())
    }
}

/// Says what may be wrong.
///
/// # Errors
/// [`OutputError`].
pub fn warning(text: impl Display) -> Result<(), OutputError> {
    let manner = manner();
    if manner.quiet {
        return Ok(());
    }
    if manner.json {
        return event(&json!({ "event": "warning", "text": text.to_string() }));
    }
    to_stderr(format_args!("warning: {text}"));
    Ok(())
}

/// Says why the program ends.
pub(crate) fn error(text: &str) {
    to_stderr(format_args!("error: {text}"));
    if manner().json {
        // It was said.
        let _ = event(&json!({ "event": "error", "text": text }));
    }
}

/// Tells other programs that this one begins.
pub(crate) fn started(program: &str, version: &str, threads: usize) -> Result<(), OutputError> {
    match manner() {
        Manner { json: true, quiet: false } => event(&json!({
            "event": "started",
            "program": program,
            "version": version,
            "threads": threads,
        })),
        Manner { .. } => Ok(()),
    }
}

/// How far a job is.
#[derive(Debug, Serialize)]
pub(crate) struct Progress<'a> {
    pub(crate) what: &'a str,
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) unit: &'a str,
    pub(crate) per_second: f64,
    pub(crate) seconds_left: f64,
    pub(crate) message: &'a str,
}

/// Tells other programs how far a job is. A failure is kept for [`failed`].
pub(crate) fn progress(progress: &Progress<'_>) {
    #[derive(Serialize)]
    struct Event<'a> {
        event: &'static str,
        #[serde(flatten)]
        progress: &'a Progress<'a>,
    }
    let _ = event(&Event { event: "progress", progress });
}

/// Writes a line to standard error. Where nobody hears it, there is nobody to tell.
pub(crate) fn to_stderr(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn event(event: &impl Serialize) -> Result<(), OutputError> {
    let text = serde_json::to_string(event)
        .unwrap_or_else(|error| json!({ "event": "error", "text": error.to_string() }).to_string());
    line(&text)
}

/// Writes a line at once. After a failure nothing more is written.
fn line(text: &str) -> Result<(), OutputError> {
    check()?;
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush());
    written.map_err(|error| fail(&error))
}

/// Notes that standard output failed.
pub(crate) fn fail(error: &io::Error) -> OutputError {
    let kind = match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::BrokenPipe, _) | (_, None) => OutputError::Closed,
        (_, Some(code)) => OutputError::Failed(code),
    };
    *FAILED.get_or_init(|| kind)
}
