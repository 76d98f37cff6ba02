//! Every engine means the same: the moves on ciphertexts against the specification.
//!
//! Phases are compared after decryption, within eight predicted standard deviations: a false alarm
//! has a probability below 1e-11 for all comparisons together, and none at all as long as the seeds
//! stay. The measured variances are compared with the predicted ones.
//!
//! A move is one function, and `conformance!` names those that each parameter set runs. A new
//! engine joins by its own table of names.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod batches;
mod moves;
mod refused;
mod tight;

use std::sync::{Arc, Mutex, PoisonError};

use fhe_core::client::ClientKey;
use fhe_core::engine::clear::Row;
use fhe_core::engine::cpu;
use fhe_core::engine::meter::{Price, UnitCosts};
use fhe_core::noise::Noise;
use fhe_core::{
    Clear, Cpu, Engine, Error, IntegerTable, List, Meter, Outputs, Params, Seed, Slot, Table, Term,
    TestPolynomial, from_torus, to_torus,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A key and the engines that are compared.
struct Bench {
    key: ClientKey,
    cpu: Cpu,
    clear: Clear,
    noise: Noise,
}

/// A bench and the random numbers of one test.
struct Case {
    bench: Arc<Bench>,
    rng: ChaCha8Rng,
}

impl std::ops::Deref for Case {
    type Target = Bench;
    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl Case {
    /// Keys take seconds and up to a gigabyte: those that were used last are kept for the next
    /// test.
    fn new(params: &Params) -> Self {
        static LAST: Mutex<Option<Arc<Bench>>> = Mutex::new(None);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let bench = match &*last {
            Some(bench) if bench.key.params() == params => bench.clone(),
            _ => {
                *last = None;
                let key = ClientKey::new(params, Seed::from_number(7));
                Arc::new(Bench {
                    cpu: Cpu::new(&key.evaluation_keys()),
                    clear: Clear::exact(params),
                    noise: Noise::new(params),
                    key,
                })
            }
        };
        *last = Some(bench.clone());
        Self { bench, rng: ChaCha8Rng::seed_from_u64(3) }
    }

    fn integers(&mut self, count: usize, bound: i32) -> Vec<Vec<i32>> {
        let n = self.n();
        (0..count)
            .map(|_| (0..n).map(|_| self.rng.random_range(-bound..=bound)).collect())
            .collect()
    }

    fn phases(&mut self, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.rng.random()).collect()
    }

    /// Returns so many random rows, encrypted and in the clear.
    fn rows(&mut self, count: usize) -> (cpu::Rows, Vec<Row>) {
        let phases = self.phases(count * self.n());
        (self.cpu_rows(&phases), self.clear_rows(&phases))
    }
}

impl Bench {
    fn n(&self) -> usize {
        self.key.params().row_size
    }

    fn cpu_rows(&self, phases: &[u64]) -> cpu::Rows {
        self.key.deterministic("test rows").encrypt_rows(phases, 0).unwrap()
    }

    fn clear_rows(&self, phases: &[u64]) -> Vec<Row> {
        phases.chunks_exact(self.n()).map(|x| Row::Full(x.to_vec())).collect()
    }

    fn values(&self, phases: &[u64], purpose: &str) -> cpu::Values {
        let values = self.key.deterministic(purpose).encrypt_values(phases, 0).unwrap();
        values.open(&self.cpu).unwrap()
    }

    fn selectors(&self, m: &[Vec<i32>]) -> cpu::Selectors {
        let query = self.key.deterministic("test selector").encrypt_query(m, 0).unwrap();
        query.open(&self.cpu).unwrap()
    }

    fn decrypt(&self, values: &cpu::Values) -> Vec<u64> {
        self.key.decrypt_values(values).unwrap()
    }

    fn decrypt_rows(&self, rows: &cpu::Rows) -> Vec<u64> {
        self.key.decrypt_rows(rows).unwrap()
    }

    /// All coefficients of rows in the clear.
    fn flat(&self, rows: &[Row]) -> Vec<u64> {
        rows.iter().flat_map(|r| r.coefficients(self.n())).collect()
    }
}

/// Compares decrypted phases with the specification, and returns the measured variance.
fn within(what: &str, got: &[u64], want: &[u64], variance: f64) -> f64 {
    assert_eq!(got.len(), want.len(), "{what}");
    let mut sum = 0.0;
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let error = from_torus(g.wrapping_sub(*w));
        assert!(
            error.abs() <= 8.0 * variance.sqrt(),
            "{what}[{i}]: off by {error:e}, predicted std {:e}",
            variance.sqrt()
        );
        sum += error * error;
    }
    sum / got.len() as f64
}

/// Compares as [`within`] does, and the measured standard deviation with the predicted one: neither
/// is more than twice the other. `cargo test` shows both with `--nocapture`.
///
/// Of 256 samples the ratio stays within 1.35 with a probability above 1 - 1e-10 if the formula is
/// right, and of 16, as the coarsest lookup has, within 2.
fn near(what: &str, got: &[u64], want: &[u64], variance: f64) {
    let (measured, predicted) = (within(what, got, want, variance).sqrt(), variance.sqrt());
    println!("{what}: measured 2^{:.2}, predicted 2^{:.2}", measured.log2(), predicted.log2());
    let ratio = measured / predicted;
    assert!((0.5..=2.0).contains(&ratio), "{what}: measured std is {ratio:.2} of the predicted");
}

/// Checks that the noise of rows is not alike in coefficients near each other: the variance of the
/// mean of N of them is at most so many times that of independent ones. Of 64 rows that ratio has a
/// standard deviation of 0.18.
fn uneven(what: &str, got: &[u64], want: &[u64], variance: f64, (n, most): (usize, f64)) {
    let rows = got.chunks_exact(n).zip(want.chunks_exact(n));
    let of_row = |(got, want): (&[u64], &[u64])| -> f64 {
        let error = |(g, w): (&u64, &u64)| from_torus(g.wrapping_sub(*w));
        (got.iter().zip(want).map(error).sum::<f64>() / n as f64).powi(2)
    };
    let squares: Vec<f64> = rows.map(of_row).collect();
    assert!(squares.len() >= 64, "{what}: too few rows to tell");
    let ratio = squares.iter().sum::<f64>() / squares.len() as f64 / (variance / n as f64);
    assert!(
        ratio < most,
        "{what}: the variance of means is {ratio:.1} of that of independent noise"
    );
}

fn squared_norm(m: &[i32]) -> f64 {
    m.iter().map(|m| f64::from(m * m)).sum::<f64>()
}

/// Runs moves on the keys of a parameter set, each a test of its own.
macro_rules! conformance {
    ($($set:ident: $params:expr => $($test:ident),+;)+) => {
        $(mod $set {
            use super::{Case, Params};
            $(#[test]
            fn $test() {
                super::moves::$test(&mut Case::new(&$params.unwrap()));
            })+
        })+
    };
}

conformance! {
    toy: Params::toy_insecure() => fresh_rows, products, dots, dot_products, reflect,
        extract_and_gather, pack_constants, pack, promote, lookup, lookup_at_offsets, lookup_input,
        lookup_rows, lookup_selectors;
    toy_batch: Params::toy_insecure_batch() => pack, batch_values, batch_output, batch_selectors,
        batch_lengths, expand, selectors, lookup_coefficients, promoted_values;
    secure128_deep_v3: Params::secure128_deep_v3() => batch_output, batch_selectors;
    secure128_deep_v4: Params::secure128_deep_v4() => dot_products, expand, selectors,
        batch_selectors, lookup_coefficients, promoted_values;
    secure128_head_v3: Params::secure128_head_v3() => expand;
    secure128: Params::secure128() => fresh_rows, products, dots, reflect, extract_and_gather,
        pack_constants, lookup, lookup_at_offsets, lookup_input;
    secure128_deep: Params::secure128_deep() => fresh_rows, products, dots, reflect,
        extract_and_gather, pack_constants, pack, promote, lookup, lookup_at_offsets, lookup_input,
        lookup_rows, lookup_selectors;
    secure128_deep_v1: Params::secure128_deep_v1() => fresh_rows, products, dots, reflect,
        extract_and_gather, pack_constants, pack, promote, lookup, lookup_at_offsets, lookup_input,
        lookup_rows, lookup_selectors;
    secure128_bnn: Params::secure128_bnn() => fresh_rows, products, dots, reflect,
        extract_and_gather, pack_constants, lookup, lookup_at_offsets, lookup_input;
}

#[test]
fn public_weights_give_exact_sums_on_every_engine() {
    let mut b = Case::new(&Params::toy_insecure().unwrap());
    let (n, count) = (b.n(), 40);
    let phases = b.phases(n);
    let rows = b.cpu_rows(&phases);
    let at: Vec<_> = (0..count).map(|i| (0, 7 * i)).collect();
    let x = b.cpu.extract(&rows, &at).unwrap();
    let decrypted = b.key.decrypt_values(&x).unwrap();
    // Windows with gaps, filters with all kinds of weights, more of them than are taken together.
    let windows: Vec<Vec<Option<usize>>> = (0..5)
        .map(|p| (0..9).map(|j| (j != p).then_some((11 * p + 5 * j) % count)).collect())
        .collect();
    let weights: Vec<Vec<i32>> =
        (0..37).map(|_| (0..9).map(|_| b.rng.random_range(-3..=3)).collect()).collect();
    let got = b.cpu.weighted_sums(&x, &windows, &weights).unwrap();
    let want = b.clear.weighted_sums(&decrypted, &windows, &weights).unwrap();
    assert_eq!(b.key.decrypt_values(&got).unwrap(), want, "bit for bit");
    let (p, o) = (3, 20);
    let by_hand = (0..9).fold(0u64, |sum, j| {
        let x = windows[p][j].map_or(0, |i| decrypted[i]);
        sum.wrapping_add(x.wrapping_mul(i64::from(weights[o][j]) as u64))
    });
    assert_eq!(want[p * 37 + o], by_hand);

    let meter = Meter::new(b.key.params());
    let metered = meter.weighted_sums(&meter.fresh(count), &windows, &weights).unwrap();
    assert_eq!((metered.len, meter.price().weighted), (5 * 37, 5 * 37 * 9));
    assert!(metered.variance > 9.0 * b.noise.fresh());
}

#[test]
fn values_get_a_table_each_on_every_engine() {
    let mut b = Case::new(&Params::toy_insecure().unwrap());
    let (n, count) = (b.n(), 50);
    // Signs times an eighth or a sixteenth, of values in the middle of the two halves; and signs of
    // the values an eighth and a quarter of the torus further on: exact.
    let signs: Vec<bool> = (0..count).map(|_| b.rng.random_range(0..2) == 1).collect();
    let mut phases = vec![0; n];
    for (phase, sign) in phases.iter_mut().zip(&signs) {
        *phase = to_torus(if *sign { 0.0625 } else { -0.1875 });
    }
    let rows = b.cpu_rows(&phases);
    let x = b.cpu.extract(&rows, &(0..count).map(|i| (0, i)).collect::<Vec<_>>()).unwrap();
    let sign = |size: f64| Table::new(n, move |x| if x < 0.0 { -size } else { size }).unwrap();
    let sized = |size| TestPolynomial::at_offsets(sign(size), vec![0, n / 4, n / 2]).unwrap();
    let reads = [sized(0.125), sized(0.0625), sized(0.03125)];
    let of: Vec<usize> = (0..count).map(|i| i % 3).collect();
    let got = b.key.decrypt_values(&b.cpu.lookup_each(&x, &reads, &of).unwrap()).unwrap();
    let exact = Clear::exact(b.key.params());
    let want = exact.lookup_each(&phases[..count].to_vec(), &reads, &of).unwrap();
    assert_eq!((got.len(), want.len()), (3 * count, 3 * count));
    for (j, (got, want)) in got.iter().zip(&want).enumerate() {
        let (i, read) = (j / 3, j % 3);
        let size = 0.125 / f64::from(1 << of[i]);
        // Read at 1/16, 3/16 and 5/16, or at -3/16, -1/16 and 1/16.
        let above = signs[i] || read == 2;
        assert_eq!(*want, to_torus(if above { size } else { -size }), "{i}, read {read}");
        assert!(from_torus(got.wrapping_sub(*want)).abs() < 0.01, "{i}, read {read}");
    }
    let meter = Meter::new(b.key.params());
    let metered = meter.lookup_each(&meter.fresh(count), &reads, &of).unwrap();
    assert_eq!((metered.len, meter.price().lookups), (3 * count, count as u64));
    let far = TestPolynomial::at_offsets(sign(0.125), vec![0, n]).unwrap_err().to_string();
    assert_eq!(far, format!("lookup: index {n} is outside a list of {n}"));
    let uneven = [sized(0.125), TestPolynomial::new(sign(0.125)), sized(0.125)];
    for (reads, of) in [(&reads[..], &of[1..]), (&reads[..2], &of), (&uneven, &of)] {
        let refused = b.cpu.lookup_each(&x, reads, of).unwrap_err().to_string();
        assert_eq!(
            refused,
            meter.lookup_each(&meter.fresh(count), reads, of).unwrap_err().to_string()
        );
        assert!(refused.contains("lookup"), "{refused}");
    }
}

/// A program of products and two exact lookups in turn: after rounding to the table's three levels,
/// ciphertexts and specification agree bit for bit.
#[test]
fn an_exact_program_is_bit_equal() {
    let mut b = Case::new(&Params::secure128().unwrap());
    let n = b.n();
    // Levels 1/8 apart: half a level is 7.8 standard deviations of a lookup's input, so that a
    // reading is wrong with a probability of 6e-15.
    let unit = 0.125;
    let mut m = vec![vec![0i32; n]; 5];
    for m in &mut m {
        let at = b.rng.random_range(0..n);
        m[at] = 1 - 2 * b.rng.random_range(0..=1);
    }
    let phases: Vec<u64> =
        (0..2 * n).map(|_| to_torus(unit * f64::from(b.rng.random_range(-1..=1)))).collect();
    let (rows, clear_rows) = (b.cpu_rows(&phases), b.clear_rows(&phases));
    let table = Table::new(n, |x| {
        // -1, 0, 1 to 0, 1, -1: no symmetry that a wrong sign could hide behind.
        let level = (x / unit).round() as i32;
        unit * [0.0, 1.0, -1.0][(level.clamp(-1, 1) + 1) as usize]
    })
    .unwrap();
    let tables = [table];
    let run = |values: Vec<u64>| -> Vec<i64> {
        values.iter().map(|&x| (from_torus(x) / unit).round() as i64).collect()
    };
    let selectors = b.selectors(&m);
    let got = b.cpu.lookup(&b.cpu.dots(&selectors, &rows).unwrap(), &tables).unwrap();
    let got = b.cpu.lookup(&got, &tables).unwrap();
    let want = b
        .clear
        .lookup(&b.clear.dots(&b.clear.selectors(m), &clear_rows).unwrap(), &tables)
        .unwrap();
    let want = b.clear.lookup(&want, &tables).unwrap();
    assert_eq!(run(b.key.decrypt_values(&got).unwrap()), run(want));
}

/// A meter's lists hold nothing, so that any length fits: counts stop at their largest number.
#[test]
fn a_meter_counts_to_the_end() {
    let meter = Meter::new(&Params::toy_insecure().unwrap());
    let (x, m) = (meter.fresh(usize::MAX), meter.fresh_selectors(usize::MAX, f64::MAX));
    for _ in 0..2 {
        meter.dots(&m, &x).unwrap();
        meter.reflect(&x).unwrap();
        meter.pack_constants(&x).unwrap();
        let price = meter.price();
        assert_eq!((price.products, price.reflections), (u64::MAX, u64::MAX));
        assert_eq!((price.packed_constants, price.bytes), (u64::MAX, u64::MAX));
    }
    let costs = UnitCosts { lookup: 1.0, ..UnitCosts::default() };
    let price = Price { lookups: 3, ..Price::default() };
    assert_eq!([0, 1, 2].map(|threads| price.seconds(&costs, threads)), [3.0, 3.0, 1.5]);
}

/// Nothing to do is no mistake.
#[test]
fn empty_lists_go_through_every_move() {
    fn run<E: Engine>(e: &E, m: &E::Selectors) {
        let none = e.public_values(&[]);
        let rows = e.zero_rows(0);
        let n = e.params().row_size;
        let table = [Table::new(n, |x| x).unwrap()];
        let nothing = [TestPolynomial::at_offsets(table[0].clone(), Vec::new()).unwrap()];
        assert!(e.lookup(&none, &table).unwrap().is_empty());
        assert!(e.lookup_each(&none, &[], &[]).unwrap().is_empty());
        let unread = e.lookup_each(&e.public_values(&[0]), &nothing, &[0]);
        assert!(unread.unwrap().is_empty());
        assert!(e.products(m, &rows, &[]).unwrap().is_empty());
        assert!(e.dots(m, &rows).unwrap().is_empty());
        assert!(e.reflect(&rows).unwrap().is_empty());
        let integers = IntegerTable::new(n, |_| 1).unwrap();
        assert!(e.lookup_rows(&none, &table, &[]).unwrap().is_empty());
        assert_eq!(e.lookup_rows(&none, &table, &[Vec::new()]).unwrap().len(), 1);
        let (m, rows_beside) = e.lookup_selectors(&none, &integers, &[], &[]).unwrap();
        assert!(m.is_empty() && rows_beside.is_empty());
        let selectors = Some((integers, Vec::new()));
        let outputs = Outputs { selectors, values: table.to_vec(), ..Outputs::default() };
        let mut out = e.lookup_into(&none, &outputs).unwrap();
        assert!(out.selectors().unwrap().is_empty() && out.values().unwrap().is_empty());
        assert!(out.selectors().is_err() && out.rows().is_err() && out.values().is_err());
        assert!(e.pack(&none, &[]).unwrap().is_empty());
        assert_eq!(e.pack(&none, &[Vec::new()]).unwrap().len(), 1);
        let levels = e.params().lists.unwrap().selector.levels as usize;
        assert!(e.promote(&none, levels, &[]).unwrap().is_empty());
        assert!(e.pack_constants(&none).unwrap().is_empty());
        assert!(e.weighted_sums(&none, &[], &[]).unwrap().is_empty());
        assert!(e.weighted_sums(&none, &[], &[vec![1]]).unwrap().is_empty());
        assert!(e.gather(&[], &[]).unwrap().is_empty());
        assert!(e.join_rows(&[]).unwrap().is_empty() && e.join_rows(&[&rows]).unwrap().is_empty());
        assert!(e.dot_products(&m, &rows, &[]).unwrap().is_empty());
        let mut none = e.gather_selectors(&m, &[]).unwrap();
        let other = e.gather_selectors(&m, &[]).unwrap();
        e.add_selectors(&mut none, &other).unwrap();
        e.rotate_selectors(&mut none, 1).unwrap();
        assert!(none.is_empty());
        let (m, of_tables) = e.lookup_coefficients(&rows, None, &table).unwrap();
        assert!(m.is_none() && of_tables.len() == 1 && of_tables[0].is_empty());
        if e.params().lists.unwrap().expand.is_some() {
            assert!(e.expand(&rows, n).unwrap().is_empty());
        }
    }
    for params in [Params::toy_insecure().unwrap(), Params::toy_insecure_batch().unwrap()] {
        let mut b = Case::new(&params);
        let m = b.integers(1, 1);
        run(&b.cpu, &b.selectors(&m));
        let levels = params.lists.unwrap().selector.levels as usize;
        let none = b.cpu.promote(&b.cpu.public_values(&[]), levels, &[]).unwrap();
        run(&b.cpu, &none);
        run(&b.clear, &b.clear.selectors(m));
        let meter = Meter::new(&params);
        run(&meter, &meter.fresh_selectors(1, 1.0));
    }
}
