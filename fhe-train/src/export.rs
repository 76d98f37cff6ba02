//! Models in the clear as safetensors files.

use std::collections::HashMap;
use std::path::Path;

use fhe_core::store::{Secrecy, write_whole};
use fhe_nn::Cells;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::{ClearLayer, ClearModel, Error, Recipe, Result};

/// What the metadata calls the format.
const FORMAT: &str = "fhe-train model 1";

impl ClearModel {
    /// Writes the model as safetensors, whole or not at all.
    ///
    /// | tensor | type and shape | unit |
    /// |---|---|---|
    /// | `LAYER.weight` | F64, `[outputs, inputs]` | pre-activations per integer of the input |
    /// | `LAYER.bias` | F64, `[outputs]` | pre-activations |
    ///
    /// Weights of a convolution have the shape `[outputs, inputs, rows, columns]`. A shortcut is
    /// another layer, `shortcut`.
    ///
    /// The pre-activations of the last layer are logits. The metadata has `format`, and `network`.
    /// The latter is JSON with the layers in order, their activations, the `grid` on which
    /// pre-activations are read, in steps a unit, and `shortcut` and `cells` if there are any.
    ///
    /// # Errors
    /// [`Error::Core`] names the file.
    pub fn save_safetensors(&self, path: &Path) -> Result<()> {
        let layers = self.layers()?;
        let bytes = encode(&layers, network(self.recipe(), &layers, self.slots()))?;
        Ok(write_whole(path, &bytes, Secrecy::Secret)?)
    }
}

/// Returns the file's bytes.
fn encode(layers: &[ClearLayer], network: serde_json::Value) -> Result<Vec<u8>> {
    let mut tensors = Vec::new();
    for layer in layers {
        let shape = layer.weights.shape();
        // A dense layer is a convolution on maps of one position.
        let shape = if shape[2..] == [1, 1] { &shape[..2] } else { shape };
        tensors.push((
            format!("{}.weight", layer.name),
            shape.to_vec(),
            bytes(layer.weights.iter()),
        ));
        let outputs = vec![layer.bias.len()];
        tensors.push((format!("{}.bias", layer.name), outputs, bytes(layer.bias.iter())));
    }
    let failed = |error: safetensors::SafeTensorError| Error::Text {
        what: "safetensors file",
        problem: error.to_string(),
    };
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F64, shape.clone(), bytes).map_err(failed)?;
        Ok((name.as_str(), view))
    });
    let metadata = HashMap::from([
        ("format".to_owned(), FORMAT.to_owned()),
        ("network".to_owned(), network.to_string()),
    ]);
    let views = views.collect::<Result<Vec<_>>>()?;
    fhe_files::safetensors(views, metadata).map_err(failed)
}

fn bytes<'a>(numbers: impl Iterator<Item = &'a f64>) -> Vec<u8> {
    numbers.flat_map(|x| x.to_le_bytes()).collect()
}

/// What the numbers alone do not tell; lookups of activations read `slots` slots of the half torus.
fn network(recipe: &Recipe, layers: &[ClearLayer], slots: usize) -> serde_json::Value {
    let named = |layer: &ClearLayer| serde_json::json!({ "name": layer.name });
    match recipe {
        Recipe::Head(recipe) => serde_json::json!({
            "input": { "channels": recipe.inputs, "height": 1, "width": 1 },
            "layers": layers.iter().map(named).collect::<Vec<_>>(),
        }),
        Recipe::Deep(deep) => {
            let config = &deep.network;
            let mut network = serde_json::json!({
                "input": config.input,
                "z_range": config.z_range,
                "grid": slots as f64 / (2.0 * config.z_range),
                "layers": config.layers,
            });
            if config.shortcut {
                network["shortcut"] = true.into();
            }
            if config.cells != Cells::default() {
                network["cells"] = serde_json::json!(config.cells);
            }
            network
        }
    }
}
