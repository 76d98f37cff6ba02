//! The stages, checked on ciphertexts, with sizes that have no security.

use num_complex::Complex64;
use rand::{Rng, RngExt, SeedableRng};
use zeroize::Zeroizing;

use super::embedding::Embedding;
use super::evaluate::Evaluator;
use super::interpolation::Interpolation;
use super::key_switch::Ciphertext;
use super::plan::Plan;
use super::read::Read;
use super::secret::{Secret, Seeds};
use super::stages::Stage;
use crate::Params;

struct Setting {
    evaluator: Evaluator,
    secret: Secret,
    row_key: Vec<u64>,
}

impl Setting {
    fn new(params: &Params) -> Self {
        let n = params.row_size;
        let plan = Plan::new(params, &params.batch.unwrap()).unwrap();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let row_key: Vec<u64> = (0..n).map(|_| rng.random_range(0..2)).collect();
        let secret = Secret::new(&plan.ring, Zeroizing::new([3; 32]));
        let seeds = |purpose: &str, index: u64| {
            let hash = blake3::derive_key(purpose, &index.to_le_bytes());
            let mask = u128::from_le_bytes(hash[..16].try_into().unwrap());
            Seeds { mask, noise: Zeroizing::new(hash) }
        };
        let keys = secret.keys(&plan, &row_key, seeds);
        let evaluator = Evaluator::new(plan, &keys, &[0, 7, 14]);
        Self { evaluator, secret, row_key }
    }

    /// The phase's coefficients, nearest to 0 modulo the first primes.
    fn phase(&self, parts: &[super::ring::Polynomial; 2]) -> Vec<i128> {
        let ring = &self.evaluator.plan.ring;
        let residues: Vec<Vec<u64>> = (0..parts[0].count.min(2))
            .map(|p| {
                let prime = &ring.primes[p];
                let s: Vec<i128> = self.secret.coefficients.iter().map(|&s| s.into()).collect();
                let s = ring.polynomial(&s, p + 1, false);
                let sum = ring.each(p + 1, false, |p2, out| {
                    out.copy_from_slice(parts[0].limb(p2));
                    super::lanes::dot(
                        out,
                        true,
                        &[parts[1].limb(p2)],
                        &[s.limb(p2)],
                        ring.primes[p2].reduction,
                    );
                });
                let _ = prime;
                ring.coefficients(&sum, p)
            })
            .collect();
        let q: Vec<i128> = ring.primes.iter().map(|p| i128::from(p.q)).collect();
        (0..ring.size)
            .map(|i| {
                if residues.len() == 1 {
                    let x = i128::from(residues[0][i]);
                    return if 2 * x > q[0] { x - q[0] } else { x };
                }
                let (x, y) = (i128::from(residues[0][i]), residues[1][i]);
                let prime = &ring.primes[1];
                let inverse = prime.inverse(ring.primes[0].q % prime.q);
                let k = prime.multiply(prime.add(y, prime.negate(prime.residue(x))), inverse);
                let x = x + q[0] * i128::from(k);
                if 2 * x > q[0] * q[1] { x - q[0] * q[1] } else { x }
            })
            .collect()
    }

    fn slots(&self, x: &Ciphertext) -> Vec<Complex64> {
        let phase = self.phase(&x.parts);
        let half = phase.len() / 2;
        let mut out: Vec<Complex64> = (0..half)
            .map(|i| Complex64::new(phase[i] as f64, phase[i + half] as f64) / x.scale)
            .collect();
        Embedding::new(phase.len()).slots(&mut out);
        out
    }
}

/// Largest error of slots of rows, against what the folded coefficient i of row r should be.
fn largest_error(
    e: &Evaluator,
    got: &[Complex64],
    want: impl Fn(usize, usize) -> Complex64,
) -> f64 {
    let shape = e.plan.shape;
    let mut most = 0f64;
    for r in 0..shape.rows {
        for i in 0..shape.slots {
            let at = (r * shape.slots + shape.slot_of(i)) as i64 + shape.shift(Stage::NearInverse);
            let slot = got[at.rem_euclid(got.len() as i64) as usize];
            most = most.max((slot - want(r, i)).norm());
        }
    }
    most
}

/// Random rows, and the integers `x = (c - a S') / 2` that they hold.
fn random_rows(setting: &Setting) -> (Read, Vec<i64>) {
    let (n, t) = (setting.row_key.len(), setting.evaluator.plan.t);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(8);
    let mut read = Read { masks: Vec::new(), twice: Vec::new() };
    for _ in 0..setting.evaluator.plan.shape.rows {
        let row: Vec<u64> = (0..2 * n).map(|_| rng.next_u64()).collect();
        read.add(&row, t, true);
    }
    let mut x = read.twice.clone();
    for (x, a) in x.chunks_exact_mut(n).zip(read.masks.chunks_exact(n)) {
        for (j, &bit) in setting.row_key.iter().enumerate() {
            for (i, a) in a.iter().enumerate() {
                let product = a * (2 * bit as i64 - 1);
                x[(i + j) % n] += if i + j < n { -product } else { product };
            }
        }
    }
    x.iter_mut().for_each(|x| *x /= 2);
    (read, x)
}

/// Each stage has what it should have: the integers, exponentials, a table, and rows of it.
#[test]
fn every_stage_is_right() {
    let params = Params::toy_insecure_batch().unwrap();
    let setting = Setting::new(&params);
    let e = &setting.evaluator;
    let (n, t, rows) = (params.row_size, e.plan.t as i64, e.plan.shape.rows);
    let (read, x) = random_rows(&setting);
    let at = |r: usize, i: usize| x[r * n + i];

    let halves = e.integers(&read);
    let unit = e.plan.unit() / 2.0;
    for (half, x) in halves.iter().zip([0, n / 2]) {
        let want = |r, i| Complex64::from(at(r, i + x) as f64 / unit);
        let error = largest_error(e, &setting.slots(half), want) * unit;
        assert!(error < 2f64.powi(-20), "integers are off by {error:e}");
    }

    let zeta = halves.each_ref().map(|half| e.zeta(half));
    let angle = |x: i64| Complex64::cis(std::f64::consts::TAU * x as f64 / t as f64);
    let error = largest_error(e, &setting.slots(&zeta[1]), |r, i| angle(at(r, i + n / 2)));
    assert!(error < 2f64.powi(-26), "exponentials are off by {error:e}");

    // A staircase of 16 integers, in halves of the torus.
    let table: Vec<f64> = (0..t)
        .map(|m| (m - if m < t / 2 { 0 } else { t }) as f64 / t as f64)
        .map(|x| (40.0 * x).round().clamp(0.0, 15.0) / 64.0)
        .collect();
    let f = |x: i64| table[x.rem_euclid(t) as usize];
    let [re, im] = zeta.map(|zeta| e.sum(&e.powers(zeta), &Interpolation::new(&table)));
    let out = e.joined([&re, &im]);
    let want = |r, i| Complex64::new(f(at(r, i)), f(at(r, i + n / 2)));
    let error = largest_error(e, &setting.slots(&out), want);
    assert!(error < 2f64.powi(-25), "the table is off by {error:e}");

    let hoisted = e.rows(&out);
    let q: f64 = e.plan.ring.primes[..2].iter().map(|p| p.q as f64).product();
    for (shift, bits) in [0, 7, 14].into_iter().enumerate() {
        let phase = setting.phase(&e.mix(&hoisted, shift));
        for (i, &x) in x.iter().enumerate() {
            let got = phase[rows * (i % n) + i / n] as f64 / q;
            let error = (got - f(x) / 2.0 * 2f64.powi(-bits)).abs();
            assert!(error < 2f64.powi(-26 - bits.min(9)), "row {}: {error:e}", i / n);
        }
    }
}
