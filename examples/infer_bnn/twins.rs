//! The twins: a test set in the clear, exactly and with the noise of ciphertexts.

use anyhow::Result;
use fhe_core::{Clear, Params, from_torus, to_torus};
use fhe_data::ImageSet;
use fhe_examples::bnn::integers;
use fhe_examples::progress;
use fhe_nn::public::Network;
use rayon::prelude::*;

use crate::parties::largest;

/// The test set in the clear.
pub(crate) struct Twins {
    pub(crate) exact_accuracy: f64,
    pub(crate) noisy_accuracy: f64,
    /// Share that both decide alike.
    pub(crate) alike: f64,
}

impl Twins {
    pub(crate) fn run(
        network: &Network,
        params: &Params,
        images: &ImageSet,
        seed: u64,
    ) -> Result<Self> {
        let bar = progress::bar("in the clear", images.len() as u64, "images");
        let each = (0..images.len()).into_par_iter().map(|i| -> Result<(usize, usize)> {
            let image = integers(network.config(), images.image(i).unwrap_or_default());
            let exact = largest(&network.classify_exactly(&image));
            let unit = network.input_unit();
            let phases = image.iter().map(|&x| to_torus(x as f64 * unit)).collect();
            let engine = Clear::noisy(params, seed.wrapping_mul(1 << 32) + i as u64);
            let scores = network.forward(&engine, &phases, 1)?;
            let scores: Vec<f64> = scores.into_iter().map(from_torus).collect();
            bar.inc(1);
            Ok((exact, largest(&scores)))
        });
        let decisions: Vec<(usize, usize)> = each.collect::<Result<_>>()?;
        bar.finish();
        let share = |hit: &dyn Fn(usize, &(usize, usize)) -> bool| {
            let hits = decisions.iter().enumerate().filter(|(i, d)| hit(*i, d)).count();
            hits as f64 / images.len().max(1) as f64
        };
        Ok(Self {
            exact_accuracy: share(&|i, d| Some(d.0 as u32) == images.label(i)),
            noisy_accuracy: share(&|i, d| Some(d.1 as u32) == images.label(i)),
            alike: share(&|_, d| d.0 == d.1),
        })
    }
}
