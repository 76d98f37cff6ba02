//! What every engine refuses, in the same words.

use super::*;

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
        let short = [Table::new(n / 2, |x| x).unwrap()];
        let mut found = Vec::new();
        let mut note = |what, refused: Option<Error>| {
            let text = refused.map_or_else(|| "not refused".into(), |error| error.to_string());
            found.push((what, text));
        };
        let term = |selector, row| [vec![Term { selector, row }]];
        let slot = |value, coefficient| Slot { value, coefficient };
        let sign = |slots| Table::new(slots, |x| x.signum() / 8.0).unwrap();
        let one = [TestPolynomial::new(sign(n))];
        let two = TestPolynomial::interleaved(vec![sign(n); 2]).unwrap();
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
        note("a short table", e.lookup(x, &[sign(n / 2)]).err());
        note("one of three tables", e.lookup(x, &[sign(n / 4), sign(n / 8), sign(n)]).err());
        note("too many tables", e.lookup(x, &vec![sign(1); 2 * n]).err());
        note("functions too few", e.lookup_each(x, &one, &[0]).err());
        note("no such function", e.lookup_each(x, &one, &[0, 1]).err());
        note("other tables", e.lookup_each(x, &[one[0].clone(), two], &[0, 1]).err());
        note("other reads", e.lookup_each(x, &[one[0].clone(), twice], &[0, 1]).err());
        let integers = IntegerTable::new(n, |_| 1).unwrap();
        let in_rows = |tables: &[Table], list| e.lookup_rows(x, tables, &[list]).err();
        note("no tables in rows", in_rows(&[], vec![slot(0, 0)]));
        note("a short table in rows", in_rows(&[sign(n / 2)], vec![slot(0, 0)]));
        note("looked up value", in_rows(&[sign(n)], vec![slot(2, 0)]));
        note("looked up coefficient", in_rows(&[sign(n)], vec![slot(0, n)]));
        note("looked up twice", in_rows(&[sign(n)], vec![slot(0, 1), slot(1, 1)]));
        let few = IntegerTable::new(n / 8, |_| 1).unwrap();
        note("short integers", e.lookup_selectors(x, &few, &[], &[vec![slot(0, 0)]]).err());
        let beside = e.lookup_selectors(x, &integers, &[sign(n / 8)], &[vec![slot(0, 0)]]);
        note("a short table beside integers", beside.err());
        let outside =
            Outputs { selectors: Some((integers, vec![vec![slot(2, 0)]])), ..Outputs::default() };
        note("output of no value", e.lookup_into(x, &outside).err());
        note("no outputs", e.lookup_into(x, &Outputs::default()).err());
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
        note("dot product of a row", e.dot_products(&self.selectors, rows, &term(0, 1)).err());
        note("gathered selector", e.gather_selectors(&self.selectors, &[1]).err());
        let mut two = e.gather_selectors(&self.selectors, &[0, 0]).unwrap();
        note("other selectors", e.add_selectors(&mut two, &self.selectors).err());
        note("degree of selectors", e.rotate_selectors(&mut two, 2 * n).err());
        let levels = e.params().lists.unwrap().selector.levels as usize;
        let of_values = e.promote(&e.public_values(&vec![0; levels]), levels, &[vec![slot(0, 0)]]);
        let of_another_gadget = e.add_selectors(&mut of_values.unwrap(), &self.selectors);
        note("selectors of another gadget", of_another_gadget.err());
        for (what, parts) in [("no parts", 0), ("three parts", 3), ("too many parts", 2 * n)] {
            note(what, e.expand(rows, parts).err());
        }
        note("a short table of coefficients", e.lookup_coefficients(rows, None, &short).err());
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

#[test]
fn an_expansion_has_a_power_of_two_of_parts() {
    let b = Case::new(&Params::toy_insecure_batch().unwrap());
    let (n, meter) = (b.n(), Meter::new(b.key.params()));
    for (parts, expected) in [(0, 1), (3, 4), (2 * n, n)] {
        let text =
            format!("expand: got {parts} parts (a power of two, N at most), expected {expected}");
        let cpu = b.cpu.expand(&b.cpu.zero_rows(1), parts).unwrap_err().to_string();
        let clear = b.clear.expand(&b.clear.zero_rows(1), parts).unwrap_err().to_string();
        let metered = meter.expand(&meter.fresh(1), parts).unwrap_err().to_string();
        assert_eq!([cpu, clear, metered], [(); 3].map(|()| text.clone()));
    }
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
    assert!(Row::Constant(1, 0.0).coefficients(0).is_empty());
}
