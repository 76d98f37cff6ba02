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

use aligned_vec::AVec;
use rayon::prelude::*;
use tfhe::core_crypto::fft_impl::fft64::c64;

use super::fourier::{Scratch, decompose, multiply, multiply_add, zeros};
use super::huge_pages::Pages;
use super::{Cpu, Rows, Selectors, Values};
use crate::engine::{List, Term};
use crate::params::Gadget;
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

/// Transformed digits of rows, as selectors want them: for level j those of the mask, then those of
/// the body.
struct RowDigits<'a> {
    cpu: &'a Cpu,
    rows: &'a Rows,
    gadget: Gadget,
    divided: bool,
    /// Those of all rows. Rows that are used once are transformed where they are used, which takes
    /// no memory.
    stored: Option<Pages<c64>>,
}

/// Working memory of one thread.
struct Work {
    scratch: Scratch,
    digits: Vec<u64>,
    element: Vec<u64>,
    fourier: AVec<c64>,
}

impl<'a> RowDigits<'a> {
    /// Of rows that are used so many times in all.
    fn new(cpu: &'a Cpu, rows: &'a Rows, selectors: &Selectors, uses: usize) -> Self {
        let (gadget, divided) = (selectors.gadget, selectors.divided);
        let mut digits = Self { cpu, rows, gadget, divided, stored: None };
        if uses > rows.len() {
            let stride = digits.stride();
            let mut stored = Pages::zeros(rows.len() * stride);
            stored.par_chunks_exact_mut(stride).enumerate().for_each_init(
                || digits.work(),
                |work, (row, out)| digits.transform(out, row, work),
            );
            digits.stored = Some(stored);
        }
        digits
    }

    /// Complex numbers of the digits of a row.
    fn stride(&self) -> usize {
        2 * self.gadget.levels as usize * self.cpu.transform.points()
    }

    fn work(&self) -> Work {
        let (n, levels) = (self.rows.n, self.gadget.levels as usize);
        Work {
            scratch: self.cpu.transform.scratch(),
            digits: vec![0; levels * n],
            element: vec![0; n],
            fourier: zeros(if self.stored.is_some() { 0 } else { self.stride() }),
        }
    }

    fn of<'b>(&'b self, row: usize, work: &'b mut Work) -> &'b [c64] {
        let stride = self.stride();
        match &self.stored {
            Some(stored) => &stored[row * stride..][..stride],
            None => {
                let mut fourier = std::mem::replace(&mut work.fourier, zeros(0));
                self.transform(&mut fourier, row, work);
                work.fourier = fourier;
                &work.fourier
            }
        }
    }

    fn transform(&self, out: &mut [c64], row: usize, work: &mut Work) {
        let (n, points) = (self.rows.n, self.cpu.transform.points());
        let row = &self.rows.data[2 * n * row..][..2 * n];
        for (part, x) in row.chunks_exact(n).enumerate() {
            work.element.copy_from_slice(x);
            if part == 0 && self.divided {
                polynomial::divide_by_one_less_x(&mut work.element);
            }
            decompose(&mut work.digits, &work.element, self.gadget);
            for (level, digits) in work.digits.chunks_exact(n).enumerate() {
                let out = &mut out[(2 * level + part) * points..][..points];
                self.cpu.transform.forward_integer(out, digits, &mut work.scratch);
            }
        }
    }

    /// Writes a sum of products.
    fn sum(&self, sum: &mut [c64], selectors: &Selectors, terms: &[Term], work: &mut Work) {
        sum.fill(ZERO);
        for t in terms {
            let selector = &selectors.data[t.selector * selectors.stride..][..selectors.stride];
            add_product(sum, self.of(t.row, work), selector, self.cpu.transform.points());
        }
    }
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
    let digits = RowDigits::new(cpu, rows, selectors, terms.iter().map(Vec::len).sum());
    let mut out = Rows::new(rows.n, terms.len());
    out.data.par_chunks_exact_mut(2 * rows.n).zip(terms).for_each_init(
        || (digits.work(), zeros(2 * cpu.transform.points())),
        |(work, sum), (out, terms)| {
            digits.sum(sum, selectors, terms, work);
            to_row(cpu, out, sum, &mut work.scratch);
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
    let n = rows.n;
    let digits = RowDigits::new(cpu, rows, selectors, terms.iter().map(Vec::len).sum());
    let mut out = Values::new(n, terms.len());
    out.data.par_chunks_exact_mut(n + 1).zip(terms).for_each_init(
        || (digits.work(), zeros(2 * cpu.transform.points()), vec![0u64; 2 * n]),
        |(work, sum, row), (out, terms)| {
            digits.sum(sum, selectors, terms, work);
            to_row(cpu, row, sum, &mut work.scratch);
            extract_one(out, row, 0);
        },
    );
    out
}

pub(super) fn dots(cpu: &Cpu, selectors: &Selectors, rows: &Rows) -> Values {
    let (samples, count) = (selectors.len(), rows.len());
    let terms: Vec<Vec<Term>> =
        (0..samples * count).map(|i| vec![Term { selector: i / count, row: i % count }]).collect();
    dot_products(cpu, selectors, rows, &terms)
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
