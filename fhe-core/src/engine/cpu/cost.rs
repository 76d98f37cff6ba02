//! How long moves take here and now.

use std::time::Instant;

use super::{BatchStages, Cpu, Rows, Selectors, Values, lookup};
use crate::engine::meter::UnitCosts;
use crate::engine::{Engine, Slot, Term};
use crate::{Result, Table, TestPolynomial};

impl Cpu {
    /// Returns the seconds of one of tfhe's own key switches and bootstraps on one thread while
    /// every thread does the same: the mean of `runs` on each, at least one.
    #[must_use]
    pub fn raw_seconds(&self, runs: usize) -> f64 {
        let runs = runs.max(1);
        let seconds = rayon::broadcast(|_| {
            let mut raw = self.raw_bootstrap();
            // The first one brings the key into the caches.
            raw.run();
            let start = Instant::now();
            (0..runs).for_each(|_| raw.run());
            start.elapsed().as_secs_f64() / runs as f64
        });
        seconds.iter().sum::<f64>() / seconds.len() as f64
    }

    /// Measures one move of each kind on all threads, in about two seconds. The time of a move does
    /// not depend on the numbers, so it takes trivial ones.
    ///
    /// # Errors
    /// None in practice: the lists fit together.
    pub fn unit_costs(&self) -> Result<UnitCosts> {
        let n = self.params.row_size;
        let threads = rayon::current_num_threads();
        let seconds = |count: usize, run: &dyn Fn() -> Result<()>| -> Result<f64> {
            let start = Instant::now();
            run()?;
            Ok(start.elapsed().as_secs_f64() * threads as f64 / count as f64)
        };
        let values = Values::new(n, 20 * threads);
        let rows = Rows::new(n, 8 * threads);
        let selectors = Selectors::new(self.params.selector, self.transform.points(), 1);
        let terms: Vec<Vec<Term>> =
            (0..rows.len()).map(|row| vec![Term { selector: 0, row }]).collect();
        let table = Table::new(n, |_| 0.0)?;
        let list = |count: usize| -> Vec<Slot> {
            (0..count).map(|value| Slot { value, coefficient: value }).collect()
        };
        let lists = self.params.lists;
        let packed_list = || seconds(8, &|| self.pack(&values, &vec![list(20); 8]).map(drop));
        let promoted_level = |levels: usize| {
            let of_selectors = vec![list(20 / levels); 8];
            seconds(8 * levels, &|| {
                let values = Values::new(n, 20 / levels * levels);
                self.promote(&values, levels, &of_selectors).map(drop)
            })
        };
        Ok(UnitCosts {
            lookup: seconds(values.len(), &|| {
                let (functions, of) = ([TestPolynomial::new(table.clone())], vec![0; values.len()]);
                lookup::apply(self, &values, &functions, &of, (1, 1));
                Ok(())
            })?,
            batch: self.batch_stages().map_or(Ok(0.0), |mut stages| {
                // The first one takes its memory from the operating system.
                stages.run_all();
                seconds(1, &|| {
                    self.batch_stages().iter_mut().for_each(BatchStages::run_all);
                    Ok(())
                })
            })?,
            product: seconds(rows.len(), &|| self.products(&selectors, &rows, &terms).map(drop))?,
            packed_constant: seconds(values.len(), &|| self.pack_constants(&values).map(drop))?,
            packed_list: lists.map_or(Ok(0.0), |_| packed_list())?,
            promoted_level: lists
                .map_or(Ok(0.0), |lists| promoted_level(lists.selector.levels as usize))?,
            weighted: {
                // As in a convolution: windows share values, and values all filters.
                let (windows, terms, filters) = (64 * threads, 200, 64);
                let values = Values::new(n, 2 * terms);
                let window = |first: usize| (0..terms).map(|j| Some(j + first % terms)).collect();
                let windows: Vec<Vec<Option<usize>>> = (0..windows).map(window).collect();
                let sign = |o: usize, j: usize| 1 - 2 * ((o * j) & 1) as i32;
                let weights: Vec<Vec<i32>> =
                    (0..filters).map(|o| (0..terms).map(|j| sign(o, j)).collect()).collect();
                let run = || self.weighted_sums(&values, &windows, &weights).map(drop);
                seconds(windows.len() * terms * filters, &run)?
            },
            reflection: seconds(rows.len(), &|| self.reflect(&rows).map(drop))?,
            expansion: lists.and_then(|lists| lists.expand).map_or(Ok(0.0), |_| {
                let (rows, parts) = (Rows::new(n, threads), n.min(64));
                seconds(threads * parts, &|| self.expand(&rows, parts).map(drop))
            })?,
        })
    }
}
