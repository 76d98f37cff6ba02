//! Recipes, encrypted models and scores of `fhe_train`.

use std::ops::ControlFlow;

use anyhow::{Result, ensure};
use fhe_core::Params;
use fhe_core::client::ClientKey;
use fhe_core::store::Message;
use fhe_fuzz::{File, Form, Fuzz};
use fhe_train::{Checkpoint, Client, EncryptedScores, Recipe, Server, Trainer, TrainerOptions};
use ndarray::array;

use crate::{Folder, tiny_key};

/// Recipes of each kind.
fn recipes() -> Result<[Recipe; 2]> {
    Ok([Recipe::linear(3, 2), Recipe::mlp(3, &[2], 2)])
}

fn use_recipe(recipe: &Recipe, sets: &[Params]) -> Result<()> {
    let mut fits = false;
    for params in sets {
        if recipe.check(params).is_ok() {
            fits = true;
            recipe.rows(params, 0)?;
            recipe.lanes(params)?;
            let _ = (recipe.logit_unit(), recipe.inputs(params.row_size), recipe.label_log2());
            // The price of a large network takes milliseconds.
            if let Recipe::Deep(deep) = recipe
                && deep.network.input.len() < 100
            {
                deep.summary(params)?;
            }
        }
    }
    let _ = recipe.params(16);
    ensure!(fits, "it fits no parameter set");
    Ok(())
}

#[test]
fn recipes_in_toml() -> Result<()> {
    let fuzz = Fuzz::of("recipe-toml");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/recipes");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        files.push(File::new("recipe.toml", Form::Toml, std::fs::read(entry?.path())?));
    }
    let sets = [Params::secure128_head_v3()?, Params::secure128_deep()?];
    fuzz.run(&files, |_, bytes| use_recipe(&Recipe::from_toml(str::from_utf8(bytes)?)?, &sets))
}

#[test]
fn recipes_in_json() -> Result<()> {
    let fuzz = Fuzz::of("recipe-json");
    let sets = [Params::toy_insecure()?, Params::toy_insecure_batch()?];
    let file = |recipe| -> Result<File> {
        Ok(File::new("recipe.json", Form::Json, serde_json::to_vec(&recipe)?))
    };
    let [head, deep] = recipes()?;
    fuzz.run(&[file(head)?, file(deep)?], |_, bytes| {
        use_recipe(&serde_json::from_slice(bytes)?, &sets)
    })
}

/// A client, its server, and a trained model with its data in a folder for each recipe.
fn trained(folder: &Folder, key: ClientKey) -> Result<(Client, Server, Vec<Checkpoint>)> {
    let client = Client::from_key(key);
    let server = Server::from_keys(&client.key().evaluation_keys());
    let x = array![[7_i8, 0, 7], [0, 7, 7]];
    let mut models = Vec::new();
    for (i, recipe) in recipes()?.iter().enumerate() {
        let (run, data) =
            (folder.path().join(i.to_string()), folder.path().join(format!("{i}.data")));
        client.encrypt(x.view(), &[0, 1], recipe, 2, &data)?;
        server.train(&run, &data, recipe, |_| ControlFlow::Continue(()))?;
        models.push(Checkpoint::load(&run.join("model.ckpt"))?);
    }
    Ok((client, server, models))
}

#[test]
fn checkpoints() -> Result<()> {
    let fuzz = Fuzz::of("checkpoint");
    let folder = Folder::new()?;
    let (client, server, models) = trained(&folder, tiny_key()?)?;
    let engine = server.engine();
    let mut files = Vec::new();
    for model in &models {
        files.push(File::new("model.ckpt", Form::Container, model.to_bytes()?));
    }
    fuzz.run(&files, |_, bytes| {
        let model = Checkpoint::from_bytes(bytes)?;
        client.decrypt(&model)?.layers()?;
        model.model(engine)?;
        Ok(())
    })
}

#[test]
fn trainings_gone_on_with() -> Result<()> {
    let fuzz = Fuzz::of("training-gone-on-with");
    let folder = Folder::new()?;
    let (_, server, models) = trained(&folder, tiny_key()?)?;
    let recipe = recipes()?[0].clone();
    let data = server.dataset(&folder.path().join("0.data"))?;
    let file = File::new("0/model.ckpt", Form::Container, models[0].to_bytes()?);
    fuzz.run(&[file], |name, bytes| {
        let path = folder.put(name, bytes)?;
        let run = path.with_file_name("");
        let options = TrainerOptions { raw_lookups: 1, ..TrainerOptions::default() };
        let trainer = Trainer::open(&run, server.engine(), &data, &recipe, options)?;
        assert!(trainer.state().step <= trainer.state().steps);
        Ok(())
    })
}

#[test]
fn scores() -> Result<()> {
    let fuzz = Fuzz::of("scores");
    let folder = Folder::new()?;
    let (client, server, models) = trained(&folder, tiny_key()?)?;
    let query = client.query(array![[7_i8, 0, 7]].view(), &recipes()?[0])?;
    let scores = server.score(&models[0], &query)?;
    let file = File::new("scores", Form::Container, scores.to_bytes()?);
    fuzz.run(&[file], |_, bytes| {
        client.read(&EncryptedScores::from_bytes(bytes)?)?;
        Ok(())
    })
}
