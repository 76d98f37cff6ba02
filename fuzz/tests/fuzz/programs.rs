//! What the programs read again of what they wrote, and recipes of networks with public weights.

use anyhow::{Context, Result};
use fhe_data::Quantizer;
use fhe_examples::bnn::{self, results::BnnResults};
use fhe_examples::checked::Checked;
use fhe_examples::client::{ClientFolder, Labelled, Setup, Training};
use fhe_examples::encoder::SampleEncoder;
use fhe_examples::fast::Data;
use fhe_examples::file::read_json;
use fhe_examples::results::Results;
use fhe_examples::server::ServerFolder;
use fhe_fuzz::{File, Form, Fuzz};
use fhe_train::{Recipe, Report, State};
use ndarray::array;
use serde_json::json;

use crate::Folder;

fn json(name: &str, value: &impl serde::Serialize) -> Result<File> {
    Ok(File::new(name, Form::Json, serde_json::to_vec(value)?))
}

/// The client's folder, in a folder of changed files.
fn client() -> Result<(Folder, ClientFolder)> {
    let folder = Folder::new()?;
    let client = ClientFolder::of(folder.path());
    std::fs::create_dir(client.path())?;
    Ok((folder, client))
}

fn set_up() -> Setup {
    Setup {
        preset: "builtin".into(),
        seed: 1,
        images: Some(10),
        encrypted: None,
        batch: None,
        reproducible_key: false,
        classes: vec!["a".into(), "b".into()],
        data: Some("hash".into()),
    }
}

#[test]
fn noted_trainings() -> Result<()> {
    let (fuzz, (folder, client)) = (Fuzz::of("training-json"), client()?);
    let training = Training { recipe: Recipe::linear(3, 2), batch: 2 };
    let state = State {
        recipe: training.recipe.clone(),
        dataset: "a set".into(),
        inputs: "digest".into(),
        batch: 2,
        step: 0,
        part: 0,
        steps: 3,
        images: 0,
        lookups: 0,
        parts: Vec::new(),
    };
    fuzz.run(&[json("client/training.json", &training)?], |name, bytes| {
        folder.put(name, bytes)?;
        client.read_training()?.check(&state, 6).or_else(|_| Ok(()))
    })
}

#[test]
fn noted_set_ups() -> Result<()> {
    let (fuzz, (folder, client)) = (Fuzz::of("setup-json"), client()?);
    let setup = set_up();
    fuzz.run(&[json("client/setup.json", &setup)?], |name, bytes| {
        folder.put(name, bytes)?;
        let _ = client.read_setup()?;
        client.check_agreed(&setup)
    })
}

#[test]
fn stopped_checks() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("check-json"), Folder::new()?);
    let mut checked = Checked::begin("a model");
    checked.add(1, 1, 0.5);
    checked.add(6, 5, 1.5);
    fuzz.run(&[json("check.json", &checked)?], |name, bytes| {
        let found = Checked::read(&folder.put(name, bytes)?, "a model")?.found(0.5);
        assert!(found.same_class <= found.images);
        Ok(())
    })
}

#[test]
fn labelled_features() -> Result<()> {
    let (fuzz, (folder, client)) = (Fuzz::of("labelled-features"), client()?);
    client.agree(&set_up())?;
    let rows = array![[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]];
    let features = Quantizer::fit(rows.view(), 8)?.encode(rows.view())?;
    client.save("train", &Labelled { features, labels: vec![0, 1, 0] })?;
    let mut files = Vec::new();
    for (name, form) in [("train.features", Form::Tensors), ("train.labels", Form::Bytes)] {
        let bytes = std::fs::read(client.path().join(name))?;
        files.push(File::new(&format!("client/{name}"), form, bytes));
    }
    fuzz.run(&files, |name, bytes| {
        folder.put(name, bytes)?;
        let read = client.load("train");
        for file in files.iter().filter(|file| file.name() == name) {
            folder.put(name, file.bytes())?;
        }
        read?;
        Ok(())
    })
}

#[test]
fn encoders_of_any_kind() -> Result<()> {
    let (fuzz, (folder, client)) = (Fuzz::of("sample-encoder"), client()?);
    let rows = array![[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]];
    client.save_encoder(&SampleEncoder::Features(Quantizer::fit(rows.view(), 8)?))?;
    let id = std::fs::read(client.path().join("encoder.id"))?;
    let files = [
        File::new("client/encoder.safetensors", Form::Tensors, std::fs::read(client.encoder())?),
        File::new("client/encoder.id", Form::Bytes, id),
    ];
    fuzz.run(&files, |name, bytes| {
        folder.put(name, bytes)?;
        let _ = SampleEncoder::load(&client.encoder());
        let read = client.load_encoder();
        for file in files.iter().filter(|file| file.name() == name) {
            folder.put(name, file.bytes())?;
        }
        read?;
        Ok(())
    })
}

#[test]
fn recipes_on_the_server() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("server-recipe"), Folder::new()?);
    let server = ServerFolder::of(folder.path());
    std::fs::create_dir_all(server.recipe().parent().context("no folder")?)?;
    let name = server.recipe().strip_prefix(folder.path())?.display().to_string();
    let files = [json(&name, &Recipe::linear(3, 2))?, json(&name, &Recipe::mlp(3, &[2], 2))?];
    fuzz.run(&files, |name, bytes| {
        folder.put(name, bytes)?;
        server.read_recipe()?;
        Ok(())
    })
}

#[test]
fn recipes_of_public_networks() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("public-recipe-toml"), Folder::new()?);
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models");
    let mut files = Vec::new();
    for name in ["perceptron", "cnn", "resnet", "resnet4"] {
        let text = std::fs::read(format!("{models}/{name}.toml"))?;
        files.push(File::new("recipe.toml", Form::Toml, text));
    }
    fuzz.run(&files, |name, bytes| {
        let recipe = bnn::Recipe::read(&folder.put(name, bytes)?)?;
        fhe_nn::public::PublicPlan::new(&recipe.network)?;
        Ok(())
    })
}

#[test]
fn results_of_programs() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("results-json"), Folder::new()?);
    let results = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/results");
    let training = std::fs::read(format!("{results}/deep-builtin.json"))?;
    let inference = std::fs::read(format!("{results}/bnn-cifar10-4bit.json"))?;
    let read: Results = serde_json::from_slice(&training)?;
    let report = json!({
        "recipe": read.recipe, "dataset": "a set", "inputs": "digest", "step": 1, "steps": 3,
        "images": 2, "lookups": 9, "parts": read.parts, "parameter_set": "a set",
        "wall_seconds": 0.5, "efficiency": 0.9, "threads": 2,
    });
    let files = [
        File::new("training", Form::Json, training),
        File::new("inference", Form::Json, inference),
        json("report", &report)?,
    ];
    fuzz.run(&files, |name, bytes| {
        let path = folder.put(name, bytes)?;
        match name {
            "training" => drop(read_json::<Results>(&path, "results")?.section(name)),
            "inference" => drop(read_json::<BnnResults>(&path, "results")?.section(name)),
            _ => drop(read_json::<Report>(&path, "report")?),
        }
        Ok(())
    })
}

#[test]
fn encoded_samples_of_the_fast_twin() -> Result<()> {
    let (fuzz, folder) = (Fuzz::of("fast-twin-data"), Folder::new()?);
    let names = ["train.i8", "test.i8", "train.u8", "test.u8"];
    let files = names.map(|name| {
        let each = if name.ends_with("i8") { 3 } else { 1 };
        File::new(name, Form::Bytes, vec![1; 4 * each])
    });
    for file in &files {
        folder.put(file.name(), file.bytes())?;
    }
    fuzz.run(&files, |name, bytes| {
        folder.put(name, bytes)?;
        let read = Data::read(folder.path(), 3, false);
        for file in files.iter().filter(|file| file.name() == name) {
            folder.put(name, file.bytes())?;
        }
        read?;
        Ok(())
    })
}
