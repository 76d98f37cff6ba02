//! What ranks share of a training, and what they tell each other.

use fhe_core::Params;

use crate::head;
use crate::training_plan::TrainingPlan;
use crate::{Recipe, Result};

/// What ranks share of a mini-batch, and the sums that they tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Times a mini-batch that all ranks meet and add up.
    pub meetings: usize,
    /// Units of work between two meetings, each of which goes to one rank.
    pub units: usize,
    /// Bytes that are added up in a mini-batch.
    pub bytes: u64,
}

impl Shares {
    /// Of mini-batches of so many samples.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`].
    pub fn new(params: &Params, recipe: &Recipe, batch: usize) -> Result<Self> {
        let row = 16 * params.row_size as u64;
        match recipe {
            Recipe::Head(head) => {
                head.check()?;
                let units = batch.div_ceil(head::unit(params, head.classes));
                Ok(Self { meetings: 1, units, bytes: head.classes as u64 * row })
            }
            Recipe::Deep(deep) => {
                let plan = TrainingPlan::new(deep, params)?;
                let parts = batch.div_ceil(plan.network().lanes()).max(1);
                let units = parts.min(deep.first_layer_every);
                let meetings = parts.div_ceil(units);
                let rows: Vec<usize> = plan.network().weighted().map(|g| g.rows()).collect();
                let all: usize = rows.iter().sum();
                // The gradients of every meeting, and the updates of all layers but the first.
                let rows = meetings * all + rows.iter().skip(1).sum::<usize>();
                Ok(Self { meetings, units, bytes: rows as u64 * row })
            }
        }
    }

    /// Returns the part of the time of one process that so many need, all of which have as many
    /// threads: that of the rank with the most units, as if sums and what every rank does took
    /// none.
    #[must_use]
    pub fn time(&self, ranks: usize) -> f64 {
        self.units.div_ceil(ranks.max(1)) as f64 / self.units.max(1) as f64
    }

    /// Returns the same for ranks that share the cores of one machine: where these are fewer than
    /// all threads, work takes as long as the cores need for it.
    #[must_use]
    pub fn time_on(&self, ranks: usize, threads: usize, cores: usize) -> f64 {
        let cores = cores.max(1);
        // What one process keeps busy, of all.
        self.time(ranks).max(threads.clamp(1, cores) as f64 / cores as f64)
    }

    /// Returns the bytes that a rank sends in a mini-batch, and receives: as sums in a ring do
    /// (Patarasuk, Yuan, J. Parallel Distrib. Comput. 2009), `2 (r - 1) / r` of what is added up.
    #[must_use]
    pub fn sent(&self, ranks: usize) -> u64 {
        let ranks = ranks.max(1) as u64;
        (u128::from(self.bytes) * 2 * u128::from(ranks - 1) / u128::from(ranks)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeepRecipe;

    #[test]
    fn shares_are_those_of_the_training() {
        let params = Params::secure128_head_v3().unwrap();
        let shares = Shares::new(&params, &Recipe::linear(1281, 1000), 260).unwrap();
        assert_eq!(shares, Shares { meetings: 1, units: 4, bytes: 1000 * 32_768 });
        assert_eq!([1, 2, 3, 4, 9].map(|ranks| shares.time(ranks)), [1.0, 0.5, 0.5, 0.25, 0.25]);
        // One process with a thread on one, two and eight cores; and one that has all cores.
        assert_eq!([1, 2, 8].map(|cores| shares.time_on(4, 1, cores)), [1.0, 0.5, 0.25]);
        assert_eq!([1, 2, 4].map(|threads| shares.time_on(4, threads, 2)), [0.5, 1.0, 1.0]);
        assert_eq!((shares.sent(1), shares.sent(4)), (0, shares.bytes * 3 / 2));

        let params = Params::secure128_deep_v4().unwrap();
        let Recipe::Deep(network) = Recipe::mlp(6, &[5], 3) else { unreachable!() };
        let network = Recipe::Deep(DeepRecipe { first_layer_every: 2, ..network });
        let shares = Shares::new(&params, &network, 5 * 2048).unwrap();
        assert_eq!((shares.meetings, shares.units), (3, 2));
    }
}
