//! Every engine means the same: the moves on ciphertexts against the specification.
//!
//! Phases are compared after decryption, within eight predicted standard deviations: a false alarm
//! has a probability below 1e-11 for all comparisons together, and none at all as long as the seeds
//! stay. The measured variances are compared with the predicted ones.
//!
//! A move is one function, and `conformance!` names those that each parameter set runs. A new
//! engine joins by its own table of names.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::{Arc, Mutex, PoisonError};

use fhe_core::client::ClientKey;
use fhe_core::engine::clear::Row;
use fhe_core::engine::cpu;
use fhe_core::engine::meter::{Price, UnitCosts};
use fhe_core::noise::Noise;
use fhe_core::{
    Clear, Cpu, Engine, Error, List, Meter, Params, Seed, Slot, Table, Term, TestPolynomial,
    from_torus, to_torus,
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
/// is more than twice the other.
///
/// Of 256 samples the ratio stays within 1.35 with a probability above 1 - 1e-10 if the formula is
/// right, and of 16, as the coarsest lookup has, within 2.
fn near(what: &str, got: &[u64], want: &[u64], variance: f64) {
    let ratio = (within(what, got, want, variance) / variance).sqrt();
    assert!((0.5..=2.0).contains(&ratio), "{what}: measured std is {ratio:.2} of the predicted");
}

fn squared_norm(m: &[i32]) -> f64 {
    m.iter().map(|m| f64::from(m * m)).sum::<f64>()
}

/// The moves, each on ciphertexts and in the clear.
mod moves {
    use super::*;

    pub(super) fn fresh_rows(b: &mut Case) {
        let phases = b.phases(3 * b.n());
        near("fresh", &b.decrypt_rows(&b.cpu_rows(&phases)), &phases, b.noise.fresh());
    }

    pub(super) fn products(b: &mut Case) {
        let n = b.n();
        let (rows, clear_rows) = b.rows(3);
        let m = b.integers(4, 3);
        let terms = vec![
            vec![Term { selector: 0, row: 1 }],
            (0..4).map(|s| Term { selector: s, row: s % 3 }).collect(),
        ];
        let got = b.decrypt_rows(&b.cpu.products(&b.selectors(&m), &rows, &terms).unwrap());
        let norms = [squared_norm(&m[0]), m.iter().map(|m| squared_norm(m)).sum()];
        let m = b.clear.selectors(m);
        let want = b.flat(&b.clear.products(&m, &clear_rows, &terms).unwrap());
        for (o, norm) in norms.into_iter().enumerate() {
            let added = b.noise.products(b.noise.fresh_selectors(), terms[o].len(), norm);
            let range = o * n..(o + 1) * n;
            let what = ["product", "sum of 4 products"][o];
            near(what, &got[range.clone()], &want[range], added + norm * b.noise.fresh());
        }
    }

    pub(super) fn dots(b: &mut Case) {
        let (rows, clear_rows) = b.rows(3);
        let m = b.integers(4, 3);
        let norm = m.iter().map(|m| squared_norm(m)).fold(0.0, f64::max);
        let got = b.decrypt(&b.cpu.dots(&b.selectors(&m), &rows).unwrap());
        let want = b.clear.dots(&b.clear.selectors(m), &clear_rows).unwrap();
        let added = b.noise.products(b.noise.fresh_selectors(), 1, norm);
        within("dots", &got, &want, added + norm * b.noise.fresh());
    }

    pub(super) fn reflect(b: &mut Case) {
        let (rows, clear_rows) = b.rows(3);
        let got = b.decrypt_rows(&b.cpu.reflect(&rows).unwrap());
        let want = b.flat(&b.clear.reflect(&clear_rows).unwrap());
        near("reflect", &got, &want, b.noise.reflect() + b.noise.fresh());
    }

    /// Moves that copy: no noise is added.
    pub(super) fn extract_and_gather(b: &mut Case) {
        let n = b.n();
        let (rows, clear_rows) = b.rows(3);
        let positions: Vec<_> = (0..64).map(|i| (i % 3, (i * 37) % n)).collect();
        let values = b.cpu.extract(&rows, &positions).unwrap();
        let clear_values = b.clear.extract(&clear_rows, &positions).unwrap();
        within("extract", &b.decrypt(&values), &clear_values, b.noise.fresh());

        let picks = [(1, 5), (0, 63), (0, 5)];
        let got = b.cpu.gather(&[&values, &values], &picks).unwrap();
        let want = b.clear.gather(&[&clear_values, &clear_values], &picks).unwrap();
        within("gather", &b.decrypt(&got), &want, b.noise.fresh());

        let got = b.cpu.take(&values, [5, 63, 5]).unwrap();
        let want = [5, 63, 5].map(|i| clear_values[i]);
        within("take", &b.decrypt(&got), &want, b.noise.fresh());
        assert_eq!(b.clear.take(&clear_values, [5, 63, 5]).unwrap(), want);

        let got = b.decrypt_rows(&b.cpu.gather_rows(&rows, &[2, 0, 2]).unwrap());
        let want = b.flat(&b.clear.gather_rows(&clear_rows, &[2, 0, 2]).unwrap());
        within("gather_rows", &got, &want, b.noise.fresh());
    }

    pub(super) fn pack_constants(b: &mut Case) {
        let n = b.n();
        let phases = b.phases(64);
        let values = b.values(&phases, "test values");
        let got = b.decrypt_rows(&b.cpu.pack_constants(&values).unwrap());
        let want = b.flat(&b.clear.pack_constants(&phases).unwrap());
        let pick = |x: &[u64], constant: bool| -> Vec<u64> {
            let at = |i: usize| i.is_multiple_of(n) == constant;
            x.iter().enumerate().filter(|(i, _)| at(*i)).map(|(_, x)| *x).collect()
        };
        let predicted = b.noise.pack_constant() + b.noise.pack_rounding() + b.noise.fresh();
        within("the constant", &pick(&got, true), &pick(&want, true), predicted);
        near("the rest", &pick(&got, false), &pick(&want, false), b.noise.pack_constant());
    }

    /// Two lists in one call, of which the second has some of the values in reverse.
    pub(super) fn pack(b: &mut Case) {
        let n = b.n();
        let len = n / 2;
        let phases = b.phases(len);
        let values = b.values(&phases, "test list");
        let slots: Vec<Vec<Slot>> = vec![
            (0..len).map(|value| Slot { value, coefficient: value }).collect(),
            (0..64).map(|value| Slot { value: 63 - value, coefficient: 5 * value }).collect(),
        ];
        let got = b.decrypt_rows(&b.cpu.pack(&values, &slots).unwrap());
        let want = b.flat(&b.clear.pack(&phases, &slots).unwrap());
        let added = |len| b.noise.pack_list(len);
        let held = |len| added(len) + b.noise.pack_list_rounding() + b.noise.fresh();
        near("values", &got[..len], &want[..len], held(len));
        near("rest", &got[len..n], &want[len..n], added(len));
        within("list of 64", &got[n..], &want[n..], held(64));
    }

    /// Small integers by an exact lookup with a table to spare, then as selectors.
    pub(super) fn promote(b: &mut Case) {
        let n = b.n();
        let (rows, clear_rows) = b.rows(3);
        let gadget = b.key.params().lists.unwrap().selector;
        let integers = |x: f64| [-7, 3, -2, 5][((x + 0.25) * 8.0).clamp(0.0, 3.5) as usize];
        let mut tables = Table::levels(n / 4, gadget, integers).unwrap();
        tables.push(Table::new(n / 4, |_| 0.125).unwrap());
        let inputs: Vec<u64> =
            (0..128).map(|i| to_torus(f64::from(i % 4) / 8.0 - 0.1875)).collect();
        let levels = b.cpu.lookup(&b.values(&inputs, "test promote"), &tables).unwrap();
        let clear_levels = b.clear.lookup(&inputs, &tables).unwrap();
        let slots: Vec<Vec<Slot>> = [0, 64]
            .map(|first| {
                (0..64).map(|i| Slot { value: first + i, coefficient: 3 * i + first }).collect()
            })
            .to_vec();
        let got = b.cpu.promote(&levels, 4, &slots).unwrap();
        let want = b.clear.promote(&clear_levels, 4, &slots).unwrap();
        assert_eq!(want.integers[1][3 * 2 + 64], -2);
        let terms = vec![
            vec![Term { selector: 0, row: 0 }],
            vec![Term { selector: 0, row: 1 }, Term { selector: 1, row: 2 }],
        ];
        let got = b.decrypt_rows(&b.cpu.products(&got, &rows, &terms).unwrap());
        let want_rows = b.flat(&b.clear.products(&want, &clear_rows, &terms).unwrap());
        let kind = b.noise.promoted_selectors(64, b.noise.lookup()).unwrap();
        let norms = want.integers.iter().map(|m| squared_norm(m)).collect::<Vec<_>>();
        for (o, what) in ["promoted product", "sum of 2"].into_iter().enumerate() {
            let norm: f64 = norms[..=o].iter().sum();
            let predicted = b.noise.products(kind, o + 1, norm) + norm * b.noise.fresh();
            let range = o * n..(o + 1) * n;
            near(what, &got[range.clone()], &want_rows[range], predicted);
        }
    }

    /// Steps so wide that no input near a step's middle leaves it: an exact lookup.
    pub(super) fn lookup(b: &mut Case) {
        let steps = 8;
        let step = |x: f64| ((x + 0.25) * 2.0 * f64::from(steps)).floor();
        for count in [1usize, 2, 4] {
            let table = |t| {
                let f = move |x| (step(x) - 3.0 + t as f64) / 64.0;
                Table::new(b.n() / count, f).unwrap()
            };
            let tables: Vec<_> = (0..count).map(table).collect();
            let inputs: Vec<u64> = (0..steps)
                .flat_map(|s| [s, s + steps])
                .map(|s| to_torus(-0.25 + (f64::from(s) + 0.5) / (2.0 * f64::from(steps))))
                .collect();
            let encrypted = b.values(&inputs, &format!("test {count} tables"));
            let got = b.decrypt(&b.cpu.lookup(&encrypted, &tables).unwrap());
            let want = b.clear.lookup(&inputs, &tables).unwrap();
            near("lookup", &got, &want, b.noise.lookup());
        }
    }

    /// Reads of one bootstrap have noises of their own: that of their sum is that of as many
    /// lookups.
    pub(super) fn lookup_at_offsets(b: &mut Case) {
        let n = b.n();
        let sign = Table::new(n, |x| if x < 0.0 { -0.0625 } else { 0.0625 }).unwrap();
        let function = [TestPolynomial::at_offsets(sign, vec![0, n / 8, n / 4]).unwrap()];
        let inputs: Vec<u64> =
            (0..256).map(|i| to_torus(if i % 2 == 0 { 0.0625 } else { -0.1875 })).collect();
        let encrypted = b.values(&inputs, "test reads");
        let got = b.decrypt(&b.cpu.lookup_each(&encrypted, &function, &[0; 256]).unwrap());
        let want = b.clear.lookup_each(&inputs, &function, &[0; 256]).unwrap();
        let sums = |x: &[u64]| -> Vec<u64> {
            x.chunks(3).map(|x| x.iter().fold(0u64, |sum, x| sum.wrapping_add(*x))).collect()
        };
        near("sum of 3 reads", &sums(&got), &sums(&want), 3.0 * b.noise.lookup());
    }

    /// A fine ramp shows the noise with which the input is read.
    pub(super) fn lookup_input(b: &mut Case) {
        let ramp = [Table::new(b.n(), |x| x / 2.0).unwrap()];
        let inputs: Vec<u64> =
            (0..256).map(|i| to_torus(-0.1 + 0.2 * f64::from(i) / 256.0)).collect();
        let got = b.decrypt(&b.cpu.lookup(&b.values(&inputs, "test ramp"), &ramp).unwrap());
        let want: Vec<u64> = inputs.iter().map(|&x| to_torus(from_torus(x) / 2.0)).collect();
        let slot = 0.25 / b.n() as f64;
        let read = b.noise.lookup_input(1) + slot * slot / 3.0;
        near("lookup input / 2", &got, &want, b.noise.lookup() + read / 4.0);
    }
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
    toy: Params::toy_insecure() => fresh_rows, products, dots, reflect, extract_and_gather,
        pack_constants, pack, promote, lookup, lookup_at_offsets, lookup_input;
    secure128: Params::secure128() => fresh_rows, products, dots, reflect, extract_and_gather,
        pack_constants, lookup, lookup_at_offsets, lookup_input;
    secure128_deep: Params::secure128_deep() => fresh_rows, products, dots, reflect,
        extract_and_gather, pack_constants, pack, promote, lookup, lookup_at_offsets, lookup_input;
    secure128_deep_v1: Params::secure128_deep_v1() => fresh_rows, products, dots, reflect,
        extract_and_gather, pack_constants, pack, promote, lookup, lookup_at_offsets, lookup_input;
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

/// The lists of one engine, to make the same mistakes with.
struct Lists<E: Engine> {
    engine: E,
    values: E::Values,
    rows: E::Rows,
    selectors: E::Selectors,
}

impl<E: Engine> Lists<E> {
    /// Runs programs that every engine must refuse, with two values, one row and one selector, and
    /// returns the errors.
    fn mistakes(mut self) -> Vec<(&'static str, String)> {
        let (e, n) = (&self.engine, self.engine.params().row_size);
        let (x, rows) = (&mut self.values, &mut self.rows);
        let mut found = Vec::new();
        let mut note = |what, refused: Option<Error>| {
            let text = refused.map_or_else(|| "not refused".into(), |error| error.to_string());
            found.push((what, text));
        };
        let term = |selector, row| [vec![Term { selector, row }]];
        let slot = |value, coefficient| Slot { value, coefficient };
        let sign = |slots| Table::new(slots, |x| x.signum() / 8.0).unwrap();
        let one = [TestPolynomial::new(sign(n))];
        let two = TestPolynomial::interleaved(vec![sign(n / 2); 2]).unwrap();
        let twice = TestPolynomial::at_offsets(sign(n), vec![0, 1]).unwrap();

        note("row", e.products(&self.selectors, rows, &term(0, 1)).err());
        note("selector", e.products(&self.selectors, rows, &term(1, 0)).err());
        note("extracted row", e.extract(rows, &[(1, 0)]).err());
        note("extracted coefficient", e.extract(rows, &[(0, n)]).err());
        note("public rows", e.public_rows(&vec![0; n + 1]).err());
        note("gathered value", e.gather(&[&*x], &[(0, 2)]).err());
        note("gathered list", e.gather(&[&*x], &[(1, 0)]).err());
        note("taken value", e.take(x, [2]).err());
        note("gathered row", e.gather_rows(rows, &[1]).err());
        note("no tables", e.lookup(x, &[]).err());
        note("three tables", e.lookup(x, &vec![sign(n); 3]).err());
        note("a short table", e.lookup(x, &[sign(n / 2)]).err());
        note("tables of two sizes", e.lookup(x, &[sign(n / 2), sign(n)]).err());
        note("too many tables", e.lookup(x, &vec![sign(1); 2 * n]).err());
        note("functions too few", e.lookup_each(x, &one, &[0]).err());
        note("no such function", e.lookup_each(x, &one, &[0, 1]).err());
        note("other tables", e.lookup_each(x, &[one[0].clone(), two], &[0, 1]).err());
        note("other reads", e.lookup_each(x, &[one[0].clone(), twice], &[0, 1]).err());
        note("packed value", e.pack(x, &[vec![slot(2, 0)]]).err());
        note("packed coefficient", e.pack(x, &[vec![slot(0, n)]]).err());
        note("packed twice", e.pack(x, &[vec![slot(0, 1), slot(1, 1)]]).err());
        note("levels missing", e.promote(x, 2, &[vec![slot(0, 0)]]).err());
        note("no whole numbers", e.promote(x, 3, &[vec![slot(0, 0)]]).err());
        note("no tables a number", e.promote(x, 0, &[vec![slot(0, 0)]]).err());
        note("window", e.weighted_sums(x, &[vec![Some(2)]], &[vec![1]]).err());
        note("filters of two sizes", e.weighted_sums(x, &[], &[vec![1], vec![1, 2]]).err());
        note("window and filter", e.weighted_sums(x, &[vec![None; 2]], &[vec![1]]).err());
        note("other values", e.add_scaled_values(x, &e.public_values(&[0]), 1).err());
        note("other rows", e.add_scaled_rows(rows, &e.zero_rows(2), 1).err());
        note("degree", e.rotate_rows(rows, 2 * n).err());
        found
    }
}

#[test]
fn engines_refuse_the_same_programs() {
    let params = Params::toy_insecure().unwrap();
    let mut b = Case::new(&params);
    let (m, phases) = (b.integers(1, 1), b.phases(b.n()));
    let cpu = Lists {
        values: b.values(&phases[..2], "test values"),
        rows: b.cpu_rows(&phases),
        selectors: b.selectors(&m),
        engine: Cpu::new(&b.key.evaluation_keys()),
    };
    let clear = Lists {
        values: phases[..2].to_vec(),
        rows: b.clear_rows(&phases),
        selectors: b.clear.selectors(m),
        engine: Clear::exact(&params),
    };
    let meter = Meter::new(&params);
    let meter = Lists {
        values: meter.fresh(2),
        rows: meter.fresh(1),
        selectors: meter.fresh_selectors(1, 1.0),
        engine: meter,
    };
    let found = cpu.mistakes();
    for (what, text) in &found {
        assert_ne!(text, "not refused", "{what}");
    }
    assert_eq!(found, clear.mistakes());
    assert_eq!(found, meter.mistakes());
    let text = |what| found.iter().find(|(w, _)| *w == what).unwrap().1.as_str();
    assert_eq!(text("a short table"), "lookup: got 256 slots a table, expected 512");
    assert_eq!(text("packed twice"), "pack: coefficient 1 is filled twice");
    assert_eq!(text("other values"), "add_scaled_values: got 1 elements, expected 2");
}

/// Lists that another parameter set made are refused by name, not computed with.
#[test]
fn lists_of_another_size_are_refused() {
    let b = Case::new(&Params::toy_insecure().unwrap());
    let n = b.n();
    let refused = |x: Option<Error>| x.unwrap().to_string();
    let expected = |op| format!("{op}: got 4 coefficients (N), expected {n}");
    let mut values = cpu::Values::from_elements(4, vec![0; 5]).unwrap();
    let mut rows = cpu::Rows::from_elements(4, vec![0; 8]).unwrap();
    let fits = b.cpu.public_values(&[0]);
    let one = [Table::new(n, |x| x).unwrap()];
    assert_eq!(refused(b.cpu.lookup(&values, &one).err()), expected("lookup"));
    assert_eq!(refused(b.cpu.gather(&[&values], &[]).err()), expected("gather"));
    assert_eq!(refused(b.cpu.pack(&values, &[]).err()), expected("pack"));
    assert_eq!(refused(b.cpu.promote(&values, 3, &[]).err()), expected("promote"));
    assert_eq!(refused(b.cpu.pack_constants(&values).err()), expected("pack_constants"));
    assert_eq!(refused(b.cpu.weighted_sums(&values, &[], &[]).err()), expected("weighted_sums"));
    let sum = b.cpu.add_scaled_values(&mut values, &fits, 1);
    assert_eq!(refused(sum.err()), expected("add_scaled_values"));
    assert_eq!(refused(b.cpu.extract(&rows, &[]).err()), expected("extract"));
    assert_eq!(refused(b.cpu.rotate_rows(&mut rows, 0).err()), expected("rotate_rows"));

    // The same of rows and selectors in the clear, whose lengths are public fields.
    let mut short = vec![Row::Full(vec![0; 4])];
    let m = b.clear.selectors(vec![vec![1; n]]);
    let short_m = b.clear.selectors(vec![vec![1; 4], Vec::new()]);
    let whole = b.clear.zero_rows(1);
    let terms = [vec![Term { selector: 0, row: 0 }]];
    for (m, rows) in [(&m, &short), (&short_m, &whole)] {
        assert_eq!(refused(b.clear.products(m, rows, &terms).err()), expected("products"));
        assert_eq!(refused(b.clear.dots(m, rows).err()), expected("dots"));
    }
    assert_eq!(refused(b.clear.reflect(&short).err()), expected("reflect"));
    assert_eq!(refused(b.clear.extract(&short, &[(0, 5)]).err()), expected("extract"));
    assert_eq!(refused(b.clear.rotate_rows(&mut short, 0).err()), expected("rotate_rows"));
    let sum = b.clear.add_scaled_rows(&mut short, &whole, 1);
    assert_eq!(refused(sum.err()), expected("add_scaled_rows"));
    assert!(Row::Constant(1).coefficients(0).is_empty());
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
        assert!(e.pack(&none, &[]).unwrap().is_empty());
        assert_eq!(e.pack(&none, &[Vec::new()]).unwrap().len(), 1);
        assert!(e.promote(&none, 3, &[]).unwrap().is_empty());
        assert!(e.pack_constants(&none).unwrap().is_empty());
        assert!(e.weighted_sums(&none, &[], &[]).unwrap().is_empty());
        assert!(e.weighted_sums(&none, &[], &[vec![1]]).unwrap().is_empty());
        assert!(e.gather(&[], &[]).unwrap().is_empty());
    }
    let mut b = Case::new(&Params::toy_insecure().unwrap());
    let m = b.integers(1, 1);
    run(&b.cpu, &b.selectors(&m));
    let none = b.cpu.promote(&b.cpu.public_values(&[]), 3, &[]).unwrap();
    run(&b.cpu, &none);
    run(&b.clear, &b.clear.selectors(m));
    let meter = Meter::new(b.key.params());
    run(&meter, &meter.fresh_selectors(1, 1.0));
}
