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

/// Multiplies a polynomial by 1 - X modulo X^N + 1.
pub(crate) fn times_one_less_x(x: &mut [u64]) {
    let mut before = x.last().map_or(0, |last| last.wrapping_neg());
    for c in x {
        (*c, before) = (c.wrapping_sub(before), *c);
    }
}

/// Divides a polynomial by 1 - X modulo X^N + 1; the constant coefficient may be off by 2^-64.
///
/// The quotient's coefficients are the sums of those up to each one, less those beyond, halved:
/// `1 / (1 - X) = (1 + X + ... + X^(N-1)) / 2`.
pub(crate) fn divide_by_one_less_x(x: &mut [u64]) {
    let mut sum = 0u64;
    for c in x.iter_mut() {
        sum = sum.wrapping_add(*c);
        *c = sum;
    }
    for c in x {
        *c = c.wrapping_sub(sum >> 1);
    }
}

/// Substitutes X^g for X in `x`, with an odd g below 2 N.
pub(crate) fn automorphism(out: &mut [u64], x: &[u64], g: usize) {
    let n = x.len();
    let mut at = 0;
    for &c in x {
        if at < n {
            out[at] = c;
        } else {
            out[at - n] = c.wrapping_neg();
        }
        at = (at + g) % (2 * n);
    }
}

/// Returns the exponent of level i of an expansion, `N / 2^i + 1`: with it, `X^(2^i m)` becomes
/// `(-1)^m X^(2^i m)`.
pub(crate) fn expansion(n: usize, level: u32) -> usize {
    (n >> level) + 1
}

/// Substitutes 1/X = -X^(N-1) for X.
pub(crate) fn reflect(x: &mut [u64]) {
    x[1..].reverse();
    for c in &mut x[1..] {
        *c = c.wrapping_neg();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotient_times_its_divisor_is_the_dividend() {
        let x: Vec<u64> = (1..9u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let mut y = x.clone();
        divide_by_one_less_x(&mut y);
        times_one_less_x(&mut y);
        assert_eq!(y[1..], x[1..]);
        assert!(y[0].wrapping_sub(x[0]) <= 1);
        // (1 - X) (1 + X + X^2 + X^3) = 1 - X^4 = 2.
        let mut ones = [1; 4];
        times_one_less_x(&mut ones);
        assert_eq!(ones, [2, 0, 0, 0]);
    }
}
