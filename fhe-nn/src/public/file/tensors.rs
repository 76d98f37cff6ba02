//! The tensors of a file, each as the numbers that a layer asks for.

use std::collections::HashSet;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::super::config::PublicLayerConfig;
use super::super::geometry::PublicGeometry;
use super::super::levels::{Counting, Levels};
use super::super::{PublicError, Result};
use super::normalisation::Normalisation;

/// What follows a layer's name in the names of its tensors.
const PARTS: [&str; 9] = [
    "weight",
    "thresholds",
    "bias",
    "step",
    "norm.weight",
    "norm.bias",
    "norm.running_mean",
    "norm.running_var",
    COUNTER,
];
/// The types that [`decoded`] reads, for messages.
const TYPES: &str = "bool, integers of 8 to 64 bits, floats of 16 to 64 bits, or bfloat16";
/// PyTorch counts the batches that a normalisation has seen.
const COUNTER: &str = "norm.num_batches_tracked";

/// Returns whether a tensor can be one of the layers.
pub(super) fn belongs(tensor: &str, layers: &HashSet<&str>) -> bool {
    let layer = |part: &&str| tensor.strip_suffix(part).and_then(|rest| rest.strip_suffix('.'));
    PARTS.iter().filter_map(layer).any(|layer| layers.contains(layer))
}

/// Refuses tensors that no layer has.
pub(super) fn none_unknown(mut tensors: Vec<String>) -> Result<()> {
    tensors.sort_unstable();
    if tensors.is_empty() { Ok(()) } else { Err(PublicError::UnknownTensors { tensors }) }
}

/// The tensors of a file, and which of them a layer has asked for.
pub(super) struct Tensors<'a> {
    tensors: &'a SafeTensors<'a>,
    used: HashSet<String>,
}

impl<'a> Tensors<'a> {
    pub(super) fn new(tensors: &'a SafeTensors<'a>) -> Self {
        Self { tensors, used: HashSet::new() }
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    /// Returns the numbers of a tensor of one of these shapes, all of them finite.
    fn numbers(&mut self, name: &str, shapes: &[Vec<usize>]) -> Result<Vec<f64>> {
        let Ok(tensor) = self.tensors.tensor(name) else {
            let mut there: Vec<String> =
                self.tensors.names().into_iter().map(str::to_owned).collect();
            there.sort_unstable();
            return Err(PublicError::NoTensor { tensor: name.into(), there });
        };
        if !shapes.iter().any(|shape| shape == tensor.shape()) {
            let (got, expected) = (format!("{:?}", tensor.shape()), format!("{:?}", shapes[0]));
            return Err(PublicError::tensor(name, "shape", got, expected));
        }
        self.used.insert(name.into());
        let Some(numbers) = decoded(tensor.dtype(), tensor.data()) else {
            let (got, expected) = (format!("{:?}", tensor.dtype()), TYPES);
            return Err(PublicError::tensor(name, "type", got, expected));
        };
        all_are(name, &numbers, |x| x.is_finite(), "finite ones")?;
        Ok(numbers)
    }

    fn integers(&mut self, name: &str, shapes: &[Vec<usize>]) -> Result<Vec<i64>> {
        let numbers = self.numbers(name, shapes)?;
        let whole = |x: f64| x.fract() == 0.0 && x.abs() < 2f64.powi(53);
        all_are(name, &numbers, whole, "integers below 2^53")?;
        Ok(numbers.iter().map(|&x| x as i64).collect())
    }

    /// Returns the weights of each output of a layer.
    pub(super) fn weights(
        &mut self,
        layer: &PublicLayerConfig,
        geometry: &PublicGeometry,
    ) -> Result<Vec<Vec<i32>>> {
        let (k, len) = (layer.kernel, geometry.weights());
        let shapes =
            [vec![layer.outputs, geometry.input().channels, k, k], vec![layer.outputs, len]];
        let name = format!("{}.weight", layer.name);
        let flat = self.integers(&name, &shapes)?;
        let small = |&w: &i64| {
            let expected = "integers of 32 bits";
            i32::try_from(w).map_err(|_| PublicError::tensor(&name, "number", w, expected))
        };
        flat.chunks(len).map(|of_output| of_output.iter().map(small).collect()).collect()
    }

    /// Returns what is added to each score: nothing, if the file does not say.
    pub(super) fn bias(&mut self, layer: &PublicLayerConfig) -> Result<Vec<Vec<i64>>> {
        let name = format!("{}.bias", layer.name);
        if !self.has(&name) {
            return Ok(vec![vec![0]; layer.outputs]);
        }
        Ok(self.integers(&name, &[vec![layer.outputs]])?.into_iter().map(|b| vec![b]).collect())
    }

    /// Returns the thresholds that a file gives, or those that its normalisation folds into. For a
    /// negative gain the filter is negated, which a `joined` layer cannot do.
    pub(super) fn thresholds(
        &mut self,
        layer: &PublicLayerConfig,
        levels: Levels,
        weights: &mut [Vec<i32>],
        joined: bool,
    ) -> Result<Vec<Vec<i64>>> {
        let (name, outputs) = (&layer.name, layer.outputs);
        let given = format!("{name}.thresholds");
        let folds = levels.counting == Counting::Joint && self.has(&format!("{name}.norm.weight"));
        if self.has(&given) || !folds {
            let flat = self.integers(&given, &[vec![outputs, levels.thresholds]])?;
            return Ok(flat.chunks(levels.thresholds).map(<[i64]>::to_vec).collect());
        }
        let normalisation = self.normalisation(name, outputs)?;
        let step = match levels.is_sign() {
            true => 0.0,
            false => self.numbers(&format!("{name}.step"), &[vec![], vec![1]])?[0],
        };
        let mut all = Vec::new();
        for (o, weights) in weights.iter_mut().enumerate() {
            let (thresholds, negated) = normalisation.fold(o, step, levels.thresholds);
            if negated && joined {
                let got = format!("{} (number {o})", normalisation.gains[o]);
                let expected = "none below zero in a layer with a residual connection";
                let tensor = format!("{name}.norm.weight");
                return Err(PublicError::tensor(&tensor, "number", got, expected));
            }
            if negated {
                weights.iter_mut().for_each(|w| *w = w.saturating_neg());
            }
            all.push(thresholds);
        }
        Ok(all)
    }

    fn normalisation(&mut self, layer: &str, outputs: usize) -> Result<Normalisation> {
        let mut part = |part: &str| self.numbers(&format!("{layer}.norm.{part}"), &[vec![outputs]]);
        let (gains, offsets) = (part("weight")?, part("bias")?);
        let (means, variances) = (part("running_mean")?, part("running_var")?);
        let tensor = format!("{layer}.norm.running_var");
        all_are(&tensor, &variances, |x| x >= 0.0, "none below zero")?;
        Ok(Normalisation { gains, offsets, means, variances })
    }

    /// Refuses tensors that no layer has asked for.
    pub(super) fn check_all_used(&self) -> Result<()> {
        let names = self.tensors.names().into_iter();
        let unused = names.filter(|name| !self.used.contains(*name) && !name.ends_with(COUNTER));
        none_unknown(unused.map(str::to_owned).collect())
    }
}

fn all_are(name: &str, numbers: &[f64], fits: impl Fn(f64) -> bool, expected: &str) -> Result<()> {
    match numbers.iter().position(|&x| !fits(x)) {
        None => Ok(()),
        Some(i) => {
            let got = format!("{} (number {i})", numbers[i]);
            Err(PublicError::tensor(name, "number", got, expected))
        }
    }
}

/// Returns numbers of a type that networks have. Past 2^53 no integer of a network lies.
fn decoded(dtype: Dtype, data: &[u8]) -> Option<Vec<f64>> {
    fn each<const SIZE: usize>(data: &[u8], number: impl Fn([u8; SIZE]) -> f64) -> Vec<f64> {
        data.as_chunks::<SIZE>().0.iter().map(|&bytes| number(bytes)).collect()
    }
    Some(match dtype {
        Dtype::BOOL => each(data, |[x]| u8::from(x != 0).into()),
        Dtype::I8 => each(data, |x| i8::from_le_bytes(x).into()),
        Dtype::U8 => each(data, |x| u8::from_le_bytes(x).into()),
        Dtype::I16 => each(data, |x| i16::from_le_bytes(x).into()),
        Dtype::U16 => each(data, |x| u16::from_le_bytes(x).into()),
        Dtype::I32 => each(data, |x| i32::from_le_bytes(x).into()),
        Dtype::U32 => each(data, |x| u32::from_le_bytes(x).into()),
        Dtype::I64 => each(data, |x| i64::from_le_bytes(x) as f64),
        Dtype::U64 => each(data, |x| u64::from_le_bytes(x) as f64),
        Dtype::F16 => each(data, |x| f16::from_le_bytes(x).into()),
        Dtype::BF16 => each(data, |x| bf16::from_le_bytes(x).into()),
        Dtype::F32 => each(data, |x| f32::from_le_bytes(x).into()),
        Dtype::F64 => each(data, f64::from_le_bytes),
        _ => return None,
    })
}
