//! Whether this processor has what the program was built for.
//!
//! `target-cpu=native` builds for the processor at hand, and on an older one the program would die
//! of an illegal instruction. What the library detects for itself is of no use here: where a
//! feature was asked for in the build, `is_x86_feature_detected` takes it as given.

use anyhow::{Result, ensure};

/// Features of x86-64 that a build may ask for, as rustc and as Linux call them.
macro_rules! features {
    ($($rustc:literal $linux:literal),* $(,)?) => {
        [$(($rustc, $linux, cfg!(target_feature = $rustc))),*]
    };
}

const FEATURES: [(&str, &str, bool); 24] = features![
    "sse3" "pni", "ssse3" "ssse3", "sse4.1" "sse4_1", "sse4.2" "sse4_2", "popcnt" "popcnt",
    "aes" "aes", "pclmulqdq" "pclmulqdq", "movbe" "movbe", "avx" "avx", "avx2" "avx2", "fma" "fma",
    "f16c" "f16c", "bmi1" "bmi1", "bmi2" "bmi2", "lzcnt" "abm", "adx" "adx", "sha" "sha_ni",
    "gfni" "gfni", "vaes" "vaes", "avx512f" "avx512f", "avx512bw" "avx512bw",
    "avx512dq" "avx512dq", "avx512vl" "avx512vl", "avx512ifma" "avx512ifma",
];

/// Refuses a processor that lacks something the program was built for; one whose features the
/// system does not tell is taken as it is.
///
/// # Errors
/// The features that are missing.
pub fn check() -> Result<()> {
    let built = FEATURES.iter().filter(|(.., built)| *built);
    let built: Vec<_> = built.map(|&(rustc, linux, _)| (rustc, linux)).collect();
    let missing = missing(&built, &std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default());
    ensure!(
        missing.is_empty(),
        "this program was built for another processor: this one lacks {}; build it on this \
         machine, or with RUSTFLAGS=\"-C target-cpu=x86-64\" for all of them",
        missing.join(", ")
    );
    Ok(())
}

/// Returns which of the features, of two names each, are not in what Linux tells of processors.
fn missing<'a>(built: &[(&'a str, &str)], told: &str) -> Vec<&'a str> {
    let line = told.lines().find(|line| line.starts_with("flags"));
    let Some((_, flags)) = line.and_then(|line| line.split_once(':')) else { return Vec::new() };
    let has = |feature| flags.split_whitespace().any(|flag| flag == feature);
    built.iter().filter(|(_, linux)| !has(*linux)).map(|&(rustc, _)| rustc).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_processor_lacks_is_found() {
        let told = "processor : 0\nflags\t\t: fpu pni avx avx2 abm\nprocessor : 1\n";
        let built = [("sse3", "pni"), ("avx2", "avx2"), ("avx512f", "avx512f"), ("lzcnt", "abm")];
        assert_eq!(missing(&built, told), ["avx512f"]);
        // No part of a name is a feature, and who does not tell is not refused.
        assert_eq!(missing(&[("fma", "fma"), ("avx", "av")], told), ["fma", "avx"]);
        assert_eq!(missing(&built, "Features : asimd"), [""; 0]);
        check().unwrap();
    }
}
