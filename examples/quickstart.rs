//! The whole story on built-in data: keys, encrypted training, decrypted accuracy, one encrypted
//! inference, and the clear twin beside it.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use fhe_core::store::Message;
use fhe_examples::client::{self, Labelled};
use fhe_examples::preset::Preset;
use fhe_examples::program::{self, Common};
use fhe_examples::{output, progress, signals};
use fhe_train::{Checkpoint, Client, Encryption, Server, Trainer, TrainerOptions};
use serde_json::json;

/// Shows the whole of it on built-in images, in some minutes.
///
/// Makes keys, encrypts 1,000 images, trains on them encrypted, decrypts the model, tests it beside
/// its clear twin, and classifies one encrypted image. It needs nothing and leaves nothing.
///
/// For a run that is kept, and for your own settings: setup, train, infer.
#[derive(Parser)]
#[command(
    name = "quickstart",
    version,
    after_help = "\
Examples:
  quickstart
  quickstart --threads 4 --quiet

Its files are in a folder of their own in the temporary folder (TMPDIR).
They are removed in the end."
)]
struct Args {
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    program::main(|args: &Args| &args.common, |_| quickstart())
}

fn quickstart() -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("fhe-quickstart-")
        .tempdir()
        .with_context(|| format!("a folder in {}", std::env::temp_dir().display()))?;
    let path = folder.path().to_owned();
    signals::end_after(move || {
        // The training may be writing a file just now: once more, then.
        (0..3).find(|_| std::fs::remove_dir_all(&path).is_ok());
    })?;
    story(folder.path())?;
    folder.close().context("removing the temporary folder")
}

fn story(folder: &Path) -> Result<()> {
    let start = Instant::now();
    let preset = Preset::Builtin;

    // The client: keys, and an encoder that never sees a label.
    let owner = Client::new(&preset.params()?)?;
    let keys = owner.key().evaluation_keys();
    let images = preset.images(None, 1, None)?;
    let encoder = preset.encoder(None).fit(&images.train, &|_| {})?;
    let train = Labelled::encode(&encoder, &images.train)?;
    let test = Labelled::encode(&encoder, &images.test)?;
    let (data, recipe, batch) = (folder.join("train.data"), preset.recipe()?, preset.batch());
    let options = Encryption { name: "quickstart".into(), ..Encryption::default() };
    client::encrypt(&data, &owner, &train, &recipe, batch, &options)?;

    // The server: evaluation keys and ciphertexts only.
    let server = Server::from_keys(&keys);
    let dataset = server.dataset(&data)?;
    let options = TrainerOptions { raw_lookups: 4, snapshots: 1, ..TrainerOptions::default() };
    let trainer = Trainer::open(folder, server.engine(), &dataset, &recipe, options)?;
    let model = trainer.model_path();
    let bar = progress::bar("training, encrypted", trainer.state().steps as u64, "steps");
    let report = trainer.run(|event| {
        bar.set_message(format!("{:.1} lookups/s", event.lookups as f64 / event.seconds));
        bar.set_position(event.step as u64);
        if output::failed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish();
    output::check()?;
    let report = report.context("the training did not finish")?;

    // The client again: decrypt, test, compare.
    let saved = Checkpoint::load(&model)?;
    let accuracy = fhe_train::accuracy(&client::confusion(&owner.decrypt(&saved)?, &test)?);
    let twin = client::twin(owner.params(), &recipe, &train, batch, None)?;
    let twin = fhe_train::accuracy(&client::confusion(&twin, &test)?);

    let image = test.sample(0).context("no test image")?;
    let query = owner.query(image, &recipe)?;
    let scores = owner.read(&server.score(&saved, &query)?)?;
    let name = |class: usize| images.class_names.get(class).map_or("?", String::as_str);
    let (is, scored) = (name(test.labels[0] as usize), name(fhe_nn::argmax(scores)));

    let (bits, seconds) = (owner.params().security_bits, start.elapsed().as_secs_f64());
    let (state, wall, efficiency) = (&report.state, report.wall_seconds, report.efficiency);
    let text = format!(
        "parameter set        {} ({bits} bits)\n\
         encrypted training   {} images, {} lookups, {wall:.0} s, efficiency {efficiency:.3}\n\
         accuracy, decrypted  {accuracy:.3} on {} test images\n\
         accuracy, clear twin {twin:.3}\n\
         encrypted inference  test image 0 is a {is}, scored as {scored}\n\
         all in all           {seconds:.0} s",
        report.parameter_set,
        state.images,
        state.lookups,
        test.labels.len(),
    );
    let data = json!({
        "parameter_set": report.parameter_set,
        "security_bits": bits,
        "images": state.images,
        "lookups": state.lookups,
        "wall_seconds": wall,
        "efficiency": efficiency,
        "accuracy": accuracy,
        "twin_accuracy": twin,
        "class": is,
        "scored": scored,
        "seconds": seconds,
    });
    Ok(output::result("quickstart", text, &data)?)
}
