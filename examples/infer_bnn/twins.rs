//! The twins on a test set: in the clear, exactly and with the noise of ciphertexts.

use anyhow::Result;
use fhe_core::{Clear, Params};
use fhe_data::ImageSet;
use fhe_examples::bnn::integers;
use fhe_examples::progress;
use fhe_nn::public::PublicNetwork;
use fhe_nn::public::client::decide;
use rayon::prelude::*;

/// The test set in the clear.
pub(crate) struct Twins {
    pub(crate) exact_accuracy: f64,
    pub(crate) noisy_accuracy: f64,
    /// Share that both decide alike.
    pub(crate) alike: f64,
}

impl Twins {
    /// Tests all images, so many at a time: their number together decides on how lookups read.
    pub(crate) fn run(
        (network, together): (&PublicNetwork, usize),
        params: &Params,
        images: &ImageSet,
        seed: u64,
    ) -> Result<Self> {
        let bar = progress::bar("in the clear", images.len() as u64, "images");
        let firsts = (0..images.len()).into_par_iter().step_by(together.max(1));
        let each = firsts.map(|first| -> Result<Vec<(usize, usize)>> {
            let chosen = first..images.len().min(first + together.max(1));
            let integers = integers(network.config(), images, chosen.clone())?;
            let exact = decide(network.exact_scores(integers.view())?.view());
            let engine = Clear::noisy(params, seed.wrapping_mul(1 << 32) + first as u64);
            let noisy = decide(network.clear_scores(&engine, integers.view())?.view());
            bar.inc(chosen.len() as u64);
            Ok(exact.into_iter().zip(noisy).collect())
        });
        let decisions = each.collect::<Result<Vec<_>>>()?.concat();
        bar.finish();
        let share = |hit: &dyn Fn(usize, &(usize, usize)) -> bool| {
            let hits = decisions.iter().enumerate().filter(|(i, d)| hit(*i, d)).count();
            hits as f64 / images.len().max(1) as f64
        };
        Ok(Self {
            exact_accuracy: share(&|i, d| images.label(i) == Some(d.0 as u32)),
            noisy_accuracy: share(&|i, d| images.label(i) == Some(d.1 as u32)),
            alike: share(&|_, d| d.0 == d.1),
        })
    }
}
