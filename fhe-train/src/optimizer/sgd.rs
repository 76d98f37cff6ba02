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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two filters of three weights, exactly.
    struct Exact {
        weights: Vec<f64>,
        lookups: usize,
    }

    impl Arithmetic for Exact {
        type List = Vec<f64>;

        fn weights(&self) -> Result<Vec<f64>> {
            Ok(self.weights.clone())
        }

        fn add_scaled(&self, x: &mut Vec<f64>, y: &Vec<f64>, k: i64) -> Result<()> {
            x.iter_mut().zip(y).for_each(|(x, y)| *x += k as f64 * y);
            Ok(())
        }

        fn lookup(&mut self, x: Vec<f64>, f: impl Fn(f64) -> f64) -> Result<Vec<f64>> {
            self.lookups += x.len();
            assert!(x.iter().all(|x| x.abs() < 0.25), "outside the half torus: {x:?}");
            Ok(x.into_iter().map(f).collect())
        }

        fn window(&self) -> usize {
            3
        }

        fn filter_sums(&self, x: &Vec<f64>, k: i64) -> Result<Vec<f64>> {
            Ok(x.chunks(3).map(|filter| k as f64 * filter.iter().sum::<f64>()).collect())
        }

        fn subtract_from_filters(&self, x: &mut Vec<f64>, y: &Vec<f64>) -> Result<()> {
            x.iter_mut().enumerate().for_each(|(i, x)| *x -= y[i / 3]);
            Ok(())
        }
    }

    /// Updates of weights of a unit of 1/100, for mean gradients in a unit of 1/50.
    fn updates(rule: Sgd, gradients: [f64; 6], weights: [f64; 6]) -> (Vec<f64>, usize) {
        let weights = weights.map(|w| w / 100.0).to_vec();
        let mut numbers = Exact { weights, lookups: 0 };
        let gradients = gradients.map(|g| g / 50.0).to_vec();
        let update = rule.update(&mut numbers, gradients).unwrap();
        (update.into_iter().map(|u| 1e3 * u).collect(), numbers.lookups)
    }

    fn near(got: &[f64], expected: [f64; 6]) -> bool {
        got.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-9)
    }

    #[test]
    fn updates_are_clipped_decayed_and_centred_as_defined() {
        let rule = Sgd { gradient_unit: 0.02, rate: 1e-3, clip: 2.0, decay: 0, centring: None };
        let gradients = [1.0, -0.5, 7.0, -7.0, 0.0, 2.0];
        let weights = [1.0, 2.0, -3.0, 4.0, 0.5, 0.0];
        let (plain, lookups) = updates(rule, gradients, weights);
        assert!(near(&plain, [-1.0, 0.5, -2.0, 2.0, -0.0, -2.0]), "{plain:?}");
        assert_eq!(lookups, 6);

        // Four times a weight of 1 is 2 mean gradients.
        let decayed = updates(Sgd { decay: 4, clip: 4.0, ..rule }, gradients, weights).0;
        assert!(near(&decayed, [-3.0, -3.5, -1.0, -1.0, -1.0, -2.0]), "{decayed:?}");

        let (centred, lookups) = updates(Sgd { centring: Some(10), ..rule }, gradients, weights);
        let (first, second) = (-2.5 / 3.0, 0.0);
        let expected = [-1.0 - first, 0.5 - first, -2.0 - first, 2.0, second, -2.0];
        assert!(near(&centred, expected), "{centred:?}");
        assert_eq!(lookups, 8);
    }
}
