//! The noise of selectors: that of their rows, and that of their products.

use fhe_core::client::ClientKey;
use fhe_core::engine::clear::Row;
use fhe_core::engine::cpu::{Rows, Selectors};
use fhe_core::noise::{Noise, SelectorKind};
use fhe_core::params::Gadget;
use fhe_core::{Clear, Cpu, Engine, List, Result, Term, to_torus};

use super::noise::{Compared, Squares};
use super::values::{PURPOSE, decrypt, scattered};

/// Rows that a selector is multiplied with.
const ROWS: usize = 16;
/// Use of the fresh rows, far from those of values.
const USE: u64 = 1 << 40;

/// The rows of some selectors, decrypted.
#[derive(Debug)]
pub struct Levels {
    /// For each level, the rows of m of all selectors, one after another.
    pub integers: Vec<Vec<u64>>,
    /// For each level, those of -S m, which are times 1 - X.
    pub times_key: Vec<Vec<u64>>,
}

impl Levels {
    /// Reads the rows of every level of selectors that are made of values. They are the products
    /// with rows that have one digit: of the body, or of the mask divided by 1 - X.
    ///
    /// # Errors
    /// None in practice: the lists fit together.
    pub fn read(key: &ClientKey, cpu: &Cpu, m: &Selectors, gadget: Gadget) -> Result<Self> {
        let n = key.params().row_size;
        let read = |offset: usize, unit: f64| -> Result<Vec<u64>> {
            let mut row = vec![0; 2 * n];
            row[offset] = to_torus(unit);
            if offset == 0 {
                row[1] = to_torus(-unit);
            }
            let terms: Vec<_> =
                (0..m.len()).map(|selector| vec![Term { selector, row: 0 }]).collect();
            decrypt(key, &cpu.products(m, &rows(cpu, row), &terms)?)
        };
        let levels = |offset: usize| -> Result<Vec<_>> {
            units(gadget).map(|unit| read(offset, unit)).collect()
        };
        Ok(Self { integers: levels(n)?, times_key: levels(0)? })
    }
}

/// Takes whole rows.
fn rows(cpu: &Cpu, elements: Vec<u64>) -> Rows {
    // Other elements than whole rows are not given.
    Rows::from_elements(cpu.params().row_size, elements).unwrap_or_else(|| cpu.zero_rows(0))
}

/// Returns the torus fraction of one at each level.
fn units(gadget: Gadget) -> impl Iterator<Item = f64> {
    (1..=gadget.levels).map(move |level| 2f64.powi(-((gadget.base_log * level) as i32)))
}

/// Returns the noise of the rows of m and of -S m of some selectors: how many numbers, and their
/// variances added, in the mean of the levels. This is what products depend on.
fn rows_noise(
    key: &ClientKey,
    cpu: &Cpu,
    m: &Selectors,
    integers: &[Vec<i32>],
    gadget: Gadget,
) -> Result<(u64, f64)> {
    let got = Levels::read(key, cpu, m, gadget)?;
    let (mut of_m, mut of_times_key) = (Squares::default(), Squares::default());
    let zeros = vec![0; key.params().row_size];
    for (unit, (m, times_key)) in units(gadget).zip(got.integers.iter().zip(&got.times_key)) {
        let scaled = |m: &Vec<i32>| m.iter().map(|&m| to_torus(f64::from(m) * unit)).collect();
        let scaled: Vec<Vec<u64>> = integers.iter().map(scaled).collect();
        of_m.add_all(m, &scaled.concat());
        // The phase of a row whose mask is (1 - X) m, and whose body is 0, is -(1 - X) S m.
        let less = |m: &Vec<u64>| -> Vec<u64> {
            let before =
                m.last().map(|last| last.wrapping_neg()).into_iter().chain(m.iter().copied());
            m.iter().zip(before).map(|(x, before)| x.wrapping_sub(before)).collect()
        };
        let masks = scaled.iter().flat_map(|m| [less(m), zeros.clone()]).flatten().collect();
        of_times_key.add_all(times_key, &decrypt(key, &rows(cpu, masks))?);
    }
    Ok((of_m.numbers + of_times_key.numbers, of_m.variance() + of_times_key.variance()))
}

/// Returns the noise of the products of the first selector with rows.
fn product_noise(
    key: &ClientKey,
    cpu: &Cpu,
    m: &Selectors,
    integers: &[Vec<i32>],
    rows: &Rows,
) -> Result<Squares> {
    let n = key.params().row_size;
    let terms: Vec<_> = (0..rows.len()).map(|row| vec![Term { selector: 0, row }]).collect();
    let got = decrypt(key, &cpu.products(m, rows, &terms)?)?;
    let clear = Clear::exact(key.params());
    let held = decrypt(key, rows)?.chunks_exact(n).map(|row| Row::Full(row.to_vec())).collect();
    let first = integers.iter().take(1).cloned().collect();
    let want = clear.products(&clear.selectors(first), &held, &terms)?;
    let want: Vec<u64> = want.iter().flat_map(|row| row.coefficients(n)).collect();
    let mut squares = Squares::default();
    squares.add_all(&got, &want);
    Ok(squares)
}

/// What is measured of some selectors.
#[derive(Clone, Debug)]
pub struct SelectorNoise {
    /// Both rows of a selector, variances added, in the mean of its levels.
    pub rows: Compared,
    /// Products of the first selector with fresh rows.
    pub products: Compared,
    /// Products of the first selector with rows that its gadget does not round: what the noise of
    /// the selector's own rows makes.
    pub own: Compared,
}

impl SelectorNoise {
    /// Measures selectors that should hold these integers, named `what`.
    ///
    /// # Errors
    /// None in practice: the lists fit together.
    pub fn measure(
        key: &ClientKey,
        cpu: &Cpu,
        (what, m): (&str, &Selectors),
        integers: &[Vec<i32>],
        kind: SelectorKind,
    ) -> Result<Self> {
        let (numbers, variance) = rows_noise(key, cpu, m, integers, kind.gadget)?;
        let of_rows = Compared::of(format!("both rows of {what}"), numbers, variance, kind.rows);
        let norm = integers.first().map_or(0.0, |m| m.iter().map(|&m| f64::from(m).powi(2)).sum());
        let n = key.params().row_size;
        let noise = Noise::new(key.params());
        let phases: Vec<u64> = (0..ROWS * n).map(|i| scattered(i as u64)).collect();
        let fresh = key.deterministic(PURPOSE).encrypt_rows(&phases, USE)?;
        let products = Compared::new(
            format!("products of {what}"),
            product_noise(key, cpu, m, integers, &fresh)?,
            noise.products(kind, 1, norm),
        );
        // Quotients by 1 - X have half of what is kept.
        let kept = u64::MAX << (65 - kind.gadget.base_log * kind.gadget.levels);
        let unrounded = (0..ROWS * 2 * n).map(|i| scattered(i as u64) & kept).collect();
        let own = Compared::new(
            format!("the same without the rounding of rows, {what}"),
            product_noise(key, cpu, m, integers, &rows(cpu, unrounded))?,
            noise.products(kind, 1, 0.0),
        );
        Ok(Self { rows: of_rows, products, own })
    }
}
