//! Where a figure comes from.

use serde::{Deserialize, Serialize};

/// Commit, machine, command line and memory of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Commit that the program was built from, with `-dirty` if files but results differed from
    /// it; "unknown" if the program does not say.
    pub commit: String,
    /// Processor and operating system.
    pub machine: String,
    /// The program and its arguments.
    pub command: String,
    /// Largest resident memory so far in bytes; 0 where the system does not tell.
    pub peak_memory_bytes: u64,
}

impl Provenance {
    /// Looks at this process, whose program was built from a commit. No other program is run.
    #[must_use]
    pub fn here(commit: &str) -> Self {
        let commit = commit.to_owned();
        let mut here = Self { commit, machine: machine(), ..Self::default() };
        // A path need not be UTF-8; a file that names it is.
        let mut arguments = std::env::args_os().map(|x| x.to_string_lossy().into_owned());
        let program = arguments.next().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        here.command =
            std::iter::once(name.to_owned()).chain(arguments).collect::<Vec<_>>().join(" ");
        here.measure_memory();
        here
    }

    /// Reads the largest resident memory again.
    pub fn measure_memory(&mut self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kilobytes = field(&status, "VmHWM").trim_end_matches(" kB").parse().unwrap_or(0);
        self.peak_memory_bytes = self.peak_memory_bytes.max(1024u64 * kilobytes);
    }
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map_or("", |(_, value)| value.trim())
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = match field(&info, "model name") {
        "" => std::env::consts::ARCH,
        name => name,
    };
    format!("{model}, {cores} cores, {}", std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_memory_on_linux() {
        let here = Provenance::here("abc");
        assert!(!cfg!(target_os = "linux") || here.peak_memory_bytes > 1 << 20, "{here:?}");
        assert!(here.machine.contains("cores"));
        assert_eq!(field("a: 1\nb:  2 kB", "b"), "2 kB");
    }
}
