use tfhe::core_crypto::commons::math::random::Seed as Seed128;
use tfhe::core_crypto::prelude::new_seeder;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes from which everything else of one client is derived.
///
/// Each use takes a sub-seed `blake3_keyed(seed, purpose || index || message)`: different purposes,
/// indices and messages give independent streams. Hashing the message in (a synthetic
/// initialisation vector, Rogaway and Shrimpton 2006) means that a re-run of an interrupted
/// encryption gives the same ciphertext for the same message, and never the same randomness for
/// another one.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Draws a seed from tfhe's secure seeder: the processor's RDSEED, or the operating system.
    #[must_use]
    pub fn random() -> Self {
        let mut seeder = new_seeder();
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&seeder.seed().0.to_le_bytes());
        bytes[16..].copy_from_slice(&seeder.seed().0.to_le_bytes());
        Self(bytes)
    }

    /// Takes a number as the seed: **no secrecy at all**, whatever the parameter set. For tests,
    /// and for figures that others must be able to reproduce.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(blake3::derive_key("fhe-core 2026 reproducible seed v1", &number.to_le_bytes()))
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn derive(&self, purpose: &str, index: u64, message: &[u8]) -> Seed128 {
        let mut hash = blake3::Hasher::new_keyed(&self.0);
        hash.update(&(purpose.len() as u64).to_le_bytes());
        hash.update(purpose.as_bytes());
        hash.update(&index.to_le_bytes());
        hash.update(message);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        Seed128(u128::from_le_bytes(bytes))
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(hidden)")
    }
}
