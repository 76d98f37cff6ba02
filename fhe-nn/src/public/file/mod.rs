//! Networks as safetensors files, which PyTorch, Larq and Brevitas users can write.
//!
//! | tensor | shape | what |
//! |---|---|---|
//! | `LAYER.weight` | outputs, inputs, rows, columns; or outputs, all the rest | integers |
//! | `LAYER.thresholds` | outputs, thresholds | integers, ascending; in any order if apart |
//! | or `LAYER.norm.weight` and `.norm.bias` | outputs | floats |
//! | and `LAYER.norm.running_mean` and `.norm.running_var` | outputs | floats |
//! | and `LAYER.step` | one number | distance of two levels of the normalised activation |
//! | `LAYER.bias` | outputs | integers, in the last layer alone; zero if it is absent |
//!
//! Tensors of integers and of floats may be of any of these types: bool, integers of 8 to 64 bits,
//! floats of 16 to 64 bits, and bfloat16. Integers are below 2^53. `LAYER.norm` is a batch
//! normalisation whose epsilon is 1e-5. Thresholds that are apart cannot be given by one. Signs have
//! no `LAYER.step`.
//!
//! The header's metadata has one entry, `network`: the [`PublicNetworkConfig`] as JSON. A file may
//! be compressed by gzip, in one member or several, with zeros between and behind them.
//!
//! A file may come from anyone. What it says of its network is checked before its tensors are read,
//! and no more bytes are read, or unpacked, than a network of that shape can have.

mod normalisation;
mod tensors;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use fhe_core::store::{Secrecy, write_whole};
use flate2::read::GzEncoder;
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::config::{LayerWeights, PublicLayerConfig, PublicNetworkConfig};
use super::plan::PublicPlan;
use super::{PublicError, Result};
use fhe_files::Gunzip;
use tensors::Tensors;

/// The entry of the metadata that has the network's layers.
const NETWORK: &str = "network";
/// Bytes of the number that says how long the header is.
const LENGTH: usize = 8;
/// The longest header: a thousand layers take less than a megabyte.
const HEADER: u64 = 1 << 24;
/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes of the widest number.
const WIDEST: u64 = 8;

/// Reads a network and its weights.
///
/// # Errors
/// [`PublicError::File`] names the file. Its cause names the tensor that is absent, unknown, of
/// another shape or no integer, or the layer that does not fit.
pub fn read(path: &Path) -> Result<(PublicNetworkConfig, Vec<LayerWeights>)> {
    let file = |source: PublicError| PublicError::File { file: path.into(), source: source.into() };
    let opened = File::open(path).map_err(|error| file(error.into()))?;
    from_reader(opened).map_err(file)
}

/// Reads a network and its weights from bytes.
///
/// # Errors
/// Those of [`read`], without the file's name.
pub fn from_bytes(bytes: &[u8]) -> Result<(PublicNetworkConfig, Vec<LayerWeights>)> {
    from_reader(bytes)
}

/// Writes a network and its weights, compressed if the name ends in `.gz`. Nothing half-written is
/// left.
///
/// # Errors
/// [`PublicError::File`] if the weights are not those of the layers, or the file cannot be written.
pub fn write(path: &Path, config: &PublicNetworkConfig, weights: &[LayerWeights]) -> Result<()> {
    let file = |source: PublicError| PublicError::File { file: path.into(), source: source.into() };
    let mut bytes = to_bytes(config, weights).map_err(file)?;
    let io = |error: std::io::Error| file(error.into());
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut reader = GzEncoder::new(&bytes[..], flate2::Compression::best());
        let mut small = Vec::new();
        reader.read_to_end(&mut small).map_err(io)?;
        bytes = small;
    }
    Ok(write_whole(path, &bytes, Secrecy::Public)?)
}

/// Returns a network and its weights as the bytes of a safetensors file.
///
/// # Errors
/// [`PublicError::Network`] or [`PublicError::Layer`] if the weights are not those of the layers.
pub fn to_bytes(config: &PublicNetworkConfig, weights: &[LayerWeights]) -> Result<Vec<u8>> {
    let plan = PublicPlan::new(config)?;
    let (got, expected) = (weights.len(), config.layers.len());
    if got != expected {
        return Err(PublicError::network("number of layers with weights", got, expected));
    }
    let mut tensors = Vec::new();
    for ((layer, planned), given) in config.layers.iter().zip(plan.layers()).zip(weights) {
        let channels = planned.geometry.input().channels;
        tensors.push(weight_tensor(layer, channels, &given.weights)?);
        tensors.push(threshold_tensor(layer, &given.thresholds)?);
    }
    let mut views = Vec::new();
    for (name, dtype, shape, bytes) in &tensors {
        views.push((name.clone(), TensorView::new(*dtype, shape.clone(), bytes)?));
    }
    let metadata = HashMap::from([(NETWORK.to_owned(), serde_json::to_string(config)?)]);
    Ok(safetensors::serialize(views, Some(metadata))?)
}

/// Name, type, shape and bytes of a tensor.
type Owned = (String, Dtype, Vec<usize>, Vec<u8>);

fn weight_tensor(
    layer: &PublicLayerConfig,
    channels: usize,
    weights: &[Vec<i32>],
) -> Result<Owned> {
    let (outputs, k) = (layer.outputs, layer.kernel);
    let len = channels * k * k;
    if weights.len() != outputs || weights.iter().any(|w| w.len() != len) {
        let got = weights.iter().map(Vec::len).sum::<usize>();
        let expected = format!("{len} for each of {outputs} outputs");
        return Err(PublicError::layer(&layer.name, "number of weights", got, expected));
    }
    let (name, shape) = (format!("{}.weight", layer.name), vec![outputs, channels, k, k]);
    let flat = || weights.iter().flatten();
    let small: Result<Vec<i8>, _> = flat().map(|&w| i8::try_from(w)).collect();
    Ok(match small {
        Ok(small) => (name, Dtype::I8, shape, small.iter().map(|w| w.cast_unsigned()).collect()),
        Err(_) => (name, Dtype::I32, shape, flat().flat_map(|w| w.to_le_bytes()).collect()),
    })
}

fn threshold_tensor(layer: &PublicLayerConfig, thresholds: &[Vec<i64>]) -> Result<Owned> {
    let (part, of_channel) = match layer.activation {
        Some(levels) => ("thresholds", levels.thresholds),
        None => ("bias", 1),
    };
    let outputs = layer.outputs;
    if thresholds.len() != outputs || thresholds.iter().any(|t| t.len() != of_channel) {
        let got = thresholds.iter().map(Vec::len).sum::<usize>();
        let expected = format!("{of_channel} for each of {outputs} outputs");
        let what = "number of thresholds and biases";
        return Err(PublicError::layer(&layer.name, what, got, expected));
    }
    let shape = if part == "bias" { vec![outputs] } else { vec![outputs, of_channel] };
    let numbers = thresholds.iter().flatten().flat_map(|t| t.to_le_bytes()).collect();
    Ok((format!("{}.{part}", layer.name), Dtype::I64, shape, numbers))
}

/// Reads bytes that may be compressed.
fn from_reader(reader: impl Read) -> Result<(PublicNetworkConfig, Vec<LayerWeights>)> {
    let mut reader = BufReader::new(reader);
    let mut first = Vec::new();
    reader.by_ref().take(GZIP.len() as u64).read_to_end(&mut first)?;
    let packed = first == GZIP;
    let whole = std::io::Cursor::new(first).chain(reader);
    if packed { from_plain(Gunzip::new(whole)) } else { from_plain(whole) }
}

/// Reads the header, which says what there should be, then the tensors.
fn from_plain(mut reader: impl Read) -> Result<(PublicNetworkConfig, Vec<LayerWeights>)> {
    let mut bytes = Vec::new();
    reader.by_ref().take(LENGTH as u64).read_to_end(&mut bytes)?;
    let length = bytes[..].try_into().map_err(|_| SafeTensorError::HeaderTooSmall)?;
    let header = u64::from_le_bytes(length);
    if header > HEADER {
        return Err(SafeTensorError::HeaderTooLarge.into());
    }
    reader.by_ref().take(header).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != LENGTH as u64 + header {
        return Err(SafeTensorError::InvalidHeaderLength.into());
    }
    let metadata: Metadata = serde_json::from_slice(&bytes[LENGTH..])
        .map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    let entry = metadata.metadata().as_ref().and_then(|entries| entries.get(NETWORK));
    let config: PublicNetworkConfig = serde_json::from_str(entry.ok_or(PublicError::NoConfig)?)?;
    let plan = PublicPlan::new(&config)?;
    let names = metadata.tensors();
    let layers: HashSet<&str> = config.layers.iter().map(|layer| layer.name.as_str()).collect();
    let unknown = names.keys().filter(|name| !tensors::belongs(name, &layers));
    tensors::none_unknown(unknown.cloned().collect())?;
    let (data, most) = (metadata.data_len() as u64, most_bytes(&config, &plan));
    if data > most {
        return Err(PublicError::TooLarge { got: data, expected: most });
    }
    // One byte more shows whether the file ends here.
    reader.take(data + 1).read_to_end(&mut bytes)?;
    let weights = layers_of(&config, &plan, &SafeTensors::deserialize(&bytes)?)?;
    Ok((config, weights))
}

/// Returns the bytes of the tensors that the layers can have, all of the widest numbers.
fn most_bytes(config: &PublicNetworkConfig, plan: &PublicPlan) -> u64 {
    let numbers = config.layers.iter().zip(plan.layers()).map(|(layer, planned)| {
        let thresholds = layer.activation.map_or(1, |levels| levels.thresholds);
        // A normalisation has four numbers an output. A step and a number of batches are one each.
        layer.outputs * (planned.geometry.weights() + thresholds + 4) + 2
    });
    WIDEST * numbers.sum::<usize>() as u64
}

fn layers_of(
    config: &PublicNetworkConfig,
    plan: &PublicPlan,
    tensors: &SafeTensors<'_>,
) -> Result<Vec<LayerWeights>> {
    let mut tensors = Tensors::new(tensors);
    let mut all = Vec::new();
    for (layer, planned) in config.layers.iter().zip(plan.layers()) {
        let mut weights = tensors.weights(layer, &planned.geometry)?;
        let thresholds = match layer.activation {
            None => tensors.bias(layer)?,
            Some(levels) => tensors.thresholds(layer, levels, &mut weights, planned.joined)?,
        };
        all.push(LayerWeights { weights, thresholds });
    }
    tensors.check_all_used()?;
    Ok(all)
}
