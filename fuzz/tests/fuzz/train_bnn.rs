//! Checkpoints of networks that are trained in the clear.

use std::fs;

use anyhow::Result;
use fhe_data::{ImageShape, Split, builtin};
use fhe_examples::bnn::Recipe;
use fhe_examples::output::{self, Manner};
use fhe_fuzz::{File, Form, Fuzz};
use fhe_train_bnn::Job;

use crate::Folder;

/// The smallest network with an activation: its thresholds count together, or are apart.
fn recipe(apart: bool) -> Result<Recipe> {
    let text = format!(
        r#"
        [network]
        input = {{ channels = 1, height = 2, width = 2 }}
        levels = [0, 15]

        [[network.layers]]
        name = "first"
        outputs = 3
        kernel = 1
        activation = {{ first = -1, step = {}, thresholds = 2, apart = {apart} }}

        [[network.layers]]
        name = "scores"
        outputs = 10
        kernel = 2

        [training]
        epochs = 1
        batch = 2
        rate = 1e-3
        shift = 0
        mirror = false
        "#,
        if apart { 2 } else { 1 }
    );
    Ok(toml::from_str(&text)?)
}

/// A training of it, whose files are in the folder. It says nothing.
fn job(folder: &Folder, name: &str, apart: bool) -> Result<Job> {
    output::set(Manner { quiet: true, json: false });
    let out = folder.path().join(format!("{name}.safetensors"));
    Ok(Job { recipe: recipe(apart)?, seed: 1, from: None, out })
}

fn data() -> Result<Split> {
    let small = ImageShape { channels: 1, height: 2, width: 2 };
    let split = builtin(1, 4, 2);
    Ok(Split { train: split.train.resized(small)?, test: split.test.resized(small)?, ..split })
}

#[test]
fn trainings_that_go_on() -> Result<()> {
    let (fuzz, folder, data) = (Fuzz::of("latent-checkpoint"), Folder::new()?, data()?);
    let (job, name) = (job(&folder, "a", true)?, "a.latent.safetensors");
    job.run(&data)?;
    let file = File::new(name, Form::Tensors, fs::read(folder.path().join(name))?);
    fuzz.run(&[file], |name, bytes| {
        folder.put(name, bytes)?;
        job.run(&data).map(drop)
    })
}

#[test]
fn trainings_that_begin_with_another() -> Result<()> {
    let (fuzz, folder, data) = (Fuzz::of("latent-beginning"), Folder::new()?, data()?);
    job(&folder, "joint", false)?.run(&data)?;
    job(&folder, "apart", true)?.run(&data)?;
    let mut files = Vec::new();
    for name in ["joint.latent.safetensors", "apart.latent.safetensors"] {
        files.push(File::new(name, Form::Tensors, fs::read(folder.path().join(name))?));
    }
    fuzz.run(&files, |name, bytes| {
        let from = Some(folder.put(name, bytes)?);
        let trained = Job { from, ..job(&folder, "a", true)? }.run(&data);
        let checkpoint = folder.path().join("a.latent.safetensors");
        if checkpoint.exists() {
            fs::remove_file(checkpoint)?;
        }
        trained.map(drop)
    })
}
