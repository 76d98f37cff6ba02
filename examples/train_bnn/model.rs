//! A binarized network as candle trains it: latent weights, and the integer network that they stand for.

use candle_core::{DType, Device, Result, Tensor, Var};
use fhe_nn::Shape;
use fhe_nn::public::{LayerWeights, NetworkConfig, Pool};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

use crate::ops::{Normalise, Steps, Windows, moments};

/// One layer's trained numbers.
struct Layer {
    /// Latent weights in -1..=1: (rows, columns, channels) of the window x outputs.
    latent: Var,
    /// Added after the normalisation; in the last layer, to the scores.
    offset: Var,
    weights: Steps,
    activation: Option<Steps>,
    shortcut: Option<usize>,
    pool: Option<Pool>,
    places: Vec<Vec<Option<usize>>>,
    channels: usize,
    output: Shape,
}

pub(crate) struct Model {
    config: NetworkConfig,
    layers: Vec<Layer>,
    /// What integer scores are multiplied by before the softmax.
    scale: Var,
}

/// What normalises a layer: the means and standard deviations of its outputs.
pub(crate) type Moments = Vec<(Vec<f32>, Vec<f32>)>;

impl Model {
    /// A model with random latent weights.
    pub(crate) fn new(config: &NetworkConfig, seed: u64) -> anyhow::Result<Self> {
        let device = Device::Cpu;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let windows = config.windows()?;
        let mut layers = Vec::new();
        let mut fan = 1.0f64;
        for (i, (layer, window)) in config.layers.iter().zip(&windows).enumerate() {
            let shape = (window.len(), layer.outputs);
            // Signs should change within a few dozen steps; weights of more bits should use their levels.
            let most = if layer.largest_weight == 1 { 0.1 } else { 0.5 };
            let latent: Vec<f32> =
                (0..shape.0 * shape.1).map(|_| random.random_range(-most..most)).collect();
            layers.push(Layer {
                latent: Var::from_tensor(&Tensor::from_vec(latent, shape, &device)?)?,
                offset: Var::zeros(layer.outputs, DType::F32, &device)?,
                weights: Steps::weights(layer.largest_weight),
                activation: layer.activation.map(Steps::activation),
                shortcut: config.shortcut(i),
                pool: layer.pool,
                places: positions(window),
                channels: window.input.channels,
                output: window.output,
            });
            fan = window.len() as f64 * f64::from(layer.largest_weight).powi(2) / 2.0;
        }
        let scale = Tensor::new((1.0 / fan.sqrt()) as f32, &device)?;
        Ok(Self { config: config.clone(), layers, scale: Var::from_tensor(&scale)? })
    }

    /// Returns what the optimiser changes.
    pub(crate) fn variables(&self) -> Vec<(String, Var)> {
        let mut all = vec![("scale".into(), self.scale.clone())];
        for (layer, config) in self.layers.iter().zip(&self.config.layers) {
            all.push((format!("{}.latent", config.name), layer.latent.clone()));
            all.push((format!("{}.offset", config.name), layer.offset.clone()));
        }
        all
    }

    /// Keeps latent weights where their gradient can reach them.
    pub(crate) fn clamp(&self) -> Result<()> {
        self.layers.iter().try_for_each(|l| l.latent.set(&l.latent.as_tensor().clamp(-1f32, 1f32)?))
    }

    /// Returns the logits of images, (images x integers), normalised by their own moments, and these, or by given ones.
    pub(crate) fn forward(
        &self,
        images: &Tensor,
        fixed: Option<&Moments>,
    ) -> Result<(Tensor, Moments)> {
        let count = images.dim(0)?;
        let (mut x, mut kept, mut seen) = (images.clone(), Vec::<Tensor>::new(), Vec::new());
        for (i, layer) in self.layers.iter().enumerate() {
            let windows = Windows { places: layer.places.clone(), channels: layer.channels };
            let weights = layer.latent.apply_op1(layer.weights)?;
            let mut s = x.reshape((count, ()))?.apply_op1(windows)?.matmul(&weights)?;
            if let Some(j) = layer.shortcut {
                s = (s + &kept[j])?;
            }
            let Some(activation) = layer.activation else {
                if fixed.is_none() {
                    seen.push(moments(&s)?);
                }
                return Ok((s.broadcast_mul(&self.scale)?.broadcast_add(&layer.offset)?, seen));
            };
            let normal = match fixed {
                Some(moments) => {
                    let (means, stds) = &moments[i];
                    let means = Tensor::new(&means[..], s.device())?;
                    s.broadcast_sub(&means)?.broadcast_div(&Tensor::new(&stds[..], s.device())?)?
                }
                None => {
                    seen.push(moments(&s)?);
                    s.apply_op1(Normalise)?
                }
            };
            x = normal.broadcast_add(&layer.offset)?.apply_op1(activation)?;
            kept.push(s);
            if let Some(pool) = layer.pool {
                x = pooled(&x, pool, layer.output, count)?;
            }
        }
        Ok((x, seen))
    }

    /// Returns the network's shape, with ranges that hold so many standard deviations of every channel.
    pub(crate) fn config(
        &self,
        weights: &[LayerWeights],
        moments: &Moments,
        stds: f32,
    ) -> NetworkConfig {
        let mut config = self.config.clone();
        for ((layer, given), (means, spread)) in config.layers.iter_mut().zip(weights).zip(moments)
        {
            let far = given.thresholds.iter().zip(means).zip(spread).map(|((t, mean), std)| {
                let centre = match layer.activation {
                    Some(_) => (t[0] + t[t.len() - 1] - 1) as f32 / 2.0,
                    None => -t[0] as f32,
                };
                (mean - centre).abs() + stds * std
            });
            layer.range = Some(far.fold(1.0, f32::max).ceil() as i64);
        }
        config
    }

    /// Returns the integer network, normalised by `moments`.
    pub(crate) fn weights(&self, moments: &Moments) -> Result<Vec<LayerWeights>> {
        let mut all = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let w = layer.latent.apply_op1(layer.weights)?.to_vec2::<f32>()?;
            let offset = layer.offset.to_vec1::<f32>()?;
            let (c, area) = (layer.channels, w.len() / layer.channels);
            let of_output = |o: usize| {
                let order = (0..c).flat_map(|channel| (0..area).map(move |at| at * c + channel));
                order.map(|j| w[j][o] as i32).collect()
            };
            let thresholds = match layer.activation {
                None => {
                    let scale = self.scale.to_scalar::<f32>()?;
                    offset.iter().map(|b| vec![(b / scale).round() as i64]).collect()
                }
                Some(steps) => {
                    let (means, stds) = &moments[i];
                    let of_channel = |o: usize| {
                        let one = |k: usize| {
                            let threshold = steps.lowest + steps.spacing * k as f32 - offset[o];
                            f64::from(means[o] + threshold * stds[o]).ceil() as i64
                        };
                        (0..steps.count).map(one).collect()
                    };
                    (0..offset.len()).map(of_channel).collect()
                }
            };
            all.push(LayerWeights {
                weights: (0..offset.len()).map(of_output).collect(),
                thresholds,
            });
        }
        Ok(all)
    }
}

/// Returns the input positions of each window: the places of its first channel, in positions.
fn positions(window: &fhe_nn::public::Window) -> Vec<Vec<Option<usize>>> {
    let area = window.kernel * window.kernel;
    let channels = window.input.channels;
    let first = |places: Vec<Option<usize>>| {
        places[..area].iter().map(|place| place.map(|at| at / channels)).collect()
    };
    window.places(1).into_iter().map(first).collect()
}

fn pooled(x: &Tensor, pool: Pool, shape: Shape, images: usize) -> Result<Tensor> {
    let (Pool::Sum(k) | Pool::Max(k)) = pool;
    let x = x.reshape(vec![images, shape.height / k, k, shape.width / k, k, shape.channels])?;
    match pool {
        Pool::Sum(_) => x.sum((2, 4)),
        Pool::Max(_) => x.max(4)?.max(2),
    }
}
