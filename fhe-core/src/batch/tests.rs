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
use crate::Params;

struct Setting {
    evaluator: Evaluator,
    secret: Secret,
    row_key: Vec<u64>,
    n: usize,
}

fn timed<T>(what: &str, f: impl FnOnce() -> T) -> T {
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let ticks: Vec<f64> =
            stat.split(' ').skip(13).take(2).map(|x| x.parse().unwrap_or(0.0)).collect();
        10.0 * ticks.iter().sum::<f64>()
    };
    let start = (std::time::Instant::now(), cpu());
    let out = f();
    let (wall, cpu) = (1e3 * start.0.elapsed().as_secs_f64(), cpu() - start.1);
    eprintln!("{what:<28} {wall:>9.1} ms, {cpu:>9.1} ms of cores");
    out
}

impl Setting {
    fn new(params: &Params) -> Self {
        let n = params.row_size;
        let plan = timed("plan", || Plan::new(params, &params.batch.unwrap()).unwrap());
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let row_key: Vec<u64> = (0..n).map(|_| rng.random_range(0..2)).collect();
        let secret = Secret::new(&plan.ring, Zeroizing::new([3; 32]));
        let seeds = |purpose: &str, index: u64| {
            let hash = blake3::derive_key(purpose, &index.to_le_bytes());
            let mask = u128::from_le_bytes(hash[..16].try_into().unwrap());
            Seeds { mask, noise: Zeroizing::new(hash) }
        };
        let keys = timed("make keys", || secret.keys(&plan, &row_key, seeds));
        let evaluator = timed("open keys", || Evaluator::new(plan, &keys, &[0, 7, 14]));
        Self { evaluator, secret, row_key, n }
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

fn run(params: &Params) {
    let setting = Setting::new(params);
    let (spec, n) = (params.batch.unwrap(), params.row_size);
    let e = &setting.evaluator;
    let (t, rows) = (spec.slots as i64, spec.rows);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(8);
    let mut read = Read { masks: Vec::new(), twice: Vec::new() };
    for _ in 0..rows {
        let row: Vec<u64> = (0..2 * n).map(|_| rng.next_u64()).collect();
        read.add(&row, t as usize, true);
    }
    // 2 x = c - a S', over the integers.
    let mut x = read.twice.clone();
    for r in 0..rows {
        for (j, &bit) in setting.row_key.iter().enumerate() {
            for i in 0..n {
                let a = read.masks[r * n + i] * (2 * bit as i64 - 1);
                let k = (i + j) % n;
                x[r * n + k] += if i + j < n { -a } else { a };
            }
        }
    }
    for x in &mut x {
        assert_eq!(*x % 2, 0);
        *x /= 2;
    }
    let shape = e.plan.shape;
    let place = |i: usize, r: usize| {
        let at =
            (r * n / 2 + shape.slot_of(i)) as i64 + shape.shift(super::stages::Stage::NearInverse);
        at.rem_euclid((n * rows / 2) as i64) as usize
    };
    for _ in 0..2 {
        let [re, im] = timed("integers", || e.integers(&read));
        let unit = e.plan.unit() / 2.0;
        let got = setting.slots(&re);
        let error = |got: &[Complex64], want: &dyn Fn(usize, usize) -> Complex64| -> f64 {
            let (mut most, mut sum) = (0f64, Complex64::default());
            for r in 0..rows {
                for i in 0..n / 2 {
                    let e = got[place(i, r)] - want(r, i);
                    most = most.max(e.norm());
                    sum += Complex64::new(e.re * e.re, e.im * e.im);
                }
            }
            let count = (rows * n / 2) as f64;
            eprintln!(
                "   std of re 2^{:.2}, im 2^{:.2}",
                (sum.re / count).log2() / 2.0,
                (sum.im / count).log2() / 2.0
            );
            most.log2()
        };
        let worst = x.iter().map(|x| x.abs()).max().unwrap() as f64 / unit;
        eprintln!(
            "overflow {worst:.3} of the bound; x: 2^{:.1}",
            error(&got, &|r, i| Complex64::from(x[r * n + i] as f64 / unit)) + unit.log2()
        );
        let got = setting.slots(&im);
        eprintln!(
            "x imaginary: 2^{:.1}",
            error(&got, &|r, i| Complex64::from(x[r * n + i + n / 2] as f64 / unit)) + unit.log2()
        );
        let zeta = timed("exponential", || [e.zeta(&re), e.zeta(&im)]);
        let want = |r: usize, i: usize| {
            Complex64::cis(std::f64::consts::TAU * x[r * n + i] as f64 / t as f64)
        };
        eprintln!("zeta: 2^{:.1}", error(&setting.slots(&zeta[0]), &want));
        let [a, b] = zeta;
        let powers = timed("powers", || [e.powers(a), e.powers(b)]);
        let table: Vec<f64> = (0..t)
            .map(|m| {
                let m = if m < t / 2 { m } else { m - t };
                (m as f64 / t as f64 * 40.0).round().clamp(0.0, 15.0) / 64.0
            })
            .collect();
        let interpolation = timed("interpolation", || Interpolation::new(&table));
        let out = timed("table", || e.table(&powers, &interpolation));
        let f = |x: i64| table[x.rem_euclid(t) as usize];
        eprintln!(
            "table: 2^{:.1} of 1/64",
            6.0 + error(&setting.slots(&out), &|r, i| Complex64::new(
                f(x[r * n + i]),
                f(x[r * n + i + n / 2])
            ))
        );
        let hoisted = timed("to rows", || e.rows(&out));
        for (shift, bits) in [0, 7, 14].into_iter().enumerate() {
            let parts = timed("mix", || e.mix(&hoisted, shift));
            let phase = setting.phase(&parts);
            let q: f64 = e.plan.ring.primes[..2].iter().map(|p| p.q as f64).product();
            let (mut most, mut sum) = (0f64, 0f64);
            for r in 0..rows {
                for i in 0..n {
                    let got = phase[rows * i + r] as f64 / q;
                    let want = f(x[r * n + i]) / 2.0 * 2f64.powi(-bits);
                    most = most.max((got - want).abs());
                    sum += (got - want).powi(2);
                }
            }
            eprintln!(
                "rows at 2^-{bits}: most 2^{:.1}, std 2^{:.1} of the torus",
                most.log2(),
                (sum / (rows * n) as f64).log2() / 2.0
            );
        }
    }
}

#[test]
fn toy() {
    run(&Params::toy_insecure_batch().unwrap());
}

#[test]
#[ignore = "full size"]
fn full() {
    run(&Params::secure128_deep_v3().unwrap());
}
