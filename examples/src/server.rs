//! The server's side of a run: `RUN/server`. Nothing here can name a secret key.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fhe_core::Params;
use fhe_core::server::EvaluationKeys;
use fhe_core::store::{ChunkReader, Message};
use fhe_train::{Recipe, Server};

use crate::{file, folders, memory};

/// What the header of a file of evaluation keys calls it.
const KEYS: &str = EvaluationKeys::KIND;

/// The files of `RUN/server`.
#[derive(Clone, Debug)]
pub struct ServerFolder(PathBuf);

impl ServerFolder {
    /// Of a run.
    #[must_use]
    pub fn of(run: &Path) -> Self {
        Self(run.join("server"))
    }

    /// Returns the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Evaluation keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("evaluation.keys")
    }

    /// The encrypted training set.
    #[must_use]
    pub fn dataset(&self) -> PathBuf {
        self.0.join("train.data")
    }

    /// The public recipe, JSON.
    #[must_use]
    pub fn recipe(&self) -> PathBuf {
        self.0.join("recipe.json")
    }

    /// The encrypted model.
    #[must_use]
    pub fn model(&self) -> PathBuf {
        self.0.join("model.ckpt")
    }

    /// The query that is encrypted and scored if no other file is named.
    #[must_use]
    pub fn query(&self) -> PathBuf {
        self.0.join("queries/query.enc")
    }

    /// The scores of that query.
    #[must_use]
    pub fn scores(&self) -> PathBuf {
        self.0.join("scores/scores.enc")
    }

    /// Reads the evaluation keys and prepares them, if the memory for them is there.
    ///
    /// # Errors
    /// Those of the file; if there is not enough memory, what is needed and what there is.
    pub fn open(&self) -> Result<Server> {
        let needed = "the server needs the evaluation keys that `setup` writes";
        let params = ChunkReader::open(&self.keys(), KEYS).and_then(|file| file.params());
        memory::ensure_room_for_keys(&params.context(needed)?)?;
        let server = Server::open(&self.keys()).context(needed)?;
        folders::warn_of_reproducible(server.engine().key_id())?;
        Ok(server)
    }

    /// Refuses evaluation keys of another client key.
    ///
    /// # Errors
    /// Those of the file.
    pub fn check_keys(&self, params: &Params, key_id: &str) -> Result<()> {
        Ok(ChunkReader::open(&self.keys(), KEYS)?.expect_key(params, key_id)?)
    }

    /// Reads the recipe.
    ///
    /// # Errors
    /// If the file is absent or says something else.
    pub fn read_recipe(&self) -> Result<Recipe> {
        file::read_json(&self.recipe(), "recipe")
    }

    /// Refuses a recipe that is not the client's.
    ///
    /// # Errors
    /// The file, if it says something else; those of reading.
    pub fn check_recipe(&self, own: &Recipe) -> Result<()> {
        let same = self.read_recipe()? == *own;
        ensure!(same, "{}: another recipe than the client's", self.recipe().display());
        Ok(())
    }
}
