//! How much memory there is, asked before it is taken.

use anyhow::{Result, ensure};
use fhe_core::Params;

use crate::output;

/// Says what the keys of a parameter set and its batches of lookups take, and refuses them where
/// that is not there. Of a set without a batch part nothing is said and nothing refused.
///
/// # Errors
/// Those of [`ensure_room`], and of the output.
pub fn ensure_room_for_keys(params: &Params) -> Result<()> {
    let Some(text) = of_keys(params) else { return Ok(()) };
    output::note(text)?;
    ensure_room(&format!("keys and batches of {}", params.name), params.memory().peak())
}

/// What the keys and batches of a set take; `None` if it has no batch part.
fn of_keys(params: &Params) -> Option<String> {
    params.batch?;
    let memory = params.memory();
    let [stored, engine, batch] =
        [memory.stored, memory.engine, memory.batch].map(|bytes| bytes as f64 / 1e9);
    Some(format!(
        "{}: the keys take {engine:.2} GB of memory, {stored:.2} GB more while they are opened, \
         and a batch of lookups {batch:.2} GB",
        params.name
    ))
}

/// Refuses work whose memory is not there. `what` says what the bytes are for.
///
/// Where the system does not tell how much is left, nothing is refused.
///
/// # Errors
/// What is needed, and what there is.
pub fn ensure_room(what: &str, bytes: u64) -> Result<()> {
    let Some(left) = available() else { return Ok(()) };
    ensure!(
        bytes <= left,
        "{what}: {:.1} GB of memory are needed, and {:.1} GB are left",
        bytes as f64 / 1e9,
        left as f64 / 1e9
    );
    Ok(())
}

/// Returns the bytes that programs can still take without swapping, as Linux estimates them.
fn available() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read_from_the_system() {
        let text = "MemTotal:       24689764 kB\nMemAvailable:   23000000 kB\n";
        assert_eq!(parse(text), Some(23_000_000 * 1024));
        assert_eq!(parse("MemAvailable: much\n"), None);
        assert!(!cfg!(target_os = "linux") || available().is_some());
    }

    #[test]
    fn memory_is_stated_of_sets_with_batches() {
        assert_eq!(of_keys(&Params::secure128_deep().unwrap()), None);
        let said = of_keys(&Params::secure128_deep_v3().unwrap()).unwrap();
        assert!(said.starts_with("secure128-deep-v3: the keys take "), "{said}");
        assert!(said.ends_with(" GB") && !said.contains(" 0.00 GB"), "{said}");
    }

    #[test]
    fn work_without_room_is_refused_with_both_numbers() {
        ensure_room("nothing", 0).unwrap();
        if cfg!(target_os = "linux") {
            let said = ensure_room("the values of 9 images", u64::MAX).unwrap_err().to_string();
            assert!(
                said.starts_with("the values of 9 images: 18446744073.7 GB of memory"),
                "{said}"
            );
        }
    }
}
