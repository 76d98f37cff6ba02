//! Stochastic gradient descent with clipping.

/// Phase at which summed gradients are clipped: half of the half torus that a lookup reads.
pub(crate) const CLIP: f64 = 0.125;
/// Smallest integer by which what is looked up is multiplied: so rates are rounded by 1/32 at most.
const LEAST_SCALE: f64 = 16.0;

/// Stochastic gradient descent: `w -= rate clip(mean gradient + decay w)`.
///
/// One table serves all layers, so that their gradients are one list of rows. It gives `-s clip(u)`
/// of a phase u, and an integer k of each layer takes that to `-s k clip(u)`. The rule has no
/// state: nothing but the weights goes from one step to the next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sgd {
    /// The table's factor s.
    step: f64,
    scales: Vec<Scales>,
}

/// The integers of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scales {
    /// What is looked up times this is the update.
    pub(crate) update: i64,
    /// The weight's phase times this is added to the gradient's.
    pub(crate) decay: i64,
}

impl Sgd {
    /// The rule by which layers are updated with `factor` times their rates; the rate of a layer is
    /// an update's phase for a gradient's phase of 1, and comes with the layer's decay.
    pub(crate) fn new(factor: f64, layers: &[(f64, i64)]) -> Self {
        let step = layers.iter().map(|&(rate, _)| rate).reduce(f64::min).unwrap_or(0.0);
        let step = step / LEAST_SCALE;
        let scale = |rate: f64| (rate / step).round() as i64;
        let scales = |&(rate, decay): &(f64, i64)| Scales { update: scale(rate), decay };
        Self { step: factor * step, scales: layers.iter().map(scales).collect() }
    }

    /// Returns the integers of each layer.
    pub(crate) fn scales(&self) -> &[Scales] {
        &self.scales
    }

    /// Returns what is looked up for the phase of a summed gradient.
    pub(crate) fn at(&self, u: f64) -> f64 {
        -self.step * u.clamp(-CLIP, CLIP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_the_clipped_gradient_times_the_rate() {
        let rates = [0.02, 1.3, 0.09];
        let rule = Sgd::new(0.5, &rates.map(|rate| (rate, 3)));
        for (scales, rate) in rule.scales().iter().zip(rates) {
            assert_eq!(scales.decay, 3);
            for (u, clipped) in [(0.1, 0.1), (-0.05, -0.05), (0.2, 0.125), (-0.2, -0.125)] {
                let (got, expected) = (scales.update as f64 * rule.at(u), -0.5 * rate * clipped);
                assert!((got / expected - 1.0).abs() <= 1.0 / 32.0, "{u}: {got}, {expected}");
            }
        }
        // The smallest rate is exact.
        assert_eq!(16.0 * rule.at(0.1), -0.5 * 0.02 * 0.1);
        assert_eq!(Sgd::new(1.0, &[]).scales(), []);
    }
}
