//! The server's side of a run: `RUN/server`. Nothing here can name a secret key.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fhe_core::Cpu;
use fhe_core::engine::cpu::Values;
use fhe_core::server::EvaluationKeys;
use fhe_core::store::{ChunkReader, Dataset, Header, Message, Secrecy, write_file};
use fhe_core::{Engine, Params};
use fhe_train::{Checkpoint, Recipe};

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

    /// Reads the evaluation keys and prepares the engine.
    ///
    /// # Errors
    /// Those of the file.
    pub fn engine(&self) -> Result<Cpu> {
        let keys = EvaluationKeys::load(&self.keys())
            .context("the server needs the evaluation keys that `setup` writes")?;
        Ok(Cpu::new(&keys))
    }

    /// Refuses evaluation keys of another client key.
    ///
    /// # Errors
    /// Those of the file.
    pub fn check_keys(&self, params: &Params, key_id: &str) -> Result<()> {
        Ok(ChunkReader::open(&self.keys(), "evaluation keys")?.expect_key(params, key_id)?)
    }

    /// Reads the recipe.
    ///
    /// # Errors
    /// If the file is absent or says something else.
    pub fn read_recipe(&self) -> Result<Recipe> {
        let path = self.recipe();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading the recipe {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no recipe", path.display()))
    }
}

const SCORES: &str = "encrypted scores";

/// Computes the encrypted scores of the encrypted images in a file.
///
/// # Errors
/// Those of the files.
pub fn score(engine: &Cpu, model: &Path, query: &Path) -> Result<Values> {
    let saved = Checkpoint::load_for(model, engine.params(), engine.key_id())?;
    let model = saved.model(engine)?.finished(engine)?;
    let query = Dataset::open(query, engine.params(), engine.key_id())?;
    let (x, _) = query.batch(engine, 0)?;
    Ok(model.scores(engine, &x)?)
}

/// Writes encrypted scores.
///
/// # Errors
/// Those of the file.
pub fn write_scores(path: &Path, engine: &Cpu, scores: &Values) -> Result<()> {
    let header = Header::new(SCORES, engine.params(), engine.key_id(), serde_json::Value::Null);
    Ok(write_file(path, header, Secrecy::Public, &scores.to_le_bytes())?)
}

/// Reads encrypted scores made under a key.
///
/// # Errors
/// Those of the file.
pub fn read_scores(path: &Path, params: &Params, key_id: &str) -> Result<Values> {
    let reader = ChunkReader::open(path, SCORES)?;
    reader.expect_key(params, key_id)?;
    Values::from_le_bytes(params.row_size, &reader.read_all()?)
        .with_context(|| format!("{}: the scores have another dimension", path.display()))
}
