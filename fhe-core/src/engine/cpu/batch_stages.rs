//! One batch, stage by stage, for benchmarks.

use super::Cpu;
use crate::batch::Walk;

/// The stages of a batch, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchStage {
    /// The product with the key, coefficients to slots, and the two halves apart.
    Integers,
    /// The exponential of both halves.
    Exponential,
    /// Its powers.
    Powers,
    /// The sums of one table.
    Table,
    /// Slots to coefficients.
    Coefficients,
    /// One output as rows: the mixing, and the way down.
    Rows,
    /// Rows of -S m from rows of m.
    Selectors,
}

impl BatchStage {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Integers,
        Self::Exponential,
        Self::Powers,
        Self::Table,
        Self::Coefficients,
        Self::Rows,
        Self::Selectors,
    ];

    /// Returns a name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Integers => "integers",
            Self::Exponential => "exponential",
            Self::Powers => "powers",
            Self::Table => "table",
            Self::Coefficients => "coefficients",
            Self::Rows => "rows",
            Self::Selectors => "selectors",
        }
    }
}

/// A full batch that holds nothing, on its way. Times do not depend on the numbers.
pub struct BatchStages<'a>(Walk<'a>);

impl std::fmt::Debug for BatchStages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BatchStages")
    }
}

impl Cpu {
    /// Returns the stages of one batch; `None` if the set has no batches.
    #[must_use]
    pub fn batch_stages(&self) -> Option<BatchStages<'_>> {
        Some(BatchStages(Walk::new(self.batch.as_ref()?)))
    }
}

impl BatchStages<'_> {
    /// Runs a stage on what the one before it left. The first time, all stages before it run too.
    pub fn run(&mut self, stage: BatchStage) {
        match stage {
            BatchStage::Integers => self.0.integers(),
            BatchStage::Exponential => self.0.exponential(),
            BatchStage::Powers => self.0.powers(),
            BatchStage::Table => self.0.table(),
            BatchStage::Coefficients => self.0.coefficients(),
            BatchStage::Rows => self.0.rows(),
            BatchStage::Selectors => self.0.selectors(),
        }
    }
}
