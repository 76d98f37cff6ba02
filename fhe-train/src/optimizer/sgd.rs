//! Stochastic gradient descent with clipping.

/// Stochastic gradient descent: `w -= rate clip(mean gradient + decay w)`.
///
/// The rule has no state: nothing but the weights goes from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sgd {
    /// Phase of a mean gradient of 1.
    pub(crate) gradient_unit: f64,
    /// Torus fraction of the update for a mean gradient of 1.
    pub(crate) rate: f64,
    /// Mean gradients are clipped here.
    pub(crate) clip: f64,
    /// The weight's phase times this is added to the gradient's.
    pub(crate) decay: i64,
}

impl Sgd {
    /// Returns what is added to a weight, from the phase of its summed gradient.
    pub(crate) fn at(&self, u: f64) -> f64 {
        -self.rate * (u / self.gradient_unit).clamp(-self.clip, self.clip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_the_clipped_mean_gradient_times_the_rate() {
        let rule = Sgd { gradient_unit: 0.02, rate: 1e-3, clip: 2.0, decay: 0 };
        let updates = [1.0, -0.5, 7.0, -7.0, 0.0].map(|g| 1e3 * rule.at(g * 0.02));
        for (got, expected) in updates.into_iter().zip([-1.0, 0.5, -2.0, 2.0, 0.0]) {
            assert!((got - expected).abs() < 1e-9, "{updates:?}");
        }
    }
}
