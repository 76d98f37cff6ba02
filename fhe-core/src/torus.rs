//! The torus R/Z as 64-bit integers: `t` stands for `t / 2^64`.

/// Returns the torus element nearest to `x` modulo one; 0 for what is no number, or infinite.
///
/// ```
/// assert_eq!(fhe_core::to_torus(0.25), 1 << 62);
/// assert_eq!(fhe_core::to_torus(-0.25), 3 << 62);
/// ```
#[must_use]
pub fn to_torus(x: f64) -> u64 {
    let reduced = x - x.round();
    // 2^64 * [-1/2, 1/2] fits an i128 whatever the rounding; the low 64 bits are the residue.
    (reduced * 18_446_744_073_709_551_616.0).round() as i128 as u64
}

/// Returns the representative of `t` in `[-1/2, 1/2)`.
///
/// ```
/// assert_eq!(fhe_core::from_torus(3 << 62), -0.25);
/// ```
#[must_use]
pub fn from_torus(t: u64) -> f64 {
    (t as i64) as f64 / 18_446_744_073_709_551_616.0
}
