//! The whole story on built-in data: keys, encrypted training, decrypted accuracy, one encrypted
//! inference, and the clear twin beside it.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use fhe_core::client::ClientKey;
use fhe_core::store::Dataset;
use fhe_core::{Cpu, Engine, Seed, from_torus};
use fhe_examples::client::{self, ClearModel, Labelled};
use fhe_examples::preset::Preset;
use fhe_examples::{failure, progress, server};
use fhe_train::{Checkpoint, Trainer, TrainerOptions};

fn main() -> ExitCode {
    failure::exit_code(run())
}

fn run() -> Result<()> {
    let start = Instant::now();
    let folder = std::env::temp_dir().join(format!("fhe-quickstart-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let preset = Preset::Builtin;

    // The client: keys, and an encoder that never sees a label.
    let key = ClientKey::new(&preset.params()?, Seed::random());
    let keys = key.evaluation_keys();
    let images = preset.images(None, 1, None)?;
    let encoder = preset.encoder(None).fit(&images.train, &|_| {})?;
    let train = Labelled::encode(&encoder, &images.train)?;
    let test = Labelled::encode(&encoder, &images.test)?;
    let data = folder.join("train.data");
    let recipe = preset.recipe()?;
    client::encrypt(&data, &key, "quickstart", &train, &recipe, preset.batch())?;

    // The server: evaluation keys and ciphertexts only.
    let engine = Cpu::new(&keys);
    let dataset = Dataset::open(&data, engine.params(), engine.key_id())?;
    let options = TrainerOptions { raw_lookups: 4, snapshots: 1, ..TrainerOptions::default() };
    let trainer = Trainer::open(&folder, &engine, &dataset, &recipe, options)?;
    let bar = progress::bar("training, encrypted", trainer.state().steps as u64, "steps");
    let report = trainer.run(|event| {
        bar.set_position(event.step as u64);
        bar.set_message(format!("{:.1} lookups/s", event.lookups as f64 / event.seconds));
    })?;
    bar.finish();
    let report = report.context("the training did not finish")?;

    // The client again: decrypt, test, compare.
    let model = folder.join("model.ckpt");
    let saved = Checkpoint::load(&model, key.params(), &key.id())?;
    let accuracy = client::accuracy(&ClearModel::decrypt(&key, &saved)?.confusion(&test)?);
    let twin = ClearModel::twin(key.params(), &recipe, &train, preset.batch(), None)?;
    let twin = client::accuracy(&twin.confusion(&test)?);

    let query = folder.join("query.enc");
    client::encrypt_query(&query, &key, test.row(0))?;
    let scores = server::score(&engine, &model, &query)?;
    let scores: Vec<f64> = key.decrypt_values(&scores)?.into_iter().map(from_torus).collect();
    let name = |class: usize| images.class_names.get(class).map_or("?", String::as_str);

    println!(
        "parameter set        {} ({} bits)",
        report.parameter_set,
        engine.params().security_bits
    );
    println!(
        "encrypted training   {} images, {} lookups, {:.0} s, efficiency {:.3}",
        report.state.images, report.state.lookups, report.wall_seconds, report.efficiency
    );
    println!("accuracy, decrypted  {accuracy:.3} on {} test images", test.labels.len());
    println!("accuracy, clear twin {twin:.3}");
    println!(
        "encrypted inference  test image 0 is a {}, scored as {}",
        name(test.labels[0].into()),
        name(client::largest(&scores))
    );
    println!("all in all           {:.0} s", start.elapsed().as_secs_f64());
    std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))
}
