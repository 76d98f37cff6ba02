//! Networks with public weights.

use std::path::Path;

use anyhow::Result;
use fhe_core::Params;
use fhe_fuzz::{File, Form, Fuzz};
use fhe_nn::public::{self, PublicNetwork};

/// Files of PyTorch, as they are and packed.
fn files() -> Result<Vec<File>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("../fhe-nn/tests/fixtures/binarized.safetensors");
    let (config, weights) = public::read(&path)?;
    let ours = File::new("ours", Form::Tensors, public::to_bytes(&config, &weights)?);
    let theirs = File::new("pytorch", Form::Tensors, std::fs::read(&path)?);
    Ok(vec![ours.clone(), theirs, ours.gzip()?])
}

#[test]
fn public_networks() -> Result<()> {
    let fuzz = Fuzz::of("public-network");
    let params = Params::secure128_bnn()?;
    fuzz.run(&files()?, |_, bytes| {
        let (config, weights) = public::from_bytes(bytes)?;
        let network = PublicNetwork::new(&config, weights, params.row_size)?;
        network.summary(&params, 1)?;
        Ok(())
    })
}
