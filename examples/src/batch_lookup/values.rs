//! Encrypted values whose phases are known.

use fhe_core::client::ClientKey;
use fhe_core::engine::cpu::{Rows, Values};
use fhe_core::{Cpu, Engine, Result, Slot, from_torus, to_torus};
use rayon::prelude::*;

/// Values reach from minus to plus this fraction of the torus. With the noise of the reading they
/// stay within a quarter.
pub const REACH: f64 = 0.22;

/// Purpose of all encryption here.
pub(super) const PURPOSE: &str = "batch lookup";

/// Fresh values in lists.
pub struct Listed {
    /// The values, those of list l one after another.
    pub values: Values,
    /// Their phases, noise included.
    pub phases: Vec<u64>,
    /// For each list where its values are: value i is coefficient i.
    pub lists: Vec<Vec<Slot>>,
}

impl std::fmt::Debug for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listed(hidden)")
    }
}

/// Returns a phase that looks random: number i of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
pub(super) fn scattered(i: u64) -> u64 {
    let x = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Listed {
    /// Encrypts `count` lists of `len` values, at most N. `use_index` tells apart what is encrypted
    /// under one key.
    ///
    /// They are coefficients of fresh rows, as a server gets values from products.
    ///
    /// # Errors
    /// None in practice: the lists fit together.
    pub fn new(
        key: &ClientKey,
        cpu: &Cpu,
        (count, len): (usize, usize),
        use_index: u64,
    ) -> Result<Self> {
        let n = key.params().row_size;
        let first = use_index.wrapping_mul((count * n) as u64);
        let phase =
            |i: usize| to_torus(2.0 * REACH * from_torus(scattered(first.wrapping_add(i as u64))));
        let phases: Vec<u64> = (0..count * n).map(phase).collect();
        let rows = key.deterministic(PURPOSE).encrypt_rows(&phases, use_index)?;
        let at: Vec<_> = (0..count).flat_map(|l| (0..len).map(move |i| (l, i))).collect();
        let decrypted = decrypt(key, &rows)?;
        Ok(Self {
            values: cpu.extract(&rows, &at)?,
            phases: at.iter().map(|&(l, i)| decrypted[l * n + i]).collect(),
            lists: Self::places(count, len),
        })
    }

    /// Returns where the values of such lists are.
    #[must_use]
    pub fn places(count: usize, len: usize) -> Vec<Vec<Slot>> {
        let slot = |l: usize, i: usize| Slot { value: l * len + i, coefficient: i };
        (0..count).map(|l| (0..len).map(|i| slot(l, i)).collect()).collect()
    }
}

/// Decrypts rows on all threads.
///
/// # Errors
/// [`fhe_core::Error::Shape`] if the rows have another size than the key's.
pub fn decrypt(key: &ClientKey, rows: &Rows) -> Result<Vec<u64>> {
    let n = rows.size();
    let one = |row: &[u64]| {
        let row = Rows::from_elements(n, row.to_vec());
        row.map_or_else(|| Ok(Vec::new()), |row| key.decrypt_rows(&row))
    };
    let parts: Vec<Vec<u64>> =
        rows.elements().par_chunks_exact(2 * n).map(one).collect::<Result<_>>()?;
    Ok(parts.concat())
}
