use std::ops::Range;

use fhe_core::{Engine, List, Result, Term};

use crate::OutputErrors;

/// Lists of N errors that are constant rows at a time: 0.3 GB at N = 2048.
const LISTS: usize = 4;

/// [`Dense::TERMS`].
const TERMS: usize = 256;

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
/// use fhe_nn::{Dense, OutputErrors};
///
/// # fn main() -> fhe_core::Result<()> {
/// let params = Params::secure128()?;
/// let engine = Clear::exact(&params);
/// let mut layer = Dense::zeros(&engine, 2);
/// let mut x = vec![0; params.row_size];
/// (x[0], x[1]) = (3, -2);
/// let x = engine.selectors(vec![x]);
/// // One step of gradient descent with errors 1/1024 and -1/512.
/// let errors = OutputErrors::Values(vec![to_torus(1.0 / 1024.0), to_torus(-1.0 / 512.0)]);
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
    /// Most products of a sum in a gradient: its rounding grows with the square of their number.
    pub const TERMS: usize = TERMS;

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

    /// Returns `dL/dw_k = sum_i e_ik x_i`, from the errors `e_ik = dL/dz_ik`.
    ///
    /// # Cost
    /// No lookup; `samples * outputs` constant rows and as many products.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer errors than samples times outputs;
    /// [`fhe_core::Error::NoLists`] if they are in rows, and the parameter set does not expand.
    pub fn weight_gradient(
        &self,
        engine: &E,
        x: &E::Selectors,
        errors: &OutputErrors<E>,
    ) -> Result<E::Rows> {
        let (samples, outputs) = (x.len(), self.weights.len());
        let (all, at_a_time) = (samples * outputs, LISTS * engine.params().row_size);
        let mut parts: Vec<Vec<usize>> = vec![Vec::new(); outputs];
        let mut sums = Vec::new();
        let mut count = 0;
        for first in (0..all).step_by(at_a_time) {
            let range = first..all.min(first + at_a_time);
            let rows = errors.constants(engine, (samples, outputs), range.clone())?;
            let terms = runs(range, samples);
            for (output, _) in &terms {
                parts[*output].push(count);
                count += 1;
            }
            let term = |error| Term { selector: error % samples, row: error - first };
            let terms: Vec<Vec<Term>> =
                terms.into_iter().map(|(_, errors)| errors.map(term).collect()).collect();
            sums.push(engine.products(x, &rows, &terms)?);
        }
        // An output that has fewer parts than others adds zero in their place.
        sums.push(engine.zero_rows(1));
        let sums = engine.join_rows(&sums.iter().collect::<Vec<_>>())?;
        let mut gradient = engine.zero_rows(outputs);
        for part in 0..parts.iter().map(Vec::len).max().unwrap_or(0) {
            let of_outputs = parts.iter().map(|parts| parts.get(part).copied().unwrap_or(count));
            let of_outputs = engine.gather_rows(&sums, &of_outputs.collect::<Vec<_>>())?;
            engine.add_scaled_rows(&mut gradient, &of_outputs, 1)?;
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

/// Returns the errors of a range that are summed together, with their output. Error `k samples + i`
/// is of output k.
fn runs(range: Range<usize>, samples: usize) -> Vec<(usize, Range<usize>)> {
    let of_output = |output: usize| {
        let start = range.start.max(output * samples);
        let end = range.end.min((output + 1) * samples);
        let run = move |start: usize| (output, start..end.min(start + TERMS));
        (start..end).step_by(TERMS).map(run)
    };
    (range.start / samples..range.end.div_ceil(samples)).flat_map(of_output).collect()
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
            let params = params.unwrap();
            let engine = Clear::exact(&params);
            let layer = Dense::zeros(&engine, outputs);
            let selectors = engine.selectors(x.clone());
            let errors = errors.clone();
            let errors = match OutputErrors::<Clear>::are_in_rows(&params) {
                true => {
                    let lists = OutputErrors::<Clear>::lists(&params, samples, outputs);
                    OutputErrors::Rows(engine.pack(&errors, &lists).unwrap())
                }
                false => OutputErrors::Values(errors),
            };
            let got = layer.weight_gradient(&engine, &selectors, &errors).unwrap();
            for (k, row) in got.iter().enumerate() {
                for (j, got) in row.coefficients(n).into_iter().enumerate() {
                    assert_eq!(got, want(k, j), "output {k}, input {j}");
                }
            }
        }
    }
}
