//! The encrypted scores of samples.

use fhe_core::Params;
use fhe_core::engine::cpu::Values;
use fhe_core::store::{Message, Opened};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::head_recipe::MOST_CLASSES;
use crate::{Error, Result};

/// The encrypted scores of samples, a value a class, sample after sample: what a server answers.
///
/// It is written and read as a whole, with version and checksum: see [`Message`].
#[derive(Clone, Debug, PartialEq)]
pub struct EncryptedScores {
    params: Params,
    key_id: String,
    values: Values,
    shape: ScoresShape,
}

/// What is public about scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScoresShape {
    /// Number of classes.
    classes: usize,
    /// Torus fraction of a logit of one.
    unit: f64,
}

impl EncryptedScores {
    pub(crate) fn new(
        params: &Params,
        key_id: &str,
        values: Values,
        classes: usize,
        unit: f64,
    ) -> Self {
        let shape = ScoresShape { classes, unit };
        Self { params: params.clone(), key_id: key_id.into(), values, shape }
    }

    /// Returns the encrypted values.
    #[must_use]
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Returns the number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.shape.classes
    }

    /// Returns the number of samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.values.len() / self.shape.classes.max(1)
    }

    /// Brings decrypted values to logits.
    pub(crate) fn logits(&self, values: Vec<f64>) -> Result<Array2<f64>> {
        let (got, classes) = (values.len(), self.shape.classes);
        let logits = values.into_iter().map(|x| x / self.shape.unit).collect();
        Array2::from_shape_vec((self.samples(), classes), logits).map_err(|_| Error::Data {
            op: "read",
            what: "the number of scores",
            got,
            expected: format!("a multiple of {classes}"),
        })
    }
}

impl Message for EncryptedScores {
    const KIND: &'static str = "encrypted scores";

    fn params(&self) -> &Params {
        &self.params
    }

    fn key_id(&self) -> &str {
        &self.key_id
    }

    fn meta(&self) -> serde_json::Value {
        serde_json::json!(self.shape)
    }

    fn payload(&self) -> Vec<u8> {
        self.values.to_le_bytes()
    }

    fn max_payload(params: &Params) -> u64 {
        // A million values: those of a thousand samples and a thousand classes.
        (1 << 20) * 8 * (params.row_size as u64 + 1)
    }

    fn parse(from: Opened) -> fhe_core::Result<Self> {
        let shape: ScoresShape = serde_json::from_value(from.header.meta.clone())
            .map_err(|_| from.corrupt("meta", "it is no shape of scores"))?;
        let values = Values::from_le_bytes(from.params.row_size, &from.payload)
            .ok_or_else(|| from.corrupt("payload", "it is no list of values"))?;
        let is_whole = |classes| !values.is_empty() && values.len().is_multiple_of(classes);
        let fits = (1..=MOST_CLASSES).contains(&shape.classes) && is_whole(shape.classes);
        // A logit of one is less than half the torus.
        if !(fits && shape.unit > 0.0 && shape.unit < 0.5) {
            return Err(from.corrupt("meta", "the shape does not fit the payload"));
        }
        Ok(Self { params: from.params, key_id: from.header.key_id, values, shape })
    }
}

fhe_core::serde_by_container!(EncryptedScores);
