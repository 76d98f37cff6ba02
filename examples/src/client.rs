//! The client's side of a run: `RUN/client`, the secret key and the data in the clear.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fhe_core::client::ClientKey;
use fhe_core::engine::clear::Row;
use fhe_core::store::{DatasetShape, DatasetWriter, Secrecy};
use fhe_core::{Clear, Engine, from_torus};
use fhe_data::{Encoded, NUM_CLASSES};
use fhe_nn::argmax;
use fhe_train::{Checkpoint, ClearSource, Model, Recipe, Source};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::encoder::ImageEncoder;
use crate::{file, progress};

/// The files of `RUN/client`.
#[derive(Clone, Debug)]
pub struct ClientFolder(PathBuf);

/// Features and labels in the clear.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// Encoded images.
    pub features: Encoded,
    /// Their classes.
    pub labels: Vec<u8>,
}

/// What `setup` was asked for; a later `setup` on the same folder must ask for the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Preset.
    pub preset: String,
    /// Seed.
    pub seed: u64,
    /// Number of images, if a number was asked for.
    #[serde(default)]
    pub images: Option<usize>,
    /// Number of images that are encrypted, if not all.
    #[serde(default)]
    pub encrypted: Option<usize>,
    /// Images of a mini-batch, if a number was asked for.
    #[serde(default)]
    pub batch: Option<usize>,
    /// Whether the secret key is derived from the seed: no secret.
    #[serde(default)]
    pub reproducible_key: bool,
    /// Class names.
    pub classes: Vec<String>,
}

impl ClientFolder {
    /// Of a run.
    #[must_use]
    pub fn of(run: &Path) -> Self {
        Self(run.join("client"))
    }

    /// Returns the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The secret key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.0.join("client.key")
    }

    /// The encoder.
    #[must_use]
    pub fn encoder(&self) -> PathBuf {
        self.0.join("encoder.safetensors")
    }

    /// What the run was set up for.
    #[must_use]
    pub fn setup(&self) -> PathBuf {
        self.0.join("setup.json")
    }

    /// Notes what the run is set up for; refuses a folder that was set up for something else.
    ///
    /// # Errors
    /// The file, with the field that differs.
    pub fn agree(&self, setup: &Setup) -> Result<()> {
        let path = self.setup();
        if !path.exists() {
            return file::write(&path, &serde_json::to_vec_pretty(setup)?, Secrecy::Secret);
        }
        let old = self.read_setup()?;
        let name = path.display();
        let Setup { preset, seed, images, encrypted, batch, reproducible_key, classes } = setup;
        ensure!(old.preset == *preset, "{name}: preset is {}, this run has {preset}", old.preset);
        ensure!(old.seed == *seed, "{name}: seed is {}, this run has {seed}", old.seed);
        let count = |n: Option<usize>| n.map_or_else(|| "not given".into(), |n| n.to_string());
        for (what, was, is) in [
            ("number of images", old.images, images),
            ("number of encrypted images", old.encrypted, encrypted),
            ("number of images of a mini-batch", old.batch, batch),
        ] {
            let (was, is) = (count(was), count(*is));
            ensure!(was == is, "{name}: the {what} is {was}, this run has {is}");
        }
        let (was, is) = (old.reproducible_key, *reproducible_key);
        ensure!(was == is, "{name}: --reproducible-key is {was}, this run has {is}");
        ensure!(old.classes == *classes, "{name}: the classes have other names");
        Ok(())
    }

    /// Returns what the run was set up for.
    ///
    /// # Errors
    /// If the file is absent or says something else.
    pub fn read_setup(&self) -> Result<Setup> {
        let path = self.setup();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Reads the secret key.
    ///
    /// # Errors
    /// Those of the file.
    pub fn read_key(&self) -> Result<ClientKey> {
        ClientKey::load(&self.key()).context("the client needs the secret key that `setup` writes")
    }

    /// Saves the encoder, and notes which one it is.
    ///
    /// # Errors
    /// Those of the files.
    pub fn save_encoder(&self, encoder: &ImageEncoder) -> Result<()> {
        encoder.save(&self.encoder())?;
        file::write(&self.encoder_id(), self.id_of_encoder()?.as_bytes(), Secrecy::Secret)
    }

    /// Reads the encoder; refuses one that is not that of the training images.
    ///
    /// # Errors
    /// Those of the files, and another encoder.
    pub fn load_encoder(&self) -> Result<ImageEncoder> {
        let encoder = ImageEncoder::load(&self.encoder())?;
        let path = self.encoder_id();
        let id = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        ensure!(
            id == self.id_of_encoder()?,
            "{}: not the encoder of this run's training images: the model would take its features for others",
            self.encoder().display()
        );
        Ok(encoder)
    }

    /// Returns whether the encoder is there, with the note which one it is: that is written last.
    #[must_use]
    pub fn has_encoder(&self) -> bool {
        self.encoder().exists() && self.encoder_id().exists()
    }

    fn encoder_id(&self) -> PathBuf {
        self.0.join("encoder.id")
    }

    fn id_of_encoder(&self) -> Result<String> {
        let path = self.encoder();
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(blake3::hash(&bytes).to_hex().to_string())
    }

    /// Saves features and labels of a part, "train" or "test".
    ///
    /// # Errors
    /// Those of the files.
    pub fn save(&self, part: &str, data: &Labelled) -> Result<()> {
        data.features.save(&self.0.join(format!("{part}.features")))?;
        let path = self.0.join(format!("{part}.labels"));
        file::write(&path, &data.labels, Secrecy::Secret)
    }

    /// Reads features and labels of a part.
    ///
    /// # Errors
    /// Those of the files.
    pub fn load(&self, part: &str) -> Result<Labelled> {
        let features = Encoded::load(&self.0.join(format!("{part}.features")))?;
        let path = self.0.join(format!("{part}.labels"));
        let labels = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        ensure!(
            labels.len() == features.len(),
            "{}: {} labels for {} images",
            path.display(),
            labels.len(),
            features.len()
        );
        if let Some(i) = labels.iter().position(|&label| usize::from(label) >= NUM_CLASSES) {
            bail!("{}: label {i} is {}, expected 0 to 9", path.display(), labels[i]);
        }
        Ok(Labelled { features, labels })
    }
}

impl Labelled {
    /// Encodes a set of images.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn encode(encoder: &ImageEncoder, images: &fhe_data::ImageSet) -> Result<Self> {
        let features = encoder.encode(images.images(), &progress::stages(""))?;
        Ok(Self { features, labels: images.labels().to_vec() })
    }

    /// Encodes what a recipe trains on: the first images, and their mirror images if it wants them.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn for_training(
        encoder: &ImageEncoder,
        images: &fhe_data::ImageSet,
        recipe: &Recipe,
    ) -> Result<Self> {
        let mut all = Self::encode(encoder, images)?;
        if let Recipe::Deep(deep) = recipe {
            let input = deep.network.input;
            let more = |i| all.features.row(i).iter().skip(input.len()).any(|&x| x != 0);
            ensure!(
                !(0..all.labels.len()).any(more),
                "the recipe's network takes {input}, {} numbers, and the encoder gives more of them",
                input.len()
            );
        }
        if recipe.copies() > 1 {
            let mirrored = Self::encode(encoder, &images.mirrored())?;
            all.features.append(&mirrored.features)?;
            all.labels.extend(&mirrored.labels);
        }
        Ok(all)
    }

    /// Returns sample i as integers.
    #[must_use]
    pub fn row(&self, i: usize) -> Vec<i32> {
        self.features.row(i).iter().map(|&x| i32::from(x)).collect()
    }
}

/// Refuses mirror images of a set that does not have whole mini-batches.
///
/// # Errors
/// If there are several copies, and `images` is no multiple of `batch`.
pub fn check_copies(images: usize, copies: usize, batch: usize) -> Result<()> {
    ensure!(
        copies == 1 || images.is_multiple_of(batch),
        "{images} images in mini-batches of {batch}: with mirror images, mini-batches must be whole"
    );
    Ok(())
}

/// Encrypts a labelled set into the file from which a server trains.
///
/// # Errors
/// Those of the file.
pub fn encrypt(
    path: &Path,
    key: &ClientKey,
    name: &str,
    data: &Labelled,
    recipe: &Recipe,
    batch: usize,
) -> Result<()> {
    let (classes, log2, copies) = (recipe.classes(), recipe.label_log2(), recipe.copies());
    let samples = data.labels.len();
    let mut bytes = data.labels.clone();
    for i in 0..samples {
        bytes.extend(data.features.row(i).iter().map(|&x| x as u8));
    }
    let inputs = key.digest(&bytes);
    let shape = DatasetShape {
        name: name.into(),
        samples,
        values: classes,
        batch,
        inputs,
        values_log2: log2,
        copies,
    };
    check_copies(samples / copies, copies, batch)?;
    let mut writer = DatasetWriter::deterministic(path, key, &shape)?;
    let bar = progress::bar("encrypting images", samples as u64, "images");
    while writer.next_sample() < samples {
        let first = writer.next_sample();
        let batch: Vec<_> = (first..(first + batch).min(samples))
            .map(|i| (data.row(i), ClearSource::label_values(data.labels[i].into(), classes, log2)))
            .collect();
        writer.write_batch(&batch)?;
        bar.set_position(writer.next_sample() as u64);
    }
    writer.finish()?;
    bar.finish();
    Ok(())
}

/// Encrypts one image's features as a query.
///
/// # Errors
/// Those of the file.
pub fn encrypt_query(path: &Path, key: &ClientKey, features: Vec<i32>) -> Result<()> {
    let name = format!("query {}", path.display());
    let bytes: Vec<u8> = features.iter().flat_map(|x| x.to_le_bytes()).collect();
    let inputs = key.digest(&bytes);
    let shape =
        DatasetShape { name, samples: 1, values: 0, batch: 1, inputs, values_log2: 0, copies: 1 };
    let mut writer = DatasetWriter::create(path, key, &shape)?;
    if writer.next_sample() == 0 {
        writer.write_batch(&[(features, Vec::new())])?;
    }
    Ok(writer.finish()?)
}

/// A model in the clear.
#[derive(Debug)]
pub struct ClearModel {
    engine: Clear,
    model: Model<Clear>,
}

/// Samples that one thread classifies at a time.
const CHUNK: usize = 50;

impl ClearModel {
    /// Decrypts a model.
    ///
    /// # Errors
    /// Those of the checkpoint.
    pub fn decrypt(key: &ClientKey, checkpoint: &Checkpoint) -> Result<Self> {
        let n = key.params().row_size;
        let phases = key.decrypt_rows(&checkpoint.rows)?;
        let rows = phases.chunks_exact(n).map(|row| Row::Full(row.to_vec())).collect();
        let values = key.decrypt_values(&checkpoint.values)?;
        let engine = Clear::exact(key.params());
        let state = &checkpoint.state;
        let model = Model::resume(&engine, &state.recipe, (rows, &values), state.step, 0)?;
        Ok(Self { model: model.finished(&engine)?, engine })
    }

    /// Trains the clear twin: the same steps, data, order and tables; exact, or with the predicted noise
    /// from a seed.
    ///
    /// # Errors
    /// Those of the recipe.
    pub fn twin(
        params: &fhe_core::Params,
        recipe: &Recipe,
        data: &Labelled,
        batch: usize,
        noise: Option<u64>,
    ) -> Result<Self> {
        check_copies(data.labels.len() / recipe.copies(), recipe.copies(), batch)?;
        let exact = || Clear::exact(params);
        let engine = noise.map_or_else(exact, |seed| Clear::noisy(params, seed));
        let source = ClearSource {
            batch,
            classes: recipe.classes(),
            copies: recipe.copies(),
            features: (0..data.labels.len()).map(|i| data.row(i)).collect(),
            labels: data.labels.iter().map(|&label| label.into()).collect(),
            label_log2: recipe.label_log2(),
        };
        let mut model = Model::new(&engine, recipe)?;
        let steps = source.batches() * recipe.passes();
        let name = if noise.is_some() { "noisy twin" } else { "clear twin" };
        let bar = progress::bar(name, steps as u64, "steps");
        for _ in 0..steps {
            model.train_step(&engine, &source)?;
            bar.inc(1);
        }
        bar.finish();
        // Noise while it learns; as a decrypted model it is exact.
        let engine = exact();
        Ok(Self { model: model.finished(&engine)?, engine })
    }

    /// The same model with the noise that an encrypted inference is predicted to have.
    #[must_use]
    pub fn with_noise(mut self, seed: u64) -> Self {
        self.engine = Clear::noisy(self.engine.params(), seed);
        self
    }

    /// Returns the classes of all samples.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn classify(&self, data: &Labelled) -> Result<Vec<usize>> {
        let all: Vec<usize> = (0..data.labels.len()).collect();
        let chunks: Vec<Vec<usize>> = all
            .par_chunks(CHUNK)
            .map(|chunk| {
                let rows = chunk.iter().map(|&i| data.row(i)).collect();
                let scores = self.model.scores(&self.engine, &self.engine.selectors(rows))?;
                let scores: Vec<f64> = scores.into_iter().map(from_torus).collect();
                Ok(scores.chunks_exact(scores.len() / chunk.len()).map(argmax).collect())
            })
            .collect::<Result<_>>()?;
        Ok(chunks.concat())
    }

    /// Returns how many samples of each class (row) are taken for each class (column).
    ///
    /// # Errors
    /// Those of the engine.
    pub fn confusion(&self, data: &Labelled) -> Result<Vec<Vec<u32>>> {
        let mut counts = vec![vec![0; NUM_CLASSES]; NUM_CLASSES];
        for (&label, class) in data.labels.iter().zip(self.classify(data)?) {
            counts[usize::from(label)][class] += 1;
        }
        Ok(counts)
    }
}

/// Returns the share of samples on the diagonal.
#[must_use]
pub fn accuracy(confusion: &[Vec<u32>]) -> f64 {
    let right: u32 = confusion.iter().enumerate().map(|(k, row)| row[k]).sum();
    let all: u32 = confusion.iter().flatten().sum();
    f64::from(right) / f64::from(all.max(1))
}
