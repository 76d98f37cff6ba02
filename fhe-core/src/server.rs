//! The server's side: evaluation keys. Nothing here can decrypt.

use tfhe::core_crypto::commons::generators::MaskRandomGenerator;
use tfhe::core_crypto::commons::math::random::Seed as Seed128;
use tfhe::core_crypto::prelude::*;

use crate::Params;
use crate::batch::BatchKeys;

/// Key bits that one list of a packing key covers.
pub(crate) const KEY_CHUNK: usize = 64;

/// Ciphertexts as they are stored: the masks as a public seed, the bodies in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeededRows {
    pub(crate) seed: u128,
    pub(crate) bodies: Vec<u64>,
}

impl SeededRows {
    /// Expands to rows of `(mask, body)`, each of `n` coefficients.
    pub(crate) fn expand_rows(&self, n: usize) -> Vec<u64> {
        let size = GlweDimension(1).to_glwe_size();
        let modulus = CiphertextModulus::new_native();
        let seeded = SeededGlweCiphertextList::from_container(
            &self.bodies[..],
            size,
            PolynomialSize(n),
            Seed128(self.seed).into(),
            modulus,
        );
        let count = GlweCiphertextCount(self.bodies.len() / n);
        let mut list = GlweCiphertextList::new(0u64, size, PolynomialSize(n), count, modulus);
        decompress_seeded_glwe_ciphertext_list::<_, _, _, DefaultRandomGenerator>(
            &mut list, &seeded,
        );
        list.into_container()
    }

    /// Expands to values of `n` mask elements and a body.
    pub(crate) fn expand_values(&self, n: usize) -> Vec<u64> {
        self.expansions(n, self.bodies.len()).flatten().collect()
    }

    /// Expands to values of `n` mask elements and a body, so many at a time and in their order.
    /// There is no part without values.
    pub(crate) fn expansions(&self, n: usize, part: usize) -> impl Iterator<Item = Vec<u64>> + '_ {
        let modulus = CiphertextModulus::new_native();
        let size = LweDimension(n).to_lwe_size();
        let seed = Seed128(self.seed);
        // Every value takes its mask from the seed's stream where the value before it ended.
        let mut masks = MaskRandomGenerator::<DefaultRandomGenerator>::new(seed);
        self.bodies.chunks(part.max(1)).map(move |bodies| {
            let seeded =
                SeededLweCiphertextList::from_container(bodies, size, seed.into(), modulus);
            let count = LweCiphertextCount(bodies.len());
            let mut list = LweCiphertextList::new(0u64, size, count, modulus);
            decompress_seeded_lwe_ciphertext_list_with_pre_seeded_generator(
                &mut list, &seeded, &mut masks,
            );
            list.into_container()
        })
    }
}

/// Everything that a server needs to evaluate, in its stored (seeded) form.
///
/// No secret can be asked of it, nor the secret of the large ring of batch lookups be named:
///
/// ```compile_fail,E0599
/// fn peek(keys: &fhe_core::server::EvaluationKeys) {
///     let _ = keys.batch_secret();
/// }
/// ```
///
/// ```compile_fail,E0603
/// fn peek(_: &fhe_core::batch::secret::Secret) {}
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EvaluationKeys {
    pub(crate) params: Params,
    pub(crate) key_id: String,
    pub(crate) key_switch: SeededRows,
    pub(crate) blind_rotation: Vec<SeededRows>,
    pub(crate) pack: Vec<SeededRows>,
    pub(crate) reflect: SeededRows,
    /// Empty if the parameter set has no gadgets for lists.
    pub(crate) lists: [Vec<SeededRows>; 2],
    /// Of each level of an expansion, from the first; empty if the set does not expand.
    pub(crate) expand: Vec<SeededRows>,
    /// Of a set with a batch part.
    pub(crate) batch: Option<BatchKeys>,
}

impl std::fmt::Debug for EvaluationKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvaluationKeys")
            .field("params", &self.params.name)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl EvaluationKeys {
    /// Returns the parameter set.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Returns the public name of the client key that these belong to.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}
