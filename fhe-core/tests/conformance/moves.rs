//! The moves, each on ciphertexts and in the clear.

pub(super) use super::batches::{
    batch_lengths, batch_output, batch_selectors, batch_values, lookup_coefficients,
    promoted_values,
};
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

/// Coefficient 0 of sums of products.
pub(super) fn dot_products(b: &mut Case) {
    let (rows, clear_rows) = b.rows(3);
    let m = b.integers(4, 3);
    let terms: Vec<Vec<Term>> = (0..64)
        .map(|i| [0, 1].map(|j| Term { selector: (i + j) % 4, row: (i / 4 + j) % 3 }).to_vec())
        .collect();
    let norm: f64 = 2.0 * m.iter().map(|m| squared_norm(m)).fold(0.0, f64::max);
    let got = b.decrypt(&b.cpu.dot_products(&b.selectors(&m), &rows, &terms).unwrap());
    let m = b.clear.selectors(m);
    let want = b.clear.dot_products(&m, &clear_rows, &terms).unwrap();
    let products = b.clear.products(&m, &clear_rows, &terms).unwrap();
    let at: Vec<_> = (0..terms.len()).map(|row| (row, 0)).collect();
    assert_eq!(want, b.clear.extract(&products, &at).unwrap());
    let added = b.noise.products(b.noise.fresh_selectors(), 2, norm);
    near("dot products", &got, &want, added + norm * b.noise.fresh());
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
    let mut tables = IntegerTable::new(n / 4, integers).unwrap().levels(gadget).unwrap();
    tables.push(Table::new(n, |_| 0.125).unwrap());
    let inputs: Vec<u64> = (0..128).map(|i| to_torus(f64::from(i % 4) / 8.0 - 0.1875)).collect();
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
    let inputs: Vec<u64> = (0..256).map(|i| to_torus(-0.1 + 0.2 * f64::from(i) / 256.0)).collect();
    let got = b.decrypt(&b.cpu.lookup(&b.values(&inputs, "test ramp"), &ramp).unwrap());
    let want: Vec<u64> = inputs.iter().map(|&x| to_torus(from_torus(x) / 2.0)).collect();
    let slot = 0.25 / b.n() as f64;
    let read = b.noise.lookup_input(1) + slot * slot / 3.0;
    near("lookup input / 2", &got, &want, b.noise.lookup() + read / 4.0);
}

/// Values in lists of their own, one of them twice: integers as selectors, with a row beside each.
pub(super) fn lookup_selectors(b: &mut Case) {
    let n = b.n();
    let (rows, clear_rows) = b.rows(1);
    let integers = |x: f64| [-7, 3, -2, 5][((x + 0.25) * 8.0).clamp(0.0, 3.5) as usize];
    let m = IntegerTable::new(n, integers).unwrap().within_half_torus();
    let eighths = m.times(1.0 / 64.0);
    let inputs: Vec<u64> = (0..128).map(|i| to_torus(f64::from(i % 4) / 8.0 - 0.1875)).collect();
    let slot = |value, coefficient| Slot { value, coefficient };
    let lists: Vec<Vec<Slot>> = vec![
        (0..64).map(|i| slot(i, 3 * i)).chain([slot(64, n - 1)]).collect(),
        (64..128).rev().map(|i| slot(i, i)).collect(),
    ];
    let x = b.values(&inputs, "test selectors");
    let (got, got_rows) =
        b.cpu.lookup_selectors(&x, &m, std::slice::from_ref(&eighths), &lists).unwrap();
    let (want, want_rows) =
        b.clear.lookup_selectors(&inputs, &m, std::slice::from_ref(&eighths), &lists).unwrap();
    let at = |list: usize, coefficient: usize| want.integers[list][coefficient];
    assert_eq!((at(0, 3 * 2), at(0, n - 1), at(1, 65), at(1, 0)), (-2, -7, 3, 0));

    let looked_up = b.noise.lookup();
    let packed = b.noise.pack_list(65) + b.noise.pack_list_rounding() + looked_up;
    within("rows", &b.decrypt_rows(&got_rows), &b.flat(&want_rows), packed);
    let terms = [0, 1].map(|selector| vec![Term { selector, row: 0 }]);
    let got = b.decrypt_rows(&b.cpu.products(&got, &rows, &terms).unwrap());
    let products = b.flat(&b.clear.products(&want, &clear_rows, &terms).unwrap());
    let kind = b.noise.promoted_selectors(65, looked_up).unwrap();
    let norm = want.integers.iter().map(|m| squared_norm(m)).fold(0.0, f64::max);
    let predicted = b.noise.products(kind, 1, norm) + norm * b.noise.fresh();
    near("products", &got, &products, predicted);
}

/// Rows of three tables, which no power of two fits.
pub(super) fn lookup_rows(b: &mut Case) {
    let n = b.n();
    let step = |x: f64| ((x + 0.25) * 8.0).floor();
    let table = |t: i32| Table::new(n, move |x| (step(x) - f64::from(t)) / 64.0).unwrap();
    let tables: Vec<Table> = (0..3).map(table).collect();
    let inputs: Vec<u64> = (0..64).map(|i| to_torus(f64::from(i % 4) / 8.0 - 0.1875)).collect();
    let lists: Vec<Vec<Slot>> = [0, 32]
        .map(|first| (0..32).map(|i| Slot { value: first + i, coefficient: 7 * i }).collect())
        .to_vec();
    let x = b.values(&inputs, "test rows of tables");
    let got = b.decrypt_rows(&b.cpu.lookup_rows(&x, &tables, &lists).unwrap());
    let want = b.flat(&b.clear.lookup_rows(&inputs, &tables, &lists).unwrap());
    assert_eq!(want.len(), 2 * 3 * n);
    // List 1, table 2, value 32 + 3: step 3 less 2.
    assert_eq!(want[(3 + 2) * n + 7 * 3], to_torus(1.0 / 64.0));
    let packed = b.noise.pack_list(32) + b.noise.pack_list_rounding() + b.noise.lookup();
    within("rows of tables", &got, &want, packed);
}

/// Coefficients go to the parts that their remainders name, with the noise of as many automorphisms
/// as there are levels; what is dropped leaves less behind.
pub(super) fn expand(b: &mut Case) {
    let n = b.n();
    let (rows, clear_rows) = b.rows(2);
    for parts in [1, 2, 8, n] {
        let got = b.decrypt_rows(&b.cpu.expand(&rows, parts).unwrap());
        let want = b.flat(&b.clear.expand(&clear_rows, parts).unwrap());
        assert_eq!(want.len(), 2 * parts * n);
        // Part parts - 1 of row 1.
        let last = (2 * parts - 1) * n;
        assert_eq!(want[last], clear_rows[1].coefficients(n)[parts - 1]);
        let levels = parts.ilog2();
        let of = |x: &[u64], divided: u32| -> Vec<u64> {
            let at = |i: usize| ((i % n) as u32 | n as u32).trailing_zeros().min(levels) == divided;
            x.iter().enumerate().filter(|(i, _)| at(*i)).map(|(_, x)| *x).collect()
        };
        let added = b.noise.expansion(levels, levels);
        near("kept", &of(&got, levels), &of(&want, levels), added + b.noise.fresh());
        for divided in 0..levels {
            let added = b.noise.expansion(levels, divided);
            near("dropped", &of(&got, divided), &of(&want, divided), added);
        }
    }
}

/// Selectors in another order, and sums of them, multiply as their integers do.
pub(super) fn selectors(b: &mut Case) {
    let (rows, clear_rows) = b.rows(1);
    let m = b.integers(3, 3);
    let (cipher, clear) = (b.selectors(&m), b.clear.selectors(m));
    let mut sum = b.cpu.gather_selectors(&cipher, &[2, 0]).unwrap();
    b.cpu.add_selectors(&mut sum, &b.cpu.gather_selectors(&cipher, &[1, 1]).unwrap()).unwrap();
    let mut want = b.clear.gather_selectors(&clear, &[2, 0]).unwrap();
    let twice = b.clear.gather_selectors(&clear, &[1, 1]).unwrap();
    b.clear.add_selectors(&mut want, &twice).unwrap();
    assert_eq!(want.integers[0][5], clear.integers[2][5] + clear.integers[1][5]);
    let degree = b.n() + 3;
    b.cpu.rotate_selectors(&mut sum, degree).unwrap();
    let before = want.integers[0][5];
    b.clear.rotate_selectors(&mut want, degree).unwrap();
    assert_eq!(want.integers[0][8], -before);
    let terms = [0, 1].map(|selector| vec![Term { selector, row: 0 }]);
    let got = b.decrypt_rows(&b.cpu.products(&sum, &rows, &terms).unwrap());
    let products = b.flat(&b.clear.products(&want, &clear_rows, &terms).unwrap());
    let norm = want.integers.iter().map(|m| squared_norm(m)).fold(0.0, f64::max);
    assert_eq!(want.kind().rows, 2.0 * b.noise.fresh_selectors().rows);
    let predicted = b.noise.products(want.kind(), 1, norm) + norm * b.noise.fresh();
    near("products", &got, &products, predicted);

    let (got, other) = (b.cpu.join_rows(&[&rows, &rows]).unwrap(), b.cpu.zero_rows(0));
    let want = b.clear.join_rows(&[&clear_rows, &clear_rows]).unwrap();
    assert_eq!((got.len(), want.len(), b.cpu.join_rows(&[&other]).unwrap().len()), (2, 2, 0));
    within("join_rows", &b.decrypt_rows(&got), &b.flat(&want), b.noise.fresh());
}
