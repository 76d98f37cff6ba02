//! Encryption: with fresh randomness unless the deterministic one is asked for by name.

use rand::TryRng;
use rand::rngs::SysRng;
use rayon::prelude::*;
use tfhe::core_crypto::algorithms::polynomial_algorithms::polynomial_wrapping_mul;
use tfhe::core_crypto::commons::math::random::Seed as Seed128;
use tfhe::core_crypto::prelude::*;
use zeroize::Zeroizing;

use super::ClientKey;
use crate::engine::cpu::Rows;
use crate::server::SeededRows;
use crate::store::{EncryptedQuery, EncryptedValues};
use crate::{Error, Result};

pub(super) type Noise = DynamicDistribution<u64>;

/// A noise seeder that hands out one derived seed: tfhe asks each generator's seeder once.
pub(super) struct Once(pub(super) Seed128);

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

/// 128 random bits that make one encryption unlike any other of the same message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nonce(pub(crate) u128);

impl Nonce {
    /// Draws from the operating system.
    pub(crate) fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        SysRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other).map_err(Error::Random)?;
        Ok(Self(u128::from_le_bytes(bytes)))
    }
}

/// What one encryption is for: its masks and noise are derived from this, the key and the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use<'a> {
    purpose: &'a str,
    index: u64,
    nonce: Option<Nonce>,
}

impl<'a> Use<'a> {
    pub(crate) fn deterministic(purpose: &'a str, index: u64) -> Self {
        Self { purpose, index, nonce: None }
    }

    pub(crate) fn fresh(purpose: &'a str, index: u64, nonce: Nonce) -> Self {
        Self { purpose, index, nonce: Some(nonce) }
    }
}

/// Deterministic encryption: see [`ClientKey::deterministic`].
#[derive(Debug)]
pub struct Deterministic<'a> {
    key: &'a ClientKey,
    purpose: String,
}

impl Deterministic<'_> {
    /// As [`ClientKey::encrypt_rows`], the same at each call. `index` counts uses under one
    /// purpose.
    ///
    /// # Errors
    /// As [`ClientKey::encrypt_rows`].
    pub fn encrypt_rows(&self, phases: &[u64], index: u64) -> Result<Rows> {
        self.key.rows(phases, Use::deterministic(&self.purpose, index))
    }

    /// As [`ClientKey::encrypt_values`], the same at each call. `index` counts uses under one
    /// purpose.
    ///
    /// # Errors
    /// As [`ClientKey::encrypt_values`].
    pub fn encrypt_values(&self, phases: &[u64], index: u64) -> Result<EncryptedValues> {
        self.key.values(phases, Use::deterministic(&self.purpose, index))
    }

    /// As [`ClientKey::encrypt_query`], the same at each call. Sample i is use `first + i` of the
    /// purpose.
    ///
    /// # Errors
    /// As [`ClientKey::encrypt_query`].
    pub fn encrypt_query(
        &self,
        samples: &[impl AsRef<[i32]> + Sync],
        first: u64,
    ) -> Result<EncryptedQuery> {
        let of = |i| Use::deterministic(&self.purpose, first.wrapping_add(i));
        self.key.query(samples, of)
    }
}

impl ClientKey {
    /// Returns an encryptor without fresh randomness, for what must be made again bit for bit.
    ///
    /// **It leaks equality**: the same purpose, index and message give the same ciphertext, so
    /// whoever has both sees that the messages are equal. Different messages, purposes or indices
    /// share no randomness. (A synthetic initialisation vector: Rogaway and Shrimpton, EUROCRYPT
    /// 2006.)
    ///
    /// ```
    /// use fhe_core::{Params, Seed, client::ClientKey};
    /// let key = ClientKey::new(&Params::toy_insecure()?, Seed::random()?);
    /// let again = || key.deterministic("my figures").encrypt_values(&[1 << 62], 0);
    /// assert_eq!(again()?, again()?);
    /// assert_ne!(key.encrypt_values(&[1 << 62])?, key.encrypt_values(&[1 << 62])?);
    /// # Ok::<_, fhe_core::Error>(())
    /// ```
    #[must_use]
    pub fn deterministic(&self, purpose: &str) -> Deterministic<'_> {
        Deterministic { key: self, purpose: purpose.into() }
    }

    /// Encrypts polynomials of N torus elements, one after another, as rows, with fresh randomness.
    ///
    /// # Errors
    /// [`Error::Shape`] if they do not fill the last polynomial, [`Error::Random`].
    pub fn encrypt_rows(&self, phases: &[u64]) -> Result<Rows> {
        self.rows(phases, Use::fresh("rows", 0, Nonce::random()?))
    }

    /// Encrypts single torus elements, with fresh randomness.
    ///
    /// # Cost
    /// N multiply-adds a value, and 8 bytes a value to send.
    ///
    /// # Errors
    /// [`Error::Random`].
    ///
    /// ```
    /// use fhe_core::{Cpu, Engine, Params, Seed, client::ClientKey, from_torus, to_torus};
    /// use fhe_core::store::{EncryptedValues, Message};
    /// let key = ClientKey::new(&Params::toy_insecure()?, Seed::random()?);
    /// let mut sent = Vec::new();
    /// key.encrypt_values(&[to_torus(0.125)])?.write_to(&mut sent)?;
    ///
    /// // On the server, which has evaluation keys only.
    /// let server = Cpu::new(&key.evaluation_keys());
    /// let values = EncryptedValues::read_from(&sent[..])?.open(&server)?;
    /// let answer = EncryptedValues::new(&server, server.scaled_values(&values, -2)?)?;
    ///
    /// assert!((from_torus(key.decrypt(&answer)?[0]) + 0.25).abs() < 1e-6);
    /// # Ok::<_, fhe_core::Error>(())
    /// ```
    pub fn encrypt_values(&self, phases: &[u64]) -> Result<EncryptedValues> {
        self.values(phases, Use::fresh("values", 0, Nonce::random()?))
    }

    /// Encrypts samples of N small integers each as a query, with fresh randomness.
    ///
    /// # Cost
    /// `2 + 2 l` polynomial products a sample, about a millisecond each; `12 l N` bytes a sample to
    /// send, where l is the number of levels of the gadget of selectors.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no sample, or one has another length than N;
    /// [`Error::Magnitude`] if an integer is above half the base of the gadget of selectors;
    /// [`Error::Random`].
    pub fn encrypt_query(&self, samples: &[impl AsRef<[i32]> + Sync]) -> Result<EncryptedQuery> {
        let nonce = Nonce::random()?;
        self.query(samples, |i| Use::fresh("query", i, nonce))
    }

    fn rows(&self, phases: &[u64], of: Use<'_>) -> Result<Rows> {
        let n = self.params.row_size;
        let (got, expected) = (phases.len(), phases.len().next_multiple_of(n));
        if got != expected {
            return Err(Error::Shape { op: "encrypt_rows", what: "coefficients", got, expected });
        }
        if phases.is_empty() {
            return Ok(Rows::new(n, 0));
        }
        Ok(Rows::of(n, self.seeded_rows(phases, of).expand_rows(n)))
    }

    fn values(&self, phases: &[u64], of: Use<'_>) -> Result<EncryptedValues> {
        Ok(EncryptedValues::seeded(self.params(), &self.id(), self.seeded_values(phases, of)))
    }

    fn query<'a>(
        &self,
        samples: &[impl AsRef<[i32]> + Sync],
        of: impl Fn(u64) -> Use<'a> + Sync,
    ) -> Result<EncryptedQuery> {
        if samples.is_empty() {
            let (op, what) = ("encrypt_query", "samples (at least)");
            return Err(Error::Shape { op, what, got: 0, expected: 1 });
        }
        let selector = |(i, m): (usize, &_)| self.seeded_selector(AsRef::as_ref(m), of(i as u64));
        let samples = samples.par_iter().enumerate().map(selector).collect::<Result<_>>()?;
        Ok(EncryptedQuery::new(self.params(), &self.id(), samples))
    }

    /// Derives the seeds of masks and of noise.
    fn seeds(&self, form: &str, of: Use<'_>, message: &[u8]) -> [Seed128; 2] {
        let Use { purpose, index, nonce } = of;
        ["mask", "noise"].map(|part| match nonce {
            None => self.derive(&format!("{form} {part} of {purpose}"), index, message),
            Some(Nonce(nonce)) => {
                let purpose = format!("fresh {form} {part} of {purpose}, nonce {nonce:032x}");
                self.derive(&purpose, index, message)
            }
        })
    }

    fn row_noise(&self) -> Noise {
        Noise::new_t_uniform(self.params.row_noise_bits)
    }

    /// Encrypts polynomials, given as torus elements one after another. The caller sees to it that
    /// they are whole and at least one.
    pub(crate) fn seeded_rows(&self, messages: &[u64], of: Use<'_>) -> SeededRows {
        let n = PolynomialSize(self.params.row_size);
        let [mask_seed, noise_seed] = self.seeds("row", of, bytemuck::cast_slice(messages));
        let mut list = SeededGlweCiphertextList::new(
            0u64,
            GlweDimension(1).to_glwe_size(),
            n,
            GlweCiphertextCount(messages.len() / n.0),
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

    /// Encrypts a selector: for each level j the row of `-S m q / B^j`, then that of `m q / B^j`.
    pub(crate) fn seeded_selector(&self, m: &[i32], of: Use<'_>) -> Result<SeededRows> {
        self.check_selector(m)?;
        let n = self.params.row_size;
        let m: Zeroizing<Vec<u64>> =
            Zeroizing::new(m.iter().map(|&m| i64::from(m) as u64).collect());
        let mut times_key = Zeroizing::new(vec![0u64; n]);
        polynomial_wrapping_mul(
            &mut Polynomial::from_container(&mut times_key[..]),
            &Polynomial::from_container(&m[..]),
            &Polynomial::from_container(&self.row_key[..]),
        );
        let gadget = self.params.selector;
        let mut rows = Zeroizing::new(Vec::with_capacity(2 * gadget.levels as usize * n));
        for level in 1..=gadget.levels {
            let shift = 64 - gadget.base_log * level;
            rows.extend(times_key.iter().map(|&c| c.wrapping_neg() << shift));
            rows.extend(m.iter().map(|&c| c << shift));
        }
        Ok(self.seeded_rows(&rows, of))
    }

    fn check_selector(&self, m: &[i32]) -> Result<()> {
        let (op, n) = ("encrypting a selector", self.params.row_size);
        if m.len() != n {
            return Err(Error::Shape { op, what: "coefficients", got: m.len(), expected: n });
        }
        let bound = self.params.selector_bound();
        match m.iter().position(|m| m.unsigned_abs() > bound) {
            None => Ok(()),
            Some(index) => {
                Err(Error::Magnitude { op, index, got: m[index].into(), bound: bound.into() })
            }
        }
    }

    /// Encrypts single values given as torus elements.
    pub(crate) fn seeded_values(&self, phases: &[u64], of: Use<'_>) -> SeededRows {
        let [mask_seed, noise_seed] = self.seeds("value", of, bytemuck::cast_slice(phases));
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
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::store::stored;
    use crate::{Params, Seed, from_torus};

    fn key() -> ClientKey {
        ClientKey::new(&Params::toy_insecure().unwrap(), Seed::random().unwrap())
    }

    /// Checks mean and variance of 10^5 errors or more: within 3 %, or 40 standard deviations of
    /// the measured variance of normal errors and more of uniform ones.
    fn exactly(what: &str, errors: &[f64], variance: f64) {
        let count = errors.len() as f64;
        assert!(count >= 1e5, "{what}");
        let mean = errors.iter().sum::<f64>() / count;
        assert!(mean.abs() < 8.0 * (variance / count).sqrt(), "{what}: mean {mean:e}");
        let ratio = errors.iter().map(|e| e * e).sum::<f64>() / count / variance;
        assert!((ratio - 1.0).abs() < 0.03, "{what}: variance is {ratio:.3} of the predicted");
    }

    #[test]
    fn rows_of_selectors_have_fresh_noise_and_are_rounded() {
        let key = key();
        let (n, gadget) = (key.params().row_size, key.params().selector);
        let (mut errors, mut cut) = (Vec::new(), Vec::new());
        for index in 0..60 {
            let of = Use::deterministic("test", index);
            let rows = key.seeded_selector(&vec![0; n], of).unwrap();
            cut.extend(rows.bodies.iter().map(|&body| {
                let error = stored::round(body, stored::CUT).wrapping_sub(body);
                from_torus(error)
            }));
            let rows = Rows::of(n, rows.expand_rows(n));
            assert_eq!(rows.len(), 2 * gadget.levels as usize);
            errors.extend(key.decrypt_rows(&rows).unwrap().into_iter().map(from_torus));
        }
        exactly("selector", &errors, crate::noise::Noise::new(key.params()).fresh());
        // Uniform in a unit of 2^-48.
        exactly("cut", &cut, (-96f64).exp2() / 12.0);
    }

    #[test]
    fn no_two_uses_share_randomness() {
        let (key, other) = (key(), key());
        let (a, b) = (Nonce(1), Nonce(2));
        let uses = [
            Use::deterministic("purpose", 0),
            Use::deterministic("purpose", 1),
            Use::deterministic("purposes", 0),
            Use::fresh("purpose", 0, a),
            Use::fresh("purpose", 1, a),
            Use::fresh("purpose", 0, b),
        ];
        let mut seeds = HashSet::new();
        let mut count = 0;
        for key in [&key, &other] {
            for form in ["row", "value"] {
                for of in uses {
                    for message in [&[][..], &[0], &[1], &[0, 0]] {
                        let [mask, noise] = key.seeds(form, of, message);
                        seeds.extend([mask.0, noise.0]);
                        count += 2;
                    }
                }
            }
        }
        assert_eq!(seeds.len(), count);
    }

    #[test]
    fn what_is_encrypted_is_part_of_its_randomness() {
        let key = key();
        let n = key.params().row_size;
        let of = Use::deterministic("test", 0);
        let rows = |x: u64| key.seeded_rows(&vec![x; n], of);
        assert_eq!(rows(1).seed, rows(1).seed);
        assert_ne!(rows(1).seed, rows(2).seed);
        let values = |x: u64| key.seeded_values(&[x], of).seed;
        assert_ne!(values(1), values(2));
        assert_ne!(values(1), rows(1).seed);
        let mut one = vec![0; n];
        one[0] = 1;
        let selector = |m: &[i32]| key.seeded_selector(m, of).unwrap().seed;
        assert_ne!(selector(&one), selector(&vec![0; n]));
    }
}
