//! Transformed polynomials in blocks of points, as vector instructions take them.

use pulp::{Arch, Simd, WithSimd};
use tfhe::core_crypto::fft_impl::fft64::c64;

/// Points of a block. Their real parts fill one vector of AVX-512.
pub(super) const LANES: usize = 8;
/// Numbers of a block: the real parts of its points, then their imaginary parts.
pub(super) const BLOCK: usize = 2 * LANES;

/// As many complex numbers as a vector holds.
#[derive(Clone, Copy)]
pub(super) struct Complex<S: Simd> {
    pub(super) re: S::f64s,
    pub(super) im: S::f64s,
}

impl<S: Simd> Complex<S> {
    /// `self * y`.
    #[inline(always)]
    pub(super) fn times(self, y: Self, simd: S) -> Self {
        Self {
            re: simd.negate_mul_add_e_f64s(self.im, y.im, simd.mul_f64s(self.re, y.re)),
            im: simd.mul_add_e_f64s(self.im, y.re, simd.mul_f64s(self.re, y.im)),
        }
    }

    /// `self + x * y`.
    #[inline(always)]
    pub(super) fn plus_product(self, x: Self, y: Self, simd: S) -> Self {
        let re = simd.negate_mul_add_e_f64s(x.im, y.im, self.re);
        let im = simd.mul_add_e_f64s(x.im, y.re, self.im);
        Self { re: simd.mul_add_e_f64s(x.re, y.re, re), im: simd.mul_add_e_f64s(x.re, y.im, im) }
    }
}

/// Writes polynomial `i` of `of` into blocks.
///
/// Inside a block points lie in the order that costs the fewest instructions; [`join`] undoes it.
pub(super) fn split(out: &mut [f64], of: usize, i: usize, x: &[c64]) {
    struct Split<'a>(&'a mut [f64], usize, usize, &'a [c64]);
    impl WithSimd for Split<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(out, of, i, x) = self;
            let per_block = LANES / S::F64_LANES;
            let (out, _) = S::as_mut_simd_f64s(out);
            let (x, _) = S::as_simd_f64s(bytemuck::cast_slice(x));
            let blocks = out.chunks_exact_mut(2 * per_block).skip(i).step_by(of);
            for (out, x) in blocks.zip(x.chunks_exact(2 * per_block)) {
                for v in 0..per_block {
                    [out[v], out[per_block + v]] =
                        simd.deinterleave_shfl_f64s([x[2 * v], x[2 * v + 1]]);
                }
            }
        }
    }
    Arch::new().dispatch(Split(out, of, i, x));
}

/// Reads polynomial `i` of `of` from blocks.
pub(super) fn join(out: &mut [c64], x: &[f64], of: usize, i: usize) {
    struct Join<'a>(&'a mut [c64], &'a [f64], usize, usize);
    impl WithSimd for Join<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(out, x, of, i) = self;
            let per_block = LANES / S::F64_LANES;
            let (out, _) = S::as_mut_simd_f64s(bytemuck::cast_slice_mut(out));
            let (x, _) = S::as_simd_f64s(x);
            let blocks = x.chunks_exact(2 * per_block).skip(i).step_by(of);
            for (out, x) in out.chunks_exact_mut(2 * per_block).zip(blocks) {
                for v in 0..per_block {
                    [out[2 * v], out[2 * v + 1]] =
                        simd.interleave_shfl_f64s([x[v], x[per_block + v]]);
                }
            }
        }
    }
    Arch::new().dispatch(Join(out, x, of, i));
}
