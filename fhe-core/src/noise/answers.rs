//! Known answers: what the formulas give for every set. A formula that is changed changes
//! answers.json with it, and the measured variances of the conformance tests say whether rightly.

use fhe_known_answers::{Answers, compare};

use super::{Noise, SelectorKind};
use crate::{IntegerTable, Params, Table, TestPolynomial};

fn sets() -> [Params; 10] {
    [
        Params::secure128(),
        Params::secure128_head_v3(),
        Params::secure128_deep(),
        Params::secure128_deep_v1(),
        Params::secure128_deep_v3(),
        Params::secure128_deep_v4(),
        Params::secure128_bnn(),
        Params::secure128_bnn_v2(),
        Params::toy_insecure(),
        Params::toy_insecure_batch(),
    ]
    .map(Result::unwrap)
}

fn selectors(answers: &mut Answers, noise: &Noise, name: &str, kind: Option<SelectorKind>) {
    let Some(kind) = kind else { return };
    answers.insert(format!("{name}, rows"), kind.rows);
    answers.insert(format!("{name}, a product"), noise.products(kind, 1, 5.0));
    answers.insert(format!("{name}, 100 products"), noise.products(kind, 100, 900.0));
}

fn answers(params: &Params) -> Answers {
    let noise = Noise::new(params);
    let mut answers: Answers = [
        ("fresh", noise.fresh()),
        ("transform", noise.transform(params.lookup, 3.0)),
        ("reflect", noise.reflect()),
        ("expansion, kept", noise.expansion(3, 3)),
        ("expansion, kept, beyond", noise.expansion(3, 5)),
        ("expansion, index 1", noise.expansion(3, 0)),
        ("expansion, index 4", noise.expansion(3, 2)),
        ("expansion, beside", noise.expansion_beside(4)),
        ("pack constant", noise.pack_constant()),
        ("pack rounding", noise.pack_rounding()),
        ("pack list", noise.pack_list(100)),
        ("pack list rounding", noise.pack_list_rounding()),
        ("key switch", noise.key_switch()),
        ("modulus switch", noise.modulus_switch(2)),
        ("lookup input", noise.lookup_input(4)),
        ("lookup", noise.lookup()),
        ("batch input", noise.batch_input(false)),
        ("batch input, half", noise.batch_input(true)),
        ("batch packing", noise.batch_packing(100)),
    ]
    .map(|(name, variance)| (name.to_owned(), variance))
    .into();
    let step = Table::new(params.row_size, |x| if x < 0.0 { -0.125 } else { 0.125 }).unwrap();
    let ramp = Table::new(params.row_size, |x| 0.75 * x + 0.01).unwrap().within_half_torus();
    let functions = [
        ("step", TestPolynomial::new(step.clone())),
        ("ramp", TestPolynomial::new(ramp.clone())),
        ("reads", TestPolynomial::at_offsets(step.clone(), vec![0, params.row_size / 4]).unwrap()),
    ];
    for (name, function) in &functions {
        let functions = std::slice::from_ref(function);
        for count in [10, 3 * params.row_size] {
            let read = noise.lookup_each_input(functions, &vec![0; count]);
            answers.insert(format!("{name}, reading {count}"), read);
        }
        for (read, output) in noise.batch_output(function).iter().enumerate() {
            for slot in [0, 1, 77] {
                answers.insert(format!("{name}, read {read}, slot {slot}"), output.at(slot));
            }
            answers.insert(format!("{name}, read {read}, mean"), output.mean());
            answers.insert(format!("{name}, read {read}, least"), output.least());
            answers.insert(format!("{name}, read {read}, most"), output.most());
        }
        answers.insert(format!("{name}, noisiest"), noise.batch_variance(function));
    }
    let both = [functions[0].1.clone(), functions[1].1.clone()];
    let of: Vec<usize> = (0..5 * params.row_size).map(|i| usize::from(i % 5 == 0)).collect();
    answers.insert("two functions, reading".into(), noise.lookup_each_input(&both, &of));
    let integers = IntegerTable::new(params.row_size, |x| (16.0 * x).round() as i32).unwrap();
    if let Some(noise) = noise.batch_integers(&integers) {
        answers.insert("integers, mean".into(), noise.mean());
    }
    selectors(&mut answers, &noise, "fresh selectors", Some(noise.fresh_selectors()));
    let promoted = noise.promoted_selectors(100, noise.lookup());
    selectors(&mut answers, &noise, "promoted selectors", promoted);
    selectors(&mut answers, &noise, "batch selectors", noise.batch_selectors(&integers));
    answers
}

#[test]
fn formulas_give_known_answers() {
    let sets = sets();
    let got = sets.iter().map(|set| (set.name.as_str(), answers(set))).collect();
    compare(&got, include_str!("answers.json")).unwrap();
}
