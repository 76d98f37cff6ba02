//! Sums with public integer weights: no key, no noise of their own.
//!
//! Sums are of integers modulo 2^64, which have no order and no rounding. Where the weights are -1
//! and 1, the sums of five values with all signs are made once, and each filter adds the one that
//! it needs (the method of the four Russians: Arlazarov, Dinic, Kronrod, Faradzev, 1970). With 128
//! filters that is a third of the additions.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::Values;

/// Coefficients of a stretch, which are read and written together.
const STRETCH: usize = 64;
/// Coefficients that are summed at a time: those of [`RUNS`] tables stay in the nearest cache, and
/// a sum in registers.
const LANES: usize = 16;
/// Filters whose sums are made together.
const FILTERS: usize = 128;
/// Values whose sums with all signs are made at a time.
const TERMS: usize = 5;
/// Their number.
const SIGNS: usize = 1 << TERMS;
/// Runs of [`TERMS`] values that a sum takes at a time.
const RUNS: usize = 8;
/// Terms of a block.
const BLOCK: usize = RUNS * TERMS;
/// Windows that one thread takes at a time: neighbours, which share values.
const WINDOWS: usize = 32;

type Stretch = [Lanes; STRETCH / LANES];

/// Coefficients that begin where a line of the cache does.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Lanes([u64; LANES]);

impl Lanes {
    const ZERO: Self = Self([0; LANES]);
}

/// Of each run the sums with all signs.
type Tables = [[Lanes; SIGNS]; RUNS];

pub(super) fn sums(x: &Values, windows: &[Vec<Option<usize>>], weights: &[Vec<i32>]) -> Values {
    let size = x.n + 1;
    let mut out = Values::new(x.n, windows.len() * weights.len());
    if out.is_empty() {
        return out;
    }
    let filters: Vec<Filters<'_>> = weights.chunks(FILTERS).map(Filters::new).collect();
    let arch = Arch::new();
    let of_windows = out.data.par_chunks_mut(WINDOWS * weights.len() * size);
    of_windows.zip(windows.par_chunks(WINDOWS)).for_each(|(out, windows)| {
        let neighbours = Neighbours::new(windows);
        arch.dispatch(Sums { x, neighbours: &neighbours, filters: &filters, out });
    });
    out
}

/// Windows that share values.
struct Neighbours {
    /// Indices of all their values, in order.
    values: Vec<usize>,
    /// The windows, by the places of their values in that list.
    windows: Vec<Vec<Option<usize>>>,
}

impl Neighbours {
    fn new(windows: &[Vec<Option<usize>>]) -> Self {
        let mut values: Vec<usize> = windows.iter().flatten().copied().flatten().collect();
        values.sort_unstable();
        values.dedup();
        let place = |i: usize| values.partition_point(|&value| value < i);
        let placed = |window: &Vec<Option<usize>>| window.iter().map(|i| i.map(place)).collect();
        let windows = windows.iter().map(placed).collect();
        Self { values, windows }
    }
}

/// Filters of a block.
struct Filters<'a> {
    weights: &'a [Vec<i32>],
    /// Of each block of [`BLOCK`] terms whose weights are -1 and 1 in all filters: for each filter
    /// and run the bits of the weights that are 1, the first one lowest. Few filters have none, as
    /// the sums with all signs would cost more than they save.
    signs: Vec<Option<Vec<[u8; RUNS]>>>,
}

impl<'a> Filters<'a> {
    fn new(weights: &'a [Vec<i32>]) -> Self {
        let terms = if weights.len() < SIGNS { 0 } else { weights[0].len() };
        let of_run = |run: &[i32]| {
            let bits = run.iter().enumerate().map(|(j, &w)| u8::from(w == 1) << j);
            bits.sum()
        };
        let of_filter = |first: usize, weights: &[i32]| {
            let block = &weights[first..terms.min(first + BLOCK)];
            let mut signs = [0; RUNS];
            signs.iter_mut().zip(block.chunks(TERMS)).for_each(|(out, run)| *out = of_run(run));
            block.iter().all(|w| matches!(w, -1 | 1)).then_some(signs)
        };
        let of_block = |first| weights.iter().map(|weights| of_filter(first, weights)).collect();
        Self { weights, signs: (0..terms).step_by(BLOCK).map(of_block).collect() }
    }
}

/// The sums of neighbouring windows, stretch after stretch.
struct Sums<'a> {
    x: &'a Values,
    neighbours: &'a Neighbours,
    filters: &'a [Filters<'a>],
    /// Sum after sum of the first window, then of the next.
    out: &'a mut [u64],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let size = self.x.n + 1;
        let Neighbours { values, windows } = self.neighbours;
        let of_window: usize = self.filters.iter().map(|filters| filters.weights.len()).sum();
        // The stretches lie together, so that windows find those that they share in a cache.
        let mut x = vec![[Lanes::ZERO; STRETCH / LANES]; values.len()];
        let mut sums = [[Lanes::ZERO; STRETCH / LANES]; FILTERS];
        for first in (0..size).step_by(STRETCH) {
            for (x, &i) in x.iter_mut().zip(values) {
                *x = read(&self.x.data[i * size..][..size], first);
            }
            for (window, out) in windows.iter().zip(self.out.chunks_mut(of_window * size)) {
                for (filters, out) in self.filters.iter().zip(out.chunks_mut(FILTERS * size)) {
                    let sums = &mut sums[..filters.weights.len()];
                    sums.fill([Lanes::ZERO; STRETCH / LANES]);
                    filters.sum(simd, &x, window, sums);
                    for (out, sum) in out.chunks_exact_mut(size).zip(sums) {
                        write(out, first, sum);
                    }
                }
            }
        }
    }
}

impl Filters<'_> {
    /// Adds what each filter makes of a window.
    #[inline(always)]
    fn sum<S: Simd>(&self, simd: S, x: &[Stretch], window: &[Option<usize>], sums: &mut [Stretch]) {
        let mut tables = [[Lanes::ZERO; SIGNS]; RUNS];
        for (block, window) in window.chunks(BLOCK).enumerate() {
            if window.iter().all(Option::is_none) {
                continue;
            }
            let Some(Some(signs)) = self.signs.get(block) else {
                self.one_by_one(x, block * BLOCK, window, sums);
                continue;
            };
            for lanes in 0..STRETCH / LANES {
                sum_with_signs(simd, x, window, lanes, &mut tables);
                for (sum, signs) in sums.iter_mut().zip(signs) {
                    add_with_signs(simd, &mut sum[lanes], &tables, signs);
                }
            }
        }
    }

    /// Adds the values from term `first` on to every sum, each with its weight.
    #[inline(always)]
    fn one_by_one(
        &self,
        x: &[Stretch],
        first: usize,
        window: &[Option<usize>],
        sums: &mut [Stretch],
    ) {
        for (j, i) in window.iter().enumerate() {
            let Some(i) = *i else { continue };
            for (sum, weights) in sums.iter_mut().zip(self.weights) {
                add_scaled(sum, &x[i], weights[first + j]);
            }
        }
    }
}

/// Makes the sums of each run with all signs: from all signs minus, term after term turns to plus.
/// What a window leaves out is zero.
#[inline(always)]
fn sum_with_signs<S: Simd>(
    simd: S,
    x: &[Stretch],
    window: &[Option<usize>],
    lanes: usize,
    tables: &mut Tables,
) {
    for (run, table) in tables.iter_mut().enumerate() {
        table[0] = Lanes::ZERO;
        for j in 0..TERMS {
            let i = window.get(run * TERMS + j).copied().flatten();
            let x = i.map_or(Lanes::ZERO, |i| x[i][lanes]);
            let (without, with) = table.split_at_mut(1 << j);
            for (without, with) in without.iter_mut().zip(with) {
                let (without, with) =
                    (S::as_mut_simd_u64s(&mut without.0).0, S::as_mut_simd_u64s(&mut with.0).0);
                for ((without, with), &x) in
                    without.iter_mut().zip(with).zip(S::as_simd_u64s(&x.0).0)
                {
                    *with = simd.add_u64s(*without, x);
                    *without = simd.sub_u64s(*without, x);
                }
            }
        }
    }
}

/// Adds of each run the sum with the given signs.
#[inline(always)]
fn add_with_signs<S: Simd>(simd: S, sum: &mut Lanes, tables: &Tables, signs: &[u8; RUNS]) {
    let of_run = |run: usize| S::as_simd_u64s(&tables[run][usize::from(signs[run]) % SIGNS].0).0;
    let of_runs: [&[S::u64s]; RUNS] = std::array::from_fn(of_run);
    for (i, sum) in S::as_mut_simd_u64s(&mut sum.0).0.iter_mut().enumerate() {
        *sum = of_runs.iter().fold(*sum, |sum, x| simd.add_u64s(sum, x[i]));
    }
}

/// Returns the coefficients of a value from `first` on; beyond the last one they are zero.
#[inline(always)]
fn read(x: &[u64], first: usize) -> Stretch {
    let mut stretch = [Lanes::ZERO; STRETCH / LANES];
    let x = &x[first..x.len().min(first + STRETCH)];
    for (lanes, x) in stretch.iter_mut().zip(x.chunks(LANES)) {
        lanes.0[..x.len()].copy_from_slice(x);
    }
    stretch
}

/// Writes them.
#[inline(always)]
fn write(out: &mut [u64], first: usize, stretch: &Stretch) {
    let last = out.len().min(first + STRETCH);
    for (out, lanes) in out[first..last].chunks_mut(LANES).zip(stretch) {
        out.copy_from_slice(&lanes.0[..out.len()]);
    }
}

#[inline(always)]
fn add_scaled(sum: &mut Stretch, x: &Stretch, weight: i32) {
    let pairs = sum.iter_mut().zip(x).flat_map(|(sum, x)| sum.0.iter_mut().zip(&x.0));
    match weight {
        0 => {}
        1 => pairs.for_each(|(sum, x)| *sum = sum.wrapping_add(*x)),
        -1 => pairs.for_each(|(sum, x)| *sum = sum.wrapping_sub(*x)),
        w => {
            let w = i64::from(w) as u64;
            pairs.for_each(|(sum, x)| *sum = sum.wrapping_add(x.wrapping_mul(w)));
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
        for terms in [0, 3, 5, 43, 80] {
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
                assert!(sums(&x, &windows, &weights).elements() == defined(&x, &windows, &weights));
                // One weight that is no sign, among signs.
                if let Some(weight) = weights[3].last_mut() {
                    *weight = 0;
                }
                assert!(sums(&x, &windows, &weights).elements() == defined(&x, &windows, &weights));
            }
        }
        assert!(sums(&x, &[vec![Some(1)]], &[]).is_empty());
    }
}
