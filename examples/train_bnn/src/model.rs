//! A binarized network as candle trains it: latent weights, and the integer network that they stand
//! for.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use candle_core::{DType, Device, Result, Tensor, Var};
use fhe_nn::Shape;
use fhe_nn::public::{LayerWeights, Levels, Pool, PublicNetworkConfig, PublicPlan};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

use crate::ops::{Activation, Convolution, Moments, Noise, Steps, Windows, moments};

/// One layer's trained numbers.
struct Layer {
    /// Latent weights in -1..=1: (rows, columns, channels) of the window x outputs.
    latent: Var,
    /// Added after the normalisation, one for each threshold that is apart; in the last layer, to
    /// the scores.
    offset: Var,
    weights: Steps,
    activation: Option<Steps>,
    residual: Option<usize>,
    pool: Option<Pool>,
    windows: Arc<Windows>,
    /// Channels of a position.
    channels: usize,
    /// Shape of the activations.
    output: Shape,
}

pub(crate) struct Model {
    config: PublicNetworkConfig,
    layers: Vec<Layer>,
    /// What integer scores are multiplied by before the softmax.
    scale: Var,
}

impl Model {
    /// A model with random latent weights.
    pub(crate) fn new(config: &PublicNetworkConfig, seed: u64) -> anyhow::Result<Self> {
        let device = Device::Cpu;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let plan = PublicPlan::new(config)?;
        let mut layers = Vec::new();
        let mut fan = 1.0f64;
        for (layer, planned) in config.layers.iter().zip(plan.layers()) {
            let len = planned.geometry.weights();
            let shape = (len, layer.outputs);
            // Signs should change within a few dozen steps; weights of more bits should use their
            // levels.
            let most = if layer.largest_weight == 1 { 0.1 } else { 0.5 };
            let latent: Vec<f32> =
                (0..shape.0 * shape.1).map(|_| random.random_range(-most..most)).collect();
            layers.push(Layer {
                latent: Var::from_tensor(&Tensor::from_vec(latent, shape, &device)?)?,
                offset: Var::from_tensor(&Tensor::new(
                    &offsets(layer.outputs, layer.activation)[..],
                    &device,
                )?)?,
                weights: Steps::weights(layer.largest_weight),
                activation: layer.activation.map(Steps::activation),
                residual: planned.residual,
                pool: layer.pool,
                windows: Arc::new(Windows::new(&planned.geometry)),
                channels: planned.geometry.input().channels,
                output: planned.activations,
            });
            fan = len as f64 * f64::from(layer.largest_weight).powi(2) / 2.0;
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

    /// Returns what a checkpoint holds: the variables, and of each activation where its thresholds
    /// are before offsets.
    pub(crate) fn saved(&self) -> Result<HashMap<String, Tensor>> {
        let variables = self.variables().into_iter().map(|(n, v)| Ok((n, v.as_tensor().copy()?)));
        let mut all = variables.collect::<Result<HashMap<String, Tensor>>>()?;
        for (layer, config) in self.layers.iter().zip(&self.config.layers) {
            if let Some(steps) = layer.activation {
                all.insert(format!("{}.thresholds", config.name), steps.thresholds()?);
            }
        }
        Ok(all)
    }

    /// Takes the variables of a checkpoint.
    pub(crate) fn set(&self, saved: &HashMap<String, Tensor>) -> anyhow::Result<()> {
        for (name, variable) in self.variables() {
            let tensor = saved.get(&name).with_context(|| format!("no tensor {name}"))?;
            finite(&name, tensor)?;
            variable.set(tensor).with_context(|| name)?;
        }
        Ok(())
    }

    /// Returns the checkpoint of another network as one of this, and the layers that it lacks,
    /// which begin anew: where thresholds are apart here and were not there, each begins where it
    /// was, with the weights that all had; steps that are others begin at the lowest threshold.
    pub(crate) fn spread(
        &self,
        saved: &HashMap<String, Tensor>,
    ) -> anyhow::Result<(HashMap<String, Tensor>, Vec<String>)> {
        let (mut all, mut copies, mut lacks) = (self.saved()?, 1, Vec::new());
        all.extend(saved.clone());
        for (layer, config) in self.layers.iter().zip(&self.config.layers) {
            if !saved.contains_key(&format!("{}.latent", config.name)) {
                lacks.push(config.name.clone());
                copies = 1;
                continue;
            }
            let take = |what: &str| {
                let name = format!("{}.{what}", config.name);
                let tensor = saved.get(&name).with_context(|| format!("no tensor {name}"))?;
                anyhow::Ok((name, tensor.clone()))
            };
            let (name, latent) = take("latent")?;
            let (rows, outputs) = latent.dims2()?;
            if rows * copies == layer.latent.dim(0)? {
                let channels = layer.channels / copies;
                let apart = latent.reshape((rows / channels, 1, channels, outputs))?;
                let apart = apart.repeat((1, copies, 1, 1))?.reshape((rows * copies, outputs))?;
                all.insert(name, apart);
            }
            copies = 1;
            let Some(steps) = layer.activation else { continue };
            let (name, there) = take("thresholds")?;
            let there = there.to_vec1::<f32>().with_context(|| name.clone())?;
            let lowest = *there.first().with_context(|| format!("no number in {name}"))?;
            let (name, offset) = take("offset")?;
            if offset.elem_count() == layer.offset.elem_count() {
                let moved = (offset + f64::from(steps.lowest - lowest))?;
                all.insert(name, moved);
            } else if offset.elem_count() * there.len() == layer.offset.elem_count() {
                copies = there.len();
                let moved = |t: &f32| &offset - f64::from(*t);
                let moved: Result<Vec<Tensor>> = there.iter().map(moved).collect();
                all.insert(name, Tensor::cat(&moved?, 0)?);
            }
        }
        Ok((all, lacks))
    }

    /// Keeps latent weights where their gradient can reach them.
    pub(crate) fn clamp(&self) -> Result<()> {
        self.layers.iter().try_for_each(|l| l.latent.set(&l.latent.as_tensor().clamp(-1f32, 1f32)?))
    }

    /// Returns the logits of images, (images x integers), and the moments that normalised each
    /// layer: the batch's own, or given ones. Noise disturbs what is read of a layer, not what a
    /// residual connection carries on.
    pub(crate) fn forward(
        &self,
        images: &Tensor,
        fixed: Option<&[Moments]>,
        noise: Option<&Noise>,
    ) -> Result<(Tensor, Vec<Moments>)> {
        let count = images.dim(0)?;
        let (mut x, mut kept, mut seen) = (images.clone(), Vec::<Tensor>::new(), Vec::new());
        for (i, layer) in self.layers.iter().enumerate() {
            let convolution = Convolution { windows: layer.windows.clone(), first: i == 0 };
            let mut s = x.apply_op2(&layer.latent.apply_op1(layer.weights)?, convolution)?;
            if let Some(j) = layer.residual {
                s = (s + &kept[j])?;
            }
            let read = noise.map_or_else(|| Ok(s.clone()), |noise| noise.disturb(i, &s))?;
            seen.push(fixed.map_or_else(|| moments(&read), |fixed| Ok(fixed[i].clone()))?);
            let Some(steps) = layer.activation else {
                x = read.broadcast_mul(&self.scale)?.broadcast_add(&layer.offset)?;
                break;
            };
            x = read.apply_op2(&layer.offset, Activation { steps, moments: seen[i].clone() })?;
            kept.push(s);
            if let Some(pool) = layer.pool {
                x = pooled(&x, pool, layer.output, count)?;
            }
        }
        Ok((x, seen))
    }

    /// Returns the network's shape, with ranges that hold so many standard deviations of every
    /// channel.
    pub(crate) fn config(
        &self,
        weights: &[LayerWeights],
        moments: &[Moments],
        stds: f32,
    ) -> PublicNetworkConfig {
        let mut config = self.config.clone();
        for ((layer, given), of) in config.layers.iter_mut().zip(weights).zip(moments) {
            let columns = given.thresholds.iter().zip(&of.means).zip(&of.stds);
            let far = columns.map(|((t, mean), std)| match layer.activation {
                // A sign is right as long as its own threshold is in reach.
                Some(levels) if levels.is_sign() => {
                    let far = t.iter().map(|&t| (mean - t as f32).abs());
                    far.fold(0.0, f32::max) + stds * std
                }
                Some(_) => (mean - (t[0] + t[t.len() - 1] - 1) as f32 / 2.0).abs() + stds * std,
                None => (mean + t[0] as f32).abs() + stds * std,
            });
            layer.range = Some(far.fold(1.0, f32::max).ceil() as i64);
        }
        config
    }

    /// Returns the integer network, normalised by `moments`.
    pub(crate) fn weights(&self, moments: &[Moments]) -> Result<Vec<LayerWeights>> {
        let mut all = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let w = layer.latent.apply_op1(layer.weights)?.to_vec2::<f32>()?;
            let offset = layer.offset.to_vec1::<f32>()?;
            let (c, area) = (layer.channels, w.len() / layer.channels);
            // In a file the copies of a channel lie together, here the channels of a copy.
            let copies = match i {
                0 => 1,
                i => self.config.layers[i - 1].activation.map_or(1, |levels| levels.copies()),
            };
            let here = |channel: usize| channel % copies * (c / copies) + channel / copies;
            let of_output = |o: usize| {
                let order =
                    (0..c).flat_map(|channel| (0..area).map(move |at| at * c + here(channel)));
                order.map(|j| w[j][o] as i32).collect()
            };
            let thresholds = match layer.activation {
                None => {
                    let scale = self.scale.to_scalar::<f32>()?;
                    offset.iter().map(|b| vec![(b / scale).round() as i64]).collect()
                }
                Some(steps) => {
                    let Moments { means, stds } = &moments[i];
                    let (outputs, copies) = (means.len(), offset.len() / means.len());
                    let of_channel = |o: usize| {
                        let one = |k: usize| {
                            let (copy, level) = (k / steps.count, k % steps.count);
                            let at = steps.lowest + steps.spacing * level as f32;
                            let at = at - offset[copy * outputs + o];
                            f64::from(means[o] + at * stds[o]).ceil() as i64
                        };
                        (0..steps.count * copies).map(one).collect()
                    };
                    (0..means.len()).map(of_channel).collect()
                }
            };
            all.push(LayerWeights {
                weights: (0..w[0].len()).map(of_output).collect(),
                thresholds,
            });
        }
        Ok(all)
    }
}

/// Refuses a tensor of a checkpoint with infinities or without numbers: no training ends with one.
pub(crate) fn finite(name: &str, tensor: &Tensor) -> anyhow::Result<()> {
    let sum = tensor.to_dtype(DType::F64)?.abs()?.sum_all()?.to_scalar::<f64>()?;
    ensure!(sum.is_finite(), "{name} has values that are no finite numbers");
    Ok(())
}

/// Returns a layer's first offsets: zero, or quantiles of the normal distribution for thresholds
/// that are apart.
fn offsets(outputs: usize, activation: Option<Levels>) -> Vec<f32> {
    let copies = activation.map_or(1, |levels| levels.copies());
    // Near enough to the quantiles of (k + 1) / (copies + 1); training moves them.
    let one = |k: usize| 1.35 * (2.0 * (k + 1) as f32 / (copies + 1) as f32 - 1.0);
    (0..outputs * copies).map(|j| one(j / outputs)).collect()
}

fn pooled(x: &Tensor, pool: Pool, shape: Shape, images: usize) -> Result<Tensor> {
    let (Pool::Sum(k) | Pool::Max(k)) = pool;
    let x = x.reshape(vec![images, shape.height / k, k, shape.width / k, k, shape.channels])?;
    match pool {
        Pool::Sum(_) => x.sum((2, 4)),
        Pool::Max(_) => x.max(4)?.max(2),
    }
}
