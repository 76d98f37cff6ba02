//! The formulas of noise, tightly: on the small set, with so many numbers that a term that is
//! missing or counted twice shows.

use super::*;

fn case() -> Case {
    Case::new(&Params::toy_insecure().unwrap())
}

/// Compares the measured variance with the predicted one, within a share: little more than it is
/// off by, and less than any term that counts.
///
/// Of n independent normal errors the ratio has a standard deviation of `sqrt(2/n)`: 0.0045 of
/// 100,000 and 0.014 of 10,000. The formulas take a key of N/2 ones, and the rounding of a mask
/// counts the ones there are: of 512 bits the standard deviation of that is 0.044. The noise of a
/// gadget's rows is that of 1,000 to 2,000 samples, with a standard deviation of 0.02 to 0.03, and
/// the rounding of the transform, a tenth of the noise on these small gadgets, is known to a factor.
/// So over keys the ratios are spread by 0.02 to 0.05 about a mean of 0.98 to 1.07. Randomness is
/// fixed here: what passes once does so always.
fn tight(what: &str, got: &[u64], want: &[u64], variance: f64, share: f64) {
    let ratio = within(what, got, want, variance) / variance;
    assert!((ratio - 1.0).abs() <= share, "{what}: variance is {ratio:.3} of the predicted");
}

#[test]
fn products_and_reflections() {
    let mut b = case();
    let (rows, clear_rows) = b.rows(200);
    let got = b.decrypt_rows(&b.cpu.reflect(&rows).unwrap());
    let want = b.flat(&b.clear.reflect(&clear_rows).unwrap());
    tight("reflect", &got, &want, b.noise.reflect() + b.noise.fresh(), 0.09);

    let m = b.integers(20, 3);
    let terms: Vec<Vec<Term>> =
        (0..200).map(|row| vec![Term { selector: row % 20, row }]).collect();
    let got = b.decrypt_rows(&b.cpu.products(&b.selectors(&m), &rows, &terms).unwrap());
    let norm = m.iter().map(|m| squared_norm(m)).sum::<f64>() / 20.0;
    let want = b.flat(&b.clear.products(&b.clear.selectors(m), &clear_rows, &terms).unwrap());
    let added = b.noise.products(b.noise.fresh_selectors(), 1, norm);
    tight("products", &got, &want, added + norm * b.noise.fresh(), 0.07);
}

#[test]
fn dots_and_their_sums() {
    let mut b = case();
    let (rows, clear_rows) = b.rows(100);
    let m = b.integers(100, 3);
    let norm = m.iter().map(|m| squared_norm(m)).sum::<f64>() / 100.0;
    let selectors = b.selectors(&m);
    let m = b.clear.selectors(m);
    let got = b.decrypt(&b.cpu.dots(&selectors, &rows).unwrap());
    let want = b.clear.dots(&m, &clear_rows).unwrap();
    let added = b.noise.products(b.noise.fresh_selectors(), 1, norm);
    tight("dots", &got, &want, added + norm * b.noise.fresh(), 0.05);

    let terms: Vec<Vec<Term>> = (0..10_000)
        .map(|i| [0, 1, 2].map(|j| Term { selector: (i + 7 * j) % 100, row: i / 100 }).to_vec())
        .collect();
    let got = b.decrypt(&b.cpu.dot_products(&selectors, &rows, &terms).unwrap());
    let want = b.clear.dot_products(&m, &clear_rows, &terms).unwrap();
    let added = b.noise.products(b.noise.fresh_selectors(), 3, 3.0 * norm);
    tight("dot products", &got, &want, added + 3.0 * norm * b.noise.fresh(), 0.05);
}

#[test]
fn expansions() {
    let mut b = Case::new(&Params::toy_insecure_batch().unwrap());
    let (n, parts, levels) = (b.n(), 8, 3);
    let (rows, clear_rows) = b.rows(40);
    let got = b.decrypt_rows(&b.cpu.expand(&rows, parts).unwrap());
    let want = b.flat(&b.clear.expand(&clear_rows, parts).unwrap());
    for divided in 0..=levels {
        let of = |x: &[u64]| -> Vec<u64> {
            let at = |i: usize| ((i % n) as u32 | n as u32).trailing_zeros().min(levels) == divided;
            x.iter().enumerate().filter(|(i, _)| at(*i)).map(|(_, x)| *x).collect()
        };
        // What the formula counts too much: the first digit of the first automorphism, whose
        // squares come down to 4 in 4^k. Its noise doubles with each level after it, and is four
        // times as large in coefficients that are kept.
        let gadget = b.key.params().lists.unwrap().expand.unwrap();
        let digit = b.noise.expansion(1, 1) / f64::from(gadget.levels);
        let (fresh, times) = match divided {
            0 => (0.0, 2f64.powi(levels as i32 - 1)),
            kept if kept == levels => (b.noise.fresh(), 4f64.powi(levels as i32 - 1)),
            _ => (0.0, 0.0),
        };
        let unused = times * digit * (1.0 - 4f64.powi(1 - levels as i32));
        let variance = b.noise.expansion(levels, divided) - unused + fresh;
        tight(&format!("expansion {divided}"), &of(&got), &of(&want), variance, 0.06);
    }
}

#[test]
fn batches() {
    let mut b = Case::new(&Params::toy_insecure_batch().unwrap());
    let (n, t) = (b.n(), b.key.params().batch.unwrap().slots);
    let (rows, count) = (20, 20 * b.n());
    // A function without a slope shows the noise of the way back alone.
    let phases: Vec<u64> = (0..count).map(|_| to_torus(b.rng.random_range(-0.08..0.08))).collect();
    let (x, clear_x) = (b.cpu_rows(&phases), b.clear_rows(&phases));
    let constant = Table::new(n, |_| 0.125).unwrap();
    let ramp = |half: bool| {
        let ramp = Table::new(n, |x| x / 2.0).unwrap();
        if half { ramp.within_half_torus() } else { ramp }
    };
    let tables = [constant.clone(), ramp(false)];
    let (_, got) = b.cpu.lookup_coefficients(&x, None, &tables).unwrap();
    let (_, want) = b.clear.lookup_coefficients(&clear_x, None, &tables).unwrap();
    let output = |table: &Table| {
        b.noise.batch_output(&TestPolynomial::new(table.clone())).swap_remove(0).mean()
    };
    let constant = output(&constant);
    // The formula takes the most that the roundings on the way back can meet.
    tight("batch, constant", &b.decrypt_rows(&got[0]), &b.flat(&want[0]), constant, 0.17);
    let half: Vec<u64> = phases.iter().map(|&x| to_torus(from_torus(x) / 2.0)).collect();
    let slot = 1.0 / t as f64;
    let read = b.noise.batch_input(false) + slot * slot / 12.0;
    let got = b.decrypt_rows(&got[1]);
    tight("batch, reading", &got, &half, constant + read / 4.0, 0.06);
    let (_, got) = b.cpu.lookup_coefficients(&x, None, &[ramp(true)]).unwrap();
    let read = b.noise.batch_input(true) + slot * slot / 48.0;
    let got = b.decrypt_rows(&got[0]);
    tight("batch, reading of the half torus", &got, &half, constant + read / 4.0, 0.02);
    assert_eq!(got.len(), rows * n);
}

#[test]
fn packing() {
    let mut b = case();
    let n = b.n();
    let phases = b.phases(200);
    let values = b.values(&phases, "test tight values");
    let got = b.decrypt_rows(&b.cpu.pack_constants(&values).unwrap());
    let want = b.flat(&b.clear.pack_constants(&phases).unwrap());
    let rest =
        |x: &[u64]| -> Vec<u64> { x.chunks_exact(n).flat_map(|row| row[1..].to_vec()).collect() };
    tight("constants", &rest(&got), &rest(&want), b.noise.pack_constant(), 0.07);

    // Each list has values of its own: the noise of packing one value twice is the same.
    let phases = b.phases(40 * 100);
    let values = b.values(&phases, "test tight lists");
    let slots: Vec<Vec<Slot>> = (0..40)
        .map(|list| (0..100).map(|i| Slot { value: 100 * list + i, coefficient: i }).collect())
        .collect();
    let got = b.decrypt_rows(&b.cpu.pack(&values, &slots).unwrap());
    let want = b.flat(&b.clear.pack(&phases, &slots).unwrap());
    let behind =
        |x: &[u64]| -> Vec<u64> { x.chunks_exact(n).flat_map(|row| row[100..].to_vec()).collect() };
    tight("lists", &behind(&got), &behind(&want), b.noise.pack_list(100), 0.06);
}

#[test]
fn lookups() {
    let b = case();
    let count = 10_000;
    let step = [Table::new(b.n(), |x| if x < 0.0 { -0.0625 } else { 0.0625 }).unwrap()];
    let inputs: Vec<u64> = (0..count).map(|i| to_torus([-0.125, 0.125][i % 2])).collect();
    let got = b.decrypt(&b.cpu.lookup(&b.values(&inputs, "test tight steps"), &step).unwrap());
    let want = b.clear.lookup(&inputs, &step).unwrap();
    tight("lookup", &got, &want, b.noise.lookup(), 0.05);

    let ramp = [Table::new(b.n(), |x| x / 2.0).unwrap()];
    let at = |i: usize| to_torus(-0.1 + 0.2 * i as f64 / count as f64);
    let inputs: Vec<u64> = (0..count).map(at).collect();
    let got = b.decrypt(&b.cpu.lookup(&b.values(&inputs, "test tight ramp"), &ramp).unwrap());
    let want: Vec<u64> = inputs.iter().map(|&x| to_torus(from_torus(x) / 2.0)).collect();
    let slot = 0.25 / b.n() as f64;
    let read = b.noise.lookup_input(1) + slot * slot / 3.0;
    tight("reading", &got, &want, b.noise.lookup() + read / 4.0, 0.03);
}

#[test]
fn promoted_selectors() {
    let mut b = case();
    let n = b.n();
    let (rows, clear_rows) = b.rows(200);
    let gadget = b.key.params().lists.unwrap().selector;
    let integers = |x: f64| [-7, 3, -2, 5][((x + 0.25) * 8.0).clamp(0.0, 3.5) as usize];
    let tables = IntegerTable::new(n / 4, integers).unwrap().levels(gadget).unwrap();
    let len = 64;
    let inputs: Vec<u64> = (0..8 * len).map(|i| to_torus((i % 4) as f64 / 8.0 - 0.1875)).collect();
    let levels = b.cpu.lookup(&b.values(&inputs, "test tight promote"), &tables).unwrap();
    let clear_levels = b.clear.lookup(&inputs, &tables).unwrap();
    let slots: Vec<Vec<Slot>> = (0..8)
        .map(|list| (0..len).map(|i| Slot { value: list * len + i, coefficient: 3 * i }).collect())
        .collect();
    let got = b.cpu.promote(&levels, tables.len(), &slots).unwrap();
    let want = b.clear.promote(&clear_levels, tables.len(), &slots).unwrap();
    let terms: Vec<Vec<Term>> = (0..200).map(|row| vec![Term { selector: row % 8, row }]).collect();
    let got = b.decrypt_rows(&b.cpu.products(&got, &rows, &terms).unwrap());
    let norm = want.integers.iter().map(|m| squared_norm(m)).sum::<f64>() / 8.0;
    let want = b.flat(&b.clear.products(&want, &clear_rows, &terms).unwrap());
    let kind = b.noise.promoted_selectors(len, b.noise.lookup()).unwrap();
    let predicted = b.noise.products(kind, 1, norm) + norm * b.noise.fresh();
    tight("promoted", &got, &want, predicted, 0.08);
}
