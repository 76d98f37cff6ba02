//! Every engine means the same: the moves on ciphertexts against the specification.
//!
//! Toy keys, quick, seeds fixed. Phases are compared after decryption, within eight predicted
//! standard deviations: a false alarm has a probability below 1e-11 for all comparisons together,
//! and none at all as long as the seeds stay.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fhe_core::client::ClientKey;
use fhe_core::noise::Noise;
use fhe_core::{
    Clear, Cpu, Engine, Error, Meter, Params, Seed, Slot, Table, Term, TestPolynomial, from_torus,
    to_torus,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

struct Bench {
    key: ClientKey,
    cpu: Cpu,
    clear: Clear,
    noise: Noise,
    rng: ChaCha8Rng,
}

fn bench(params: &Params) -> Bench {
    let key = ClientKey::new(params, Seed::from_number(7));
    Bench {
        cpu: Cpu::new(&key.evaluation_keys()),
        clear: Clear::exact(params),
        noise: Noise::new(params),
        rng: ChaCha8Rng::seed_from_u64(3),
        key,
    }
}

impl Bench {
    fn n(&self) -> usize {
        self.key.params().row_size
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

    fn cpu_rows(&self, phases: &[u64]) -> fhe_core::engine::cpu::Rows {
        self.key.deterministic("test rows").encrypt_rows(phases, 0).unwrap()
    }

    fn clear_rows(&self, phases: &[u64]) -> Vec<fhe_core::engine::clear::Row> {
        phases
            .chunks_exact(self.n())
            .map(|x| fhe_core::engine::clear::Row::Full(x.to_vec()))
            .collect()
    }

    fn selectors(&self, m: &[Vec<i32>]) -> fhe_core::engine::cpu::Selectors {
        let query = self.key.deterministic("test selector").encrypt_query(m, 0).unwrap();
        query.open(&self.cpu).unwrap()
    }

    /// Compares decrypted phases with the specification, and returns the measured variance.
    fn compare(&self, what: &str, got: &[u64], want: &[u64], variance: f64) -> f64 {
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
        let measured = sum / got.len() as f64;
        println!(
            "{what:>18}: std 2^{:6.2} measured, 2^{:6.2} predicted",
            measured.log2() / 2.0,
            variance.log2() / 2.0
        );
        measured
    }
}

/// Rows, as all their coefficients.
fn flat(rows: &[fhe_core::engine::clear::Row], n: usize) -> Vec<u64> {
    rows.iter().flat_map(|r| r.coefficients(n)).collect()
}

/// Runs every move; `tolerance` bounds the ratio of measured and predicted standard deviation.
fn all_moves(params: &Params, tolerance: f64) {
    let mut b = bench(params);
    let n = b.n();
    let near = |what: &str, measured: f64, predicted: f64| {
        let ratio = (measured / predicted).sqrt();
        assert!(
            (1.0 / tolerance..=tolerance).contains(&ratio),
            "{what}: measured std is {ratio:.2} of the predicted"
        );
    };

    let phases = b.phases(3 * n);
    let (rows, clear_rows) = (b.cpu_rows(&phases), b.clear_rows(&phases));
    let fresh = b.noise.fresh();
    let measured = b.compare("fresh", &b.key.decrypt_rows(&rows).unwrap(), &phases, fresh);
    near("fresh", measured, fresh);

    let m = b.integers(4, 3);
    let norm = |m: &[i32]| m.iter().map(|m| f64::from(m * m)).sum::<f64>();
    let selectors = b.selectors(&m);
    let clear_selectors = b.clear.selectors(m.clone());
    let kind = b.noise.fresh_selectors();
    let terms = vec![
        vec![Term { selector: 0, row: 1 }],
        (0..4).map(|s| Term { selector: s, row: s % 3 }).collect(),
    ];
    let got = b.cpu.products(&selectors, &rows, &terms).unwrap();
    let want = flat(&b.clear.products(&clear_selectors, &clear_rows, &terms).unwrap(), n);
    let got = b.key.decrypt_rows(&got).unwrap();
    let norms = [norm(&m[0]), m.iter().map(|m| norm(m)).sum()];
    for (o, norm) in norms.into_iter().enumerate() {
        let predicted = b.noise.products(kind, terms[o].len(), norm) + norm * fresh;
        let range = o * n..(o + 1) * n;
        let what = ["product", "sum of 4 products"][o];
        let measured = b.compare(what, &got[range.clone()], &want[range], predicted);
        near(what, measured, predicted);
    }

    let got = b.cpu.dots(&selectors, &rows).unwrap();
    let want = b.clear.dots(&clear_selectors, &clear_rows).unwrap();
    let predicted = b.noise.products(kind, 1, norms[1] / 2.0) + norms[1] / 2.0 * fresh;
    b.compare("dots", &b.key.decrypt_values(&got).unwrap(), &want, predicted);

    let got = b.key.decrypt_rows(&b.cpu.reflect(&rows).unwrap()).unwrap();
    let want = flat(&b.clear.reflect(&clear_rows).unwrap(), n);
    let predicted = b.noise.reflect() + fresh;
    let measured = b.compare("reflect", &got, &want, predicted);
    near("reflect", measured, predicted);

    let positions: Vec<_> = (0..64).map(|i| (i % 3, (i * 37) % n)).collect();
    let values = b.cpu.extract(&rows, &positions).unwrap();
    let clear_values = b.clear.extract(&clear_rows, &positions).unwrap();
    b.compare("extract", &b.key.decrypt_values(&values).unwrap(), &clear_values, fresh);

    let picks = [(1, 5), (0, 63), (0, 5)];
    let got = b.cpu.gather(&[&values, &values], &picks).unwrap();
    let want = b.clear.gather(&[&clear_values, &clear_values], &picks).unwrap();
    b.compare("gather", &b.key.decrypt_values(&got).unwrap(), &want, fresh);

    let got = b.key.decrypt_rows(&b.cpu.pack_constants(&values).unwrap()).unwrap();
    let want = flat(&b.clear.pack_constants(&clear_values).unwrap(), n);
    let constants = |i: usize| i.is_multiple_of(n);
    let pick = |x: &[u64], first: bool| -> Vec<u64> {
        x.iter().enumerate().filter(|(i, _)| constants(*i) == first).map(|(_, x)| *x).collect()
    };
    let predicted = b.noise.pack_constant() + b.noise.pack_rounding() + fresh;
    let (g, w) = (pick(&got, true), pick(&want, true));
    b.compare("pack constant: it", &g, &w, predicted);
    let (g, w) = (pick(&got, false), pick(&want, false));
    let measured = b.compare("pack constant: 0", &g, &w, b.noise.pack_constant());
    near("pack constant", measured, b.noise.pack_constant());

    if let Some(lists) = params.lists {
        // Two lists in one call, of which the second has some of the values in reverse.
        let len = n / 2;
        let phases = b.phases(len);
        let values = b
            .key
            .deterministic("test list")
            .encrypt_values(&phases, 0)
            .unwrap()
            .open(&b.cpu)
            .unwrap();
        let slots: Vec<Vec<Slot>> = vec![
            (0..len).map(|value| Slot { value, coefficient: value }).collect(),
            (0..64).map(|value| Slot { value: 63 - value, coefficient: 5 * value }).collect(),
        ];
        let got = b.key.decrypt_rows(&b.cpu.pack(&values, &slots).unwrap()).unwrap();
        let want = flat(&b.clear.pack(&phases, &slots).unwrap(), n);
        let added = |len| b.noise.pack_list(len);
        let held = |len| added(len) + b.noise.pack_list_rounding() + fresh;
        let measured = b.compare("pack list: values", &got[..len], &want[..len], held(len));
        near("pack list", measured, held(len));
        let measured = b.compare("pack list: rest", &got[len..n], &want[len..n], added(len));
        near("pack list, rest", measured, added(len));
        b.compare("list of 64", &got[n..], &want[n..], held(64));

        // Small integers by an exact lookup with tables to spare, then as selectors.
        let integers = |x: f64| [-7, 3, -2, 5][((x + 0.25) * 8.0).clamp(0.0, 3.5) as usize];
        let mut tables = Table::levels(n / 4, lists.selector, integers);
        tables.push(Table::new(n / 4, |_| 0.125));
        let count = 128;
        let inputs: Vec<u64> =
            (0..count).map(|i| to_torus(f64::from(i % 4) / 8.0 - 0.1875)).collect();
        let encrypted = b.key.deterministic("test promote").encrypt_values(&inputs, 0).unwrap();
        let levels = b.cpu.lookup(&encrypted.open(&b.cpu).unwrap(), &tables).unwrap();
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
        let got = b.key.decrypt_rows(&b.cpu.products(&got, &rows, &terms).unwrap()).unwrap();
        let want_rows = flat(&b.clear.products(&want, &clear_rows, &terms).unwrap(), n);
        let kind = b.noise.promoted_selectors(64, b.noise.lookup()).unwrap();
        let norms = want.integers.iter().map(|m| norm(m)).collect::<Vec<_>>();
        for (o, what) in ["promoted product", "sum of 2"].into_iter().enumerate() {
            let norm: f64 = norms[..=o].iter().sum();
            let predicted = b.noise.products(kind, o + 1, norm) + norm * fresh;
            let range = o * n..(o + 1) * n;
            let measured = b.compare(what, &got[range.clone()], &want_rows[range], predicted);
            near(what, measured, predicted);
        }
    }

    // Steps so wide that no input near a step's middle leaves it: an exact lookup.
    let steps = 8;
    let step = |x: f64| ((x + 0.25) * 2.0 * f64::from(steps)).floor();
    for tables in [1usize, 2, 4] {
        let slots = n / tables;
        let list: Vec<_> =
            (0..tables).map(|t| Table::new(slots, |x| (step(x) - 3.0 + t as f64) / 64.0)).collect();
        let inputs: Vec<u64> = (0..steps)
            .flat_map(|s| [s, s + steps])
            .map(|s| to_torus(-0.25 + (f64::from(s) + 0.5) / (2.0 * f64::from(steps))))
            .collect();
        let encrypted =
            b.key.deterministic("test inputs").encrypt_values(&inputs, tables as u64).unwrap();
        let encrypted = encrypted.open(&b.cpu).unwrap();
        let got = b.key.decrypt_values(&b.cpu.lookup(&encrypted, &list).unwrap()).unwrap();
        let want = b.clear.lookup(&inputs, &list).unwrap();
        let measured = b.compare("lookup", &got, &want, b.noise.lookup());
        near("lookup", measured, b.noise.lookup());
    }

    // Reads of one bootstrap have noises of their own: that of their sum is that of as many lookups.
    let sign = Table::new(n, |x| if x < 0.0 { -0.0625 } else { 0.0625 });
    let reads = [TestPolynomial::at_offsets(sign, vec![0, n / 8, n / 4]).unwrap()];
    let inputs: Vec<u64> =
        (0..256).map(|i| to_torus(if i % 2 == 0 { 0.0625 } else { -0.1875 })).collect();
    let encrypted =
        b.key.deterministic("test reads").encrypt_values(&inputs, 0).unwrap().open(&b.cpu).unwrap();
    let got = b.cpu.lookup_each(&encrypted, &reads, &[0; 256]).unwrap();
    let got = b.key.decrypt_values(&got).unwrap();
    let want = b.clear.lookup_each(&inputs, &reads, &[0; 256]).unwrap();
    let sums = |x: &[u64]| -> Vec<u64> {
        x.chunks(3).map(|x| x.iter().fold(0u64, |sum, x| sum.wrapping_add(*x))).collect()
    };
    let predicted = 3.0 * b.noise.lookup();
    let measured = b.compare("sum of 3 reads", &sums(&got), &sums(&want), predicted);
    near("sum of 3 reads", measured, predicted);

    // A fine ramp shows the noise with which the input is read.
    let ramp = Table::new(n, |x| x / 2.0);
    let inputs: Vec<u64> = (0..256).map(|i| to_torus(-0.1 + 0.2 * f64::from(i) / 256.0)).collect();
    let encrypted =
        b.key.deterministic("test ramp").encrypt_values(&inputs, 0).unwrap().open(&b.cpu).unwrap();
    let got = b.key.decrypt_values(&b.cpu.lookup(&encrypted, std::slice::from_ref(&ramp)).unwrap());
    let want: Vec<u64> = inputs.iter().map(|&x| to_torus(from_torus(x) / 2.0)).collect();
    let slot = 0.25 / n as f64;
    let predicted = b.noise.lookup() + (b.noise.lookup_input(1) + slot * slot / 3.0) / 4.0;
    let measured = b.compare("lookup input / 2", &got.unwrap(), &want, predicted);
    near("lookup input", measured, predicted);
}

#[test]
fn public_weights_give_exact_sums_on_every_engine() {
    let mut b = bench(&Params::toy_insecure().unwrap());
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
    let mut b = bench(&Params::toy_insecure().unwrap());
    let (n, count) = (b.n(), 50);
    // Signs times an eighth or a sixteenth, of values in the middle of the two halves; and signs of the values an eighth
    // and a quarter of the torus further on: exact.
    let signs: Vec<bool> = (0..count).map(|_| b.rng.random_range(0..2) == 1).collect();
    let mut phases = vec![0; n];
    for (phase, sign) in phases.iter_mut().zip(&signs) {
        *phase = to_torus(if *sign { 0.0625 } else { -0.1875 });
    }
    let rows = b.cpu_rows(&phases);
    let x = b.cpu.extract(&rows, &(0..count).map(|i| (0, i)).collect::<Vec<_>>()).unwrap();
    let sign = |size: f64| Table::new(n, move |x| if x < 0.0 { -size } else { size });
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

/// 256 samples at least a move: the ratio of standard deviations stays within 1.35 with a
/// probability above 1 - 1e-10 if the formula is right (16 samples for the coarsest lookup: 2).
#[test]
fn moves_on_toy_keys_equal_the_specification_within_predicted_noise() {
    all_moves(&Params::toy_insecure().unwrap(), 2.0);
}

#[test]
fn moves_on_secure_keys_equal_the_specification_within_predicted_noise() {
    all_moves(&Params::secure128().unwrap(), 2.0);
}

#[test]
fn moves_on_secure_keys_for_deep_networks_are_within_predicted_noise() {
    all_moves(&Params::secure128_deep().unwrap(), 2.0);
}

#[test]
fn moves_on_secure_keys_of_the_first_deep_set_are_within_predicted_noise() {
    all_moves(&Params::secure128_deep_v1().unwrap(), 2.0);
}

#[test]
fn moves_on_secure_keys_for_public_weights_are_within_predicted_noise() {
    all_moves(&Params::secure128_bnn().unwrap(), 2.0);
}

/// A program of products and two exact lookups in turn: after rounding to the table's three levels,
/// ciphertexts and specification agree bit for bit.
#[test]
fn an_exact_program_is_bit_equal() {
    let mut b = bench(&Params::secure128().unwrap());
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
    });
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

#[test]
fn engines_refuse_the_same_programs() {
    let params = Params::toy_insecure().unwrap();
    let mut b = bench(&params);
    let n = b.n();
    let phases = b.phases(n);
    let (rows, clear_rows) = (b.cpu_rows(&phases), b.clear_rows(&phases));
    let m = b.integers(1, 1);
    let selectors = b.selectors(&m);
    let clear_selectors = b.clear.selectors(m);
    let terms = [vec![Term { selector: 0, row: 1 }]];
    let short = Table::new(n / 2, |_| 0.0);
    let same = |x: Error, y: Error| assert_eq!(x.to_string(), y.to_string());
    same(
        b.cpu.products(&selectors, &rows, &terms).unwrap_err(),
        b.clear.products(&clear_selectors, &clear_rows, &terms).unwrap_err(),
    );
    same(
        b.cpu.extract(&rows, &[(0, n)]).unwrap_err(),
        b.clear.extract(&clear_rows, &[(0, n)]).unwrap_err(),
    );
    let values = b.cpu.extract(&rows, &[(0, 0)]).unwrap();
    same(
        b.cpu.lookup(&values, std::slice::from_ref(&short)).unwrap_err(),
        b.clear.lookup(&vec![0], std::slice::from_ref(&short)).unwrap_err(),
    );
    let twice = [vec![Slot { value: 0, coefficient: 1 }; 2]];
    same(b.cpu.pack(&values, &twice).unwrap_err(), b.clear.pack(&vec![0], &twice).unwrap_err());
    same(
        b.cpu.promote(&values, 2, &twice).err().unwrap(),
        b.clear.promote(&vec![0], 2, &twice).unwrap_err(),
    );
    same(
        b.cpu.gather(&[&values], &[(0, 1)]).unwrap_err(),
        b.clear.gather(&[&vec![0]], &[(0, 1)]).unwrap_err(),
    );
    let window = [vec![Some(1)]];
    same(
        b.cpu.weighted_sums(&values, &window, &[vec![1]]).unwrap_err(),
        b.clear.weighted_sums(&vec![0], &window, &[vec![1]]).unwrap_err(),
    );
    let (window, two) = ([vec![Some(0)]], [vec![1], vec![1, 2]]);
    same(
        b.cpu.weighted_sums(&values, &window, &two).unwrap_err(),
        b.clear.weighted_sums(&vec![0], &window, &two).unwrap_err(),
    );
    let three = vec![Table::new(n, |_| 0.0); 3];
    same(b.cpu.lookup(&values, &three).unwrap_err(), b.clear.lookup(&vec![0], &three).unwrap_err());
}
