//! What a binarized network's training needs and candle has not, or has slowly.

mod activation;
mod convolution;
mod noise;

pub(crate) use activation::{Activation, Moments, Steps, moments};
use candle_core::{CpuStorage, Error, Layout, Result, Tensor};
pub(crate) use convolution::{Convolution, Windows};
pub(crate) use noise::Noise;

/// Returns the floats of a contiguous layout.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        _ => Err(Error::Msg("expected contiguous f32".into())),
    }
}

/// Runs `f` on the floats of a tensor, which must be contiguous.
fn on_floats<T>(x: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(storage) => f(floats(storage, layout)?),
        _ => Err(Error::Msg("expected a tensor in main memory".into())),
    }
}
