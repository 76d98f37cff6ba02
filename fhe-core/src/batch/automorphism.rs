//! Automorphisms of the ring: X -> X^g for odd g.
//!
//! `x(X^g)` at the root w^e is x at w^(g e), so on values an automorphism is a permutation. With
//! g = 5^k it moves the slots by k; with g = -1 it takes their conjugates.

/// The exponent of the automorphism that moves slot j + k to slot j.
pub(super) fn rotation(size: usize, k: i64) -> usize {
    let order = size as i64 / 2;
    let mut exponent = k.rem_euclid(order);
    let (mut square, mut out) = (5usize, 1usize);
    while exponent > 0 {
        if exponent & 1 == 1 {
            out = out * square % (2 * size);
        }
        square = square * square % (2 * size);
        exponent >>= 1;
    }
    out
}

/// The exponent of complex conjugation.
pub(super) fn conjugation(size: usize) -> usize {
    2 * size - 1
}

/// The inverse of an automorphism: the exponents' group has order `size`, a power of two.
pub(super) fn inverse(size: usize, g: usize) -> usize {
    (0..size.ilog2())
        .fold((1, g), |(out, square), _| (out * square % (2 * size), square * square % (2 * size)))
        .0
}

/// An automorphism as a permutation of values.
pub(super) struct Automorphism {
    from: Vec<u32>,
}

impl Automorphism {
    pub(super) fn new(size: usize, g: usize) -> Self {
        let shift = usize::BITS - size.ilog2();
        let exponent = |p: usize| 2 * (p.reverse_bits() >> shift) + 1;
        let position = |e: usize| (e >> 1).reverse_bits() >> shift;
        let from = (0..size).map(|p| position(exponent(p) * g % (2 * size)) as u32).collect();
        Self { from }
    }

    pub(super) fn apply(&self, out: &mut [u64], x: &[u64]) {
        for (out, &from) in out.iter_mut().zip(&self.from) {
            *out = x[from as usize];
        }
    }
}
