//! The client's side of a training: the only part of this crate that holds a secret key.

use std::ops::ControlFlow;
use std::path::Path;

use fhe_core::client::ClientKey;
use fhe_core::engine::clear::Row;
use fhe_core::store::{DatasetShape, DatasetWriter, EncryptedQuery, Message};
use fhe_core::{Clear, Params, Seed, from_torus};
use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::samples::{Samples, check_features, polynomial};
use crate::{Checkpoint, ClearModel, ClearSource, EncryptedScores, Lanes, Model, Recipe, Result};

/// The owner of the data: encrypts, and decrypts what the server made.
///
/// Everything that it encrypts takes fresh randomness.
///
/// # Examples
/// The whole story, with the server's part, is the first example of [this crate](crate).
/// ```
/// use fhe_train::{Client, Recipe};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let recipe = Recipe::linear(65, 10);
/// let client = Client::new(&recipe.params(2)?)?;
/// client.save(&folder.path().join("client.key"))?;
/// let again = Client::open(&folder.path().join("client.key"))?;
/// assert_eq!(client.key().id(), again.key().id());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    key: ClientKey,
}

/// How a training set is encrypted; the default is right for most.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// Name of the data set. Default: "training set". The server sees it. Data sets of one name
    /// and key whose samples are all the same show the same digest.
    pub name: String,
    /// Encrypts the same data under the same key and name to the same file, bit for bit. Whoever
    /// has two such files sees which samples are equal. Default: fresh randomness.
    pub deterministic: bool,
}

impl Default for Encryption {
    fn default() -> Self {
        Self { name: "training set".into(), deterministic: false }
    }
}

/// How far an encryption has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// Samples encrypted, copies counted.
    pub samples: usize,
    /// Samples in all.
    pub of: usize,
}

impl Client {
    /// Draws a secret key from the system's secure randomness.
    ///
    /// # Errors
    /// [`crate::Error::Core`] if the system has none.
    pub fn new(params: &Params) -> Result<Self> {
        Ok(Self::from_key(ClientKey::new(params, Seed::random()?)))
    }

    /// Takes a key that is there.
    #[must_use]
    pub fn from_key(key: ClientKey) -> Self {
        Self { key }
    }

    /// Reads the secret key from a file.
    ///
    /// # Errors
    /// [`crate::Error::Core`] names the file and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self::from_key(ClientKey::load(path)?))
    }

    /// Writes the secret key to a new file that its owner alone may read.
    ///
    /// # Errors
    /// [`crate::Error::Core`] if the file exists, or cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(self.key.save(path)?)
    }

    /// Returns the secret key.
    #[must_use]
    pub fn key(&self) -> &ClientKey {
        &self.key
    }

    /// Returns the parameter set.
    #[must_use]
    pub fn params(&self) -> &Params {
        self.key.params()
    }

    /// Writes the keys with which a server computes, and which do not decrypt: 177 MB for a linear
    /// classifier, 367 or 501 MB for a network.
    ///
    /// # Errors
    /// [`crate::Error::Core`] if the stream refuses.
    pub fn write_evaluation_keys(&self, out: impl std::io::Write) -> Result<()> {
        Ok(self.key.evaluation_keys().write_to(out)?)
    }

    /// Encrypts a training set into a file, in mini-batches of `batch` samples.
    ///
    /// The rows of `x` are samples of small integers, -127 to 127, as a quantizer or an encoder
    /// gives them; `labels` are classes. A recipe with mirror images takes all images, then all
    /// mirror images. The server sees the number of samples, of classes and of features, and
    /// `batch`. It trains in the order of the rows: shuffle them before, lest the position tell the
    /// label.
    ///
    /// # Cost
    /// About 2.5 ms of a core and 49 kB a sample: `quickstart` shows the rate.
    ///
    /// # Errors
    /// [`crate::Error::Data`] and [`crate::Error::Label`] if the samples do not fit the recipe;
    /// [`crate::Error::Recipe`] and [`crate::Error::Network`] if the recipe does not pass its check
    /// for the key's parameter set; [`crate::Error::Core`].
    pub fn encrypt(
        &self,
        x: ArrayView2<'_, i8>,
        labels: &[u32],
        recipe: &Recipe,
        batch: usize,
        path: &Path,
    ) -> Result<()> {
        let (options, go_on) = (Encryption::default(), |_| ControlFlow::Continue(()));
        self.encrypt_watched((x, labels), recipe, batch, path, &options, go_on).map(drop)
    }

    /// [`Client::encrypt`] with options, for those who watch its progress: `watch` is called after
    /// every mini-batch, and may break the work off. The same call goes on with what is there.
    ///
    /// Returns whether the file is complete. After the last mini-batch it is, whatever `watch`
    /// says.
    ///
    /// # Errors
    /// As [`Client::encrypt`].
    pub fn encrypt_watched(
        &self,
        (x, labels): (ArrayView2<'_, i8>, &[u32]),
        recipe: &Recipe,
        batch: usize,
        path: &Path,
        options: &Encryption,
        mut watch: impl FnMut(Encrypted) -> ControlFlow<()>,
    ) -> Result<bool> {
        recipe.check(self.params())?;
        let n = self.params().row_size;
        let data = Samples::new("encrypt", recipe, n, x, labels)?;
        data.check_batches(recipe, batch)?;
        let lanes = recipe.lanes(self.params())?;
        let shape = DatasetShape {
            name: options.name.clone(),
            samples: data.len(),
            values: recipe.classes(),
            batch,
            inputs: self.key.digest(&[options.name.as_bytes(), &[0], &data.bytes()].concat()),
            values_log2: recipe.label_log2(),
            copies: recipe.copies(),
            lanes: lanes.as_ref().map(Lanes::stored),
        };
        let mut writer = match options.deterministic {
            true => DatasetWriter::deterministic(path, &self.key, &shape)?,
            false => DatasetWriter::create(path, &self.key, &shape)?,
        };
        let of = data.len();
        while writer.next_sample() < of {
            let first = writer.next_sample();
            let (classes, log2) = (recipe.classes(), recipe.label_log2());
            let samples = first..(first + batch).min(of);
            let values = |i: usize| ClearSource::label_values(labels[i], classes, log2);
            match &lanes {
                None => {
                    let samples = samples.map(|i| (data.polynomial(i, n), values(i)));
                    writer.write_batch(&samples.collect::<Vec<_>>())?;
                }
                Some(lanes) => {
                    let features: Vec<_> =
                        samples.clone().map(|i| data.features(i, recipe, n)).collect();
                    let values: Vec<_> = samples.map(values).collect();
                    writer.write_lanes(&values, &lanes.polynomials(&features))?;
                }
            }
            if watch(Encrypted { samples: writer.next_sample(), of }).is_break()
                && writer.next_sample() < of
            {
                return Ok(false);
            }
        }
        writer.finish()?;
        Ok(true)
    }

    /// Encrypts samples whose classes the server shall compute, without learning them, for a model
    /// of a recipe.
    ///
    /// # Errors
    /// [`crate::Error::Data`] if a sample has more features than the recipe's;
    /// [`crate::Error::Recipe`], [`crate::Error::Network`].
    pub fn query(&self, x: ArrayView2<'_, i8>, recipe: &Recipe) -> Result<EncryptedQuery> {
        let n = self.params().row_size;
        let polynomials = match recipe.lanes(self.params())? {
            None => {
                let rows = x.outer_iter().map(|row| polynomial("query", row, n));
                rows.collect::<Result<Vec<_>>>()?
            }
            Some(lanes) => {
                check_features("query", recipe, n, x)?;
                let sample = |row: ArrayView1<'_, i8>| row.iter().map(|&x| i32::from(x)).collect();
                lanes.polynomials(&x.outer_iter().map(sample).collect::<Vec<Vec<i32>>>())
            }
        };
        let query = self.key.encrypt_query(&polynomials)?;
        Ok(match recipe {
            Recipe::Head(_) => query,
            Recipe::Deep(_) => query.side_by_side(x.nrows()),
        })
    }

    /// Decrypts scores to logits, `[samples, classes]`.
    ///
    /// # Errors
    /// [`crate::Error::Core`] if they were made under another key.
    pub fn read(&self, scores: &EncryptedScores) -> Result<Array2<f64>> {
        scores.expect_key(self.params(), &self.key.id())?;
        let phases = self.key.decrypt_values(scores.values())?;
        scores.logits(phases.into_iter().map(from_torus).collect())
    }

    /// Decrypts a model.
    ///
    /// # Errors
    /// [`crate::Error::Core`] if it was made under another key; [`crate::Error::Recipe`],
    /// [`crate::Error::Network`].
    pub fn decrypt(&self, checkpoint: &Checkpoint) -> Result<ClearModel> {
        checkpoint.expect_key(self.params(), &self.key.id())?;
        let n = self.params().row_size;
        let phases = self.key.decrypt_rows(&checkpoint.rows)?;
        let rows = phases.chunks_exact(n).map(|row| Row::Full(row.to_vec())).collect();
        let engine = Clear::exact(self.params());
        let state = &checkpoint.state;
        let model = Model::resume(&engine, &state.recipe, rows, state.step, state.part)?;
        ClearModel::new(engine, &state.recipe, model)
    }
}
