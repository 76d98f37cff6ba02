//! Samples and labels, checked against a recipe.

use ndarray::{ArrayView1, ArrayView2};

use crate::{Error, Recipe, Result};

/// Samples that fit a recipe: as many labels as rows, every label a class, no feature too many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Samples<'a> {
    pub(crate) x: ArrayView2<'a, i8>,
    pub(crate) labels: &'a [u32],
}

/// Returns a sample as a polynomial of `n` coefficients, zeros after its features.
pub(crate) fn polynomial(op: &'static str, row: ArrayView1<'_, i8>, n: usize) -> Result<Vec<i32>> {
    if row.len() > n {
        let (what, got) = ("the number of features", row.len());
        return Err(Error::Data { op, what, got, expected: format!("at most {n}") });
    }
    Ok(padded(row, n))
}

fn padded(row: ArrayView1<'_, i8>, n: usize) -> Vec<i32> {
    row.iter().map(|&x| i32::from(x)).chain(std::iter::repeat(0)).take(n).collect()
}

/// Refuses samples whose features are not those of a recipe. An encoder fills the polynomial with
/// zeros behind them.
pub(crate) fn check_features(
    op: &'static str,
    recipe: &Recipe,
    n: usize,
    x: ArrayView2<'_, i8>,
) -> Result<()> {
    let inputs = recipe.inputs(n);
    let least = match recipe {
        // A recipe that does not say how many takes any number.
        Recipe::Head(recipe) => recipe.inputs.unwrap_or(0),
        Recipe::Deep(_) => inputs,
    };
    // A network's map takes as many polynomials as it needs.
    let most = n.max(inputs);
    let beyond = || x.columns().into_iter().skip(inputs).flatten().any(|&x| x != 0);
    if (least..=most).contains(&x.ncols()) && !beyond() {
        return Ok(());
    }
    let (what, got) = ("the number of features", x.ncols());
    Err(Error::Data {
        op,
        what,
        got,
        expected: format!("the recipe's {inputs}, or zeros behind these"),
    })
}

impl<'a> Samples<'a> {
    /// Checks samples and labels; `n` is the number of coefficients of a polynomial.
    pub(crate) fn new(
        op: &'static str,
        recipe: &Recipe,
        n: usize,
        x: ArrayView2<'a, i8>,
        labels: &'a [u32],
    ) -> Result<Self> {
        let fail = |what, got, expected| Err(Error::Data { op, what, got, expected });
        if x.nrows() == 0 {
            return fail("the number of samples", 0, "at least 1".into());
        }
        if labels.len() != x.nrows() {
            return fail(
                "the number of labels",
                labels.len(),
                format!("{}, one a sample", x.nrows()),
            );
        }
        check_features(op, recipe, n, x)?;
        let classes = recipe.classes();
        match labels.iter().position(|&label| label as usize >= classes) {
            Some(index) => Err(Error::Label { op, index, classes }),
            None => Ok(Self { x, labels }),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Refuses mini-batches without samples, and copies that do not have whole ones.
    pub(crate) fn check_batches(&self, recipe: &Recipe, batch: usize) -> Result<()> {
        let (op, copies) = ("mini-batches", recipe.copies());
        if batch == 0 {
            let (what, expected) = ("the number of samples of a mini-batch", "at least 1".into());
            return Err(Error::Data { op, what, got: 0, expected });
        }
        let whole = copies.checked_mul(batch);
        if copies > 1 && !whole.is_some_and(|whole| self.len().is_multiple_of(whole)) {
            let expected = format!(
                "a multiple of {copies} times {batch}: copies of the images have whole mini-batches"
            );
            return Err(Error::Data {
                op,
                what: "the number of samples",
                got: self.len(),
                expected,
            });
        }
        Ok(())
    }

    /// Returns sample i as a polynomial of `n` coefficients.
    pub(crate) fn polynomial(&self, i: usize, n: usize) -> Vec<i32> {
        padded(self.x.row(i), n)
    }

    /// Returns the features of sample i as they are encrypted: a polynomial of `n` coefficients, or
    /// the numbers of a network's map.
    pub(crate) fn features(&self, i: usize, recipe: &Recipe, n: usize) -> Vec<i32> {
        match recipe {
            Recipe::Head(_) => self.polynomial(i, n),
            Recipe::Deep(_) => padded(self.x.row(i), recipe.inputs(n)),
        }
    }

    /// Returns everything that is encrypted, for a digest.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let labels = self.labels.iter().flat_map(|label| label.to_le_bytes());
        labels.chain(self.x.iter().map(|&x| x.cast_unsigned())).collect()
    }

    /// Returns the mean sum of squares of a sample.
    pub(crate) fn squared_norm(&self) -> f64 {
        let sum: f64 = self.x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        sum / self.len().max(1) as f64
    }
}
