//! Parameter sets as checked data.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tfhe::core_crypto::commons::noise_formulas::secure_noise;
use tfhe::core_crypto::prelude::LweDimension;

use crate::{Error, Result};

mod batch;
mod memory;

pub use batch::{BatchSpec, Limbs, LookupPath};
pub use memory::Memory;

/// The security for which tfhe-rs gives bounds of noise.
const MOST_SECURITY: u32 = 132;
/// Most bits of the short key that one step of a blind rotation takes.
const MAX_GROUP: usize = 4;

/// How a torus element is cut into small signed digits: `levels` digits of `base_log` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gadget {
    /// Bits of a digit.
    pub base_log: u32,
    /// Number of digits, from the most significant one.
    pub levels: u32,
}

/// Gadgets of a set that can pack lists of values and promote them to selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListGadgets {
    /// Of the packing itself.
    pub pack: Gadget,
    /// Of the selectors that come out of a promotion.
    pub selector: Gadget,
    /// Of the automorphisms that expand a row to constant rows; a set without it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expand: Option<Gadget>,
}

/// A parameter set as plain data; [`Params::new`] checks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamsSpec {
    /// Name with version; a set never changes under its name.
    pub name: String,
    /// Bits of security that the two noise pairs are published for; 0 for a toy.
    pub security_bits: u32,
    /// Dimension n of the short key inside a lookup.
    pub short_dimension: usize,
    /// The short key's noise is uniform in `[-2^b, 2^b] / 2^64` (TUniform); this is b.
    pub short_noise_bits: u32,
    /// Number N of coefficients of a row, and dimension of the values' key.
    pub row_size: usize,
    /// The noise of rows, as b of TUniform.
    pub row_noise_bits: u32,
    /// Key switch from values to the short key.
    pub key_switch: Gadget,
    /// Blind rotation.
    pub lookup: Gadget,
    /// Bits of the short key that one step of a blind rotation takes.
    pub lookup_group: usize,
    /// Selectors that the client encrypts.
    pub selector: Gadget,
    /// Packing of single values into constant rows.
    pub pack: Gadget,
    /// The automorphism X -> 1/X.
    pub reflect: Gadget,
    /// Packing of lists, and promotion; a set without it does neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists: Option<ListGadgets>,
    /// Lookup of many values at a time; a set without it looks up one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchSpec>,
}

/// A checked parameter set, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params(Arc<Checked>);

#[derive(Debug, PartialEq, Eq)]
struct Checked {
    spec: ParamsSpec,
    hash: String,
}

impl std::ops::Deref for Params {
    type Target = ParamsSpec;
    fn deref(&self) -> &ParamsSpec {
        &self.0.spec
    }
}

const fn gadget(base_log: u32, levels: u32) -> Gadget {
    Gadget { base_log, levels }
}

const fn limbs(count: u32, bits: u32) -> Limbs {
    Limbs { count, bits }
}

/// The batch part of the secure sets: 65,536 values at a time, with 128 bits of security.
const BATCH: BatchSpec = BatchSpec {
    rows: 32,
    slots: 1024,
    overflow: 48,
    degree: 15,
    squarings: 7,
    base: limbs(1, 50),
    slots_to_coefficients: limbs(3, 42),
    table: limbs(10, 49),
    exponential: limbs(11, 50),
    coefficients_to_slots: limbs(3, 50),
    special: limbs(7, 50),
    pack: gadget(20, 1),
    down: gadget(11, 4),
    square: gadget(11, 4),
};

impl Params {
    /// Checks a specification.
    ///
    /// # Errors
    /// [`Error::Params`] names the first field that breaks a rule.
    pub fn new(spec: ParamsSpec) -> Result<Self> {
        let fail = |field, got: u64, rule| {
            Err(Error::Params { name: spec.name.clone(), field, got, rule })
        };
        if !spec.row_size.is_power_of_two() || !(64..=1 << 14).contains(&spec.row_size) {
            return fail("row_size", spec.row_size as u64, "must be a power of two in 64..=16384");
        }
        if spec.short_dimension == 0 || spec.short_dimension > spec.row_size {
            let got = spec.short_dimension as u64;
            return fail("short_dimension", got, "must be in 1..=row_size");
        }
        if !(1..=MAX_GROUP).contains(&spec.lookup_group)
            || !spec.short_dimension.is_multiple_of(spec.lookup_group)
        {
            let rule = "must be 1 to 4 and divide short_dimension";
            return fail("lookup_group", spec.lookup_group as u64, rule);
        }
        if spec.pack.base_log > 15 || spec.row_size * spec.pack.levels as usize > 1 << 14 {
            let rule = "must have at most 15 bits a digit and 2^14 digits a value (exact doubles)";
            return fail("pack", spec.pack.base_log.into(), rule);
        }
        if spec.lookup.levels > 4 {
            return fail("lookup", spec.lookup.levels.into(), "must have 1 to 4 levels");
        }
        for (field, bits) in
            [("short_noise_bits", spec.short_noise_bits), ("row_noise_bits", spec.row_noise_bits)]
        {
            if bits > 60 {
                return fail(field, u64::from(bits), "must be at most 60");
            }
        }
        if let Err((field, got, rule)) = check_security(&spec) {
            return fail(field, got, rule);
        }
        if let Some(Err((field, got, rule))) = spec.batch.map(|batch| batch.check(&spec)) {
            return fail(field, got, rule);
        }
        let lists = spec.lists.into_iter();
        let of_lists = lists.flat_map(|l| {
            let expand = l.expand.map(|expand| ("lists.expand", expand));
            [("lists.pack", l.pack), ("lists.selector", l.selector)].into_iter().chain(expand)
        });
        let of_batch = spec.batch.iter().flat_map(BatchSpec::gadgets);
        for (field, g) in of_lists.chain(of_batch).chain([
            ("key_switch", spec.key_switch),
            ("lookup", spec.lookup),
            ("selector", spec.selector),
            ("pack", spec.pack),
            ("reflect", spec.reflect),
        ]) {
            let bits = u64::from(g.base_log) * u64::from(g.levels);
            if bits == 0 || bits > 52 {
                return fail(field, bits, "must keep 1 to 52 bits in all");
            }
        }
        if spec.key_switch.base_log * spec.key_switch.levels > 31 {
            let bits = u64::from(spec.key_switch.base_log * spec.key_switch.levels);
            return fail("key_switch", bits, "must keep at most 31 bits (32-bit arithmetic)");
        }
        let hash = match serde_json::to_vec(&spec) {
            Ok(json) => blake3::hash(&json).to_hex()[..16].to_owned(),
            Err(_) => return fail("name", spec.name.len() as u64, "must be writable as JSON"),
        };
        Ok(Self(Arc::new(Checked { spec, hash })))
    }

    /// The default set: 128 bits.
    ///
    /// The two noise pairs, (n = 720, TUniform(50)) and (k N = 2048, TUniform(17)), are those of
    /// tfhe-rs 1.8 (`shortint/parameters/v1_8/classic/tuniform/p_fail_2_minus_128`), published
    /// there as at least 128 bits secure. The gadgets are ours; `docs/src/parameters.md` derives
    /// them.
    ///
    /// # Errors
    /// None in practice: the set passes its own check, and a test says so.
    pub fn secure128() -> Result<Self> {
        Self::new(ParamsSpec {
            name: "secure128-head-v2".into(),
            security_bits: 128,
            short_dimension: 720,
            short_noise_bits: 50,
            row_size: 2048,
            row_noise_bits: 17,
            key_switch: gadget(3, 4),
            lookup: gadget(15, 2),
            lookup_group: 3,
            selector: gadget(18, 2),
            pack: gadget(13, 2),
            reflect: gadget(13, 3),
            lists: None,
            batch: None,
        })
    }

    /// The set for linear classifiers whose lookups are taken in batches: [`Params::secure128`]
    /// with a batch part, gadgets for lists, and one for the expansion of errors to constant rows.
    ///
    /// Errors have the learning rate in them and are as small as 2^-19, so that expansion is finer
    /// than that of [`Params::secure128_deep_v4`]: all eleven levels of it add 2^-25.6.
    ///
    /// # Errors
    /// None in practice, as for [`Params::secure128`].
    pub fn secure128_head_v3() -> Result<Self> {
        Self::new(ParamsSpec {
            name: "secure128-head-v3".into(),
            lists: Some(ListGadgets {
                pack: gadget(11, 3),
                selector: gadget(6, 5),
                expand: Some(gadget(7, 6)),
            }),
            batch: Some(BATCH),
            ..(*Self::secure128()?).clone()
        })
    }

    /// The set for deep networks: less noise in lookups and their inputs than [`Params::secure128`]
    /// has, and gadgets for lists.
    ///
    /// The short pair, (n = 759, TUniform(49)), is that of tfhe-rs 1.8
    /// (`shortint/parameters/v1_8/classic/tuniform/p_fail_2_minus_128/ks_pbs_gpu.rs`), published as
    /// at least 128 bits secure.
    ///
    /// # Errors
    /// None in practice, as for [`Params::secure128`].
    pub fn secure128_deep() -> Result<Self> {
        Self::new(ParamsSpec {
            name: "secure128-deep-v2".into(),
            short_dimension: 759,
            short_noise_bits: 49,
            key_switch: gadget(2, 7),
            lookup: gadget(9, 4),
            lists: Some(ListGadgets { pack: gadget(11, 3), selector: gadget(7, 3), expand: None }),
            ..(*Self::secure128()?).clone()
        })
    }

    /// The set for deep networks whose lookups are taken in batches: [`Params::secure128_deep`]
    /// with a batch part.
    ///
    /// # Errors
    /// None in practice, as for [`Params::secure128`].
    pub fn secure128_deep_v3() -> Result<Self> {
        Self::new(ParamsSpec {
            name: "secure128-deep-v3".into(),
            batch: Some(BATCH),
            ..(*Self::secure128_deep()?).clone()
        })
    }

    /// The set for deep networks, whose samples lie side by side in polynomials. It has finer
    /// selectors than [`Params::secure128_deep_v3`], and a gadget for expansion.
    ///
    /// # Errors
    /// None in practice, as for [`Params::secure128`].
    pub fn secure128_deep_v4() -> Result<Self> {
        Self::new(ParamsSpec {
            name: "secure128-deep-v4".into(),
            lists: Some(ListGadgets {
                pack: gadget(11, 3),
                selector: gadget(6, 5),
                expand: Some(gadget(13, 3)),
            }),
            ..(*Self::secure128_deep_v3()?).clone()
        })
    }

    /// The first set for deep networks: quicker lookups, and more noise; for small networks.
    ///
    /// # Errors
    /// None in practice, as for [`Params::secure128`].
    pub fn secure128_deep_v1() -> Result<Self> {
        Self::new(ParamsSpec {
            name: "secure128-deep-v1".into(),
            key_switch: gadget(2, 7),
            lookup: gadget(12, 3),
            lists: Some(ListGadgets { pack: gadget(16, 2), selector: gadget(7, 3), expand: None }),
            ..(*Self::secure128()?).clone()
        })
    }

    /// The set for networks with public weights: one level a lookup, hence the quickest, with
    /// outputs of few bits.
    ///
    /// Both noise pairs are those of [`Params::secure128_deep`].
    ///
    /// # Errors
    /// None in practice, as for [`Params::secure128`].
    pub fn secure128_bnn() -> Result<Self> {
        Self::new(ParamsSpec {
            name: "secure128-bnn-v1".into(),
            short_dimension: 759,
            short_noise_bits: 49,
            key_switch: gadget(2, 7),
            lookup: gadget(22, 1),
            ..(*Self::secure128()?).clone()
        })
    }

    /// The set for networks with public weights whose lookups are taken in batches:
    /// [`Params::secure128_bnn`], the gadgets for lists of [`Params::secure128_deep`], and a batch
    /// part.
    ///
    /// # Errors
    /// None in practice, as for [`Params::secure128`].
    pub fn secure128_bnn_v2() -> Result<Self> {
        Self::new(ParamsSpec {
            name: "secure128-bnn-v2".into(),
            lists: Self::secure128_deep()?.lists,
            batch: Some(BATCH),
            ..(*Self::secure128_bnn()?).clone()
        })
    }

    /// A small set with **no security at all**, for tests.
    ///
    /// # Errors
    /// None in practice, as for [`Params::secure128`].
    #[cfg(feature = "toy-params")]
    pub fn toy_insecure() -> Result<Self> {
        Self::new(ParamsSpec {
            name: "toy-insecure-v4".into(),
            security_bits: 0,
            short_dimension: 66,
            short_noise_bits: 40,
            row_size: 512,
            row_noise_bits: 17,
            key_switch: gadget(4, 5),
            lookup: gadget(15, 2),
            lookup_group: 3,
            selector: gadget(18, 2),
            pack: gadget(13, 2),
            reflect: gadget(13, 3),
            lists: Some(ListGadgets { pack: gadget(16, 2), selector: gadget(7, 3), expand: None }),
            batch: None,
        })
    }

    /// The small set with a batch part, with **no security at all**, for tests.
    ///
    /// # Errors
    /// None in practice, as for [`Params::secure128`].
    #[cfg(feature = "toy-params")]
    pub fn toy_insecure_batch() -> Result<Self> {
        Self::new(ParamsSpec {
            name: "toy-insecure-batch-v2".into(),
            lists: Some(ListGadgets {
                pack: gadget(16, 2),
                selector: gadget(6, 5),
                expand: Some(gadget(13, 3)),
            }),
            batch: Some(BatchSpec {
                rows: 4,
                slots: 128,
                overflow: 24,
                squarings: 6,
                table: limbs(7, 49),
                exponential: limbs(10, 50),
                ..BATCH
            }),
            ..(*Self::toy_insecure()?).clone()
        })
    }

    /// Returns the set of a name.
    ///
    /// # Errors
    /// [`Error::UnknownParams`] lists the names there are.
    pub fn named(name: &str) -> Result<Self> {
        let known = [
            Self::secure128()?,
            Self::secure128_head_v3()?,
            Self::secure128_deep()?,
            Self::secure128_deep_v3()?,
            Self::secure128_deep_v4()?,
            Self::secure128_deep_v1()?,
            Self::secure128_bnn()?,
            Self::secure128_bnn_v2()?,
            #[cfg(feature = "toy-params")]
            Self::toy_insecure()?,
            #[cfg(feature = "toy-params")]
            Self::toy_insecure_batch()?,
        ];
        let names: Vec<_> = known.iter().map(|p| p.name.clone()).collect();
        known
            .into_iter()
            .find(|p| p.name == name)
            .ok_or_else(|| Error::UnknownParams { name: name.into(), known: names.join(", ") })
    }

    /// Returns the first 16 hexadecimal digits of the blake3 hash of the set's JSON form.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.0.hash
    }

    /// Returns B/2, the largest size of an integer in a selector that a client encrypts, where B is
    /// the base of [`ParamsSpec::selector`]; 2^30 if the base is above 2^31.
    ///
    /// A larger one wraps around in the first level. Long before that it is noise that counts: a
    /// product multiplies by the integers what the gadget rounds away, `1 / B^l` of the torus for
    /// each.
    #[must_use]
    pub fn selector_bound(&self) -> u32 {
        1 << (self.selector.base_log - 1).min(30)
    }
}

/// Refuses a set whose noise is below what tfhe-rs asks for its dimensions, at 132 bits of
/// security: `2^b` with `b = ceil(68.1 - 0.025167785 n)` for a key of n bits and q = 2^64. A set
/// that claims no security needs the feature `toy-params`.
fn check_security(spec: &ParamsSpec) -> Result<(), (&'static str, u64, &'static str)> {
    if spec.security_bits == 0 {
        let rule = "must be above 0: sets without security need the feature toy-params";
        return if cfg!(feature = "toy-params") { Ok(()) } else { Err(("security_bits", 0, rule)) };
    }
    if spec.security_bits > MOST_SECURITY {
        let rule = "must be at most 132, for which the bounds of noise are";
        return Err(("security_bits", spec.security_bits.into(), rule));
    }
    let bound = secure_noise::minimal_lwe_bound_for_132_bits_security_tuniform;
    for (field, bits, dimension) in [
        ("short_noise_bits", spec.short_noise_bits, spec.short_dimension),
        ("row_noise_bits", spec.row_noise_bits, spec.row_size),
    ] {
        let dimension = LweDimension(dimension);
        if bits < bound(dimension, 64f64.exp2()) {
            let rule = "must be at least tfhe's bound for this dimension, at 132 bits of security";
            return Err((field, bits.into(), rule));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_sets_pass_their_check() {
        assert_eq!(Params::named("secure128-head-v2").unwrap().row_size, 2048);
        assert_eq!(Params::toy_insecure().unwrap().security_bits, 0);
    }

    #[test]
    fn each_broken_rule_is_named() {
        let good = (*Params::secure128().unwrap()).clone();
        type Break = fn(&mut ParamsSpec);
        let cases: [(&str, Break); 9] = [
            ("short_noise_bits", |s| s.short_noise_bits = 49),
            ("row_noise_bits", |s| s.row_noise_bits = 16),
            ("security_bits", |s| s.security_bits = 133),
            ("lookup_group", |s| s.lookup_group = 7),
            ("row_size", |s| s.row_size = 1000),
            ("short_dimension", |s| s.short_dimension = 0),
            ("row_noise_bits", |s| s.row_noise_bits = 61),
            ("lookup", |s| s.lookup = gadget(30, 2)),
            ("key_switch", |s| s.key_switch = gadget(8, 4)),
        ];
        for (field, break_it) in cases {
            let mut spec = good.clone();
            break_it(&mut spec);
            let message = Params::new(spec).unwrap_err().to_string();
            assert!(message.contains(field), "{message}");
        }
        assert!(Params::named("nope").unwrap_err().to_string().contains("secure128-head-v2"));
    }
}
