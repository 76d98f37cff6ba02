//! Runs the example programs, and looks at how they end.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// All programs.
pub(crate) const PROGRAMS: [&str; 13] = [
    "quickstart",
    "setup",
    "train",
    "infer",
    "twin",
    "audit",
    "parameter_search",
    "batch_lookup",
    "many_classes",
    "ranks",
    "report",
    "infer_bnn",
    "train_bnn",
];

/// How a program ended.
pub(crate) struct Outcome {
    code: Option<i32>,
    /// What it said on stdout.
    pub(crate) out: String,
    /// What it said on stderr.
    pub(crate) err: String,
}

/// Returns the path of a program; `cargo test` builds it beside the tests.
pub(crate) fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --examples` too", path.display());
    path
}

/// A program without arguments.
pub(crate) fn bare(name: &str) -> Command {
    let mut command = Command::new(path(name));
    command.stdin(Stdio::null());
    command
}

/// A program on a run's folder.
pub(crate) fn command(name: &str, run: &Path) -> Command {
    let mut command = bare(name);
    command.arg("--run").arg(run);
    command
}

/// Runs a program with arguments on a run's folder.
pub(crate) fn run(name: &str, run: &Path, arguments: &[&str]) -> Outcome {
    outcome(command(name, run).args(arguments))
}

/// The same, but no file may grow beyond `blocks` of 512 bytes: beyond it, writing fails as on a
/// full disk.
pub(crate) fn run_on_full_disk(name: &str, run: &Path, arguments: &[&str], blocks: u32) -> Outcome {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(path(name)).arg("--run").arg(run).args(arguments);
    outcome(&mut command)
}

/// Runs a command to its end. What it says on a stdout that is set before is not heard.
pub(crate) fn outcome(command: &mut Command) -> Outcome {
    let Output { status, stdout, stderr } = command.env("RUST_BACKTRACE", "1").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: status.code(), out: text(stdout), err: text(stderr) }
}

impl Outcome {
    /// Expects success.
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }

    /// Returns whether it ended well.
    pub(crate) fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// Expects an exit code and no word of an error.
    pub(crate) fn ends_quietly(self, code: i32) {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert!(!self.err.contains("panicked") && !self.err.contains("error"), "{}", self.err);
    }

    /// Expects exit code 1 and one line of error, the last one, that says all of `words`.
    pub(crate) fn fails(self, words: &[&str]) {
        let line = self.error_line(1);
        assert_eq!(self.err.lines().last(), Some(line), "nothing may follow the error");
        says(line, words);
    }

    /// Expects that the program refuses its arguments: exit code 2, one error, and a text that says
    /// all of `words`.
    pub(crate) fn refuses(self, words: &[&str]) {
        self.error_line(2);
        says(&self.err, words);
    }

    fn error_line(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        let lines: Vec<&str> =
            self.err.lines().filter(|line| line.to_lowercase().starts_with("error")).collect();
        assert_eq!(lines.len(), 1, "one error is enough:\n{}", self.err);
        lines[0]
    }
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(process: &std::process::Child, name: &str) {
    let id = process.id().to_string();
    let kill = [OsStr::new("-s"), OsStr::new(name), OsStr::new(&id)];
    assert!(Command::new("kill").args(kill).status().unwrap().success());
}
