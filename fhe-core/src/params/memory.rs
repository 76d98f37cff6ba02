//! Memory that the keys of a parameter set take.

use crate::Params;
use crate::engine::cpu;
use crate::server::EvaluationKeys;
use crate::store::Message;

/// By how many hundredths more is said than counted. An engine of `secure128-deep-v3` was measured
/// to take 9 more, because the allocator keeps some of what the stored keys took. A batch has
/// single limbs for each thread.
const MARGIN: u64 = 10;

/// Bytes of memory that a server takes for a parameter set, values apart.
///
/// ```
/// use fhe_core::Params;
///
/// # fn main() -> fhe_core::Result<()> {
/// let memory = Params::secure128_deep_v3()?.memory();
/// assert!(memory.stored < 3_000_000_000 && memory.peak() < 8_000_000_000);
/// assert_eq!(Params::secure128_deep()?.memory().batch, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The evaluation keys as they are stored: as many bytes as their file has, but for its header
    /// and its checksums.
    pub stored: u64,
    /// The keys as an engine holds them, expanded.
    pub engine: u64,
    /// One batch in work, on top of that; 0 for a set without a batch part. An engine keeps this
    /// memory for the next batch, and with 16 threads and more it has two and more in work, one for
    /// each eight.
    pub batch: u64,
}

impl Memory {
    /// Returns the most bytes that are taken at a time: while an engine opens stored keys, or while
    /// it works on a batch.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.engine + self.stored.max(self.batch)
    }
}

impl Params {
    /// Returns the memory that a server takes for the keys of this set.
    ///
    /// The numbers are counted from the shapes of all keys, and a batch from its polynomials. Both
    /// have a margin of a tenth.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let levels = self.lists.map_or(1, |lists| lists.selector.levels as usize);
        let of_batch = self.batch.map(|spec| crate::batch::bytes(&spec, self.row_size, levels));
        let (held, work) = of_batch.unwrap_or((0, 0));
        let with_margin = |bytes: u64| bytes + bytes * MARGIN / 100;
        Memory {
            stored: EvaluationKeys::max_payload(self),
            engine: with_margin(cpu::memory::bytes(self) + held),
            batch: with_margin(work),
        }
    }
}
