//! Networks as safetensors files, which PyTorch, Larq and Brevitas users can write.
//!
//! | tensor | shape | what |
//! |---|---|---|
//! | `LAYER.weight` | outputs, inputs, rows, columns; or outputs, all the rest | integers, of any integer or float type |
//! | `LAYER.thresholds` | outputs, thresholds | integers, ascending; if they are apart, in any order |
//! | or `LAYER.norm.weight`, `.norm.bias`, `.norm.running_mean`, `.norm.running_var` | outputs | a batch normalisation, floats; epsilon is 1e-5; not for thresholds that are apart |
//! | and `LAYER.step` | one number | from one level of the normalised activation to the next; not for signs |
//! | `LAYER.bias` | outputs | integers, in the last layer alone; zero if it is absent |
//!
//! The header's metadata has one entry, `network`: the [`PublicNetworkConfig`] as JSON. A file may be compressed by gzip.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::config::{LayerWeights, PublicLayerConfig, PublicNetworkConfig};
use super::staircase::Levels;
use crate::{Error, Result};

/// Variance that a batch normalisation adds before the root: PyTorch's default.
const EPSILON: f64 = 1e-5;
const NETWORK: &str = "network";

/// Reads a network and its weights.
///
/// # Errors
/// [`Error::File`] names the file and the tensor that is absent, unknown, of another shape or no integer;
/// [`Error::Layer`] if the layers do not fit together.
pub fn read(path: &Path) -> Result<(PublicNetworkConfig, Vec<LayerWeights>)> {
    let fail = |problem: String| Error::File { file: path.into(), problem };
    let mut bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(&bytes[..]);
        reader.read_to_end(&mut plain).map_err(|error| fail(error.to_string()))?;
        bytes = plain;
    }
    parse(&bytes).map_err(|error| match error {
        Problem::File(problem) => fail(problem),
        Problem::Network(error) => error,
    })
}

/// Writes a network and its weights, compressed if the name ends in `.gz`; nothing half-written is left.
///
/// # Errors
/// [`Error::File`] if the file cannot be written.
pub fn write(path: &Path, config: &PublicNetworkConfig, weights: &[LayerWeights]) -> Result<()> {
    let fail = |problem: String| Error::File { file: path.into(), problem };
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (layer, given) in config.layers.iter().zip(weights) {
        let (outputs, area) = (layer.outputs, layer.kernel * layer.kernel);
        let inputs = given.weights.first().map_or(0, Vec::len) / area;
        let shape = vec![outputs, inputs, layer.kernel, layer.kernel];
        let flat = || given.weights.iter().flatten();
        tensors.push(
            match flat().map(|&w| i8::try_from(w)).collect::<std::result::Result<Vec<i8>, _>>() {
                Ok(small) => (
                    format!("{}.weight", layer.name),
                    Dtype::I8,
                    shape,
                    small.iter().flat_map(|w| w.to_le_bytes()).collect(),
                ),
                Err(_) => (
                    format!("{}.weight", layer.name),
                    Dtype::I32,
                    shape,
                    flat().flat_map(|w| w.to_le_bytes()).collect(),
                ),
            },
        );
        let numbers = given.thresholds.iter().flatten().flat_map(|t| t.to_le_bytes()).collect();
        tensors.push(match layer.activation {
            Some(levels) => {
                let name = format!("{}.thresholds", layer.name);
                (name, Dtype::I64, vec![outputs, levels.thresholds], numbers)
            }
            None => (format!("{}.bias", layer.name), Dtype::I64, vec![outputs], numbers),
        });
    }
    let views: Result<Vec<(String, TensorView<'_>)>> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            Ok((name.clone(), view.map_err(|error| fail(format!("{name}: {error}")))?))
        })
        .collect();
    let json = serde_json::to_string(config).map_err(|error| fail(error.to_string()))?;
    let metadata = HashMap::from([(NETWORK.to_owned(), json)]);
    let mut bytes =
        safetensors::serialize(views?, Some(metadata)).map_err(|error| fail(error.to_string()))?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut reader = flate2::read::GzEncoder::new(&bytes[..], flate2::Compression::best());
        let mut small = Vec::new();
        reader.read_to_end(&mut small).map_err(|error| fail(error.to_string()))?;
        bytes = small;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = std::fs::write(&part, &bytes).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| fail(error.to_string()))
}

enum Problem {
    File(String),
    Network(Error),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::File(problem)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Network(error)
    }
}

fn parse(bytes: &[u8]) -> Result<(PublicNetworkConfig, Vec<LayerWeights>), Problem> {
    let no_file = |error| format!("no whole safetensors file: {error}");
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(no_file)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(no_file)?;
    let json = header.metadata().as_ref().and_then(|metadata| metadata.get(NETWORK));
    let json = json.ok_or_else(|| {
        format!("no entry {NETWORK:?} in the metadata: expected the network's layers as JSON")
    })?;
    let config: PublicNetworkConfig =
        serde_json::from_str(json).map_err(|error| format!("metadata {NETWORK:?}: {error}"))?;
    let windows = config.windows()?;
    let mut names = Names { tensors: &tensors, used: Vec::new() };
    let mut all = Vec::new();
    for (i, (layer, window)) in config.layers.iter().zip(&windows).enumerate() {
        let k = layer.kernel;
        let shapes =
            [vec![layer.outputs, window.input.channels, k, k], vec![layer.outputs, window.len()]];
        let name = format!("{}.weight", layer.name);
        let flat = names.integers(&name, &shapes)?;
        let mut weights: Vec<Vec<i32>> = Vec::new();
        for of_output in flat.chunks(window.len()) {
            let small: std::result::Result<Vec<i32>, _> =
                of_output.iter().map(|&w| i32::try_from(w)).collect();
            weights.push(small.map_err(|_| format!("{name}: expected integers of 32 bits"))?);
        }
        let joined = layer.residual.is_some()
            || config.layers.iter().any(|l| l.residual.as_ref() == Some(&layer.name));
        let thresholds = match layer.activation {
            None => names.bias(layer)?,
            Some(levels) => names.thresholds(layer, levels, &mut weights, joined)?,
        };
        all.push(LayerWeights { weights, thresholds });
        if i + 1 == config.layers.len() {
            names.check_all_used()?;
        }
    }
    Ok((config, all))
}

/// The tensors of a file, and which of them a layer has asked for.
struct Names<'a> {
    tensors: &'a SafeTensors<'a>,
    used: Vec<String>,
}

impl Names<'_> {
    fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    fn numbers(&mut self, name: &str, shapes: &[Vec<usize>]) -> Result<Vec<f64>, String> {
        let Ok(tensor) = self.tensors.tensor(name) else {
            let mut there = self.tensors.names();
            there.sort_unstable();
            return Err(format!("no tensor {name}; there are {}", there.join(", ")));
        };
        if !shapes.iter().any(|shape| shape == tensor.shape()) {
            return Err(format!("{name} is {:?}, expected {:?}", tensor.shape(), shapes[0]));
        }
        self.used.push(name.into());
        let data = tensor.data();
        let wide = |size: usize| data.chunks_exact(size);
        let numbers: Vec<f64> = match tensor.dtype() {
            Dtype::I8 => data.iter().map(|&x| f64::from(x.cast_signed())).collect(),
            Dtype::U8 => data.iter().map(|&x| f64::from(x)).collect(),
            Dtype::I16 => wide(2).map(|x| f64::from(i16::from_le_bytes([x[0], x[1]]))).collect(),
            Dtype::I32 => {
                wide(4).map(|x| f64::from(i32::from_le_bytes([x[0], x[1], x[2], x[3]]))).collect()
            }
            Dtype::I64 => {
                let number = |x: &[u8]| x.try_into().map_or(0, i64::from_le_bytes);
                // Past 2^53 no integer of a network lies.
                wide(8).map(|x| number(x) as f64).collect()
            }
            Dtype::F32 => {
                wide(4).map(|x| f64::from(f32::from_le_bytes([x[0], x[1], x[2], x[3]]))).collect()
            }
            Dtype::F64 => wide(8).map(|x| x.try_into().map_or(0.0, f64::from_le_bytes)).collect(),
            other => {
                return Err(format!("{name} is of type {other:?}: expected F32, F64 or integers"));
            }
        };
        match numbers.iter().position(|x| !x.is_finite()) {
            Some(i) => Err(format!("{name}: number {i} is {}, expected finite ones", numbers[i])),
            None => Ok(numbers),
        }
    }

    fn integers(&mut self, name: &str, shapes: &[Vec<usize>]) -> Result<Vec<i64>, String> {
        let numbers = self.numbers(name, shapes)?;
        let whole = |x: &f64| x.fract() == 0.0 && x.abs() < 2f64.powi(53);
        match numbers.iter().position(|x| !whole(x)) {
            Some(i) => Err(format!("{name}: number {i} is {}, expected integers", numbers[i])),
            None => Ok(numbers.iter().map(|&x| x as i64).collect()),
        }
    }

    fn bias(&mut self, layer: &PublicLayerConfig) -> Result<Vec<Vec<i64>>, String> {
        let name = format!("{}.bias", layer.name);
        if !self.has(&name) {
            return Ok(vec![vec![0]; layer.outputs]);
        }
        Ok(self.integers(&name, &[vec![layer.outputs]])?.into_iter().map(|b| vec![b]).collect())
    }

    /// Returns the thresholds that a file gives, or those that its normalisation folds into: `gamma (s - mean) / std +
    /// beta >= c` is `s >= mean + (c - beta) std / gamma`, or, for a negative gamma, that of the negated filter.
    fn thresholds(
        &mut self,
        layer: &PublicLayerConfig,
        levels: Levels,
        weights: &mut [Vec<i32>],
        joined: bool,
    ) -> Result<Vec<Vec<i64>>, String> {
        let (name, outputs) = (&layer.name, layer.outputs);
        let given = format!("{name}.thresholds");
        if self.has(&given) || levels.apart || !self.has(&format!("{name}.norm.weight")) {
            let flat = self.integers(&given, &[vec![outputs, levels.thresholds]])?;
            return Ok(flat.chunks(levels.thresholds).map(<[i64]>::to_vec).collect());
        }
        let mut part = |part: &str| self.numbers(&format!("{name}.norm.{part}"), &[vec![outputs]]);
        let (gammas, betas) = (part("weight")?, part("bias")?);
        let (means, variances) = (part("running_mean")?, part("running_var")?);
        let step = match levels.is_sign() {
            true => 0.0,
            false => self.numbers(&format!("{name}.step"), &[vec![], vec![1]])?[0],
        };
        let mut all = Vec::new();
        for o in 0..outputs {
            let (mut gamma, mut mean) = (gammas[o], means[o]);
            if gamma < 0.0 {
                if joined {
                    return Err(format!(
                        "{name}.norm.weight: number {o} is {gamma}: expected none below zero in a layer with a residual connection"
                    ));
                }
                (gamma, mean) = (-gamma, -mean);
                weights[o].iter_mut().for_each(|w| *w = -*w);
            }
            if variances[o] < 0.0 {
                return Err(format!(
                    "{name}.norm.running_var: number {o} is {}: expected none below zero",
                    variances[o]
                ));
            }
            let std = (variances[o] + EPSILON).sqrt();
            let far = i64::from(i32::MAX) as f64;
            let threshold = |j: usize| {
                // A sign's level changes at zero, a rounding's half way between two levels.
                let c = step * (j as f64 + 0.5) - betas[o];
                // Without gain the level is that of the offset, whatever comes in.
                let t = if gamma > 0.0 { mean + c * std / gamma } else { c.signum() * far };
                t.ceil().clamp(-far, far) as i64
            };
            all.push((0..levels.thresholds).map(threshold).collect());
        }
        Ok(all)
    }

    fn check_all_used(&self) -> Result<(), String> {
        let mut unknown: Vec<&str> = self
            .tensors
            .names()
            .into_iter()
            .filter(|n| !self.used.iter().any(|u| u == n))
            .collect();
        unknown.sort_unstable();
        // PyTorch counts the batches that a normalisation has seen.
        unknown.retain(|name| !name.ends_with(".norm.num_batches_tracked"));
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(format!("no layer has a tensor {}", unknown.join(", "))),
        }
    }
}
