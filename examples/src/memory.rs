//! How much memory there is, asked before it is taken.

use anyhow::{Result, ensure};

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
