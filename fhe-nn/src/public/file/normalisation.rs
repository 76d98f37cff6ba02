//! A batch normalisation, folded into thresholds.

/// Variance that a batch normalisation adds before the root: PyTorch's default.
const EPSILON: f64 = 1e-5;
/// A threshold that every pre-activation reaches, or none: minus or plus so much.
const FAR: f64 = i32::MAX as f64;

/// The numbers of each output: `gain (s - mean) / sqrt(variance + epsilon) + offset`.
pub(super) struct Normalisation {
    pub(super) gains: Vec<f64>,
    pub(super) offsets: Vec<f64>,
    pub(super) means: Vec<f64>,
    pub(super) variances: Vec<f64>,
}

impl Normalisation {
    /// Returns the thresholds of output o, and whether they are those of its negated filter, which is
    /// so for a negative gain: `gain (s - mean) / std + offset >= c` is
    /// `s >= mean + (c - offset) std / gain`.
    pub(super) fn fold(&self, o: usize, step: f64, thresholds: usize) -> (Vec<i64>, bool) {
        let negated = self.gains[o] < 0.0;
        let sign = if negated { -1.0 } else { 1.0 };
        let (gain, mean) = (sign * self.gains[o], sign * self.means[o]);
        let std = (self.variances[o] + EPSILON).sqrt();
        let threshold = |j: usize| {
            // A sign's level changes at zero, a rounding's half way between two levels.
            let c = step * (j as f64 + 0.5) - self.offsets[o];
            // Without gain the level is that of the offset, whatever comes in.
            let t = if gain > 0.0 { mean + c * std / gain } else { c.signum() * FAR };
            t.ceil().clamp(-FAR, FAR) as i64
        };
        ((0..thresholds).map(threshold).collect(), negated)
    }
}
