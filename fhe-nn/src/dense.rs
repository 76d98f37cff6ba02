use std::ops::Range;

use fhe_core::{Engine, List, Result, Slot, Term};

/// Lists of N errors that are constant rows at a time: 0.8 GB with their digits at N = 2048.
const LISTS: usize = 4;

/// A fully connected layer with secret weights: `z_k = <w_k, x>`.
///
/// Row k holds w_k in its coefficients, in the order of the input. Its reflection is
/// `w_k(1/X) = w_k0 - w_k1 X^(N-1) - ...`. Coefficient 0 of `x(X) w_k(1/X)` is the inner product.
/// A bias is an input that is constant.
///
/// # Shapes
/// N inputs (a selector a sample), `outputs` values a sample, sample after sample.
///
/// # Examples
/// ```
/// use fhe_core::{Clear, Params, from_torus, to_torus};
/// use fhe_nn::Dense;
///
/// # fn main() -> fhe_core::Result<()> {
/// let params = Params::secure128()?;
/// let engine = Clear::exact(&params);
/// let mut layer = Dense::zeros(&engine, 2);
/// let mut x = vec![0; params.row_size];
/// (x[0], x[1]) = (3, -2);
/// let x = engine.selectors(vec![x]);
/// // One step of gradient descent with errors 1/1024 and -1/512.
/// let errors = vec![to_torus(1.0 / 1024.0), to_torus(-1.0 / 512.0)];
/// let gradient = layer.weight_gradient(&engine, &x, &errors)?;
/// layer.subtract(&engine, &gradient)?;
/// // z = -<x, x> e = -13 e.
/// let z = layer.forward(&engine, &x)?;
/// assert_eq!(from_torus(z[0]), -13.0 / 1024.0);
/// assert_eq!(from_torus(z[1]), 13.0 / 512.0);
/// # Ok(())
/// # }
/// ```
pub struct Dense<E: Engine> {
    weights: E::Rows,
}

impl<E: Engine> std::fmt::Debug for Dense<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dense(hidden)")
    }
}

impl<E: Engine> Dense<E> {
    /// A layer of zeros.
    #[must_use]
    pub fn zeros(engine: &E, outputs: usize) -> Self {
        Self { weights: engine.zero_rows(outputs) }
    }

    /// A layer with given weights, a row an output.
    #[must_use]
    pub fn from_weights(weights: E::Rows) -> Self {
        Self { weights }
    }

    /// Returns the weights, a row an output.
    #[must_use]
    pub fn weights(&self) -> &E::Rows {
        &self.weights
    }

    /// Returns the pre-activations: value `i * outputs + k` is `<w_k, x_i>`.
    ///
    /// # Cost
    /// No lookup; `samples * outputs` products and `outputs` reflections.
    ///
    /// # Errors
    /// None for lists of this engine.
    pub fn forward(&self, engine: &E, x: &E::Selectors) -> Result<E::Values> {
        engine.dots(x, &engine.reflect(&self.weights)?)
    }

    /// Returns `dL/dw_k = sum_i e_ik x_i`, from the errors `e_ik = dL/dz_ik` in the order of
    /// [`Dense::forward`].
    ///
    /// # Cost
    /// No lookup; `samples * outputs` constant rows and as many products. If the parameter set
    /// expands, errors are packed N at a time, and an automorphism makes a constant row of each.
    /// Otherwise each is packed by itself ([`Engine::pack_constants`]).
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer errors than samples times outputs.
    pub fn weight_gradient(
        &self,
        engine: &E,
        x: &E::Selectors,
        errors: &E::Values,
    ) -> Result<E::Rows> {
        let outputs = self.weights.len();
        let n = engine.params().row_size;
        let (all, at_a_time) = (x.len() * outputs, LISTS * n);
        let mut gradient = engine.zero_rows(outputs);
        let errors = Errors::new(engine, errors, all)?;
        for first in (0..all).step_by(at_a_time) {
            let range = first..all.min(first + at_a_time);
            let rows = errors.constants(engine, range.clone())?;
            // A sum for each list: the rounding of a sum grows with the square of its length.
            let lists = range.len().div_ceil(n);
            let mut terms = vec![Vec::new(); lists * outputs];
            for (row, error) in range.enumerate() {
                let sum = row / n * outputs + error % outputs;
                terms[sum].push(Term { selector: error / outputs, row });
            }
            let sums = engine.products(x, &rows, &terms)?;
            for list in 0..lists {
                let of_list: Vec<usize> = (list * outputs..(list + 1) * outputs).collect();
                engine.add_scaled_rows(&mut gradient, &engine.gather_rows(&sums, &of_list)?, 1)?;
            }
        }
        Ok(gradient)
    }

    /// Subtracts an update from the weights.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if it has another number of rows.
    pub fn subtract(&mut self, engine: &E, update: &E::Rows) -> Result<()> {
        engine.add_scaled_rows(&mut self.weights, update, -1)
    }
}

/// Errors, as constant rows are made of them.
enum Errors<'a, E: Engine> {
    /// N to a row: each coefficient is expanded to a row of its own.
    Packed(E::Rows),
    /// Each is packed by itself.
    Single(&'a E::Values),
}

impl<'a, E: Engine> Errors<'a, E> {
    /// The first `count` of some values.
    fn new(engine: &E, x: &'a E::Values, count: usize) -> Result<Self> {
        let (n, lists) = (engine.params().row_size, engine.params().lists);
        if lists.and_then(|lists| lists.expand).is_none() {
            return Ok(Self::Single(x));
        }
        let list = |first: usize| -> Vec<Slot> {
            let values = first..count.min(first + n);
            values.enumerate().map(|(coefficient, value)| Slot { value, coefficient }).collect()
        };
        // All lists at once share the way of the packing key from memory.
        let lists: Vec<_> = (0..count).step_by(n).map(list).collect();
        Ok(Self::Packed(engine.pack(x, &lists)?))
    }

    /// Returns a constant row of each of a range, which begins with a list.
    fn constants(&self, engine: &E, range: Range<usize>) -> Result<E::Rows> {
        let n = engine.params().row_size;
        match self {
            Self::Packed(rows) => {
                let lists: Vec<usize> = (range.start / n..range.end.div_ceil(n)).collect();
                engine.expand(&engine.gather_rows(rows, &lists)?, n)
            }
            Self::Single(x) => engine.pack_constants(&engine.take(x, range)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhe_core::{Clear, Params};
    use rand::{RngExt, SeedableRng};

    /// More errors than are constant rows at a time, on a set that expands and on one that does
    /// not.
    #[test]
    fn a_gradient_is_the_sum_over_samples() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let (samples, outputs, n) = (800, 3, 512);
        assert!(samples * outputs > LISTS * n);
        let x: Vec<Vec<i32>> =
            (0..samples).map(|_| (0..n).map(|_| rng.random_range(-7..=7)).collect()).collect();
        let errors: Vec<u64> = (0..samples * outputs).map(|_| rng.random()).collect();
        let want = |k: usize, j: usize| {
            let terms = (0..samples).map(|i| errors[i * outputs + k].wrapping_mul(x[i][j] as u64));
            terms.fold(0u64, u64::wrapping_add)
        };
        for params in [Params::toy_insecure(), Params::toy_insecure_batch()] {
            let engine = Clear::exact(&params.unwrap());
            let layer = Dense::zeros(&engine, outputs);
            let selectors = engine.selectors(x.clone());
            let got = layer.weight_gradient(&engine, &selectors, &errors).unwrap();
            for (k, row) in got.iter().enumerate() {
                for (j, got) in row.coefficients(n).into_iter().enumerate() {
                    assert_eq!(got, want(k, j), "output {k}, input {j}");
                }
            }
        }
    }
}
