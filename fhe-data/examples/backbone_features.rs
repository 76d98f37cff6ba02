//! Writes the features of a folder of pictures, by an ONNX network, as a NumPy array `[n, width]`.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use fhe_data::backbone::{Backbone, BackboneOptions, FeatureCache, Normalisation};

/// Features of PNG and JPEG files by an ONNX network: rows in the order of the files' names.
#[derive(Parser)]
struct Args {
    /// The network.
    model: PathBuf,
    /// Folder of pictures.
    pictures: PathBuf,
    /// The array that is written.
    out: PathBuf,
    /// Rows and columns that the network takes, if its file does not say so.
    #[arg(long)]
    size: Option<usize>,
    /// What is subtracted of bytes: one number, or red, green and blue.
    #[arg(long, value_delimiter = ',', requires = "scale")]
    mean: Vec<f32>,
    /// What the difference is divided by.
    #[arg(long, value_delimiter = ',', requires = "mean")]
    scale: Vec<f32>,
    /// The value that holds the features; the input of the last dense layer if left out.
    #[arg(long)]
    output: Option<String>,
    /// Folder where features are kept, for runs that go on after an interruption.
    #[arg(long)]
    cache: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let triple = |numbers: &[f32]| match *numbers {
        [common] => Ok([common; 3]),
        [red, green, blue] => Ok([red, green, blue]),
        _ => Err(anyhow::anyhow!("one number, or three between commas")),
    };
    let normalisation = match args.mean.is_empty() {
        true => None,
        false => Some(Normalisation { mean: triple(&args.mean)?, scale: triple(&args.scale)? }),
    };
    let options = BackboneOptions { size: args.size, normalisation, output: args.output };
    let backbone = Backbone::open(&args.model, &options)?;
    println!("{} features of {:?} pixels", backbone.width(), backbone.input_size());
    let is_picture = |path: &PathBuf| {
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        ["png", "jpg", "jpeg"].iter().any(|known| ending == *known)
    };
    let entries = fs::read_dir(&args.pictures).context("listing the pictures")?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    let mut pictures: Vec<PathBuf> = paths.into_iter().filter(is_picture).collect();
    pictures.sort();
    ensure!(!pictures.is_empty(), "no .png, .jpg or .jpeg in {}", args.pictures.display());
    let start = Instant::now();
    let features = match &args.cache {
        Some(folder) => FeatureCache::open(folder)?.features(&backbone, &pictures, &|_| ())?,
        None => backbone.features(&pictures)?,
    };
    let each = start.elapsed().as_secs_f64() * 1e3 / pictures.len() as f64;
    println!("{} pictures, {each:.1} ms each", pictures.len());
    // NumPy's format: 10 bytes, then a header that ends at a multiple of 64.
    let shape = format!("'shape': ({}, {})", features.nrows(), features.ncols());
    let header = format!("{{'descr': '<f4', 'fortran_order': False, {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{header:<117}\n").bytes());
    bytes.extend(features.iter().flat_map(|value| value.to_le_bytes()));
    fs::write(&args.out, bytes).context("writing the features")
}
