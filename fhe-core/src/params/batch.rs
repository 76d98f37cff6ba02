//! What batch lookups need of a parameter set.

use serde::{Deserialize, Serialize};

use super::{Gadget, Params, ParamsSpec};

/// A list is looked up in a batch if it fills at least this part of one.
const LEAST_FILL: usize = 128;

/// Primes of one kind in the modulus of the large ring: `count` of them, equal to 1 modulo `2 N'`,
/// the largest below `2^bits` that no earlier kind has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limbs {
    /// Number of primes.
    pub count: u32,
    /// Bits of a prime.
    pub bits: u32,
}

/// Bits of the largest modulus with which a ring of [`MODULUS_RING`] coefficients holds 128 bits,
/// with uniform ternary secrets (Bossuat et al., eprint 2024/463).
const MOST_MODULUS_BITS: u64 = 1747;
/// Coefficients of that ring.
const MODULUS_RING: u64 = 1 << 16;

/// The part of a set with which whole batches of values are looked up at a time.
///
/// A batch is R rows of N values. Together they are one ciphertext of the ring of `N' = R N`
/// coefficients modulo `Y^N' + 1`, whose modulus is a product of primes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchSpec {
    /// Number R of rows that share a ciphertext of the large ring.
    pub rows: usize,
    /// Number t of slots in which a value is read: of the half torus if the tables are promised to
    /// be read there only, of the whole torus otherwise.
    pub slots: usize,
    /// Bound K on the multiples I of t that stand beside a slot, `|I| < K`.
    pub overflow: u32,
    /// Degree of the polynomial with which the exponential begins.
    pub degree: usize,
    /// Squarings that follow the polynomial.
    pub squarings: u32,
    /// Primes at which a batch begins and ends.
    pub base: Limbs,
    /// Primes for the way from slots to coefficients.
    pub slots_to_coefficients: Limbs,
    /// Primes for the powers of the exponential and the sums of a table: log2(t) of them.
    pub table: Limbs,
    /// Primes for the exponential.
    pub exponential: Limbs,
    /// Primes for the product with the key and the way from coefficients to slots.
    pub coefficients_to_slots: Limbs,
    /// Primes by which the large ring's key switches raise the modulus.
    pub special: Limbs,
    /// Packing of values into the rows of a batch. It may be coarse: a batch reads t slots.
    pub pack: Gadget,
    /// Key switch from the large ring's key to the values' key.
    pub down: Gadget,
    /// Rows of the key's square, which make selectors of rows.
    pub square: Gadget,
}

/// How a list of values is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupPath {
    /// One value at a time, by a blind rotation.
    BlindRotation,
    /// Many values at a time, in the large ring.
    Batch,
}

/// A rule that a specification breaks: field, what it is, and the rule.
pub(super) type Broken = (&'static str, u64, &'static str);

impl BatchSpec {
    /// Returns the number of values of a full batch, N'.
    #[must_use]
    pub fn values(&self, row_size: usize) -> usize {
        self.rows * row_size
    }

    /// Checks the rules.
    pub(super) fn check(&self, spec: &ParamsSpec) -> Result<(), Broken> {
        let ring = self.rows.checked_mul(spec.row_size).filter(|ring| *ring <= 1 << 17);
        // A single row has no room for the giant steps of its transforms.
        if !self.rows.is_power_of_two() || self.rows < 2 || ring.is_none() {
            let rule = "must be a power of two, 2 to 2^17 / row_size";
            return Err(("batch.rows", self.rows as u64, rule));
        }
        if !self.slots.is_power_of_two() || !(16..=spec.row_size).contains(&self.slots) {
            let rule = "must be a power of two in 16..=row_size";
            return Err(("batch.slots", self.slots as u64, rule));
        }
        for (field, got, most, rule) in [
            ("batch.overflow", u64::from(self.overflow), 1024, "must be 1 to 1024"),
            ("batch.squarings", u64::from(self.squarings), 16, "must be 1 to 16"),
        ] {
            if !(1..=most).contains(&got) {
                return Err((field, got, rule));
            }
        }
        if self.degree != 15 {
            return Err(("batch.degree", self.degree as u64, "must be 15"));
        }
        let primes = [
            ("batch.base", self.base),
            ("batch.slots_to_coefficients", self.slots_to_coefficients),
            ("batch.table", self.table),
            ("batch.exponential", self.exponential),
            ("batch.coefficients_to_slots", self.coefficients_to_slots),
            ("batch.special", self.special),
        ];
        for (field, limbs) in primes {
            if !(1..=16).contains(&limbs.count) {
                return Err((field, limbs.count.into(), "must have 1 to 16 primes"));
            }
            // Of each size there are thousands that equal 1 modulo 2^18.
            if !(40..=50).contains(&limbs.bits) {
                return Err((field, limbs.bits.into(), "must have primes of 40 to 50 bits"));
            }
        }
        for (field, got, expected, rule) in [
            ("batch.base", self.base.count, 1, "must have one prime"),
            (
                "batch.slots_to_coefficients",
                self.slots_to_coefficients.count,
                3,
                "must have 3 primes",
            ),
            (
                "batch.coefficients_to_slots",
                self.coefficients_to_slots.count,
                3,
                "must have 3 primes",
            ),
            (
                "batch.exponential",
                self.exponential.count,
                4 + self.squarings,
                "must have 4 primes and one for each squaring",
            ),
        ] {
            if got != expected {
                return Err((field, got.into(), rule));
            }
        }
        if self.table.count != self.slots.ilog2() {
            return Err(("batch.table", self.table.count.into(), "must have log2(slots) primes"));
        }
        if spec.lists.is_none() {
            return Err(("batch", 0, "needs the gadgets for lists"));
        }
        // The largest modulus that holds 128 bits grows with the ring: docs/src/parameters.md.
        let bits: u64 = primes.iter().map(|(_, limbs)| u64::from(limbs.count * limbs.bits)).sum();
        let most = MOST_MODULUS_BITS * ring.unwrap_or(0) as u64 / MODULUS_RING;
        if spec.security_bits > 0 && bits > most {
            let rule = "must leave the modulus at most 1747 bits for each 65536 coefficients of \
                        the large ring, where security is claimed";
            return Err(("batch", bits, rule));
        }
        Ok(())
    }

    /// Returns the gadgets with their names.
    pub(super) fn gadgets(&self) -> [(&'static str, Gadget); 3] {
        [("batch.pack", self.pack), ("batch.down", self.down), ("batch.square", self.square)]
    }
}

impl Params {
    /// Returns how a list of so many values that share their tables is looked up. All engines
    /// follow it.
    ///
    /// A batch costs the same whatever its number of values, about as much as some hundreds of
    /// blind rotations. A list goes that way if the set has a batch part and the list fills at
    /// least 1/128 of a batch, `R N / 128` values.
    ///
    /// ```
    /// use fhe_core::Params;
    /// use fhe_core::params::LookupPath;
    ///
    /// # fn main() -> fhe_core::Result<()> {
    /// let params = Params::secure128_deep_v3()?;
    /// assert_eq!(params.lookup_path(511), LookupPath::BlindRotation);
    /// assert_eq!(params.lookup_path(512), LookupPath::Batch);
    /// assert_eq!(Params::secure128_deep()?.lookup_path(1 << 20), LookupPath::BlindRotation);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn lookup_path(&self, len: usize) -> LookupPath {
        let least = self.batch.map(|batch| batch.values(self.row_size) / LEAST_FILL);
        match least {
            Some(least) if len >= least.max(1) => LookupPath::Batch,
            _ => LookupPath::BlindRotation,
        }
    }

    /// Returns the number of values of a full batch; 0 of a set without a batch part. Longer lists
    /// gain nothing by being longer.
    ///
    /// ```
    /// use fhe_core::Params;
    ///
    /// # fn main() -> fhe_core::Result<()> {
    /// assert_eq!(Params::secure128_deep_v3()?.batch_values(), 65_536);
    /// assert_eq!(Params::secure128_deep()?.batch_values(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn batch_values(&self) -> usize {
        self.batch.map_or(0, |batch| batch.values(self.row_size))
    }

    /// Returns whether the rows of a lookup are looked up as they stand: a batch then gives each
    /// row where it is wanted ([`Engine::lookup_rows`](crate::Engine::lookup_rows)). All engines
    /// follow it.
    ///
    /// That is so if `values` values take batches, and `lists` rows take no more of them than the
    /// values one after the other. Otherwise values are looked up in their order, and packed.
    ///
    /// ```
    /// # fn main() -> fhe_core::Result<()> {
    /// let params = fhe_core::Params::secure128_deep_v3()?;
    /// // 32 rows make a batch, and so do 65,536 values.
    /// assert!(params.looks_up_in_place(1000, 32));
    /// assert!(!params.looks_up_in_place(1000, 33));
    /// assert!(!params.looks_up_in_place(100, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn looks_up_in_place(&self, values: usize, lists: usize) -> bool {
        let Some(batch) = self.batch else { return false };
        let needed = values.div_ceil(batch.values(self.row_size));
        self.lookup_path(values) == LookupPath::Batch && lists.div_ceil(batch.rows) <= needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broken_rule_is_named() {
        let good = (*Params::secure128_deep_v3().unwrap()).clone();
        type Break = fn(&mut BatchSpec);
        let cases: [(&str, Break); 13] = [
            ("batch.rows", |b| b.rows = 3),
            ("batch.rows", |b| b.rows = 1),
            ("batch.rows", |b| b.rows = 128),
            ("batch.slots", |b| b.slots = 4096),
            ("batch.slots", |b| b.slots = 1000),
            ("batch.overflow", |b| b.overflow = 0),
            ("batch.degree", |b| b.degree = 14),
            ("batch.squarings", |b| b.squarings = 0),
            ("batch.base", |b| b.base.count = 0),
            ("batch.special", |b| b.special.bits = 51),
            ("batch.table", |b| b.slots = 512),
            ("batch.down", |b| b.down.levels = 5),
            ("batch.square", |b| b.square.base_log = 0),
        ];
        for (field, break_it) in cases {
            let mut spec = good.clone();
            break_it(spec.batch.as_mut().unwrap());
            let message = Params::new(spec).unwrap_err().to_string();
            assert!(message.contains(&format!(": {field} is ")), "{message}");
        }
        // Half the ring with the same modulus: not where security is claimed.
        let halved = |security_bits| {
            let mut spec = good.clone();
            spec.security_bits = security_bits;
            spec.batch.as_mut().unwrap().rows /= 2;
            Params::new(spec)
        };
        let message = halved(good.security_bits).unwrap_err().to_string();
        assert!(message.contains(": batch is 1716, "), "{message}");
        halved(0).unwrap();
        let mut spec = good;
        spec.lists = None;
        assert!(Params::new(spec).unwrap_err().to_string().contains("gadgets for lists"));
    }

    /// A file of a set without a batch part says nothing of it, so that no hash has changed.
    #[test]
    fn a_set_without_a_batch_part_does_not_mention_it() {
        let json = |params: Params| serde_json::to_string(&*params).unwrap();
        let (without, with) = (Params::secure128_deep().unwrap(), Params::secure128_deep_v3());
        assert_eq!(without.hash(), "54f34f59b3520f51");
        assert!(!json(without).contains("batch"));
        let spec: ParamsSpec = serde_json::from_str(&json(with.unwrap())).unwrap();
        assert_eq!(spec.batch.unwrap().values(spec.row_size), 1 << 16);
    }
}
