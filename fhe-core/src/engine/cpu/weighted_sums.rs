//! Sums with public integer weights: no key, no noise of their own.
//!
//! A window's values are read once for several filters, a stretch of coefficients at a time: the
//! sums of a stretch stay in the nearest cache, and a sum of W terms takes W N additions.

use rayon::prelude::*;

use super::Values;

/// Coefficients of a stretch.
const STRETCH: usize = 128;
/// Filters whose sums are made together.
const FILTERS: usize = 16;

pub(super) fn sums(x: &Values, windows: &[Vec<Option<usize>>], weights: &[Vec<i32>]) -> Values {
    let size = x.n + 1;
    let mut out = Values::new(x.n, windows.len() * weights.len());
    if weights.is_empty() {
        return out;
    }
    // A window's filters lie one after another, and so do the coefficients of each: blocks of
    // filters are independent.
    let per_window = weights.len().div_ceil(FILTERS);
    let blocks: Vec<_> = windows
        .iter()
        .flat_map(|window| weights.chunks(FILTERS).map(move |filters| (window, filters)))
        .collect();
    let mut outputs: Vec<&mut [u64]> = Vec::with_capacity(windows.len() * per_window);
    for of_window in out.data.chunks_exact_mut(size * weights.len()) {
        outputs.extend(of_window.chunks_mut(size * FILTERS));
    }
    outputs.into_par_iter().zip(blocks).for_each(|(out, (window, filters))| {
        for first in (0..size).step_by(STRETCH) {
            let stretch = first..(first + STRETCH).min(size);
            for (j, i) in window.iter().enumerate() {
                let Some(i) = i else { continue };
                let x = &x.data[i * size..][..size][stretch.clone()];
                for (out, weights) in out.chunks_exact_mut(size).zip(filters) {
                    add(&mut out[stretch.clone()], x, weights[j]);
                }
            }
        }
    });
    out
}

fn add(out: &mut [u64], x: &[u64], weight: i32) {
    let pairs = out.iter_mut().zip(x);
    match weight {
        0 => {}
        1 => pairs.for_each(|(out, x)| *out = out.wrapping_add(*x)),
        -1 => pairs.for_each(|(out, x)| *out = out.wrapping_sub(*x)),
        w => {
            let w = i64::from(w) as u64;
            pairs.for_each(|(out, x)| *out = out.wrapping_add(x.wrapping_mul(w)));
        }
    }
}
