//! The client's side of a run: `RUN/client`, the secret key and the data in the clear.

use std::fs::Permissions;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fhe_core::Params;
use fhe_core::store::{Secrecy, create_folder};
use fhe_data::Encoded;
use fhe_train::{ClearModel, Client, Encryption, Recipe, State};
use ndarray::{Array2, ArrayView2, s};
use serde::{Deserialize, Serialize};

use crate::backbone::{Chosen, Network};
use crate::encoder::SampleEncoder;
use crate::{file, folders, preset, progress};

/// The files of `RUN/client`.
#[derive(Clone, Debug)]
pub struct ClientFolder(PathBuf);

/// Features and labels in the clear.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// Encoded images.
    pub features: Encoded,
    /// Their classes.
    pub labels: Vec<u32>,
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
    /// blake3 hash of the samples and labels that were read; older runs do not say.
    #[serde(default)]
    pub data: Option<String>,
}

/// What the client asks the server to train. The server's files are not asked about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// The recipe.
    pub recipe: Recipe,
    /// Samples of a mini-batch.
    pub batch: usize,
}

impl Training {
    /// The training with what `train` was asked for on its command line.
    ///
    /// # Errors
    /// Those of the recipe's file.
    pub fn asked(self, recipe: Option<&Path>, passes: Option<usize>) -> Result<Self> {
        let mut recipe = recipe.map_or(Ok(self.recipe), preset::read_recipe)?;
        if let Some(passes) = passes {
            recipe.set_passes(passes);
        }
        Ok(Self { recipe, ..self })
    }

    /// Refuses the state of a training that is another one, of so many samples with their copies.
    ///
    /// # Errors
    /// The first field that differs.
    pub fn check(&self, state: &State, samples: usize) -> Result<()> {
        self.check_recipe(state)?;
        let batches = samples / self.recipe.copies();
        let steps = batches.div_ceil(self.batch.max(1)) * self.recipe.passes();
        let said = state.steps;
        ensure!(said == steps, "the server says that the training has {said} steps, not {steps}");
        Ok(())
    }

    /// Refuses the state of a training of another recipe.
    ///
    /// # Errors
    /// Both recipes.
    pub fn check_recipe(&self, state: &State) -> Result<()> {
        let text = |recipe: &Recipe| serde_json::to_string(recipe);
        let (theirs, ours) = (text(&state.recipe)?, text(&self.recipe)?);
        ensure!(
            theirs == ours,
            "the server trained another recipe than the client's: {theirs}, expected {ours}; if \
             `train` had --recipe or --passes, give the same here"
        );
        Ok(())
    }
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

    /// The network that makes features of images, if there is one.
    #[must_use]
    pub fn backbone(&self) -> PathBuf {
        self.0.join("backbone.json")
    }

    /// The features that it made.
    #[must_use]
    pub fn feature_cache(&self) -> PathBuf {
        self.0.join("features")
    }

    /// Encodes an image file: by the encoder of the run, or by its network of others.
    ///
    /// # Errors
    /// Those of the files; a run that was set up with features.
    pub fn encode_file(&self, path: &Path) -> Result<Encoded> {
        let encoder = self.load_encoder()?;
        if !self.backbone().exists() {
            return encoder.encode_file(path);
        }
        let chosen: Chosen = file::read_json(&self.backbone(), "network of others")?;
        encoder.encode_rows(Network::reopen(&chosen)?.features_of_file(path)?.view())
    }

    /// What the run was set up for.
    #[must_use]
    pub fn setup(&self) -> PathBuf {
        self.0.join("setup.json")
    }

    /// Makes the folder, which only its owner may enter.
    ///
    /// # Errors
    /// Those of the system.
    pub fn create(&self) -> Result<()> {
        let said = || format!("creating {}", self.0.display());
        create_folder(&self.0)?;
        std::fs::set_permissions(&self.0, Permissions::from_mode(0o700)).with_context(said)
    }

    /// What the server is to train.
    #[must_use]
    pub fn training(&self) -> PathBuf {
        self.0.join("training.json")
    }

    /// Reads what the server is to train.
    ///
    /// # Errors
    /// If the file is absent or says something else.
    pub fn read_training(&self) -> Result<Training> {
        file::read_json(&self.training(), "training that `setup` wrote")
    }

    /// Notes what the run is set up for; refuses a folder that was set up for something else.
    ///
    /// # Errors
    /// The file, with the field that differs.
    pub fn agree(&self, setup: &Setup) -> Result<()> {
        let path = self.setup();
        if !path.exists() {
            return self.write_json(&path, setup);
        }
        self.check_agreed(setup)
    }

    /// Refuses a folder that was set up for something else, before anything is noted.
    ///
    /// # Errors
    /// The file, with the field that differs.
    pub fn check_agreed(&self, setup: &Setup) -> Result<()> {
        let path = self.setup();
        if !path.exists() {
            return Ok(());
        }
        let old = self.read_setup()?;
        let name = path.display();
        let Setup { preset, seed, images, encrypted, batch, .. } = setup;
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
        let (was, is) = (old.reproducible_key, setup.reproducible_key);
        ensure!(was == is, "{name}: --reproducible-key is {was}, this run has {is}");
        ensure!(old.classes == setup.classes, "{name}: the classes have other names");
        if let (Some(was), Some(is)) = (&old.data, &setup.data) {
            ensure!(was == is, "{name}: the run was set up with other data");
        }
        Ok(())
    }

    /// Writes JSON that only the owner may read.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        file::write(path, &serde_json::to_vec_pretty(value)?, Secrecy::Secret)
    }

    /// Returns what the run was set up for.
    ///
    /// # Errors
    /// If the file is absent or says something else.
    pub fn read_setup(&self) -> Result<Setup> {
        file::read_json(&self.setup(), "set-up")
    }

    /// Reads the secret key.
    ///
    /// # Errors
    /// Those of the file.
    pub fn open(&self) -> Result<Client> {
        let needed = "the client needs the secret key that `setup` writes";
        let client = Client::open(&self.key()).context(needed)?;
        folders::warn_of_reproducible(&client.key().id())?;
        Ok(client)
    }

    /// Saves the encoder, and notes which one it is.
    ///
    /// # Errors
    /// Those of the files.
    pub fn save_encoder(&self, encoder: &SampleEncoder) -> Result<()> {
        encoder.save(&self.encoder())?;
        file::write(&self.encoder_id(), self.id_of_encoder()?.as_bytes(), Secrecy::Secret)
    }

    /// Reads the encoder; refuses one that is not that of the training images.
    ///
    /// # Errors
    /// Those of the files, and another encoder.
    pub fn load_encoder(&self) -> Result<SampleEncoder> {
        let encoder = SampleEncoder::load(&self.encoder())?;
        let path = self.encoder_id();
        let id = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        ensure!(
            id == self.id_of_encoder()?,
            "{}: not the encoder of this run's training images: the model would take its features \
             for others",
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
        let bytes: Vec<u8> = data.labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        file::write(&path, &bytes, Secrecy::Secret)
    }

    /// Notes the order of the training samples, `train.order`: for each place the number of the
    /// sample in the data that were read, as u32, little endian.
    ///
    /// # Errors
    /// Those of the file.
    pub fn save_order(&self, order: &[usize]) -> Result<()> {
        let bytes: Vec<u8> = order.iter().flat_map(|&i| (i as u32).to_le_bytes()).collect();
        file::write(&self.0.join("train.order"), &bytes, Secrecy::Secret)
    }

    /// Reads features and labels of a part.
    ///
    /// # Errors
    /// Those of the files.
    pub fn load(&self, part: &str) -> Result<Labelled> {
        let features = Encoded::load(&self.0.join(format!("{part}.features")))?;
        let path = self.0.join(format!("{part}.labels"));
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let (labels, rest) = bytes.as_chunks();
        let labels: Vec<u32> = labels.iter().map(|&label| u32::from_le_bytes(label)).collect();
        ensure!(
            labels.len() == features.len() && rest.is_empty(),
            "{}: {} bytes for {} samples, expected 4 each",
            path.display(),
            bytes.len(),
            features.len()
        );
        let classes = self.read_setup()?.classes.len();
        if let Some(i) = labels.iter().position(|&label| label as usize >= classes) {
            bail!("{}: label {i} is {}, expected less than {classes}", path.display(), labels[i]);
        }
        Ok(Labelled { features, labels })
    }
}

impl Labelled {
    /// Encodes a set of images.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn encode(encoder: &SampleEncoder, images: &fhe_data::ImageSet) -> Result<Self> {
        let features = encoder.encode_images(images.images(), &progress::stages(""))?;
        Ok(Self { features, labels: images.labels().to_vec() })
    }

    /// Encodes what a recipe trains on: the first images, and their mirror images if it wants them.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn for_training(
        encoder: &SampleEncoder,
        images: &fhe_data::ImageSet,
        recipe: Option<&Recipe>,
    ) -> Result<Self> {
        let mut all = Self::encode(encoder, images)?;
        if let Some(Recipe::Deep(deep)) = recipe {
            let input = deep.network.map();
            let more = |row: &[i8]| row.iter().skip(input.len()).any(|&x| x != 0);
            ensure!(
                !all.features.rows().any(more),
                "the recipe's network takes {input}, {} numbers, and the encoder gives more of \
                 them",
                input.len()
            );
        }
        if recipe.is_some_and(|recipe| recipe.copies() > 1) {
            let mirrored = Self::encode(encoder, &images.mirrored())?;
            all.features.append(&mirrored.features)?;
            all.labels.extend(&mirrored.labels);
        }
        Ok(all)
    }

    /// Brings the samples into an order: sample `order[i]` comes to place i. Where there are
    /// several copies, one after another, each is brought into it.
    ///
    /// # Errors
    /// If the order is not of one copy.
    pub fn reorder(&mut self, order: &[usize], copies: usize) -> Result<()> {
        let (width, rows) = (self.features.width(), self.labels.len());
        ensure!(order.len() * copies == rows, "an order of {} for {rows}", order.len());
        let places = (0..copies).flat_map(|c| order.iter().map(move |&i| c * order.len() + i));
        let (mut values, mut labels) = (Vec::with_capacity(rows * width), Vec::with_capacity(rows));
        for i in places {
            values.extend(&self.features.values()[i * width..(i + 1) * width]);
            labels.push(self.labels[i]);
        }
        *self = Self { features: Encoded::new(width, values)?, labels };
        Ok(())
    }

    /// Returns sample i as a matrix of one row; `None` beyond the last one.
    #[must_use]
    pub fn sample(&self, i: usize) -> Option<ArrayView2<'_, i8>> {
        let all = self.features.view();
        (i < all.nrows()).then(|| all.slice_move(s![i..=i, ..]))
    }

    /// Returns samples and labels, as the library takes them.
    #[must_use]
    pub fn data(&self) -> (ArrayView2<'_, i8>, &[u32]) {
        (self.features.view(), &self.labels)
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

/// Encrypts a labelled set into the file from which a server trains; an interrupted run goes on.
///
/// # Errors
/// Those of the file.
pub fn encrypt(
    path: &Path,
    client: &Client,
    data: &Labelled,
    recipe: &Recipe,
    batch: usize,
    options: &Encryption,
) -> Result<()> {
    let bar = progress::bar("encrypting samples", data.labels.len() as u64, "samples");
    client.encrypt_watched(data.data(), recipe, batch, path, options, |done| {
        bar.set_position(done.samples as u64);
        ControlFlow::Continue(())
    })?;
    bar.finish();
    Ok(())
}

/// Trains the clear twin of a training, exact or with the predicted noise from a seed.
///
/// # Errors
/// Those of the recipe and the data.
pub fn twin(
    params: &Params,
    recipe: &Recipe,
    data: &Labelled,
    batch: usize,
    noise: Option<u64>,
) -> Result<ClearModel> {
    let name = if noise.is_some() { "noisy twin" } else { "clear twin" };
    let batches = data.labels.len().div_ceil(batch.max(1)) / recipe.copies();
    let bar = progress::bar(name, (batches * recipe.passes()) as u64, "steps");
    let model = ClearModel::twin(params, recipe, data.data(), batch, noise, |step, _| {
        bar.set_position(step as u64);
    })?;
    bar.finish();
    Ok(model)
}

/// Returns how many test samples of each class (row) a model takes for each class (column).
///
/// # Errors
/// Those of the model.
pub fn confusion(model: &ClearModel, data: &Labelled) -> Result<Array2<u32>> {
    let predicted = model.predict(data.features.view())?;
    Ok(fhe_train::confusion(model.recipe().classes(), &data.labels, &predicted.to_vec())?)
}
