//! Latent weights on disk: an interrupted training goes on, another one is begun with.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use fhe_core::store::{Secrecy, write_whole};
use fhe_examples::output;
use safetensors::SafeTensors;

use crate::adam::Adam;
use crate::model::Model;
use crate::origin::Origin;

/// The entry of the metadata that says what the training depends on.
const ORIGIN: &str = "training";

/// Loads the latent weights and the moments of an interrupted training; returns the epoch to go on
/// with. Refuses those of another training. An epoch has `steps`.
pub(crate) fn resume(
    (model, adam): (&Model, &mut Adam),
    path: &Path,
    origin: &Origin,
    (epochs, steps): (usize, usize),
) -> Result<usize> {
    let epoch = resumed((model, adam), path, origin, (epochs, steps));
    let epoch = epoch.with_context(|| path.display().to_string())?;
    output::note(format!("{}: going on after epoch {epoch}", path.display()))?;
    Ok(epoch)
}

fn resumed(
    (model, adam): (&Model, &mut Adam),
    path: &Path,
    origin: &Origin,
    (epochs, steps): (usize, usize),
) -> Result<usize> {
    let bytes = std::fs::read(path)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let noted = header.metadata().as_ref().and_then(|entries| entries.get(ORIGIN));
    let noted = noted.context(
        "it does not say of which training it is, as those of earlier versions: move it away, or \
         begin with it by --from",
    )?;
    let noted = serde_json::from_str(noted).context("what it says of its training")?;
    origin.check(&noted)?;
    let saved = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?;
    model.set(&saved)?;
    let epoch = saved.get("epoch").context("no tensor epoch")?.to_scalar::<u32>()? as usize;
    ensure!(epoch <= epochs, "it is after epoch {epoch}, expected at most {epochs}");
    adam.set(&saved, epoch * steps)?;
    Ok(epoch)
}

/// Loads the latent weights of another training, spread over thresholds that are apart.
pub(crate) fn begin_with(model: &Model, path: &Path) -> Result<()> {
    let told = || path.display().to_string();
    let saved = candle_core::safetensors::load(path, &Device::Cpu).with_context(told)?;
    let (tensors, lacks) = model.spread(&saved).with_context(told)?;
    model.set(&tensors).with_context(told)?;
    if !lacks.is_empty() {
        output::note(format!("{}: has no {}, begun anew", path.display(), lacks.join(", ")))?;
    }
    Ok(())
}

/// Writes the latent weights, the moments, the number of epochs behind them, and of what they are.
pub(crate) fn save(
    (model, adam): (&Model, &Adam),
    path: &Path,
    origin: &Origin,
    epoch: usize,
) -> Result<()> {
    let mut tensors = model.saved()?;
    tensors.extend(adam.saved());
    tensors.insert("epoch".into(), Tensor::new(epoch as u32, &Device::Cpu)?);
    let metadata = HashMap::from([(ORIGIN.to_owned(), serde_json::to_string(origin)?)]);
    let bytes = safetensors::serialize(tensors.iter(), Some(metadata))?;
    Ok(write_whole(path, &bytes, Secrecy::Public)?)
}
