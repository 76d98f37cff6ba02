//! Polynomials modulo X^N + 1 in the Fourier domain, on tfhe's double-precision transform.

use tfhe::core_crypto::fft_impl::fft64::c64;
use tfhe::core_crypto::fft_impl::fft64::math::polynomial::FourierPolynomial;
use tfhe::core_crypto::prelude::{ComputationBuffers, Fft, Polynomial, PolynomialSize, StackReq};

use crate::params::Gadget;

/// Where things lie in memory.
pub(crate) struct Layout;

impl Layout {
    /// Key bits that one seeded list of the packing key covers.
    pub(crate) const KEY_CHUNK: usize = 64;
}

/// The transform of one polynomial size. A real polynomial has N / 2 complex coordinates.
pub(crate) struct Transform {
    fft: Fft,
    size: usize,
}

/// Working memory of one thread.
pub(crate) struct Scratch(pub(super) ComputationBuffers);

impl Transform {
    pub(crate) fn new(size: usize) -> Self {
        Self { fft: Fft::new(PolynomialSize(size)), size }
    }

    pub(crate) fn fft(&self) -> &Fft {
        &self.fft
    }

    pub(crate) fn points(&self) -> usize {
        self.size / 2
    }

    pub(crate) fn scratch(&self) -> Scratch {
        let view = self.fft.as_view();
        let need = StackReq::any_of(&[view.forward_scratch(), view.backward_scratch()]);
        let mut buffers = ComputationBuffers::new();
        buffers.resize(need.unaligned_bytes_required());
        Scratch(buffers)
    }

    /// Transforms coefficients read as fractions of the torus.
    pub(crate) fn forward_torus(&self, out: &mut [c64], x: &[u64], scratch: &mut Scratch) {
        self.fft.as_view().forward_as_torus(
            FourierPolynomial { data: out },
            Polynomial::from_container(x),
            scratch.0.stack(),
        );
    }

    /// Transforms coefficients read as signed integers.
    pub(crate) fn forward_integer(&self, out: &mut [c64], x: &[u64], scratch: &mut Scratch) {
        self.fft.as_view().forward_as_integer(
            FourierPolynomial { data: out },
            Polynomial::from_container(x),
            scratch.0.stack(),
        );
    }

    /// Transforms back, reduces modulo one and rounds to 64 bits.
    pub(crate) fn backward(&self, out: &mut [u64], x: &[c64], scratch: &mut Scratch) {
        self.fft.as_view().backward_as_torus(
            Polynomial::from_container(out),
            FourierPolynomial { data: x },
            scratch.0.stack(),
        );
    }
}

/// Adds the pointwise product: `acc[i] += x[i] * y[i]`.
pub(crate) fn multiply_add(acc: &mut [c64], x: &[c64], y: &[c64]) {
    for ((a, x), y) in acc.iter_mut().zip(x).zip(y) {
        a.re = x.re.mul_add(y.re, (-x.im).mul_add(y.im, a.re));
        a.im = x.re.mul_add(y.im, x.im.mul_add(y.re, a.im));
    }
}

/// Writes digit `level` (0 is the most significant) of the balanced decomposition of each element.
///
/// `x ~ sum_j d_j 2^(64 - b (j + 1))` with `-2^(b-1) <= d_j <= 2^(b-1)`; all levels at once, since a
/// digit's carry goes to the one above it.
pub(crate) fn decompose(digits: &mut [u64], x: &[u64], gadget: Gadget) {
    let (b, levels) = (gadget.base_log, gadget.levels as usize);
    let n = x.len();
    let kept = b * gadget.levels;
    let half_unit = 1u64 << (63 - kept);
    let mask = (1u64 << b) - 1;
    for (i, &value) in x.iter().enumerate() {
        let mut rest = value.wrapping_add(half_unit) >> (64 - kept);
        for level in (0..levels).rev() {
            let digit = rest & mask;
            rest >>= b;
            let carry = digit >> (b - 1);
            rest += carry;
            digits[level * n + i] = digit.wrapping_sub(carry << b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn digits_recompose_to_the_rounded_element() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for gadget in [Gadget { base_log: 18, levels: 2 }, Gadget { base_log: 3, levels: 4 }] {
            let mut x: Vec<u64> = (0..64).map(|_| rng.next_u64()).collect();
            x[0] = u64::MAX;
            x[1] = 1 << 63;
            let mut digits = vec![0; 64 * gadget.levels as usize];
            decompose(&mut digits, &x, gadget);
            for (i, &value) in x.iter().enumerate() {
                let sum = (0..gadget.levels).fold(0u64, |sum, j| {
                    let shift = 64 - gadget.base_log * (j + 1);
                    sum.wrapping_add(digits[j as usize * 64 + i] << shift)
                });
                let error = sum.wrapping_sub(value) as i64;
                let unit = 1i64 << (63 - gadget.base_log * gadget.levels);
                assert!(error.abs() <= unit, "{value:x} {sum:x}");
            }
        }
    }
}
