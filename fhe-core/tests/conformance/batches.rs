//! Lookups in batches: what the specification reads, and what a meter counts.

use fhe_core::engine::meter::Metered;

use fhe_core::noise::BatchNoise;

use super::*;
use fhe_core::noise::SelectorKind;

fn params() -> Params {
    Params::toy_insecure_batch().unwrap()
}

/// A function that is neither odd nor even, of a phase in fractions of the torus.
fn f(x: f64) -> f64 {
    x * x + x / 8.0
}

fn table(slots: usize) -> Table {
    Table::new(slots, f).unwrap()
}

/// Reads are those of the definition: at t slots of the torus, or of the half torus if promised.
#[test]
fn values_in_batches_are_read_at_the_slots_of_the_set() {
    let (params, clear) = (params(), Clear::exact(&params()));
    let (n, t) = (params.row_size, params.batch.unwrap().slots as f64);
    let x: Vec<f64> = (0..700).map(|i| f64::from(i) / 700.0 - 0.5).collect();
    let phases: Vec<u64> = x.iter().map(|&x| to_torus(x)).collect();
    let read = |table: Table| clear.lookup(&phases, &[table]).unwrap();
    let inside = |x: f64| (-0.25..0.25).contains(&x);
    let nearest = |x: f64, slots: f64| (x * slots + 0.5).floor() / slots;
    let (plain, promised) = (read(table(n)), read(table(n).within_half_torus()));
    for (i, &x) in x.iter().enumerate() {
        let (at, fine) = (nearest(x, t), nearest(x, 2.0 * t));
        let away = |x: f64| if x < 0.0 { x + 0.5 } else { x - 0.5 };
        let expected = if inside(at) { f(at) } else { -f(away(at)) };
        assert_eq!(plain[i], to_torus(expected), "{x}, negacyclic");
        let expected = if inside(fine) { f(fine) } else { f(away(fine)) };
        assert_eq!(promised[i], to_torus(expected), "{x}, periodic");
    }
    // A list of 15 is below the 128th part of a batch.
    let single = clear.lookup(&phases[..15].to_vec(), &[table(n).within_half_torus()]).unwrap();
    assert_eq!(single, clear.lookup(&phases[..15].to_vec(), &[table(n)]).unwrap());
    assert_ne!(single[..], promised[..15]);
}

/// Functions with many values go in batches, those with few one value at a time.
#[test]
fn each_function_takes_its_own_path() {
    let (params, n) = (params(), params().row_size);
    let clear = Clear::exact(&params);
    let x: Vec<u64> = (0..60).map(|i| to_torus(f64::from(i) / 140.0 - 0.21)).collect();
    let functions = [table(n), Table::new(n, |x| -f(x)).unwrap()].map(TestPolynomial::new);
    let of: Vec<usize> = (0..60).map(|i| usize::from(i % 5 == 0)).collect();
    let out = clear.lookup_each(&x, &functions, &of).unwrap();
    let meter = Meter::new(&params);
    meter.lookup_each(&meter.fresh(60), &functions, &of).unwrap();
    let price = meter.price();
    assert_eq!((price.lookups, price.batches, price.batched), (12, 1, 48));
    for (i, &x) in x.iter().enumerate() {
        let expected = if of[i] == 1 { -from_torus(table(n).at(x)) } else { f(from_torus(x)) };
        // A slot of the batch is 1/128.
        let near = if of[i] == 1 { 1e-12 } else { 0.5 / 128.0 };
        assert!((from_torus(out[i]) - expected).abs() <= near, "{i}");
    }
}

/// Everything a lookup can give, in place and by promotion and packing: the same numbers.
#[test]
fn outputs_are_the_same_in_place_and_by_moves() {
    let (params, n) = (params(), params().row_size);
    let clear = Clear::exact(&params);
    let m = IntegerTable::new(n, |x| (32.0 * x).round() as i32).unwrap().within_half_torus();
    let (scaled, other) = (m.times(1.0 / 64.0), table(n).within_half_torus());
    let x: Vec<u64> = (0..300).map(|i| to_torus(f64::from(i) / 620.0 - 0.24)).collect();
    let slot = |value, coefficient| Slot { value, coefficient };
    let dense = vec![(0..300).map(|i| slot(i, 299 - i)).collect::<Vec<_>>()];
    // As many lists as no batch holds.
    let sparse: Vec<Vec<Slot>> = (0..300).map(|i| vec![slot(i, i)]).collect();
    let run = |first: &[Vec<Slot>], second: &[Vec<Slot>]| {
        let outputs = Outputs {
            selectors: Some((m.clone(), first.to_vec())),
            rows: vec![(scaled.clone(), first.to_vec()), (other.clone(), second.to_vec())],
            values: vec![scaled.clone(), other.clone()],
        };
        let meter = Meter::new(&params);
        let mut metered = meter.lookup_into(&meter.fresh(300), &outputs).unwrap();
        let mut out = clear.lookup_into(&x, &outputs).unwrap();
        let lens = [metered.rows().unwrap().len, metered.rows().unwrap().len];
        let rows = [out.rows().unwrap(), out.rows().unwrap()];
        assert_eq!(lens, [first.len(), second.len()]);
        assert_eq!(rows.each_ref().map(Vec::len), lens);
        let values = [out.values().unwrap(), out.values().unwrap()];
        (out.selectors().unwrap(), rows, values, meter.price())
    };
    let (in_place, by_moves) = (run(&dense, &sparse), run(&sparse, &dense));
    let (price, moves) = (in_place.3, by_moves.3);
    assert_eq!((price.batches, price.batched, price.promoted_levels), (1, 300, 0));
    assert_eq!((moves.batches, moves.batched, moves.promoted_levels), (1, 300, 1500));
    assert_eq!((price.packed_lists, moves.packed_lists), (300, 301));
    assert_eq!(in_place.2, by_moves.2);
    let integer = |i: usize| (32.0 * (from_torus(x[i]) * 256.0).round() / 256.0).round() as i32;
    for i in 0..300 {
        assert_eq!(in_place.0.integers[0][299 - i], integer(i), "{i}");
        assert_eq!(by_moves.0.integers[i][i], integer(i), "{i}");
        assert_eq!(in_place.2[0][i], to_torus(f64::from(integer(i)) / 64.0));
        for (rows, list, coefficient) in [(&in_place.1[0], 0, 299 - i), (&by_moves.1[0], i, i)] {
            assert_eq!(rows[list].coefficients(n)[coefficient], in_place.2[0][i]);
        }
        for (rows, list, coefficient) in [(&in_place.1[1], i, i), (&by_moves.1[1], 0, 299 - i)] {
            assert_eq!(rows[list].coefficients(n)[coefficient], in_place.2[1][i]);
        }
    }
    let row = in_place.1[0][0].coefficients(n);
    assert!(row[300..].iter().all(|&x| x == 0), "coefficients that no slot names");
}

/// The engine with noise has that of the formulas.
#[test]
fn noise_of_batches_is_that_of_the_formulas() {
    let (params, n) = (params(), params().row_size);
    let (noise, noisy) = (Noise::new(&params), Clear::noisy(&params, 4));
    let x: Vec<u64> = (0..2048).map(|i| to_torus(0.3 * f64::from(i) / 2048.0 - 0.15)).collect();
    let constant = Table::new(n, |_| 0.125).unwrap();
    let out = noisy.lookup(&x, &[constant]).unwrap();
    let constant_noise = |x: f64| {
        let table = Table::new(n, move |_| x).unwrap();
        noise.batch_output(&TestPolynomial::new(table))[0].mean()
    };
    let calm = constant_noise(0.125);
    near("output", &out, &vec![to_torus(0.125); 2048], calm);
    for half in [false, true] {
        let ramp = Table::new(n, |x| x / 2.0).unwrap();
        let ramp = if half { ramp.within_half_torus() } else { ramp };
        let out = noisy.lookup(&x, &[ramp]).unwrap();
        let want: Vec<u64> = x.iter().map(|&x| to_torus(from_torus(x) / 2.0)).collect();
        let packing = noise.batch_packing(n);
        let slot = 1.0 / if half { 256.0 } else { 128.0 };
        let read = noise.batch_input(half) + packing + slot * slot / 12.0;
        near("input / 2", &out, &want, calm + read / 4.0);
    }
    let meter = Meter::new(&params);
    let y = meter.lookup(&meter.fresh(2048), &[table(n)]).unwrap();
    let variance = noise.batch_output(&TestPolynomial::new(table(n)))[0].mean();
    assert_eq!(y, Metered { len: 2048, variance });
    assert_eq!(meter.list().readings[0].slots, 64);
}

/// Values spread over the half torus, in the middle of the `steps` steps that it is cut into.
fn middles(b: &mut Case, count: usize, steps: i32) -> (Vec<i32>, Vec<u64>) {
    let of: Vec<i32> = (0..count).map(|_| b.rng.random_range(0..steps)).collect();
    let middle = |&step: &i32| to_torus((f64::from(step) + 0.5) / f64::from(2 * steps) - 0.25);
    let phases = of.iter().map(middle).collect();
    (of, phases)
}

/// The predicted noise of a table in a batch.
fn noise_of(b: &Bench, table: &Table) -> BatchNoise {
    b.noise.batch_output(&TestPolynomial::new(table.clone())).swap_remove(0)
}

/// The same of a table without steps.
fn calm(b: &Bench) -> f64 {
    noise_of(b, &Table::new(b.n(), |_| 0.0).unwrap()).mean()
}

/// The noise of selectors of integers that are read far from jumps.
fn calm_selectors(b: &Bench) -> SelectorKind {
    b.noise.batch_selectors(&IntegerTable::new(b.n(), |_| 0).unwrap()).unwrap()
}

/// Values whose encryption is quick: coefficients of rows.
fn spread(b: &Bench, phases: &[u64]) -> cpu::Values {
    let n = b.n();
    let mut padded = phases.to_vec();
    padded.resize(phases.len().next_multiple_of(n), 0);
    let at: Vec<_> = (0..phases.len()).map(|i| (i / n, i % n)).collect();
    b.cpu.extract(&b.cpu_rows(&padded), &at).unwrap()
}

/// A staircase of signed integers and a smooth table, in a batch that is not full: every integer is
/// right, and both are as noisy as predicted.
pub(super) fn batch_values(b: &mut Case) {
    let (n, t) = (b.n(), b.key.params().batch.unwrap().slots);
    let count = 3 * n - 1;
    let (of, phases) = middles(b, count, 4);
    let stairs = Table::new(n, |x| ((x + 0.25) * 8.0).floor() / 16.0 - 0.125).unwrap();
    let stairs = stairs.within_half_torus();
    let got = b.cpu.lookup(&spread(b, &phases), std::slice::from_ref(&stairs)).unwrap();
    let want: Vec<u64> = of.iter().map(|&s| to_torus(f64::from(s) / 16.0 - 0.125)).collect();
    assert_eq!(b.clear.lookup(&phases, std::slice::from_ref(&stairs)).unwrap(), want);
    let noise = noise_of(b, &stairs);
    // Slots near the middle of steps: less noise than beside jumps.
    let measured = within("stairs", &b.decrypt(&got), &want, noise.most());
    assert!(measured > calm(b) / 4.0, "{measured:e}");

    let ramp = |half: bool| {
        let ramp = Table::new(n, |x| x / 2.0).unwrap();
        if half { ramp.within_half_torus() } else { ramp }
    };
    let phases: Vec<u64> = (0..count).map(|_| to_torus(b.rng.random_range(-0.2..0.2))).collect();
    let x = spread(b, &phases);
    let want: Vec<u64> = phases.iter().map(|&x| to_torus(from_torus(x) / 2.0)).collect();
    for half in [false, true] {
        let got = b.cpu.lookup(&x, &[ramp(half)]).unwrap();
        let slot = if half { 0.5 } else { 1.0 } / t as f64;
        let packing = b.noise.batch_packing(n);
        let read = b.noise.batch_input(half) + packing + slot * slot / 12.0;
        near("reading", &b.decrypt(&got), &want, read / 4.0);
    }
}

/// Uniform values: the mean noise is the predicted one, on both sides.
pub(super) fn batch_output(b: &mut Case) {
    let (n, spec) = (b.n(), b.key.params().batch.unwrap());
    let count = spec.rows * n;
    // Two steps up and one down, wide apart: what a value reads is known but for values near them.
    let steps = |x: f64| {
        if x < -0.05 {
            0.0
        } else if x < 0.1 {
            0.4
        } else {
            0.2
        }
    };
    let table = Table::new(n, steps).unwrap().within_half_torus();
    let phases: Vec<u64> = (0..count).map(|_| to_torus(b.rng.random_range(-0.25..0.25))).collect();
    let list: Vec<Vec<Slot>> = (0..spec.rows)
        .map(|r| (0..n).map(|i| Slot { value: r * n + i, coefficient: i }).collect())
        .collect();
    let rows = b.cpu.lookup_rows(&spread(b, &phases), std::slice::from_ref(&table), &list).unwrap();
    let got = b.decrypt_rows(&rows);
    let noise = noise_of(b, &table);
    let (mut sum, mut wrong) = (0.0, 0);
    for (got, phase) in got.iter().zip(&phases) {
        let got = from_torus(*got);
        let nearest =
            [0.0, 0.2, 0.4].into_iter().min_by(|x, y| (got - x).abs().total_cmp(&(got - y).abs()));
        let error = got - nearest.unwrap();
        sum += error * error;
        assert!(error.abs() < 8.0 * noise.most().sqrt(), "{got}");
        wrong += usize::from((nearest.unwrap() - steps(from_torus(*phase))).abs() > 0.1);
    }
    let ratio = (sum / count as f64 / noise.mean()).sqrt();
    assert!((0.7..1.4).contains(&ratio), "measured std is {ratio:.2} of the predicted");
    // A value beside one of three steps reads either side: within two standard deviations of it.
    let read = (b.noise.batch_input(true) + b.noise.batch_packing(n)).sqrt();
    assert!((wrong as f64) < count as f64 * 4.0 * 2.0 * read / 0.5, "{wrong} of {count}");
}

/// Selectors out of a batch multiply as the integers do, with the predicted noise; coefficients
/// that no slot names are 0.
pub(super) fn batch_selectors(b: &mut Case) {
    let n = b.n();
    let (of, phases) = middles(b, n, 4);
    // With mean 0: others are correlated with the key, whose mean is 1/2.
    let integers = |x: f64| 10 * ((x + 0.25) * 8.0).floor() as i32 - 15;
    let integers = IntegerTable::new(n, integers).unwrap().within_half_torus();
    let gate = Table::new(n, |x| if x < 0.0 { 0.0 } else { 0.25 }).unwrap().within_half_torus();
    let lists: Vec<Vec<Slot>> = [0, n / 2]
        .map(|first| {
            (first..first + n / 2).map(|value| Slot { value, coefficient: value - first }).collect()
        })
        .to_vec();
    let x = spread(b, &phases);
    let (selectors, gates) =
        b.cpu.lookup_selectors(&x, &integers, std::slice::from_ref(&gate), &lists).unwrap();
    let (clear, want) =
        b.clear.lookup_selectors(&phases, &integers, std::slice::from_ref(&gate), &lists).unwrap();
    assert_eq!(clear.integers[1][3], 10 * of[n / 2 + 3] - 15);
    within("gates", &b.decrypt_rows(&gates), &b.flat(&want), 64.0 * calm(b));

    let (rows, clear_rows) = b.rows(2);
    let terms: Vec<Vec<Term>> =
        (0..4).map(|i| vec![Term { selector: i / 2, row: i % 2 }]).collect();
    let got = b.decrypt_rows(&b.cpu.products(&selectors, &rows, &terms).unwrap());
    let want = b.flat(&b.clear.products(&clear, &clear_rows, &terms).unwrap());
    let norm = squared_norm(&clear.integers[0]).max(squared_norm(&clear.integers[1]));
    let kind = calm_selectors(b);
    near("products", &got, &want, b.noise.products(kind, 1, norm) + norm * b.noise.fresh());
}

/// Lists of awkward lengths.
pub(super) fn batch_lengths(b: &mut Case) {
    let (n, spec) = (b.n(), b.key.params().batch.unwrap());
    let full = spec.values(n);
    let sign = Table::new(n, |x| if x < 0.0 { -0.125 } else { 0.125 }).unwrap();
    let sign = sign.within_half_torus();
    for count in [0, 1, full / 128 - 1, full / 128, full - 1, full, full + 1] {
        let (_, phases) = middles(b, count, 2);
        let got = b.cpu.lookup(&spread(b, &phases), std::slice::from_ref(&sign)).unwrap();
        let want = b.clear.lookup(&phases, std::slice::from_ref(&sign)).unwrap();
        for (got, want) in b.decrypt(&got).iter().zip(&want) {
            assert!(from_torus(got.wrapping_sub(*want)).abs() < 0.01, "{count}");
        }
    }
}

/// Batches that are in work together give what they give one after the other, bit for bit.
#[test]
fn batches_are_the_same_on_any_number_of_threads() {
    let mut b = Case::new(&params());
    let rows = 2 * params().batch.unwrap().rows + 1;
    let (rows, _) = b.rows(rows);
    let tables = [table(b.n()), Table::new(b.n(), |x| x / 4.0).unwrap()];
    // One thread has one batch in work, 24 have three.
    let [one, many] = [1, 24].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (_, of_tables) =
            pool.install(|| b.cpu.lookup_coefficients(&rows, None, &tables)).unwrap();
        of_tables.iter().map(|rows| b.decrypt_rows(rows)).collect::<Vec<_>>()
    });
    assert!(one == many && one.len() == 2);
    assert_ne!(one[0][..b.n()], one[0][one[0].len() - b.n()..], "rows differ");
}

/// Without batches a lookup's outputs are those of the single moves, bit for bit.
#[test]
fn outputs_without_batches_are_those_of_the_moves() {
    let b = Case::new(&Params::toy_insecure().unwrap());
    let n = b.n();
    let gadget = b.key.params().lists.unwrap().selector;
    let m = IntegerTable::new(n, |x| (32.0 * x).round() as i32).unwrap();
    let (scaled, finest) = (m.times(1.0 / 1024.0), m.times(2f64.powi(-21)));
    let inputs: Vec<u64> = (0..40).map(|i| to_torus(f64::from(i) / 90.0 - 0.22)).collect();
    let x = b.values(&inputs, "test outputs");
    let list = |factor| -> Vec<Slot> {
        (0..40).map(|i| Slot { value: i, coefficient: factor * i + 1 }).collect()
    };
    let (back, rows) = (vec![list(2)], vec![list(1), list(5)]);
    let outputs = Outputs {
        selectors: Some((m.clone(), back.clone())),
        rows: vec![(scaled.clone(), rows.clone())],
        values: vec![finest, scaled.clone()],
    };
    let mut out = b.cpu.lookup_into(&x, &outputs).unwrap();

    // Tables with as many slots as four of them have in a bootstrap; the finest level is one.
    let mut tables = IntegerTable::new(n / 4, |x| (32.0 * x).round() as i32).unwrap();
    let mut four = tables.levels(gadget).unwrap();
    tables = tables.within_half_torus();
    four.push(tables.times(1.0 / 1024.0));
    let y = b.cpu.lookup(&x, &four).unwrap();
    let of = |t: usize| b.cpu.take(&y, (0..40).map(|i| 4 * i + t)).unwrap();
    assert_eq!(out.values().unwrap().elements(), of(2).elements());
    assert_eq!(out.values().unwrap().elements(), of(3).elements());
    let packed = b.cpu.pack(&of(3), &rows).unwrap();
    assert_eq!(out.rows().unwrap().elements(), packed.elements());
    let (got, want) = (out.selectors().unwrap(), b.cpu.promote(&y, 4, &back).unwrap());
    let terms = [vec![Term { selector: 0, row: 0 }]];
    let product = |m| b.cpu.products(m, &packed, &terms).unwrap();
    assert_eq!(product(&got).elements(), product(&want).elements());
}

/// Checks that lanes average the noise of products of one of some selectors out, up to a factor.
/// With masks that are not divided the factor would be 80 for toy keys and 250 or more for others.
fn average_out(
    b: &mut Case,
    (m, clear): (&cpu::Selectors, &fhe_core::engine::clear::Selectors),
    (selector, kind): (usize, SelectorKind),
    most: f64,
) {
    let n = b.n();
    let (factors, clear_factors) = b.rows(64);
    let terms: Vec<Vec<Term>> = (0..64).map(|row| vec![Term { selector, row }]).collect();
    let got = b.decrypt_rows(&b.cpu.products(m, &factors, &terms).unwrap());
    let want = b.flat(&b.clear.products(clear, &clear_factors, &terms).unwrap());
    let norm = squared_norm(&clear.integers[selector]);
    let added = b.noise.products(kind, 1, norm) + norm * b.noise.fresh();
    near("64 products", &got, &want, added);
    uneven("64 products", &got, &want, added, (n, most));
}

/// Values of a batch, promoted: the noise of their products.
pub(super) fn promoted_values(b: &mut Case) {
    let (n, gadget) = (b.n(), b.key.params().lists.unwrap().selector);
    let (of, phases) = middles(b, n, 4);
    let integers = |x: f64| 10 * ((x + 0.25) * 8.0).floor() as i32 - 15;
    let integers = IntegerTable::new(n, integers).unwrap().within_half_torus();
    let tables = integers.levels(gadget).unwrap();
    let levels = b.cpu.lookup(&spread(b, &phases), &tables).unwrap();
    let slots = (0..n).map(|value| Slot { value, coefficient: value }).collect();
    let m = b.cpu.promote(&levels, tables.len(), &[slots]).unwrap();
    let clear = b.clear.selectors(vec![of.iter().map(|i| 10 * i - 15).collect()]);
    let kind = b.noise.promoted_selectors(n, calm(b)).unwrap();
    // A fiftieth of what undivided masks leave is left, from where we do not know.
    average_out(b, (&m, &clear), (0, kind), 20.0);
}

/// Selectors that the client encrypts and those out of a batch are kept in two forms, which add up
/// in either order if a set has one gadget for both.
#[test]
fn selectors_of_two_forms_add_up() {
    let spec = (*Params::toy_insecure_batch().unwrap()).clone();
    let (name, selector) = ("insecure-one-gadget".into(), spec.lists.unwrap().selector);
    let mut b = Case::new(&Params::new(fhe_core::ParamsSpec { name, selector, ..spec }).unwrap());
    let n = b.n();
    let (_, phases) = middles(&mut b, n, 4);
    let integers = |x: f64| 10 * ((x + 0.25) * 8.0).floor() as i32 - 15;
    let integers = IntegerTable::new(n, integers).unwrap().within_half_torus();
    let made = |b: &Case| {
        let (m, _) = b.cpu.lookup_coefficients(&b.cpu_rows(&phases), Some(&integers), &[]).unwrap();
        m.unwrap()
    };
    let (made_clear, _) =
        b.clear.lookup_coefficients(&b.clear_rows(&phases), Some(&integers), &[]).unwrap();
    let fresh = b.integers(1, 3);
    let mut sum = made_clear.unwrap();
    b.clear.add_selectors(&mut sum, &b.clear.selectors(fresh.clone())).unwrap();
    let (mut first, mut second) = (made(&b), b.selectors(&fresh));
    b.cpu.add_selectors(&mut first, &b.selectors(&fresh)).unwrap();
    b.cpu.add_selectors(&mut second, &made(&b)).unwrap();

    let (rows, clear_rows) = b.rows(1);
    let terms = [vec![Term { selector: 0, row: 0 }]];
    let want = b.flat(&b.clear.products(&sum, &clear_rows, &terms).unwrap());
    let norm = squared_norm(&sum.integers[0]);
    let rows_of = calm_selectors(&b).rows + 2.0 * b.noise.fresh_selectors().rows;
    let kind = SelectorKind { rows: rows_of, ..calm_selectors(&b) };
    let added = b.noise.products(kind, 1, norm) + norm * b.noise.fresh();
    for m in [first, second] {
        let got = b.decrypt_rows(&b.cpu.products(&m, &rows, &terms).unwrap());
        near("a product", &got, &want, added);
    }
}

/// All coefficients of rows at once: integers, and a smooth table that shows the reading's noise.
pub(super) fn lookup_coefficients(b: &mut Case) {
    let (n, spec) = (b.n(), b.key.params().batch.unwrap());
    let count = spec.rows + 1;
    let (of, phases) = middles(b, count * n, 4);
    let x = b.cpu_rows(&phases);
    let clear_x = b.clear_rows(&phases);
    let integers = |x: f64| 10 * ((x + 0.25) * 8.0).floor() as i32 - 15;
    let integers = IntegerTable::new(n, integers).unwrap().within_half_torus();
    let ramp = Table::new(n, |x| x / 2.0).unwrap().within_half_torus();
    let tables = [integers.times(1.0 / 128.0), ramp];
    let (m, rows) = b.cpu.lookup_coefficients(&x, Some(&integers), &tables).unwrap();
    let (clear, want) = b.clear.lookup_coefficients(&clear_x, Some(&integers), &tables).unwrap();
    let (m, clear) = (m.unwrap(), clear.unwrap());
    assert_eq!((m.len(), rows.len(), rows[1].len()), (count, 2, count));
    assert_eq!(clear.integers[1][3], 10 * of[n + 3] - 15);
    let noise = noise_of(b, &tables[0]);
    within("integers", &b.decrypt_rows(&rows[0]), &b.flat(&want[0]), noise.most());
    let half: Vec<u64> = phases.iter().map(|&x| to_torus(from_torus(x) / 2.0)).collect();
    let slot = 0.5 / spec.slots as f64;
    let read = b.noise.batch_input(true) + slot * slot / 12.0;
    near("reading", &b.decrypt_rows(&rows[1]), &half, read / 4.0);

    let (factors, clear_factors) = b.rows(1);
    let terms: Vec<Vec<Term>> =
        [0, count - 1].map(|selector| vec![Term { selector, row: 0 }]).to_vec();
    let got = b.decrypt_rows(&b.cpu.products(&m, &factors, &terms).unwrap());
    let want = b.flat(&b.clear.products(&clear, &clear_factors, &terms).unwrap());
    let norm = clear.integers.iter().map(|m| squared_norm(m)).fold(0.0, f64::max);
    let kind = calm_selectors(b);
    near("products", &got, &want, b.noise.products(kind, 1, norm) + norm * b.noise.fresh());

    let worst = clear.integers.iter().position(|m| squared_norm(m) == norm).unwrap();
    average_out(b, (&m, &clear), (worst, kind), 2.5);

    let (none, rows) = b.cpu.lookup_coefficients(&x, None, &tables[..1]).unwrap();
    assert!(none.is_none() && rows.len() == 1);
    assert!(b.cpu.lookup_coefficients(&x, None, &[]).unwrap().1.is_empty());
}
