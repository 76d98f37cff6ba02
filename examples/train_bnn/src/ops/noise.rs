//! The noise with which pre-activations are read, in training.

use candle_core::{Result, Tensor};
use fhe_core::noise::gaussian;
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Numbers that are drawn from one stream: fixed, so that they do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// Gaussian noise on the pre-activations of each layer: a network that trains with it keeps away from the thresholds.
#[derive(Clone, Debug)]
pub(crate) struct Noise {
    /// Of each layer the standard deviation, in integers.
    deviations: Vec<f64>,
    seed: u64,
}

impl Noise {
    pub(crate) fn new(deviations: Vec<f64>) -> Self {
        Self { deviations, seed: 0 }
    }

    /// Returns the same noise drawn anew.
    pub(crate) fn with_seed(&self, seed: u64) -> Self {
        Self { deviations: self.deviations.clone(), seed }
    }

    /// Returns the pre-activations of layer i with its noise added; their gradient passes.
    pub(crate) fn disturb(&self, i: usize, s: &Tensor) -> Result<Tensor> {
        let deviation = self.deviations[i];
        let mut noise = vec![0f32; s.elem_count()];
        noise.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, noise)| {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            random.set_stream((i as u64) << 32 | chunk as u64);
            noise.iter_mut().for_each(|x| *x = (deviation * gaussian(&mut random)) as f32);
        });
        s + Tensor::from_vec(noise, s.shape(), s.device())?
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn each_layer_has_noise_of_its_own_deviation() {
        let zeros = Tensor::zeros((3 * CHUNK, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let noise = Noise::new(vec![1.0, 5.0]).with_seed(7);
        let draw = |noise: &Noise, i| -> Vec<f32> {
            noise.disturb(i, &zeros).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let variance = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
        let [first, second] = [0, 1].map(|i| draw(&noise, i));
        // Six standard deviations of the variance of 98,304 numbers; the seed is fixed.
        assert!((variance(&first) - 1.0).abs() < 0.027);
        assert!((variance(&second) / 25.0 - 1.0).abs() < 0.027);
        assert_eq!(first, draw(&noise, 0));
        assert_ne!(first, draw(&noise.with_seed(8), 0));
        assert_ne!(first[..CHUNK], first[CHUNK..2 * CHUNK]);
        assert_ne!(first[0] * 5.0, second[0]);
    }
}
