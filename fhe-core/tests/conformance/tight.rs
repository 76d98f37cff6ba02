//! The formulas of noise, tightly: on the small set, with so many numbers that a term that is
//! missing or counted twice shows.

use super::*;

fn case() -> Case {
    Case::new(&Params::toy_insecure().unwrap())
}

/// Compares the measured variance with the predicted one, within a share.
///
/// Of n independent normal errors the ratio has a standard deviation of `sqrt(2/n)`: 0.0045 of
/// 100,000 and 0.014 of 10,000. The formulas take a key of N/2 ones, and the rounding of a mask
/// counts the ones there are: of 512 bits the standard deviation of that is 0.044. Randomness is
/// fixed here, so what passes once does so always.
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
    tight("reflect", &got, &want, b.noise.reflect() + b.noise.fresh(), 0.12);

    let m = b.integers(20, 3);
    let terms: Vec<Vec<Term>> =
        (0..200).map(|row| vec![Term { selector: row % 20, row }]).collect();
    let got = b.decrypt_rows(&b.cpu.products(&b.selectors(&m), &rows, &terms).unwrap());
    let norm = m.iter().map(|m| squared_norm(m)).sum::<f64>() / 20.0;
    let want = b.flat(&b.clear.products(&b.clear.selectors(m), &clear_rows, &terms).unwrap());
    let added = b.noise.products(b.noise.fresh_selectors(), 1, norm);
    tight("products", &got, &want, added + norm * b.noise.fresh(), 0.12);
}

#[test]
fn packing_and_expansion() {
    let mut b = case();
    let n = b.n();
    let phases = b.phases(200);
    let values = b.values(&phases, "test tight values");
    let got = b.decrypt_rows(&b.cpu.pack_constants(&values).unwrap());
    let want = b.flat(&b.clear.pack_constants(&phases).unwrap());
    let rest =
        |x: &[u64]| -> Vec<u64> { x.chunks_exact(n).flat_map(|row| row[1..].to_vec()).collect() };
    tight("constants", &rest(&got), &rest(&want), b.noise.pack_constant(), 0.12);

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
    tight("lists", &behind(&got), &behind(&want), b.noise.pack_list(100), 0.12);
}

#[test]
fn lookups() {
    let b = case();
    let count = 10_000;
    let step = [Table::new(b.n(), |x| if x < 0.0 { -0.0625 } else { 0.0625 }).unwrap()];
    let inputs: Vec<u64> = (0..count).map(|i| to_torus([-0.125, 0.125][i % 2])).collect();
    let got = b.decrypt(&b.cpu.lookup(&b.values(&inputs, "test tight steps"), &step).unwrap());
    let want = b.clear.lookup(&inputs, &step).unwrap();
    tight("lookup", &got, &want, b.noise.lookup(), 0.12);

    let ramp = [Table::new(b.n(), |x| x / 2.0).unwrap()];
    let at = |i: usize| to_torus(-0.1 + 0.2 * i as f64 / count as f64);
    let inputs: Vec<u64> = (0..count).map(at).collect();
    let got = b.decrypt(&b.cpu.lookup(&b.values(&inputs, "test tight ramp"), &ramp).unwrap());
    let want: Vec<u64> = inputs.iter().map(|&x| to_torus(from_torus(x) / 2.0)).collect();
    let slot = 0.25 / b.n() as f64;
    let read = b.noise.lookup_input(1) + slot * slot / 3.0;
    tight("reading", &got, &want, b.noise.lookup() + read / 4.0, 0.12);
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
    tight("promoted", &got, &want, predicted, 0.2);
}
