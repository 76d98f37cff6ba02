//! Sums with public integer weights: no key, no noise of their own.
//!
//! Sums are of integers modulo 2^64, which have no order and no rounding. Where the weights are -1
//! and 1, the sums of five values with all signs are made once, and each filter adds the one that
//! it needs (the method of the four Russians: Arlazarov, Dinic, Kronrod, Faradzev, 1970). With 128
//! filters that is a third of the additions.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::Values;

/// Coefficients of a stretch. The sums of a stretch stay in the nearest cache.
const STRETCH: usize = 64;
/// Filters whose sums are made together.
const FILTERS: usize = 128;
/// Values whose sums with all signs are made at a time.
const TERMS: usize = 5;
/// Their number.
const SIGNS: usize = 1 << TERMS;

type Stretch = [u64; STRETCH];

pub(super) fn sums(x: &Values, windows: &[Vec<Option<usize>>], weights: &[Vec<i32>]) -> Values {
    let size = x.n + 1;
    let mut out = Values::new(x.n, windows.len() * weights.len());
    if out.is_empty() {
        return out;
    }
    let filters: Vec<Filters<'_>> = weights.chunks(FILTERS).map(Filters::new).collect();
    let arch = Arch::new();
    let stretches: Vec<usize> = (0..size).step_by(STRETCH).collect();
    // Rounds of as many stretches each hold a part of the sums twice, and no more.
    let rounds = stretches.len().div_ceil(2 * rayon::current_num_threads());
    for stretches in stretches.chunks(stretches.len().div_ceil(rounds)) {
        let sums = |&first: &usize| arch.dispatch(Sums { x, windows, filters: &filters, first });
        let sums: Vec<Vec<Stretch>> = stretches.par_iter().map(sums).collect();
        out.data.par_chunks_exact_mut(size).enumerate().for_each(|(o, out)| {
            for (&first, sums) in stretches.iter().zip(&sums) {
                let len = STRETCH.min(size - first);
                out[first..first + len].copy_from_slice(&sums[o][..len]);
            }
        });
    }
    out
}

/// Filters of a block.
struct Filters<'a> {
    weights: &'a [Vec<i32>],
    /// Of each whole run of [`TERMS`] terms whose weights are -1 and 1 in all filters: for each
    /// filter the bits of the weights that are 1, the first one lowest. Few filters have none, as
    /// the sums with all signs would cost more than they save.
    signs: Vec<Option<Vec<u8>>>,
}

impl<'a> Filters<'a> {
    fn new(weights: &'a [Vec<i32>]) -> Self {
        let terms = if weights.len() < SIGNS { 0 } else { weights[0].len() };
        let of_filter = |run: usize, weights: &[i32]| {
            let run = &weights[run * TERMS..][..TERMS];
            let bits = run.iter().enumerate().map(|(j, &w)| u8::from(w == 1) << j);
            run.iter().all(|w| matches!(w, -1 | 1)).then(|| bits.sum())
        };
        let of_run = |run| weights.iter().map(|weights| of_filter(run, weights)).collect();
        Self { weights, signs: (0..terms / TERMS).map(of_run).collect() }
    }
}

/// The sums of all windows, of the coefficients from `first` on.
struct Sums<'a> {
    x: &'a Values,
    windows: &'a [Vec<Option<usize>>],
    filters: &'a [Filters<'a>],
    first: usize,
}

impl WithSimd for Sums<'_> {
    type Output = Vec<Stretch>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Stretch> {
        // The stretches lie together: windows that share values find them in a cache.
        let x: Vec<Stretch> =
            self.x.data.chunks_exact(self.x.n + 1).map(|x| read(x, self.first)).collect();
        let of_window = self.filters.iter().map(|filters| filters.weights.len()).sum();
        let mut out = vec![[0; STRETCH]; self.windows.len() * of_window];
        for (window, out) in self.windows.iter().zip(out.chunks_exact_mut(of_window)) {
            for (filters, sums) in self.filters.iter().zip(out.chunks_mut(FILTERS)) {
                filters.sum(&x, window, sums);
            }
        }
        out
    }
}

impl Filters<'_> {
    /// Adds what each filter makes of a window.
    #[inline(always)]
    fn sum(&self, x: &[Stretch], window: &[Option<usize>], sums: &mut [Stretch]) {
        let mut with_signs = [[0; STRETCH]; SIGNS];
        for (run, window) in window.chunks(TERMS).enumerate() {
            if window.iter().all(Option::is_none) {
                continue;
            }
            match self.signs.get(run) {
                Some(Some(signs)) => {
                    sum_with_signs(x, window, &mut with_signs);
                    for (sum, &signs) in sums.iter_mut().zip(signs) {
                        add(sum, &with_signs[usize::from(signs) % SIGNS]);
                    }
                }
                _ => self.one_by_one(x, run, window, sums),
            }
        }
    }

    /// Adds a run's values to every sum, each with its weight.
    #[inline(always)]
    fn one_by_one(
        &self,
        x: &[Stretch],
        run: usize,
        window: &[Option<usize>],
        sums: &mut [Stretch],
    ) {
        for (j, i) in window.iter().enumerate() {
            let Some(i) = *i else { continue };
            for (sum, weights) in sums.iter_mut().zip(self.weights) {
                add_scaled(sum, &x[i], weights[run * TERMS + j]);
            }
        }
    }
}

/// Makes the sums of a run's values with all signs. What a window leaves out is zero.
#[inline(always)]
fn sum_with_signs(x: &[Stretch], window: &[Option<usize>], with_signs: &mut [Stretch; SIGNS]) {
    with_signs[0] = [0; STRETCH];
    for (j, i) in window.iter().enumerate() {
        let x = i.map_or([0; STRETCH], |i| x[i]);
        let (without, with) = with_signs.split_at_mut(1 << j);
        for (without, with) in without.iter_mut().zip(with) {
            *with = *without;
            add(with, &x);
            without.iter_mut().zip(&x).for_each(|(sum, x)| *sum = sum.wrapping_sub(*x));
        }
    }
}

/// Returns the coefficients of a value from `first` on; beyond the last one they are zero.
#[inline(always)]
fn read(x: &[u64], first: usize) -> Stretch {
    let x = &x[first..];
    let mut stretch = [0; STRETCH];
    match x.first_chunk() {
        Some(whole) => stretch = *whole,
        None => stretch[..x.len()].copy_from_slice(x),
    }
    stretch
}

#[inline(always)]
fn add(sum: &mut Stretch, x: &Stretch) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum = sum.wrapping_add(*x));
}

#[inline(always)]
fn add_scaled(sum: &mut Stretch, x: &Stretch, weight: i32) {
    match weight {
        0 => {}
        1 => add(sum, x),
        -1 => sum.iter_mut().zip(x).for_each(|(sum, x)| *sum = sum.wrapping_sub(*x)),
        w => {
            let w = i64::from(w) as u64;
            sum.iter_mut().zip(x).for_each(|(sum, x)| *sum = sum.wrapping_add(x.wrapping_mul(w)));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// The definition, coefficient after coefficient.
    fn defined(x: &Values, windows: &[Vec<Option<usize>>], weights: &[Vec<i32>]) -> Vec<u64> {
        let size = x.n + 1;
        let sum = |window: &[Option<usize>], weights: &[i32], c: usize| {
            window.iter().zip(weights).fold(0u64, |sum, (i, &w)| {
                let x = i.map_or(0, |i| x.data[i * size + c]);
                sum.wrapping_add(x.wrapping_mul(i64::from(w) as u64))
            })
        };
        let pairs = windows.iter().flat_map(|window| weights.iter().map(move |w| (window, w)));
        pairs.flat_map(|(window, w)| (0..size).map(move |c| sum(window, w, c))).collect()
    }

    #[test]
    fn sums_are_those_of_the_definition_whatever_the_weights() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let n = 2 * STRETCH + 3;
        let x: Vec<u64> = (0..9 * (n + 1)).map(|_| random.random()).collect();
        let x = Values::from_elements(n, x).unwrap();
        // Runs of five, what is left of them, none at all; more filters than a block has, and few.
        for terms in [0, 3, 5, 11, 15] {
            let mut place = |_| (random.random_range(0..3) > 0).then(|| random.random_range(0..9));
            let mut windows: Vec<Vec<Option<usize>>> =
                (0..3).map(|_| (0..terms).map(&mut place).collect()).collect();
            windows.push(vec![None; terms]);
            for largest in [1, 7] {
                let mut weight = |_: usize| match largest {
                    1 => 2 * random.random_range(0..2) - 1,
                    largest => random.random_range(-largest..=largest),
                };
                let mut weights: Vec<Vec<i32>> =
                    (0..FILTERS + 5).map(|_| (0..terms).map(&mut weight).collect()).collect();
                assert!(sums(&x, &windows, &weights).data == defined(&x, &windows, &weights));
                // One weight that is no sign, among signs.
                if let Some(weight) = weights[3].last_mut() {
                    *weight = 0;
                }
                assert!(sums(&x, &windows, &weights).data == defined(&x, &windows, &weights));
            }
        }
        assert!(sums(&x, &[vec![Some(1)]], &[]).is_empty());
    }
}
