//! Batch lookups beside one value at a time, at one parameter set, on all threads. Needs 9 GB of
//! memory.
//!
//! The times are those of the wall. A batch has 65,536 values, and criterion's rate is that of
//! values.
//!
//! `cargo bench -p fhe-benches --bench batch -- keys` runs those with "keys" in their name.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use fhe_core::client::ClientKey;
use fhe_core::engine::cpu::{BatchStage, Values};
use fhe_core::server::EvaluationKeys;
use fhe_core::{Cpu, Engine, IntegerTable, Params, Seed, Slot, Table, to_torus};

/// Key and engine, made once: it takes minutes.
static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let key = ClientKey::new(&Params::secure128_deep_v3().unwrap(), Seed::from_number(1));
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

    /// Values of so many lists, each with as many as a row has coefficients.
    fn values(&self, lists: usize) -> Values {
        let n = self.n();
        let phase = |i: usize| to_torus(0.4 * i as f64 / (lists * n) as f64 - 0.2);
        let phases: Vec<u64> = (0..lists * n).map(phase).collect();
        let rows = self.key.deterministic("bench batch").encrypt_rows(&phases, 0).unwrap();
        let at: Vec<_> = (0..lists).flat_map(|l| (0..n).map(move |i| (l, i))).collect();
        self.cpu.extract(&rows, &at).unwrap()
    }

    /// Tables of one to four functions: a rectifier of four bits, its gate, half of the value, and
    /// its square.
    fn tables(&self, count: usize) -> Vec<Table> {
        let rectifier = |x: f64| (75.0 * x).round().clamp(0.0, 15.0) / 128.0;
        let gate = |x: f64| if (0.0..0.2).contains(&x) { 0.25 } else { 0.0 };
        let all: [&dyn Fn(f64) -> f64; 4] = [&rectifier, &gate, &|x| x / 2.0, &|x| x * x];
        let table = |f: &&dyn Fn(f64) -> f64| Table::new(self.n(), f).unwrap().within_half_torus();
        all.iter().take(count).map(table).collect()
    }
}

fn lists(count: usize, len: usize) -> Vec<Vec<Slot>> {
    let slot = |l: usize, i: usize| Slot { value: l * len + i, coefficient: i };
    (0..count).map(|l| (0..len).map(|i| slot(l, i)).collect()).collect()
}

/// A group whose benchmarks take some seconds a run.
fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(1));
    group.measurement_time(Duration::from_secs(1));
    group
}

fn batches(c: &mut Criterion) {
    let (bench, cpu) = (&*BENCH, &BENCH.cpu);
    let rows = cpu.params().batch.unwrap().rows;
    let (x, lists) = (bench.values(rows), lists(rows, bench.n()));
    let mut group = group(c, "batch");
    group.throughput(Throughput::Elements(x.len() as u64));
    let mut stages = cpu.batch_stages().unwrap();
    for stage in BatchStage::ALL {
        group.bench_function(format!("stage: {}", stage.name()), |b| b.iter(|| stages.run(stage)));
    }
    for count in [1, 2, 4] {
        let tables = bench.tables(count);
        group.bench_function(format!("65536 values into rows, functions: {count}"), |b| {
            b.iter(|| cpu.lookup_rows(black_box(&x), &tables, &lists).unwrap());
        });
    }
    let integers = IntegerTable::new(bench.n(), |x| (75.0 * x).round().clamp(0.0, 15.0) as i32);
    let integers = integers.unwrap().within_half_torus();
    let gate = &bench.tables(2)[1..];
    group.bench_function("65536 values into selectors and rows of gates", |b| {
        b.iter(|| cpu.lookup_selectors(black_box(&x), &integers, gate, &lists).unwrap());
    });
    group.finish();
}

/// Each stage of a batch that holds nothing, on what the stage before it left.
fn stages(c: &mut Criterion) {
    let mut stages = BENCH.cpu.batch_stages().unwrap();
    let mut group = group(c, "stages of a batch");
    for stage in BatchStage::ALL {
        // All stages before it have run then.
        stages.run(stage);
        group.bench_function(stage.name(), |b| b.iter(|| stages.run(stage)));
    }
    group.finish();
}

/// What a batch is measured against, at the same set.
fn one_at_a_time(c: &mut Criterion) {
    let (bench, cpu) = (&*BENCH, &BENCH.cpu);
    // Fewer values than batches begin with.
    let x = cpu.take(&bench.values(1), 0..80).unwrap();
    let tables = bench.tables(4);
    let mut group = group(c, "one at a time");
    group.throughput(Throughput::Elements(x.len() as u64));
    group.bench_function("80 blind rotations, tables: 4", |b| {
        b.iter(|| cpu.lookup(black_box(&x), &tables).unwrap());
    });
    group.throughput(Throughput::Elements(rayon::current_num_threads() as u64));
    group.bench_function("tfhe's own, one a thread", raw);
    group.finish();
}

/// tfhe's key switch and bootstrap: every thread does the same.
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

/// Keys, made by the client and opened by the server. All keys of the set are among them.
fn keys(c: &mut Criterion) {
    let mut group = group(c, "keys");
    group.bench_function("make", |b| b.iter(|| BENCH.key.evaluation_keys()));
    let stored: EvaluationKeys = BENCH.key.evaluation_keys();
    group.bench_function("open", |b| b.iter(|| Cpu::new(black_box(&stored))));
    group.finish();
}

criterion_group!(batch, batches, stages, one_at_a_time, keys);
criterion_main!(batch);
