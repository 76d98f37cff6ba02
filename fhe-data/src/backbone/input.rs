//! What a model takes: layout, size and normalisation of pictures.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value};
use tract_onnx::pb::{StringStringEntryProto, TensorShapeProto, ValueInfoProto, type_proto};

use super::{BackboneError, BackboneOptions, Normalisation};
use crate::ImageShape;

/// Pictures at most that a model may take at a time.
const MOST_PICTURES: usize = 1024;
/// Rows, and columns, at most of a model's pictures.
const MOST_SIDE: usize = 4096;
/// Channels at most by which an axis is taken for that of the channels.
const MOST_CHANNELS: u64 = 16;

/// The order of a picture's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Channels, rows, columns.
    Planes,
    /// Rows, columns, channels.
    Pixels,
}

/// What a model takes.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// Pictures at a time.
    pub(super) batch: usize,
    /// The shape of a picture, of 3 channels.
    pub(super) shape: ImageShape,
    pub(super) normalisation: Normalisation,
    layout: Layout,
}

impl Input {
    /// Reads what an input says, adds what metadata and options say, and fixes the input's shape.
    pub(super) fn resolve(
        info: &mut ValueInfoProto,
        metadata: &[StringStringEntryProto],
        options: &BackboneOptions,
    ) -> Result<Self, BackboneError> {
        let input = info.name.clone();
        let tensor = info.r#type.as_mut().and_then(|kind| kind.value.as_mut());
        let Some(type_proto::Value::TensorType(tensor)) = tensor else {
            return Err(BackboneError::InputType { input, got: "that are not stated".into() });
        };
        if tensor.elem_type != DataType::Float as i32 {
            let name = DataType::try_from(tensor.elem_type).map(|known| known.as_str_name());
            let got = name.map_or_else(|_| tensor.elem_type.to_string(), str::to_owned);
            return Err(BackboneError::InputType { input, got });
        }
        let dims = tensor.shape.as_ref().map_or(&[][..], |shape| &shape.dim);
        let text = text(dims);
        let &[batch, first, second, third] = dims.iter().map(length).collect::<Vec<_>>().as_slice()
        else {
            return Err(BackboneError::InputAxes { input, got: text });
        };
        let layout = match layout(first, third) {
            Ok(layout) => layout,
            Err(Some(got)) => return Err(BackboneError::Channels { input, shape: text, got }),
            Err(None) => return Err(BackboneError::InputAxes { input, got: text }),
        };
        let sides = match layout {
            Layout::Planes => [second, third],
            Layout::Pixels => [first, second],
        };
        let [height, width] = size(&input, sides, text, metadata, options)?;
        let batch = match usize::try_from(batch.unwrap_or(1)) {
            Ok(batch @ 1..=MOST_PICTURES) => batch,
            _ => {
                let got = batch.unwrap_or(1).cast_signed();
                return Err(BackboneError::Batch { input, got, most: MOST_PICTURES });
            }
        };
        let shape = ImageShape { channels: 3, height, width };
        let normalisation = normalisation(metadata, options)?;
        let resolved = Self { batch, shape, normalisation, layout };
        let dim = resolved.axes().map(|axis| Dimension {
            value: Some(Value::DimValue(axis as i64)),
            denotation: String::new(),
        });
        tensor.shape = Some(TensorShapeProto { dim: dim.to_vec() });
        Ok(resolved)
    }

    /// Returns the shape of the input.
    pub(super) fn axes(&self) -> [usize; 4] {
        let ImageShape { channels, height, width } = self.shape;
        match self.layout {
            Layout::Planes => [self.batch, channels, height, width],
            Layout::Pixels => [self.batch, height, width, channels],
        }
    }

    /// Writes the planes of a picture as normalised numbers, in the order of the model.
    pub(super) fn fill(&self, planes: &[u8], numbers: &mut [f32]) {
        let plane = self.shape.height * self.shape.width;
        for (channel, bytes) in planes.chunks_exact(plane).enumerate() {
            for (position, &byte) in bytes.iter().enumerate() {
                let at = match self.layout {
                    Layout::Planes => channel * plane + position,
                    Layout::Pixels => position * self.shape.channels + channel,
                };
                numbers[at] = self.normalisation.apply(channel, byte);
            }
        }
    }
}

/// Returns the length of an axis, if the model states it. Some programs write 0 or -1 for any.
fn length(dim: &Dimension) -> Option<u64> {
    match dim.value {
        Some(Value::DimValue(length)) => u64::try_from(length).ok().filter(|&length| length > 0),
        _ => None,
    }
}

/// Returns a shape as `N x 3 x ? x ?`.
fn text(dims: &[Dimension]) -> String {
    let axis = |dim: &Dimension| match (&dim.value, length(dim)) {
        (_, Some(length)) => length.to_string(),
        (Some(Value::DimParam(name)), None) if !name.is_empty() => name.clone(),
        _ => "?".to_owned(),
    };
    let axes: Vec<String> = dims.iter().map(axis).collect();
    if axes.is_empty() { "that is not stated".into() } else { axes.join(" x ") }
}

/// Decides where the channels are by the second and the last axis; else returns their number, if
/// there is one that is not 3.
fn layout(first: Option<u64>, third: Option<u64>) -> Result<Layout, Option<u64>> {
    let few = |axis: &u64| *axis <= MOST_CHANNELS;
    match (first, third) {
        (Some(3), _) => Ok(Layout::Planes),
        (_, Some(3)) => Ok(Layout::Pixels),
        // Converters of planes often leave all axes open, the channels' too.
        (None, third) => third.filter(few).map_or(Ok(Layout::Planes), |got| Err(Some(got))),
        (Some(first), third) if few(&first) || third.is_some() => {
            Err(Some(first).filter(few).or(third.filter(few)))
        }
        (Some(_), _) => Ok(Layout::Pixels),
    }
}

/// Returns rows and columns: those of the shape, or else of the option or the metadata.
fn size(
    input: &str,
    sides: [Option<u64>; 2],
    text: String,
    metadata: &[StringStringEntryProto],
    options: &BackboneOptions,
) -> Result<[usize; 2], BackboneError> {
    let input = || input.to_owned();
    let stated = match entry(metadata, "input_size") {
        None => None,
        Some(got) => Some(got.trim().parse::<usize>().map_err(|_| BackboneError::Setting {
            field: "the metadata entry input_size",
            got: got.to_owned(),
            wanted: "a number of pixels",
        })?),
    };
    let given = options.size.or(stated);
    let chosen = sides.map(|side| match (side, given) {
        (Some(side), _) => usize::try_from(side).ok(),
        (None, given) => given,
    });
    let [Some(height), Some(width)] = chosen else {
        return Err(BackboneError::NoSize { input: input(), got: text });
    };
    let got = format!("{height} x {width}");
    if let Some(wanted) = options.size.filter(|&size| [height, width] != [size; 2]) {
        return Err(BackboneError::SizeFixed { input: input(), got, wanted });
    }
    if [height, width].iter().all(|side| (1..=MOST_SIDE).contains(side)) {
        Ok([height, width])
    } else {
        Err(BackboneError::SizeRange { got })
    }
}

/// Returns the option, or what the metadata say.
fn normalisation(
    metadata: &[StringStringEntryProto],
    options: &BackboneOptions,
) -> Result<Normalisation, BackboneError> {
    let stated = || -> Result<Normalisation, BackboneError> {
        let mean = numbers(metadata, "input_mean", "the metadata entry input_mean")?;
        let scale = numbers(metadata, "input_scale", "the metadata entry input_scale")?;
        let (Some(mean), Some(scale)) = (mean, scale) else {
            return Err(BackboneError::NoNormalisation);
        };
        Ok(Normalisation { mean, scale })
    };
    let chosen = options.normalisation.map_or_else(stated, Ok)?;
    chosen.check()?;
    Ok(chosen)
}

/// Returns an entry of one number, or three between commas.
fn numbers(
    metadata: &[StringStringEntryProto],
    key: &str,
    field: &'static str,
) -> Result<Option<[f32; 3]>, BackboneError> {
    let Some(text) = entry(metadata, key) else { return Ok(None) };
    let parsed: Result<Vec<f32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match parsed.as_deref() {
        Ok(&[common]) => Ok(Some([common; 3])),
        Ok(&[red, green, blue]) => Ok(Some([red, green, blue])),
        _ => {
            let wanted = "one number, or three between commas";
            Err(BackboneError::Setting { field, got: text.to_owned(), wanted })
        }
    }
}

fn entry<'a>(metadata: &'a [StringStringEntryProto], key: &str) -> Option<&'a str> {
    metadata.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_found_on_either_side() {
        assert_eq!(layout(Some(3), Some(224)), Ok(Layout::Planes));
        assert_eq!(layout(Some(3), None), Ok(Layout::Planes));
        assert_eq!(layout(Some(224), Some(3)), Ok(Layout::Pixels));
        assert_eq!(layout(None, Some(3)), Ok(Layout::Pixels));
        assert_eq!(layout(None, None), Ok(Layout::Planes));
        assert_eq!(layout(None, Some(224)), Ok(Layout::Planes));
        assert_eq!(layout(Some(224), None), Ok(Layout::Pixels));
        assert_eq!(layout(Some(1), Some(28)), Err(Some(1)));
        assert_eq!(layout(Some(224), Some(4)), Err(Some(4)));
        assert_eq!(layout(None, Some(1)), Err(Some(1)));
        assert_eq!(layout(Some(224), Some(224)), Err(None));
    }
}
