//! Products of selectors and rows: the external product of TFHE (Chillotti, Gama, Georgieva,
//! Izabachene, Journal of Cryptology 2020, definition 3.12), with sums kept in the Fourier domain.
//!
//! Selectors that are made of encrypted values have the noise -S e in their rows of -S m, with e
//! that of their rows of m. Digits d of a mask bring -d S e into a product. The key's bits are 0
//! and 1, so S = J/2 + S'/2 with J = 1 + X + ... + X^(N-1), and half of the variance is that of
//! d J e / 2, which is nearly the same in coefficients near each other: lanes would not average it
//! out. So for such selectors the rows of -S m are times 1 - X, and the masks are divided by 1 - X
//! before they are decomposed. As (1 - X) J = 2, the noise is then that of (1 - X) S' e / 2: as
//! large in each coefficient as before, and with a sum of nearly nothing.

use rayon::prelude::*;
use tfhe::core_crypto::fft_impl::fft64::c64;

use super::fourier::{Scratch, decompose, multiply, multiply_add};
use super::{Cpu, Rows, Selectors, Values};
use crate::engine::Term;
use crate::polynomial;
use crate::server::SeededRows;

const ZERO: c64 = c64::new(0.0, 0.0);

/// Expands and transforms; for level j the rows of `-S m` and of `m`, each mask then body.
pub(super) fn open(cpu: &Cpu, stored: &[SeededRows]) -> Selectors {
    let n = cpu.params.row_size;
    let points = cpu.transform.points();
    let mut out = Selectors::new(cpu.params.selector, points, stored.len());
    let stride = out.stride;
    out.data.par_chunks_exact_mut(stride).zip(stored).for_each_init(
        || cpu.transform.scratch(),
        |scratch, (out, seeded)| {
            let rows = seeded.expand_rows(n);
            for (out, x) in out.chunks_exact_mut(points).zip(rows.chunks_exact(n)) {
                cpu.transform.forward_torus(out, x, scratch);
            }
        },
    );
    out
}

/// Brings selectors that multiply whole masks to the form of those that multiply divided ones.
pub(super) fn divide(cpu: &Cpu, x: &mut Selectors) {
    let points = cpu.transform.points();
    let mut one_less_x = vec![0; cpu.params.row_size];
    (one_less_x[0], one_less_x[1]) = (1, u64::MAX);
    let factor = cpu.transform.integer(&one_less_x);
    let levels = x.data.par_chunks_exact_mut(4 * points);
    levels
        .for_each(|x| x[..2 * points].chunks_exact_mut(points).for_each(|x| multiply(x, &factor)));
    x.divided = true;
}

/// Transformed digits of each row, as selectors want them: for level j those of the mask, then
/// those of the body.
fn transform_digits(cpu: &Cpu, rows: &Rows, selectors: &Selectors) -> Vec<c64> {
    let n = cpu.params.row_size;
    let points = cpu.transform.points();
    let gadget = selectors.gadget;
    let levels = gadget.levels as usize;
    let mut out = vec![ZERO; rows.len() * 2 * levels * points];
    out.par_chunks_exact_mut(2 * levels * points)
        .zip(rows.data.par_chunks_exact(2 * n))
        .for_each_init(
            || (cpu.transform.scratch(), vec![0u64; levels * n], vec![0u64; n]),
            |(scratch, digits, element), (out, row)| {
                for (part, x) in row.chunks_exact(n).enumerate() {
                    element.copy_from_slice(x);
                    if part == 0 && selectors.divided {
                        polynomial::divide_by_one_less_x(element);
                    }
                    decompose(digits, element, gadget);
                    for (level, digits) in digits.chunks_exact(n).enumerate() {
                        let at = (2 * level + part) * points;
                        cpu.transform.forward_integer(&mut out[at..at + points], digits, scratch);
                    }
                }
            },
        );
    out
}

/// Adds one product to `sum`, which holds mask and body.
fn add_product(sum: &mut [c64], digits: &[c64], selector: &[c64], points: usize) {
    let (mask, body) = sum.split_at_mut(points);
    for (digit, key) in digits.chunks_exact(points).zip(selector.chunks_exact(2 * points)) {
        multiply_add(mask, digit, &key[..points]);
        multiply_add(body, digit, &key[points..]);
    }
}

pub(super) fn to_row(cpu: &Cpu, out: &mut [u64], sum: &[c64], scratch: &mut Scratch) {
    let halves = out.chunks_exact_mut(cpu.params.row_size);
    for (out, sum) in halves.zip(sum.chunks_exact(cpu.transform.points())) {
        cpu.transform.backward(out, sum, scratch);
    }
}

pub(super) fn sums(cpu: &Cpu, selectors: &Selectors, rows: &Rows, terms: &[Vec<Term>]) -> Rows {
    let points = cpu.transform.points();
    let digits = transform_digits(cpu, rows, selectors);
    let mut out = Rows::new(rows.n, terms.len());
    out.data.par_chunks_exact_mut(2 * rows.n).zip(terms).for_each_init(
        || (cpu.transform.scratch(), vec![ZERO; 2 * points]),
        |(scratch, sum), (out, terms)| {
            add_terms(sum, &digits, selectors, terms, points);
            to_row(cpu, out, sum, scratch);
        },
    );
    out
}

/// Coefficient 0 of each of these sums.
pub(super) fn dot_products(
    cpu: &Cpu,
    selectors: &Selectors,
    rows: &Rows,
    terms: &[Vec<Term>],
) -> Values {
    let (n, points) = (rows.n, cpu.transform.points());
    let digits = transform_digits(cpu, rows, selectors);
    let mut out = Values::new(n, terms.len());
    out.data.par_chunks_exact_mut(n + 1).zip(terms).for_each_init(
        || (cpu.transform.scratch(), vec![ZERO; 2 * points], vec![0u64; 2 * n]),
        |(scratch, sum, row), (out, terms)| {
            add_terms(sum, &digits, selectors, terms, points);
            to_row(cpu, row, sum, scratch);
            extract_one(out, row, 0);
        },
    );
    out
}

/// Writes a sum of products.
fn add_terms(
    sum: &mut [c64],
    digits: &[c64],
    selectors: &Selectors,
    terms: &[Term],
    points: usize,
) {
    let stride = 2 * selectors.gadget.levels as usize * points;
    sum.fill(ZERO);
    for t in terms {
        let digits = &digits[t.row * stride..][..stride];
        let selector = &selectors.data[t.selector * selectors.stride..][..selectors.stride];
        add_product(sum, digits, selector, points);
    }
}

pub(super) fn dots(cpu: &Cpu, selectors: &Selectors, rows: &Rows) -> Values {
    let n = cpu.params.row_size;
    let points = cpu.transform.points();
    let digits = transform_digits(cpu, rows, selectors);
    let stride = 2 * selectors.gadget.levels as usize * points;
    let count = rows.len();
    let mut out = Values::new(n, selectors.data.len() / selectors.stride * count);
    if count == 0 {
        return out;
    }
    out.data
        .par_chunks_exact_mut((n + 1) * count)
        .zip(selectors.data.par_chunks_exact(selectors.stride))
        .for_each_init(
            || (cpu.transform.scratch(), vec![ZERO; 2 * points], vec![0u64; 2 * n]),
            |(scratch, sum, row), (out, selector)| {
                let digits = digits.chunks_exact(stride);
                for (out, digits) in out.chunks_exact_mut(n + 1).zip(digits) {
                    sum.fill(ZERO);
                    add_product(sum, digits, selector, points);
                    to_row(cpu, row, sum, scratch);
                    extract_one(out, row, 0);
                }
            },
        );
    out
}

/// Sample extraction (ibid., definition 4.1): coefficient c as a value of dimension N.
pub(super) fn extract_one(value: &mut [u64], row: &[u64], c: usize) {
    let n = value.len() - 1;
    let (mask, body) = row.split_at(n);
    for (i, v) in value[..n].iter_mut().enumerate() {
        *v = if i <= c { mask[c - i] } else { mask[n + c - i].wrapping_neg() };
    }
    value[n] = body[c];
}
