//! Polynomials modulo X^N + 1, as their N coefficients from the constant one.

/// Multiplies a polynomial by X^degree modulo X^N + 1, `degree < 2 N`.
pub(crate) fn rotate(x: &mut [u64], degree: usize) {
    let n = x.len();
    x.rotate_right(degree % n);
    let (wrapped, rest) = x.split_at_mut(degree % n);
    let negated = if degree < n { wrapped } else { rest };
    for c in negated {
        *c = c.wrapping_neg();
    }
}

/// Substitutes 1/X = -X^(N-1) for X.
pub(crate) fn reflect(x: &mut [u64]) {
    x[1..].reverse();
    for c in &mut x[1..] {
        *c = c.wrapping_neg();
    }
}
