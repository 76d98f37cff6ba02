//! Polynomials modulo X^N + 1 in the Fourier domain, on tfhe-fft's double-precision transform.
//!
//! `a(X) mod X^N + 1` with real coefficients is determined by its values at N / 2 roots of
//! `X^N + 1`: fold to `a_i + i a_(i + N/2)`, twist by `w^i` with `w = exp(i pi / N)`, and transform
//! (Klemsa, eprint 2021/480). Points come out in the plan's own order.

use aligned_vec::AVec;
use tfhe::core_crypto::fft_impl::fft64::c64;
use tfhe::core_crypto::fft_impl::fft64::math::fft::{FftAlgo, Method, Plan};
use tfhe::core_crypto::prelude::ComputationBuffers;

use crate::params::Gadget;

/// Points of the innermost transform of a plan.
const BASE_POINTS: usize = 512;
/// Elements that the loops below take at a time: fixed lengths become vectors.
const LANES: usize = 8;

/// The transform of one polynomial size. A real polynomial has N / 2 complex coordinates.
pub(crate) struct Transform {
    plan: Plan,
    /// w^i, real parts and imaginary parts.
    twist: [AVec<f64>; 2],
}

/// Working memory of one thread.
pub(crate) struct Scratch {
    buffers: ComputationBuffers,
    points: AVec<c64>,
}

/// Returns a list of complex zeros that starts at a line of the cache.
pub(crate) fn zeros(len: usize) -> AVec<c64> {
    AVec::from_iter(aligned_vec::CACHELINE_ALIGN, std::iter::repeat_n(c64::default(), len))
}

impl Transform {
    pub(crate) fn new(size: usize) -> Self {
        let points = size / 2;
        // tfhe takes the plan that was fastest in a trial at the start. Plans differ in rounding,
        // so a run resumed in another process would not end with the same ciphertexts: ours is
        // fixed.
        let base_n = points.min(BASE_POINTS);
        let plan = Plan::new(points, Method::UserProvided { base_algo: FftAlgo::Dif8, base_n });
        let angle = |i: usize| std::f64::consts::PI / size as f64 * i as f64;
        let line = aligned_vec::CACHELINE_ALIGN;
        let twist = [
            AVec::from_iter(line, (0..points).map(|i| angle(i).cos())),
            AVec::from_iter(line, (0..points).map(|i| angle(i).sin())),
        ];
        Self { plan, twist }
    }

    pub(crate) fn points(&self) -> usize {
        self.plan.fft_size()
    }

    /// Transforms one polynomial of small integers.
    pub(crate) fn integer(&self, x: &[u64]) -> AVec<c64> {
        let mut out = zeros(self.points());
        self.forward_integer(&mut out, x, &mut self.scratch());
        out
    }

    pub(crate) fn scratch(&self) -> Scratch {
        let mut buffers = ComputationBuffers::new();
        buffers.resize(self.plan.fft_scratch().unaligned_bytes_required());
        Scratch { buffers, points: zeros(self.points()) }
    }

    /// Returns where coefficient c of a polynomial lies after folding, and what it is multiplied by
    /// there: adding `x_c` times that at that place for all c, and [`Transform::folded`], transform
    /// `x`.
    pub(super) fn fold(&self, c: usize) -> (usize, c64) {
        let i = c % self.points();
        let [re, im] = [self.twist[0][i], self.twist[1][i]];
        (i, if c == i { c64 { re, im } } else { c64 { re: -im, im: re } })
    }

    /// Transforms a folded polynomial in place.
    pub(super) fn folded(&self, x: &mut [c64], scratch: &mut Scratch) {
        self.plan.fwd(x, scratch.buffers.stack());
    }

    /// Twists eight points starting at `8 block`.
    #[inline(always)]
    fn twisted(&self, block: usize, re: [f64; LANES], im: [f64; LANES]) -> [c64; LANES] {
        let [twist_re, twist_im] = &self.twist;
        let (w_re, w_im) =
            (&twist_re[LANES * block..][..LANES], &twist_im[LANES * block..][..LANES]);
        std::array::from_fn(|k| c64 {
            re: re[k] * w_re[k] - im[k] * w_im[k],
            im: re[k] * w_im[k] + im[k] * w_re[k],
        })
    }

    fn forward(&self, out: &mut [c64], x: &[u64], scale: f64, scratch: &mut Scratch) {
        let (re, im) = x.split_at(self.points());
        let blocks = re.as_chunks::<LANES>().0.iter().zip(im.as_chunks::<LANES>().0);
        for (b, (out, (re, im))) in
            out.as_chunks_mut::<LANES>().0.iter_mut().zip(blocks).enumerate()
        {
            let float = |x: &[u64; LANES]| x.map(|x| x as i64 as f64 * scale);
            *out = self.twisted(b, float(re), float(im));
        }
        self.plan.fwd(out, scratch.buffers.stack());
    }

    /// Transforms coefficients read as fractions of the torus.
    pub(crate) fn forward_torus(&self, out: &mut [c64], x: &[u64], scratch: &mut Scratch) {
        self.forward(out, x, 2f64.powi(-64), scratch);
    }

    /// Transforms coefficients read as signed integers.
    pub(crate) fn forward_integer(&self, out: &mut [c64], x: &[u64], scratch: &mut Scratch) {
        self.forward(out, x, 1.0, scratch);
    }

    /// Transforms the digits of a polynomial, level by level, and rounds it to what they say.
    pub(crate) fn forward_digits(
        &self,
        out: &mut [c64],
        x: &mut [u64],
        gadget: Gadget,
        scratch: &mut Scratch,
    ) {
        let points = self.points();
        let digits = Digits::new(gadget);
        let (re, im) = x.split_at_mut(points);
        let (re, im) = (re.as_chunks_mut::<LANES>().0, im.as_chunks_mut::<LANES>().0);
        for (b, (re, im)) in re.iter_mut().zip(im).enumerate() {
            // Real and imaginary parts apart: together the compiler gathers them element by
            // element.
            let mut rest_re = digits.kept(re);
            *re = rest_re.map(|x| x << digits.shift);
            let mut rest_im = digits.kept(im);
            *im = rest_im.map(|x| x << digits.shift);
            for out in out.chunks_exact_mut(points).rev() {
                let (re, im) = (digits.next(&mut rest_re), digits.next(&mut rest_im));
                let float = |x: [u64; LANES]| x.map(|x| x as i64 as f64);
                out.as_chunks_mut::<LANES>().0[b] = self.twisted(b, float(re), float(im));
            }
        }
        for out in out.chunks_exact_mut(points) {
            self.plan.fwd(out, scratch.buffers.stack());
        }
    }

    /// Transforms back, reduces modulo one, rounds to 64 bits and adds; destroys `x`.
    pub(crate) fn add_backward(&self, out: &mut [u64], x: &mut [c64], scratch: &mut Scratch) {
        self.plan.inv(x, scratch.buffers.stack());
        let points = self.points();
        let unit = 1.0 / points as f64;
        let [w_re, w_im] = &self.twist;
        let (w_re, w_im) = (w_re.as_chunks::<LANES>().0, w_im.as_chunks::<LANES>().0);
        let (re, im) = out.split_at_mut(points);
        let (re, im) = (re.as_chunks_mut::<LANES>().0, im.as_chunks_mut::<LANES>().0);
        // A number in [1, 2] has its fraction in the low 52 bits; that is all a double can hold of
        // a sum of this size.
        let torus = |x: f64| {
            let x = x * unit;
            ((x - x.round_ties_even() + 1.5).to_bits() << 12).wrapping_add(1 << 63)
        };
        for (b, x) in x.as_chunks::<LANES>().0.iter().enumerate() {
            let (w_re, w_im) = (&w_re[b], &w_im[b]);
            let (x_re, x_im) = (x.map(|x| x.re), x.map(|x| x.im));
            let new_re: [f64; LANES] =
                std::array::from_fn(|k| x_re[k] * w_re[k] + x_im[k] * w_im[k]);
            let new_im: [f64; LANES] =
                std::array::from_fn(|k| x_im[k] * w_re[k] - x_re[k] * w_im[k]);
            let (old_re, old_im) = (re[b], im[b]);
            re[b] = std::array::from_fn(|k| old_re[k].wrapping_add(torus(new_re[k])));
            im[b] = std::array::from_fn(|k| old_im[k].wrapping_add(torus(new_im[k])));
        }
    }

    /// Transforms back, reduces modulo one and rounds to 64 bits.
    pub(crate) fn backward(&self, out: &mut [u64], x: &[c64], scratch: &mut Scratch) {
        let mut points = std::mem::replace(&mut scratch.points, zeros(0));
        points.copy_from_slice(x);
        out.fill(0);
        self.add_backward(out, &mut points, scratch);
        scratch.points = points;
    }
}

/// The balanced decomposition of eight elements at a time.
pub(super) struct Digits {
    base_log: u32,
    /// Bits that the digits do not see.
    shift: u32,
}

impl Digits {
    pub(super) fn new(gadget: Gadget) -> Self {
        Self { base_log: gadget.base_log, shift: 64 - gadget.base_log * gadget.levels }
    }

    /// Returns the bits that the digits see, rounded, halves to even.
    ///
    /// What a transform returns has only a few bits below these, so halves are frequent. Rounding
    /// them up would be a bias, and a mask's bias meets the key's mean: in a blind rotation it was
    /// worth a factor of three in the noise.
    #[inline(always)]
    pub(super) fn kept(&self, x: &[u64; LANES]) -> [u64; LANES] {
        let below_half = (1 << (self.shift - 1)) - 1;
        x.map(|x| x.wrapping_add(below_half + (x >> self.shift & 1)) >> self.shift)
    }

    /// Takes the least significant digit that is left, signed; its carry goes to the next.
    #[inline(always)]
    pub(super) fn next(&self, rest: &mut [u64; LANES]) -> [u64; LANES] {
        let b = self.base_log;
        let mask = (1u64 << b) - 1;
        std::array::from_fn(|k| {
            let digit = rest[k] & mask;
            let carry = digit >> (b - 1);
            rest[k] = (rest[k] >> b) + carry;
            digit.wrapping_sub(carry << b)
        })
    }
}

/// Multiplies pointwise: `x[i] *= y[i]`.
pub(crate) fn multiply(x: &mut [c64], y: &[c64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x *= y);
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
/// `x ~ sum_j d_j 2^(64 - b (j + 1))` with `-2^(b-1) <= d_j <= 2^(b-1)`; all levels at once, since
/// a digit's carry goes to the one above it.
pub(crate) fn decompose(digits: &mut [u64], x: &[u64], gadget: Gadget) {
    let n = x.len();
    let of = Digits::new(gadget);
    for (b, x) in x.as_chunks::<LANES>().0.iter().enumerate() {
        let mut rest = of.kept(x);
        for digits in digits.chunks_exact_mut(n).rev() {
            digits.as_chunks_mut::<LANES>().0[b] = of.next(&mut rest);
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
