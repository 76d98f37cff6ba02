use std::hint::black_box;

use rand::TryRng;
use rand::rngs::SysRng;
use tfhe::core_crypto::commons::math::random::Seed as Seed128;
use zeroize::{Zeroize, Zeroizing};

use crate::{Error, Result};

/// Names how randomness is made of a seed: this derivation, and the version of tfhe that draws
/// masks and noise of what is derived. Whatever draws otherwise must get another name. With the
/// same one, a key file would give masks of former ciphertexts together with other noise, and the
/// difference of two such ciphertexts gives the key away.
///
/// The keys of batches are drawn by rand 0.10 and `rand_chacha` 0.10, which keep their values for
/// as long as their minor version stays: another one takes another name here. The hashes of keys
/// and data in `tests/store.rs` and `tests/batch_keys.rs` tell when any of the three draws
/// otherwise.
const DERIVATION: &str = "fhe-core derivation 2, tfhe 1.8";

/// Public names of keys of [`Seed::from_number`] begin with it.
pub(crate) const REPRODUCIBLE: &str = "reproducible-";

/// 32 secret bytes from which everything else of one client is derived.
///
/// Each use takes a sub-seed `blake3_keyed(seed, derivation || purpose || index || message)`:
/// different purposes, indices and messages give independent streams. Hashing the message in (a
/// synthetic initialisation vector, Rogaway and Shrimpton 2006) means that a re-run of an
/// interrupted encryption gives the same ciphertext for the same message, and never the same
/// randomness for another one.
///
/// The bytes lie in one place of the heap, however often a seed is moved, and are wiped when it is
/// dropped.
#[derive(Clone)]
pub struct Seed {
    bytes: Box<Zeroizing<[u8; 32]>>,
    reproducible: bool,
}

impl Seed {
    /// Draws a seed from the operating system, mixed with what the processor's own generator gives
    /// if there is one: blake3 of both, so that it is as good as the better one.
    ///
    /// # Errors
    /// [`Error::Random`] if the operating system has no randomness.
    pub fn random() -> Result<Self> {
        let mut drawn = Zeroizing::new([0; 32 + HARDWARE]);
        let (system, hardware) = drawn.split_at_mut(32);
        SysRng.try_fill_bytes(system).map_err(std::io::Error::other).map_err(Error::Random)?;
        fill_by_processor(hardware);
        Ok(Self::hashed("fhe-core 2026 random seed v1", &drawn[..]))
    }

    /// Takes a number as the seed: **no secrecy at all**, whatever the parameter set. For tests,
    /// and for figures that others must be able to reproduce. The public name of its keys, which
    /// every file of theirs carries, begins with `reproducible-`.
    #[cfg(feature = "reproducible-keys")]
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        let seed = Self::hashed("fhe-core 2026 reproducible seed v1", &number.to_le_bytes());
        Self { reproducible: true, ..seed }
    }

    fn hashed(context: &str, material: &[u8]) -> Self {
        leaving_nothing(|| {
            let mut hasher = blake3::Hasher::new_derive_key(context);
            hasher.update(material);
            let seed = Self::with(false, |bytes| hasher.finalize_xof().fill(bytes));
            hasher.zeroize();
            seed
        })
    }

    /// Makes a seed whose bytes are written where they stay.
    pub(crate) fn with(reproducible: bool, write: impl FnOnce(&mut [u8; 32])) -> Self {
        let mut bytes = Box::new(Zeroizing::new([0; 32]));
        write(&mut bytes);
        Self { bytes, reproducible }
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Returns whether anyone can derive the seed.
    pub(crate) fn is_reproducible(&self) -> bool {
        self.reproducible
    }

    pub(crate) fn derive(&self, purpose: &str, index: u64, message: &[u8]) -> Seed128 {
        leaving_nothing(|| {
            let mut hash = blake3::Hasher::new_keyed(self.bytes());
            for text in [DERIVATION, purpose] {
                hash.update(&(text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
            hash.update(&index.to_le_bytes());
            hash.update(message);
            let mut bytes = [0; 16];
            hash.finalize_xof().fill(&mut bytes);
            hash.zeroize();
            Seed128(u128::from_le_bytes(bytes))
        })
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(hidden)")
    }
}

/// Bytes that the processor's own generator adds.
const HARDWARE: usize = 32;

/// Asks the processor for random bytes, a bounded number of times. It may have none to give: then
/// the operating system's are all there are.
fn fill_by_processor(bytes: &mut [u8]) {
    if let Ok(mut generator) = rdrand::RdSeed::new() {
        let _ = generator.try_fill_bytes(bytes);
    }
}

/// Does work with a secret, then overwrites the part of the stack where it was done: what is left
/// there would also come to the heap, inside of things that are moved with their padding.
pub(crate) fn leaving_nothing<R>(work: impl FnOnce() -> R) -> R {
    let result = deeper(work);
    wipe_stack();
    result
}

/// Calls a function in a frame of its own, which [`wipe_stack`] reaches.
#[inline(never)]
fn deeper<R>(work: impl FnOnce() -> R) -> R {
    black_box(work())
}

#[inline(never)]
fn wipe_stack() {
    let mut deeper = [0u64; 1 << 12];
    deeper.zeroize();
    black_box(&deeper);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn uses_that_differ_have_seeds_that_differ(
            // Of so few letters that a part of one use is often that of the other.
            one in ("[ab]{0,4}", 0..3u64, prop::collection::vec(97..99u8, 0..4)),
            other in ("[ab]{0,4}", 0..3u64, prop::collection::vec(97..99u8, 0..4)),
            numbers in (0..3u64, 0..3u64),
        ) {
            let of = |number: u64, (purpose, index, message): &(String, u64, Vec<u8>)| {
                Seed::hashed("test", &number.to_le_bytes()).derive(purpose, *index, message).0
            };
            let (first, second) = (of(numbers.0, &one), of(numbers.1, &other));
            prop_assert_eq!(of(numbers.0, &one), first);
            prop_assert_eq!(first == second, (numbers.0, one) == (numbers.1, other));
        }
    }
}
