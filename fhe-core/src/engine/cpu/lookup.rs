//! Lookups: key switch to the short key, modulus switch, blind rotation, extraction.
//!
//! Key switch and blind rotation each take several values through one pass over their key, which is
//! 24 MB and 220 MB: reading them from memory for every value would take as long as the arithmetic.

use rayon::prelude::*;
use tfhe::core_crypto::fft_impl::fft64::c64;
use tfhe::core_crypto::fft_impl::fft64::crypto::bootstrap::blind_rotate_assign_scratch;
use tfhe::core_crypto::prelude::*;

use super::huge_pages::Pages;
use super::{Cpu, Values, blind_rotation, product};
use crate::TestPolynomial;
use crate::polynomial::rotate;

/// Largest number of values that one thread takes through a key at a time. With fewer the key's way
/// from memory shows, with more the values' own.
const BATCH: usize = 20;
/// Rows of the key-switching key applied while they are in the nearest cache.
const KEY_ROWS: usize = 8;

/// A function's polynomial, and the coefficients to extract of it.
struct Test {
    polynomial: Vec<u64>,
    extracted: Vec<usize>,
}

/// Function `of[i]` to value i: each holds `tables` tables, and `each` coefficients are extracted.
pub(super) fn apply(
    cpu: &Cpu,
    x: &Values,
    functions: &[TestPolynomial],
    of: &[usize],
    (tables, each): (usize, usize),
) -> Values {
    let n = cpu.params.row_size;
    let mut out = Values::new(n, x.len() * each);
    if each == 0 {
        return out;
    }
    let tests: Vec<Test> = functions
        .iter()
        .map(|f| Test { polynomial: f.coefficients(n), extracted: f.extracted(n) })
        .collect();
    // As many batches for each thread, none of them smaller than it must be.
    let threads = rayon::current_num_threads();
    let rounds = x.len().div_ceil(threads * BATCH).max(1);
    let batch = x.len().div_ceil(threads * rounds).max(1);
    let inputs = x.data.par_chunks((n + 1) * batch).zip(of.par_chunks(batch));
    out.data.par_chunks_mut((n + 1) * each * batch).zip(inputs).for_each_init(
        || cpu.blind_rotation.buffers(&cpu.transform, batch),
        |buffers, (out, (x, of))| {
            let tests: Vec<&Test> = of.iter().map(|&i| &tests[i]).collect();
            apply_batch(cpu, out, x, &tests, tables, buffers);
        },
    );
    out
}

fn apply_batch(
    cpu: &Cpu,
    out: &mut [u64],
    x: &[u64],
    tests: &[&Test],
    tables: usize,
    buffers: &mut blind_rotation::Buffers,
) {
    let n = cpu.params.row_size;
    let short = cpu.params.short_dimension;
    let values = exponents(cpu, &key_switch(cpu, x), tables);
    let mut masks = Vec::with_capacity(values.len());
    let mut rows = Pages::zeros(2 * n * (values.len() / (short + 1)));
    let inputs = values.chunks_exact(short + 1).zip(tests);
    for (row, (value, test)) in rows.chunks_exact_mut(2 * n).zip(inputs) {
        let (mask, body) = value.split_at(short);
        row[n..].copy_from_slice(&test.polynomial);
        rotate(&mut row[n..], (2 * n - body[0]) % (2 * n));
        masks.extend_from_slice(mask);
    }
    cpu.blind_rotation.rotate(&cpu.transform, &mut rows, &masks, buffers);
    let each = out.len() / ((n + 1) * tests.len());
    let rotated = rows.chunks_exact(2 * n).zip(tests);
    for (out, (row, test)) in out.chunks_exact_mut((n + 1) * each).zip(rotated) {
        for (value, &at) in out.chunks_exact_mut(n + 1).zip(&test.extracted) {
            product::extract_one(value, row, at);
        }
    }
}

/// Switches values to the short key, with 32-bit elements: `(0, b) - sum_ij d_ij K_ij`.
fn key_switch(cpu: &Cpu, x: &[u64]) -> Vec<u32> {
    let n = cpu.params.row_size;
    let short = cpu.params.short_dimension + 1;
    let gadget = cpu.params.key_switch;
    let levels = gadget.levels as usize;
    let count = x.len() / (n + 1);

    // The key has the levels of one bit from the least significant; `decompose` the other way.
    let mut digits = vec![0u32; count * n * levels];
    let mut by_level = vec![0u64; n * levels];
    for (value, digits) in x.chunks_exact(n + 1).zip(digits.chunks_exact_mut(n * levels)) {
        super::fourier::decompose(&mut by_level, &value[..n], gadget);
        for (i, digits) in digits.chunks_exact_mut(levels).enumerate() {
            for (j, digit) in digits.iter_mut().enumerate() {
                *digit = by_level[(levels - 1 - j) * n + i] as u32;
            }
        }
    }
    let mut out = vec![0u32; count * short];
    for (value, out) in x.chunks_exact(n + 1).zip(out.chunks_exact_mut(short)) {
        out[short - 1] = (value[n].wrapping_add(1 << 31) >> 32) as u32;
    }
    for (block, key) in cpu.key_switch.chunks(short * KEY_ROWS).enumerate() {
        for (v, out) in out.chunks_exact_mut(short).enumerate() {
            let start = v * n * levels + block * KEY_ROWS;
            for (row, &digit) in key.chunks_exact(short).zip(&digits[start..]) {
                for (out, &k) in out.iter_mut().zip(row) {
                    *out = out.wrapping_sub(digit.wrapping_mul(k));
                }
            }
        }
    }
    out
}

/// Rounds to exponents modulo 2 N that are multiples of the number of tables, after adding 1/4 so
/// that the table's range starts at exponent 0.
///
/// Rounding a mask element up by r takes r times a key bit from the phase, r/2 in the mean. The
/// server knows r: the body takes half the sum of all r, so that only the bits' deviation from 1/2
/// is left, half the variance. (Centred modulus switch: `docs/src/cryptography.md`.)
fn exponents(cpu: &Cpu, values: &[u32], tables: usize) -> Vec<usize> {
    let log_modulus = cpu.params.row_size.ilog2() + 1;
    let shift = 32 - (log_modulus - tables.ilog2());
    let round = |e: u32| e.wrapping_add(1 << (shift - 1)) >> shift;
    let exponent = |rounded: u32| ((rounded as usize) << tables.ilog2()) % (1 << log_modulus);
    let mut out = Vec::with_capacity(values.len());
    for value in values.chunks_exact(cpu.params.short_dimension + 1) {
        let (mask, body) = value.split_at(cpu.params.short_dimension);
        let mut off = 0i64;
        for &e in mask {
            let rounded = round(e);
            off += i64::from((rounded << shift).wrapping_sub(e) as i32);
            out.push(exponent(rounded));
        }
        let centred = body[0].wrapping_add(1 << 30).wrapping_add((off / 2) as u32);
        out.push(exponent(round(centred)));
    }
    out
}

/// One value's key switch and bootstrap by tfhe's own functions, buffers allocated beforehand.
pub struct RawBootstrap {
    key_switch: LweKeyswitchKeyOwned<u64>,
    input: LweCiphertextOwned<u64>,
    short: LweCiphertextOwned<u64>,
    output: LweCiphertextOwned<u64>,
    test: GlweCiphertextOwned<u64>,
    bootstrap: FourierLweBootstrapKeyOwned,
    fft: Fft,
    buffers: ComputationBuffers,
}

pub(super) fn raw(cpu: &Cpu) -> RawBootstrap {
    let p = &cpu.params;
    let modulus = CiphertextModulus::new_native();
    let n = LweDimension(p.row_size).to_lwe_size();
    let short = LweDimension(p.short_dimension);
    let glwe_size = GlweDimension(1).to_glwe_size();
    let size = PolynomialSize(p.row_size);
    let key: Vec<u64> = cpu.key_switch.iter().map(|&k| u64::from(k) << 32).collect();
    let fft = Fft::new(size);
    let mut buffers = ComputationBuffers::new();
    let need = blind_rotate_assign_scratch::<u64>(glwe_size, size, fft.as_view())
        .and(StackReq::new_aligned::<u64>(2 * p.row_size, 128));
    buffers.resize(need.unaligned_bytes_required());
    let mut input = LweCiphertext::new(0u64, n, modulus);
    // Any elements will do, in the key as well: the time does not depend on them, as long as they
    // are not all zero.
    let mut bootstrap = FourierLweBootstrapKey::new(
        LweDimension(p.short_dimension),
        glwe_size,
        size,
        DecompositionBaseLog(p.lookup.base_log as usize),
        DecompositionLevelCount(p.lookup.levels as usize),
    );
    for (i, x) in bootstrap.as_mut_view().data().iter_mut().enumerate() {
        *x = c64::new((i % 1021) as f64, (i % 1019) as f64);
    }
    for (i, e) in input.as_mut().iter_mut().enumerate() {
        *e = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    RawBootstrap {
        key_switch: LweKeyswitchKey::from_container(
            key,
            DecompositionBaseLog(p.key_switch.base_log as usize),
            DecompositionLevelCount(p.key_switch.levels as usize),
            short.to_lwe_size(),
            modulus,
        ),
        input,
        short: LweCiphertext::new(0u64, short.to_lwe_size(), modulus),
        output: LweCiphertext::new(0u64, n, modulus),
        test: GlweCiphertext::new(1u64 << 60, glwe_size, size, modulus),
        bootstrap,
        fft,
        buffers,
    }
}

impl RawBootstrap {
    /// Runs both once.
    pub fn run(&mut self) {
        keyswitch_lwe_ciphertext(&self.key_switch, &self.input, &mut self.short);
        programmable_bootstrap_lwe_ciphertext_mem_optimized(
            &self.short,
            &mut self.output,
            &self.test,
            &self.bootstrap,
            self.fft.as_view(),
            self.buffers.stack(),
        );
    }
}
