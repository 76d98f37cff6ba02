//! Every move of the engine on ciphertexts, at the default parameter set, on all threads.
//!
//! `cargo bench -p fhe-benches --bench moves -- lookup` runs those with "lookup" in their name.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use fhe_core::client::ClientKey;
use fhe_core::engine::cpu::{Rows, Selectors, Values};
use fhe_core::{Cpu, Engine, Params, Seed, Slot, Table, Term};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Key and engine, made once: it takes seconds.
static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let key = ClientKey::new(&Params::secure128().unwrap(), Seed::from_number(1));
    Bench { cpu: Cpu::new(&key.evaluation_keys()), key }
});

struct Bench {
    key: ClientKey,
    cpu: Cpu,
}

impl Bench {
    fn n(&self) -> usize {
        self.cpu.params().row_size
    }

    /// Encrypted values: the exponents of a blind rotation are then random.
    fn values(&self, count: usize) -> Values {
        let phases = random(count);
        let key = self.key.deterministic("bench values");
        key.encrypt_values(&phases, 0).unwrap().open(&self.cpu).unwrap()
    }

    fn rows(&self, count: usize) -> Rows {
        let key = self.key.deterministic("bench rows");
        key.encrypt_rows(&random(count * self.n()), 0).unwrap()
    }

    fn selectors(&self, count: usize) -> Selectors {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let m: Vec<Vec<i32>> =
            (0..count).map(|_| (0..self.n()).map(|_| rng.random_range(-3..=3)).collect()).collect();
        let key = self.key.deterministic("bench selector");
        key.encrypt_query(&m, 0).unwrap().open(&self.cpu).unwrap()
    }
}

fn random(count: usize) -> Vec<u64> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    (0..count).map(|_| rng.random()).collect()
}

/// A group whose benchmarks take a few seconds each.
fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    group.warm_up_time(Duration::from_secs(1));
    group.measurement_time(Duration::from_secs(3));
    group
}

fn lookup(c: &mut Criterion) {
    let cpu = &BENCH.cpu;
    let mut group = group(c, "lookup");
    for (name, count, tables) in [
        ("1 value", 1, 1),
        ("16 values", 16, 1),
        ("160 values", 160, 1),
        ("16 values, 4 tables", 16, 4),
    ] {
        let x = BENCH.values(count);
        let tables = vec![Table::new(BENCH.n() / tables, |x| x / 2.0).unwrap(); tables];
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |b| b.iter(|| cpu.lookup(black_box(&x), &tables).unwrap()));
    }
    group.throughput(Throughput::Elements(rayon::current_num_threads() as u64));
    group.bench_function("tfhe's own, one a thread", raw);
    group.finish();
}

/// What a lookup is measured against, tfhe's key switch and bootstrap: every thread does the same.
fn raw(b: &mut Bencher<'_>) {
    b.iter_custom(|runs| {
        let times = rayon::broadcast(|_| {
            let mut raw = BENCH.cpu.raw_bootstrap();
            raw.run();
            let start = Instant::now();
            (0..runs).for_each(|_| raw.run());
            start.elapsed()
        });
        times.iter().sum::<Duration>() / times.len() as u32
    });
}

fn products(c: &mut Criterion) {
    let cpu = &BENCH.cpu;
    let mut group = group(c, "products");
    for (name, count) in [("1 product", 1), ("sum of 4 products", 4)] {
        let (selectors, rows) = (BENCH.selectors(count), BENCH.rows(count));
        let terms = [(0..count).map(|i| Term { selector: i, row: i }).collect()];
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |b| {
            b.iter(|| cpu.products(black_box(&selectors), &rows, &terms).unwrap());
        });
    }
    let (selectors, rows) = (BENCH.selectors(16), BENCH.rows(10));
    group.throughput(Throughput::Elements(160));
    group.bench_function("dots of 16 selectors and 10 rows", |b| {
        b.iter(|| cpu.dots(black_box(&selectors), &rows).unwrap());
    });
    let terms: Vec<Vec<Term>> =
        (0..160).map(|i| vec![Term { selector: i % 16, row: i / 16 }]).collect();
    group.bench_function("160 dot products", |b| {
        b.iter(|| cpu.dot_products(black_box(&selectors), &rows, &terms).unwrap());
    });
    group.throughput(Throughput::Elements(10));
    group.bench_function("reflect 10 rows", |b| {
        b.iter(|| cpu.reflect(black_box(&rows)).unwrap());
    });
    group.finish();
}

fn packing(c: &mut Criterion) {
    let cpu = &BENCH.cpu;
    let mut group = group(c, "packing");
    let x = BENCH.values(160);
    group.throughput(Throughput::Elements(160));
    group.bench_function("160 constants", |b| {
        b.iter(|| cpu.pack_constants(black_box(&x)).unwrap());
    });
    group.finish();
    lists(c);
}

/// At the set for deep networks; the default one has no keys for lists.
fn lists(c: &mut Criterion) {
    let params = Params::secure128_deep().unwrap();
    let key = ClientKey::new(&params, Seed::from_number(1));
    let cpu = Cpu::new(&key.evaluation_keys());
    let levels = params.lists.unwrap().selector.levels as usize;
    let phases = random(256 * levels);
    let x =
        key.deterministic("bench lists").encrypt_values(&phases, 0).unwrap().open(&cpu).unwrap();
    let list: Vec<_> = (0..256).map(|value| Slot { value, coefficient: value }).collect();
    let mut group = group(c, "lists");
    for count in [1, 8] {
        let lists = vec![list.clone(); count];
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("pack {count} of 256 values"), |b| {
            b.iter(|| cpu.pack(black_box(&x), &lists).unwrap());
        });
        group.bench_function(format!("promote {count} of 256 values"), |b| {
            b.iter(|| cpu.promote(black_box(&x), levels, &lists).unwrap());
        });
    }
    group.finish();
}

fn linear(c: &mut Criterion) {
    let cpu = &BENCH.cpu;
    let mut group = group(c, "linear");
    let (mut x, y) = (BENCH.values(160), BENCH.values(160));
    group.throughput(Throughput::Elements(160));
    group.bench_function("add 160 scaled values", |b| {
        b.iter(|| cpu.add_scaled_values(black_box(&mut x), &y, -3).unwrap());
    });
    group.bench_function("shift 160 values", |b| {
        b.iter(|| cpu.shift_values(black_box(&mut x), |_| 1 << 60));
    });
    let (mut x, y) = (BENCH.rows(10), BENCH.rows(10));
    let positions: Vec<_> = (0..160).map(|i| (i % 10, (i * 37) % BENCH.n())).collect();
    group.bench_function("extract 160 coefficients", |b| {
        b.iter(|| cpu.extract(black_box(&x), &positions).unwrap());
    });
    group.throughput(Throughput::Elements(10));
    group.bench_function("add 10 scaled rows", |b| {
        b.iter(|| cpu.add_scaled_rows(black_box(&mut x), &y, -3).unwrap());
    });
    group.bench_function("rotate 10 rows", |b| {
        b.iter(|| cpu.rotate_rows(black_box(&mut x), 5).unwrap());
    });
    group.finish();
}

criterion_group!(moves, lookup, products, packing, linear);
criterion_main!(moves);
