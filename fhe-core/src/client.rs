//! The client's side: the only code that holds a secret key.

use rayon::prelude::*;
use tfhe::core_crypto::algorithms::polynomial_algorithms::polynomial_wrapping_mul;
use tfhe::core_crypto::commons::math::random::Seed as Seed128;
use tfhe::core_crypto::prelude::*;
use zeroize::Zeroizing;

use crate::params::Gadget;
use crate::server::{EvaluationKeys, KEY_CHUNK, SeededRows};
use crate::{Error, Params, Result, Seed};

type Noise = DynamicDistribution<u64>;

/// The secret key of one client: a binary polynomial S of N coefficients, read as a row key and as
/// the key of values, and a short binary key that lives only inside lookups.
///
/// Both are derived from a [`Seed`], so a key file holds 32 bytes. Neither `Debug` nor any error
/// prints them; they are wiped when dropped.
pub struct ClientKey {
    params: Params,
    seed: Seed,
    row_key: Zeroizing<Vec<u64>>,
    short_key: Zeroizing<Vec<u64>>,
}

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientKey").field("params", &self.params.name).finish_non_exhaustive()
    }
}

/// A noise seeder that hands out one derived seed: tfhe asks each generator's seeder once.
struct Once(Seed128);

impl Seeder for Once {
    fn seed(&mut self) -> Seed128 {
        // A second request gets an unrelated seed, never the same one.
        let seed = self.0;
        let hash = blake3::derive_key("fhe-core 2026 noise seed chain v1", &seed.0.to_le_bytes());
        let mut next = [0; 16];
        next.copy_from_slice(&hash[..16]);
        self.0 = Seed128(u128::from_le_bytes(next));
        seed
    }

    fn is_available() -> bool {
        true
    }
}

fn binary_key(seed: &Seed, purpose: &str, len: usize) -> Zeroizing<Vec<u64>> {
    let mut generator =
        SecretRandomGenerator::<DefaultRandomGenerator>::new(seed.derive(purpose, 0, &[]));
    let key = LweSecretKey::generate_new_binary(LweDimension(len), &mut generator);
    Zeroizing::new(key.into_container())
}

impl ClientKey {
    /// Derives the key of a seed.
    #[must_use]
    pub fn new(params: &Params, seed: Seed) -> Self {
        Self {
            row_key: binary_key(&seed, &format!("row key {}", params.hash()), params.row_size),
            short_key: binary_key(
                &seed,
                &format!("short key {}", params.hash()),
                params.short_dimension,
            ),
            params: params.clone(),
            seed,
        }
    }

    /// Returns the parameter set.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Returns a public name of this key: a hash of its seed under a purpose of its own. Files made
    /// under the key carry it, so that a mix-up is an error and not noise.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:032x}", self.seed.derive("key id", 0, self.params.hash().as_bytes()).0)
    }

    /// Returns a keyed digest: equal for equal data under this key, and nothing more to anyone without
    /// the key.
    #[must_use]
    pub fn digest(&self, data: &[u8]) -> String {
        format!("{:032x}", self.derive("digest", 0, data).0)
    }

    /// Derives the randomness of one use. The parameter set is part of every purpose: the same seed
    /// under another set must not meet the same masks and noise with other messages.
    fn derive(&self, purpose: &str, index: u64, message: &[u8]) -> Seed128 {
        self.seed.derive(&format!("{} {purpose}", self.params.hash()), index, message)
    }

    pub(crate) fn seed(&self) -> &Seed {
        &self.seed
    }

    fn row_noise(&self) -> Noise {
        Noise::new_t_uniform(self.params.row_noise_bits)
    }

    fn glwe_key(&self) -> GlweSecretKey<&[u64]> {
        GlweSecretKey::from_container(&self.row_key[..], PolynomialSize(self.params.row_size))
    }

    /// Encrypts polynomials, given as torus elements one after another.
    pub(crate) fn encrypt_rows(&self, messages: &[u64], purpose: &str, index: u64) -> SeededRows {
        let n = PolynomialSize(self.params.row_size);
        let count = messages.len() / n.0;
        let bytes: &[u8] = bytemuck::cast_slice(messages);
        let mask_seed = self.derive(&format!("row mask of {purpose}"), index, bytes);
        let noise_seed = self.derive(&format!("row noise of {purpose}"), index, bytes);
        let mut list = SeededGlweCiphertextList::new(
            0u64,
            GlweDimension(1).to_glwe_size(),
            n,
            GlweCiphertextCount(count),
            mask_seed.into(),
            CiphertextModulus::new_native(),
        );
        encrypt_seeded_glwe_ciphertext_list(
            &self.glwe_key(),
            &mut list,
            &PlaintextList::from_container(messages),
            self.row_noise(),
            &mut Once(noise_seed),
        );
        SeededRows { seed: mask_seed.0, bodies: list.into_container() }
    }

    /// Encrypts polynomials of torus elements, one after another, as rows for the server.
    #[must_use]
    pub fn encrypt_list_of_rows(
        &self,
        phases: &[u64],
        purpose: &str,
        index: u64,
    ) -> crate::engine::cpu::Rows {
        let data = self.encrypt_rows(phases, purpose, index).expand_rows(self.params.row_size);
        let mut rows = crate::engine::cpu::Rows::new(self.params.row_size, 0);
        rows.extend(data);
        rows
    }

    /// Encrypts single torus elements in their stored form. `purpose` and `index` name the use;
    /// the same use with the same values gives the same ciphertext.
    #[must_use]
    pub fn encrypt_list_of_values(&self, phases: &[u64], purpose: &str, index: u64) -> SeededRows {
        self.encrypt_values(phases, purpose, index)
    }

    /// Encrypts a polynomial of small integers as a selector, in its stored form.
    #[must_use]
    pub fn encrypt_selector_of(&self, m: &[i32], purpose: &str, index: u64) -> SeededRows {
        let m: Zeroizing<Vec<u64>> =
            Zeroizing::new(m.iter().map(|&m| i64::from(m) as u64).collect());
        self.encrypt_selector(&m, purpose, index)
    }

    /// Encrypts a selector: for each level j the row of `-S m q / B^j`, then that of `m q / B^j`.
    pub(crate) fn encrypt_selector(&self, m: &[u64], purpose: &str, index: u64) -> SeededRows {
        let n = self.params.row_size;
        let message = Polynomial::from_container(m);
        let mut times_key = Zeroizing::new(vec![0u64; n]);
        let key = Polynomial::from_container(&self.row_key[..]);
        polynomial_wrapping_mul(
            &mut Polynomial::from_container(&mut times_key[..]),
            &message,
            &key,
        );
        let gadget = self.params.selector;
        let mut rows = Zeroizing::new(Vec::with_capacity(2 * gadget.levels as usize * n));
        for level in 1..=gadget.levels {
            let shift = 64 - gadget.base_log * level;
            rows.extend(times_key.iter().map(|&c| c.wrapping_neg() << shift));
            rows.extend(m.iter().map(|&c| c << shift));
        }
        self.encrypt_rows(&rows, purpose, index)
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

    /// Encrypts single values given as torus elements.
    pub(crate) fn encrypt_values(&self, phases: &[u64], purpose: &str, index: u64) -> SeededRows {
        let bytes: &[u8] = bytemuck::cast_slice(phases);
        let mask_seed = self.derive(&format!("value mask of {purpose}"), index, bytes);
        let noise_seed = self.derive(&format!("value noise of {purpose}"), index, bytes);
        if phases.is_empty() {
            return SeededRows { seed: mask_seed.0, bodies: Vec::new() };
        }
        let key = LweSecretKey::from_container(&self.row_key[..]);
        let mut list = SeededLweCiphertextList::new(
            0u64,
            LweDimension(self.params.row_size).to_lwe_size(),
            LweCiphertextCount(phases.len()),
            mask_seed.into(),
            CiphertextModulus::new_native(),
        );
        encrypt_seeded_lwe_ciphertext_list(
            &key,
            &mut list,
            &PlaintextList::from_container(phases),
            self.row_noise(),
            &mut Once(noise_seed),
        );
        SeededRows { seed: mask_seed.0, bodies: list.into_container() }
    }

    /// Makes everything that a server needs, and nothing that decrypts.
    #[must_use]
    pub fn evaluation_keys(&self) -> EvaluationKeys {
        let p = &self.params;
        let n = p.row_size;
        let short = LweSecretKey::from_container(&self.short_key[..]);

        let mask_seed = self.derive("key switch mask", 0, &[]);
        let mut key_switch = SeededLweKeyswitchKey::new(
            0u64,
            DecompositionBaseLog(p.key_switch.base_log as usize),
            DecompositionLevelCount(p.key_switch.levels as usize),
            LweDimension(n),
            LweDimension(p.short_dimension),
            mask_seed.into(),
            CiphertextModulus::new_native(),
        );
        generate_seeded_lwe_keyswitch_key(
            &LweSecretKey::from_container(&self.row_key[..]),
            &short,
            &mut key_switch,
            Noise::new_t_uniform(p.short_noise_bits),
            &mut Once(self.derive("key switch noise", 0, &[])),
        );
        let key_switch = SeededRows { seed: mask_seed.0, bodies: key_switch.into_container() };

        // A selector of each bit [group = pattern]: see `engine::cpu::blind_rotation`.
        let blind_rotation = self
            .short_key
            .par_chunks_exact(p.lookup_group)
            .enumerate()
            .map(|(index, bits)| {
                let value = bits.iter().rev().fold(0, |value, bit| 2 * value + *bit as usize);
                let mut rows = Zeroizing::new(Vec::new());
                for pattern in 1..1usize << p.lookup_group {
                    self.selector_of_bit(&mut rows, u64::from(value == pattern), p.lookup);
                }
                self.encrypt_rows(&rows, "blind rotation", index as u64)
            })
            .collect();

        // Level j of key bit i: the constant row s_i q / B^j.
        let chunk = KEY_CHUNK.min(n);
        let pack = (0..n / chunk)
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
                self.encrypt_rows(&messages, "pack", part as u64)
            })
            .collect();

        // S(1/X) = s_0 - s_{N-1} X - ... - s_1 X^{N-1}.
        let mut reflected = self.row_key.clone();
        crate::polynomial::reflect(&mut reflected);
        let mut messages = Zeroizing::new(Vec::with_capacity(p.reflect.levels as usize * n));
        for level in 1..=p.reflect.levels {
            let shift = 64 - p.reflect.base_log * level;
            messages.extend(reflected.iter().map(|&c| c << shift));
        }
        let reflect = self.encrypt_rows(&messages, "reflect", 0);

        let lists = p.lists.map_or_else(Default::default, |lists| self.list_keys(lists.pack));

        EvaluationKeys {
            params: p.clone(),
            key_id: self.id(),
            key_switch,
            blind_rotation,
            pack,
            reflect,
            lists,
        }
    }

    /// For bit i and level j the row of `s_i q / B^j`, and that of `s_i S q / B^j`: see
    /// `engine::cpu::list_packing`.
    fn list_keys(&self, gadget: Gadget) -> [Vec<SeededRows>; 2] {
        let n = self.params.row_size;
        let chunk = KEY_CHUNK.min(n);
        let keys = |purpose: &str, polynomial: &[u64]| {
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
                    self.encrypt_rows(&messages, purpose, part as u64)
                })
                .collect()
        };
        let mut one = vec![0; n];
        one[0] = 1;
        [keys("list", &one), keys("list times key", &self.row_key)]
    }

    /// Decrypts values given as `(mask, body)` vectors of N + 1 elements, to phases with noise.
    ///
    /// # Errors
    /// [`Error::Shape`] if a value has another dimension.
    pub fn decrypt_values(&self, values: &crate::engine::cpu::Values) -> Result<Vec<u64>> {
        let n = self.params.row_size;
        if values.dimension() != n {
            return Err(Error::Shape {
                op: "decrypt_values",
                what: "mask elements",
                got: values.dimension(),
                expected: n,
            });
        }
        let dot = |v: &[u64]| {
            let (mask, body) = v.split_at(n);
            let sum = mask
                .iter()
                .zip(self.row_key.iter())
                .fold(0u64, |sum, (a, s)| sum.wrapping_add(a.wrapping_mul(*s)));
            body[0].wrapping_sub(sum)
        };
        Ok(values.iter().map(dot).collect())
    }

    /// Decrypts rows, to the phases of their coefficients with noise, row after row.
    ///
    /// # Errors
    /// [`Error::Shape`] if the rows have another size.
    pub fn decrypt_rows(&self, rows: &crate::engine::cpu::Rows) -> Result<Vec<u64>> {
        let n = self.params.row_size;
        if rows.size() != n {
            return Err(Error::Shape {
                op: "decrypt_rows",
                what: "coefficients",
                got: rows.size(),
                expected: n,
            });
        }
        let key = self.glwe_key();
        let mut phases = vec![0u64; rows.len() * n];
        for (row, phase) in rows.iter().zip(phases.chunks_exact_mut(n)) {
            let row = GlweCiphertext::from_container(
                row,
                PolynomialSize(n),
                CiphertextModulus::new_native(),
            );
            decrypt_glwe_ciphertext(&key, &row, &mut PlaintextList::from_container(phase));
        }
        Ok(phases)
    }
}
