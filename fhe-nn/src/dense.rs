use fhe_core::{Engine, List, Result, Term};

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
    /// No lookup; `samples * outputs` packed constants and as many products.
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
        let samples = x.len();
        let terms: Vec<Vec<Term>> = (0..outputs)
            .map(|k| (0..samples).map(|i| Term { selector: i, row: i * outputs + k }).collect())
            .collect();
        engine.products(x, &engine.pack_constants(errors)?, &terms)
    }

    /// Subtracts an update from the weights.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if it has another number of rows.
    pub fn subtract(&mut self, engine: &E, update: &E::Rows) -> Result<()> {
        engine.add_scaled_rows(&mut self.weights, update, -1)
    }
}
