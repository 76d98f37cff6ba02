//! Stochastic gradient descent with clipping.

use super::Arithmetic;
use crate::Result;

/// Stochastic gradient descent: `w -= rate clip(mean gradient + decay w)`, each weight's update
/// less the mean of its filter's, if the layer is centred.
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
    /// The sum of a filter's updates times this is read by the lookup that divides it.
    pub(crate) centring: Option<i64>,
}

impl Sgd {
    /// Returns what is to be added to the weights.
    ///
    /// # Cost
    /// A lookup a weight, and one a filter of a centred layer.
    pub(crate) fn update<A: Arithmetic>(
        &self,
        a: &mut A,
        mut gradient: A::List,
    ) -> Result<A::List> {
        if self.decay > 0 {
            a.add_scaled(&mut gradient, &a.weights()?, self.decay)?;
        }
        let mut update = a.lookup(gradient, |u| self.at(u))?;
        if let Some(k) = self.centring {
            let divisor = k as f64 * a.window() as f64;
            let sums = a.filter_sums(&update, k)?;
            let means = a.lookup(sums, |x| x / divisor)?;
            a.subtract_from_filters(&mut update, &means)?;
        }
        Ok(update)
    }

    fn at(&self, u: f64) -> f64 {
        -self.rate * (u / self.gradient_unit).clamp(-self.clip, self.clip)
    }
}
