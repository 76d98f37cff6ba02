//! Networks of others, and what is kept of them. The runtime panics on some files that are no
//! networks, and the library turns that into errors: so the panics that it prints are no failures.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use fhe_data::backbone::{Backbone, BackboneOptions, FeatureCache, Normalisation, RgbImage};
use fhe_examples::backbone::{BackboneArgs, Chosen, Network, Sizing};
use fhe_examples::file::read_json;
use fhe_fuzz::{File, Form, Fuzz};

use crate::Folder;

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fhe-data/tests/models").join(name)
}

fn options() -> BackboneOptions {
    BackboneOptions { normalisation: Some(Normalisation::IMAGENET), ..BackboneOptions::default() }
}

fn picture() -> RgbImage {
    RgbImage::from_fn(4, 4, |x, y| image::Rgb([1, 2, 3].map(|c| (40 * x + 9 * y + c) as u8)))
}

#[test]
fn networks_of_others() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("onnx"), Folder::new()?);
    folder.put("beside.weights", &fs::read(model("beside.weights"))?)?;
    let mut files = Vec::new();
    for name in ["planes.onnx", "batch.onnx", "metadata.onnx", "beside.onnx"] {
        files.push(File::new(name, Form::Bytes, fs::read(model(name))?));
    }
    fuzz.run(&files, |name, bytes| {
        let backbone = Backbone::open(&folder.put(name, bytes)?, &options())?;
        let features = backbone.features(&[picture()])?;
        assert_eq!(features.dim(), (1, backbone.width()));
        Ok(())
    })
}

#[test]
fn kept_features() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("feature-cache"), Folder::new()?);
    let backbone = Backbone::open(&model("planes.onnx"), &options())?;
    let cache = FeatureCache::open(folder.path())?;
    let features = || cache.features(&backbone, &[picture(), picture()], &|_| ());
    features()?;
    let file = fs::read_dir(folder.path())?.next().context("no file")??;
    let name = file.file_name().into_string().ok().context("no name")?;
    let file = File::new(&name, Form::Tensors, fs::read(file.path())?);
    fuzz.run(&[file], |name, bytes| {
        folder.put(name, bytes)?;
        assert_eq!(features()?.dim(), (2, backbone.width()));
        Ok(())
    })
}

/// The options of a program.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    backbone: BackboneArgs,
}

#[test]
fn chosen_networks() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("backbone-json"), Folder::new()?);
    let path = model("planes.onnx").display().to_string();
    let scaled = ["--backbone-mean", "0", "--backbone-scale", "255"];
    let args = ["setup", "--backbone", &path].into_iter().chain(scaled);
    let args = Args::try_parse_from(args)?;
    let network = args.backbone.open(Sizing::Whole)?.context("no network")?;
    let file = File::new("backbone.json", Form::Json, serde_json::to_vec(network.chosen())?);
    fuzz.run(&[file], |name, bytes| {
        let chosen: Chosen = read_json(&folder.put(name, bytes)?, "network of others")?;
        Network::reopen(&chosen)?;
        Ok(())
    })
}
