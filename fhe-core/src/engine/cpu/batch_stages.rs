//! One batch, stage by stage, for benchmarks.

use super::{Cpu, Values, list_packing};
use crate::batch::Walk;
use crate::engine::{Slot, path};

/// The stages of a batch, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchStage {
    /// The packing of values into rows. Every row packs the same N values, which are nearer in
    /// memory than those of a full list.
    Packing,
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
    pub const ALL: [Self; 8] = [
        Self::Packing,
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
            Self::Packing => "packing",
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
pub struct BatchStages<'a> {
    cpu: &'a Cpu,
    key: &'a list_packing::ListKey,
    walk: Walk<'a>,
    values: Values,
    lists: Vec<Vec<Slot>>,
}

impl std::fmt::Debug for BatchStages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BatchStages")
    }
}

impl Cpu {
    /// Returns the stages of one batch; `None` if the set has no batches.
    #[must_use]
    pub fn batch_stages(&self) -> Option<BatchStages<'_>> {
        let n = self.params.row_size;
        let (batch, key) = self.batch.as_ref()?;
        let lists = vec![path::in_order(n, n).swap_remove(0); batch.rows()];
        let (walk, values) = (Walk::new(batch), Values::new(n, n));
        Some(BatchStages { cpu: self, key, walk, values, lists })
    }
}

impl BatchStages<'_> {
    /// Runs a whole batch with one table and one output: all stages but the last.
    pub fn run_all(&mut self) {
        BatchStage::ALL[..BatchStage::ALL.len() - 1].iter().for_each(|&stage| self.run(stage));
    }

    /// Runs a stage on what the one before it left. The first time, all stages before it run too.
    pub fn run(&mut self, stage: BatchStage) {
        match stage {
            BatchStage::Packing => {
                list_packing::pack(self.cpu, self.key, &self.values, &self.lists);
            }
            BatchStage::Integers => self.walk.integers(),
            BatchStage::Exponential => self.walk.exponential(),
            BatchStage::Powers => self.walk.powers(),
            BatchStage::Table => self.walk.table(),
            BatchStage::Coefficients => self.walk.coefficients(),
            BatchStage::Rows => self.walk.rows(),
            BatchStage::Selectors => self.walk.selectors(),
        }
    }
}
