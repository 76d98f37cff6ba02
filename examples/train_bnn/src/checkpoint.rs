//! Latent weights on disk: an interrupted training goes on, another one is begun with.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use fhe_core::store::{Secrecy, write_whole};
use fhe_examples::output;

use crate::model::Model;

/// Loads the latent weights of an interrupted training; returns the epoch to go on with.
pub(crate) fn resume(model: &Model, path: &Path) -> Result<usize> {
    let told = || path.display().to_string();
    let saved = candle_core::safetensors::load(path, &Device::Cpu).with_context(told)?;
    model.set(&saved).with_context(told)?;
    let epoch = saved.get("epoch").with_context(told)?.to_scalar::<u32>()? as usize;
    output::note(format!("{}: going on after epoch {epoch}", path.display()))?;
    Ok(epoch)
}

/// Loads the latent weights of another training, spread over thresholds that are apart; returns the
/// first epoch.
pub(crate) fn begin_with(model: &Model, path: &Path) -> Result<usize> {
    let told = || path.display().to_string();
    let saved = candle_core::safetensors::load(path, &Device::Cpu).with_context(told)?;
    let (tensors, lacks) = model.spread(&saved).with_context(told)?;
    model.set(&tensors).with_context(told)?;
    if !lacks.is_empty() {
        output::note(format!("{}: has no {}, begun anew", path.display(), lacks.join(", ")))?;
    }
    Ok(0)
}

/// Writes the latent weights and the number of epochs behind them.
pub(crate) fn save(model: &Model, path: &Path, epoch: usize) -> Result<()> {
    let mut tensors = model.saved()?;
    tensors.insert("epoch".into(), Tensor::new(epoch as u32, &Device::Cpu)?);
    let bytes = safetensors::serialize(tensors.iter(), None)?;
    Ok(write_whole(path, &bytes, Secrecy::Public)?)
}
