//! The client's side: the only code that holds a secret key.

mod encrypt;
mod evaluation_keys;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha20Rng;
use tfhe::core_crypto::commons::math::random::Seed as Seed128;
use tfhe::core_crypto::prelude::*;
use zeroize::Zeroizing;

pub use encrypt::Deterministic;
pub(crate) use encrypt::{Nonce, Use};

use crate::seed::{REPRODUCIBLE, leaving_nothing};
use crate::store::{EncryptedValues, Message};
use crate::{Error, Params, Result, Seed};

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

/// Returns whether a key was made of a number, so that anyone can derive it, by its public name.
///
/// ```
/// use fhe_core::{Params, Seed, client::{ClientKey, is_reproducible}};
/// let params = Params::toy_insecure()?;
/// assert!(is_reproducible(&ClientKey::new(&params, Seed::from_number(1)).id()));
/// assert!(!is_reproducible(&ClientKey::new(&params, Seed::random()?).id()));
/// # Ok::<_, fhe_core::Error>(())
/// ```
#[must_use]
pub fn is_reproducible(key_id: &str) -> bool {
    key_id.starts_with(REPRODUCIBLE)
}

fn binary_key(seed: &Seed, purpose: &str, len: usize) -> Zeroizing<Vec<u64>> {
    let mut generator =
        SecretRandomGenerator::<DefaultRandomGenerator>::new(seed.derive(purpose, 0, &[]));
    let key = LweSecretKey::generate_new_binary(LweDimension(len), &mut generator);
    Zeroizing::new(key.into_container())
}

impl ClientKey {
    /// Derives the key of a seed. One key is for one job: whatever is published of what it decrypts
    /// answers a question about decryptions.
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
    /// under the key carry it, so that a mix-up is an error and not noise. It begins with
    /// `reproducible-` if anyone can derive the key, see [`is_reproducible`].
    #[must_use]
    pub fn id(&self) -> String {
        let mark = if self.seed.is_reproducible() { REPRODUCIBLE } else { "" };
        let id = self.seed.derive("key id", 0, self.params.hash().as_bytes()).0;
        format!("{mark}{id:032x}")
    }

    /// Returns a secret order of `len` things, each number below `len` once: for samples whose
    /// places must not tell what they are. The same key, purpose and length give the same order.
    #[must_use]
    pub fn order(&self, purpose: &str, len: usize) -> Vec<usize> {
        let mut seed = Zeroizing::new([0; 32]);
        for (half, bytes) in seed.chunks_exact_mut(16).enumerate() {
            let derived = self.derive(&format!("order of {purpose}"), half as u64, &[]);
            bytes.copy_from_slice(&derived.0.to_le_bytes());
        }
        let mut order: Vec<usize> = (0..len).collect();
        leaving_nothing(|| order.shuffle(&mut ChaCha20Rng::from_seed(*seed)));
        order
    }

    /// Returns a keyed digest: equal for equal data under this key, and nothing more to anyone
    /// without the key.
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

    fn glwe_key(&self) -> GlweSecretKey<&[u64]> {
        GlweSecretKey::from_container(&self.row_key[..], PolynomialSize(self.params.row_size))
    }

    /// Decrypts values that came as a message, to phases with noise.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if they were made under another key or parameter set.
    pub fn decrypt(&self, values: &EncryptedValues) -> Result<Vec<u64>> {
        values.expect_key(&self.params, &self.id())?;
        self.decrypt_values(&values.expand()?)
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
