//! What work takes: time on the wall, time of all cores, memory.

use std::time::Instant;

/// Ticks of a second in Linux' counts of a process' time, on every processor that we know.
const TICKS: f64 = 100.0;

/// What some work took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Seconds on the wall.
    pub wall: f64,
    /// Seconds of cores, all threads together.
    pub core: f64,
    /// The part of it in the system: for memory, most of all.
    pub system: f64,
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.core += other.core;
        self.system += other.system;
    }
}

/// A clock that runs.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// Seconds in the program and in the system.
    cores: Option<[f64; 2]>,
}

impl Clock {
    /// Starts.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now(), cores: core_seconds() }
    }

    /// Returns what was spent since the start. Where the system does not tell the time of cores, it
    /// is that of the wall times the threads, which is no less.
    #[must_use]
    pub fn spent(&self) -> Spent {
        let wall = self.start.elapsed().as_secs_f64();
        let cores = self.cores.zip(core_seconds()).map(|(a, b)| [b[0] - a[0], b[1] - a[1]]);
        let [user, system] = cores.unwrap_or([wall * rayon::current_num_threads() as f64, 0.0]);
        Spent { wall, core: user + system, system }
    }
}

/// Returns the seconds of cores that this process has spent, in the program and in the system, in
/// steps of a hundredth; `None` where the system does not tell.
fn core_seconds() -> Option<[f64; 2]> {
    let ticks = in_ticks(&std::fs::read_to_string("/proc/self/stat").ok()?)?;
    Some(ticks.map(|ticks| ticks / TICKS))
}

/// Reads the ticks of program and system from the line that Linux has of a process.
fn in_ticks(stat: &str) -> Option<[f64; 2]> {
    // The name before the last bracket may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_ascii_whitespace().skip(11).map(str::parse::<f64>);
    Some([ticks.next()?.ok()?, ticks.next()?.ok()?])
}

/// Forgets the largest memory so far, so that the next one is that of the work that follows. Where
/// the system does not do it, the largest stays.
pub fn forget_peak() {
    // Nothing is lost if it fails.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Returns the bytes of memory that this process holds now; 0 where the system does not tell.
#[must_use]
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    1024 * kilobytes.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_cores_is_that_of_user_and_system() {
        let line = "7 (a) b (c)) S 1 7 7 0 -1 4194560 90 0 1 0 250 50 3 4 20 0 2 0 99 8 9";
        assert_eq!(in_ticks(line), Some([250.0, 50.0]));
        assert_eq!((in_ticks("7 (a) S 1"), in_ticks("")), (None, None));
    }

    #[test]
    fn all_threads_count() {
        let clock = Clock::start();
        let until = Instant::now() + std::time::Duration::from_millis(300);
        let work = || {
            let mut sum = 0u64;
            while Instant::now() < until {
                sum = sum.wrapping_add(1);
            }
            sum
        };
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
            assert!(all.into_iter().all(|thread| thread.join().unwrap() > 0));
        });
        let Spent { wall, core, system } = clock.spent();
        // The machine may have other work, but no core does more than one second in a second.
        assert!(wall >= 0.3 && core > 0.0 && core <= 2.5 * wall, "{core} of {wall}");
        assert!((0.0..=core).contains(&system));
        assert!(!cfg!(target_os = "linux") || resident_bytes() > 1 << 20);
    }
}
