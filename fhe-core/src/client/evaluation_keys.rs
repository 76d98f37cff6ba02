//! The evaluation keys, each by itself. All are made from the key's seed, always the same.

use rayon::prelude::*;
use tfhe::core_crypto::prelude::*;
use zeroize::Zeroizing;

use super::ClientKey;
use super::encrypt::{Noise, Once, Use};
use crate::batch::BatchKeys;
use crate::params::{BatchSpec, Gadget};
use crate::server::{EvaluationKeys, KEY_CHUNK, SeededRows};

impl ClientKey {
    /// Makes everything that a server needs, and nothing that decrypts. The same key gives the same
    /// evaluation keys, bit for bit: they are one message, made once.
    ///
    /// # Cost
    /// Seconds on all threads, at the parameter sets that are secure.
    #[must_use]
    pub fn evaluation_keys(&self) -> EvaluationKeys {
        let lists = self.params.lists;
        EvaluationKeys {
            params: self.params.clone(),
            key_id: self.id(),
            key_switch: self.key_switch_key(),
            blind_rotation: self.blind_rotation_key(),
            pack: self.packing_key(),
            reflect: self.reflection_key(),
            lists: lists.map_or_else(Default::default, |lists| self.list_keys(lists.pack)),
            expand: lists.and_then(|l| l.expand).map_or_else(Vec::new, |g| self.expansion_keys(g)),
            batch: self.params.batch.and_then(|spec| self.batch_keys(&spec)),
        }
    }

    /// Encrypts rows of a key under a purpose of its own.
    fn key_rows(&self, messages: &[u64], purpose: &str, index: usize) -> SeededRows {
        self.seeded_rows(messages, Use::deterministic(purpose, index as u64))
    }

    fn key_switch_key(&self) -> SeededRows {
        let p = &self.params;
        let mask_seed = self.derive("key switch mask", 0, &[]);
        let mut key_switch = SeededLweKeyswitchKey::new(
            0u64,
            DecompositionBaseLog(p.key_switch.base_log as usize),
            DecompositionLevelCount(p.key_switch.levels as usize),
            LweDimension(p.row_size),
            LweDimension(p.short_dimension),
            mask_seed.into(),
            CiphertextModulus::new_native(),
        );
        generate_seeded_lwe_keyswitch_key(
            &LweSecretKey::from_container(&self.row_key[..]),
            &LweSecretKey::from_container(&self.short_key[..]),
            &mut key_switch,
            Noise::new_t_uniform(p.short_noise_bits),
            &mut Once(self.derive("key switch noise", 0, &[])),
        );
        SeededRows { seed: mask_seed.0, bodies: key_switch.into_container() }
    }

    /// A selector of each bit [group = pattern]: see `engine::cpu::blind_rotation`.
    fn blind_rotation_key(&self) -> Vec<SeededRows> {
        let p = &self.params;
        self.short_key
            .par_chunks_exact(p.lookup_group)
            .enumerate()
            .map(|(index, bits)| {
                let value = bits.iter().rev().fold(0, |value, bit| 2 * value + *bit as usize);
                let patterns = 1..1usize << p.lookup_group;
                let of_one = 2 * p.lookup.levels as usize * p.row_size;
                // All at once: a vector that grows leaves copies behind.
                let mut rows = Zeroizing::new(Vec::with_capacity(patterns.len() * of_one));
                for pattern in patterns {
                    self.selector_of_bit(&mut rows, u64::from(value == pattern), p.lookup);
                }
                self.key_rows(&rows, "blind rotation", index)
            })
            .collect()
    }

    /// Adds the messages of a selector of a single bit.
    fn selector_of_bit(&self, rows: &mut Vec<u64>, bit: u64, gadget: Gadget) {
        let n = self.params.row_size;
        for level in 1..=gadget.levels {
            let unit = bit << (64 - gadget.base_log * level);
            rows.extend(self.row_key.iter().map(|s| s.wrapping_mul(unit).wrapping_neg()));
            rows.push(unit);
            rows.resize(rows.len() + n - 1, 0);
        }
    }

    /// Level j of key bit i: the constant row `s_i q / B^j`.
    fn packing_key(&self) -> Vec<SeededRows> {
        let p = &self.params;
        let n = p.row_size;
        let chunk = KEY_CHUNK.min(n);
        (0..n / chunk)
            .into_par_iter()
            .map(|part| {
                let levels = p.pack.levels as usize;
                let mut messages = Zeroizing::new(vec![0u64; chunk * levels * n]);
                for i in 0..chunk {
                    for level in 0..levels {
                        let shift = 64 - p.pack.base_log * (level as u32 + 1);
                        messages[(i * levels + level) * n] =
                            self.row_key[part * chunk + i] << shift;
                    }
                }
                self.key_rows(&messages, "pack", part)
            })
            .collect()
    }

    /// The rows of `S(1/X) q / B^j`, where `S(1/X) = s_0 - s_{N-1} X - ... - s_1 X^{N-1}`.
    fn reflection_key(&self) -> SeededRows {
        let n = self.params.row_size;
        self.automorphism_key(self.params.reflect, 2 * n - 1, ("reflect", 0))
    }

    /// For each level of an expansion the rows of `S(X^g) q / B^j`: see
    /// `engine::cpu::automorphism`.
    fn expansion_keys(&self, gadget: Gadget) -> Vec<SeededRows> {
        let n = self.params.row_size;
        let of_level = |level: u32| {
            let g = crate::polynomial::expansion(n, level);
            self.automorphism_key(gadget, g, ("expand", level as usize))
        };
        (0..n.ilog2()).map(of_level).collect()
    }

    /// The rows of `S(X^g) q / B^j`.
    fn automorphism_key(
        &self,
        gadget: Gadget,
        g: usize,
        (purpose, index): (&str, usize),
    ) -> SeededRows {
        let n = self.params.row_size;
        let mut moved = Zeroizing::new(vec![0; n]);
        crate::polynomial::automorphism(&mut moved, &self.row_key, g);
        let mut messages = Zeroizing::new(Vec::with_capacity(gadget.levels as usize * n));
        for level in 1..=gadget.levels {
            let shift = 64 - gadget.base_log * level;
            messages.extend(moved.iter().map(|&c| c << shift));
        }
        self.key_rows(&messages, purpose, index)
    }

    /// The keys of batch lookups: see `batch`.
    fn batch_keys(&self, spec: &BatchSpec) -> Option<BatchKeys> {
        let seed = |purpose: &str, index: u64| {
            let half = |part: u8| self.derive(purpose, index, &[part]).0.to_le_bytes();
            let mut bytes = Zeroizing::new([0; 32]);
            bytes[..16].copy_from_slice(&half(0));
            bytes[16..].copy_from_slice(&half(1));
            bytes
        };
        let rows = |messages: &[u64], purpose: &str| self.key_rows(messages, purpose, 0);
        let pack = self.list_key("batch pack", spec.pack, &self.one());
        BatchKeys::new(&self.params, spec, &self.row_key, seed, rows, pack)
    }

    /// For bit i and level j the row of `s_i q / B^j`, and that of `s_i S q / B^j`: see
    /// `engine::cpu::list_packing`.
    fn list_keys(&self, gadget: Gadget) -> [Vec<SeededRows>; 2] {
        let times_key = self.list_key("list times key", gadget, &self.row_key);
        [self.list_key("list", gadget, &self.one()), times_key]
    }

    /// The polynomial 1.
    fn one(&self) -> Vec<u64> {
        let mut one = vec![0; self.params.row_size];
        one[0] = 1;
        one
    }

    /// For bit i and level j the row of `s_i q / B^j` times a polynomial.
    fn list_key(&self, purpose: &str, gadget: Gadget, polynomial: &[u64]) -> Vec<SeededRows> {
        let n = self.params.row_size;
        let chunk = KEY_CHUNK.min(n);
        self.row_key
            .par_chunks_exact(chunk)
            .enumerate()
            .map(|(part, bits)| {
                let len = chunk * gadget.levels as usize * n;
                let mut messages = Zeroizing::new(Vec::with_capacity(len));
                for bit in bits {
                    for level in 1..=gadget.levels {
                        let unit = bit << (64 - gadget.base_log * level);
                        messages.extend(polynomial.iter().map(|c| c.wrapping_mul(unit)));
                    }
                }
                self.key_rows(&messages, purpose, part)
            })
            .collect()
    }
}
