//! The client's side of an inference: the only code of this module that names a secret key.

use fhe_core::client::ClientKey;
use fhe_core::store::EncryptedValues;
use fhe_core::{from_torus, to_torus};
use ndarray::{Array1, Array2, ArrayView2};

use super::network::PublicNetwork;
use super::{PublicError, Result};
use crate::argmax;

/// Encrypts images as a query, with fresh randomness. A server learns how many images there are.
///
/// [`PublicNetworkConfig::integers`](super::PublicNetworkConfig::integers) makes integers of
/// pixels.
///
/// # Shapes
/// `[images, height * width * channels]`, each number within the network's levels.
///
/// # Cost
/// N multiply-adds a number, and 8 bytes a number to send.
///
/// # Errors
/// [`PublicError::Images`] if the images are not the network's. [`PublicError::Network`] if the
/// key's parameter set has another number of slots than the network was made for.
///
/// # Examples
/// ```
/// use fhe_core::client::ClientKey;
/// use fhe_core::server::EvaluationKeys;
/// use fhe_core::store::{EncryptedValues, Message};
/// use fhe_core::{Cpu, Params, Seed};
/// use fhe_nn::public::{LayerWeights, PublicNetwork, client};
/// use ndarray::array;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Whether two signs differ.
/// let config = serde_json::from_str(
///     r#"{
///         "input": { "channels": 2, "height": 1, "width": 1 },
///         "levels": [-1, 1],
///         "layers": [
///             { "name": "hidden", "outputs": 2, "kernel": 1,
///               "activation": { "first": -1, "step": 2, "thresholds": 1 } },
///             { "name": "score", "outputs": 2, "kernel": 1 }
///         ]
///     }"#,
/// )?;
/// let both = vec![vec![1, 1], vec![-1, -1]];
/// let weights = vec![
///     LayerWeights { weights: both.clone(), thresholds: vec![vec![1], vec![1]] },
///     LayerWeights { weights: both, thresholds: vec![vec![0], vec![-2]] },
/// ];
/// let params = Params::toy_insecure()?;
/// let network = PublicNetwork::new(&config, weights, params.row_size)?;
/// let key = ClientKey::new(&params, Seed::random()?);
/// let keys: Vec<u8> = key.evaluation_keys().to_bytes()?;
/// let images = array![[1, -1], [1, 1]];
/// let query: Vec<u8> = client::encrypt(&network, &key, images.view())?.to_bytes()?;
///
/// // The server has the network, and bytes from the client.
/// let engine = Cpu::new(&EvaluationKeys::from_bytes(&keys)?);
/// let query = EncryptedValues::from_bytes(&query)?;
/// let scores: Vec<u8> = network.evaluate(&engine, &query, |_, _| ())?.to_bytes()?;
///
/// // The client has the key.
/// let scores = client::decrypt(&network, &key, &EncryptedValues::from_bytes(&scores)?)?;
/// assert_eq!(client::decide(scores.view()), array![1, 0]);
/// # Ok(())
/// # }
/// ```
pub fn encrypt(
    network: &PublicNetwork,
    key: &ClientKey,
    images: ArrayView2<'_, i64>,
) -> Result<EncryptedValues> {
    network.check_slots(key.params())?;
    network.check_images(&images)?;
    let unit = network.input_unit();
    // Row after row, whatever the matrix's order in memory.
    let phases: Vec<u64> = images.iter().map(|&x| to_torus(x as f64 * unit)).collect();
    Ok(key.encrypt_values(&phases)?)
}

/// Decrypts the scores of a query's images, with the noise that is left in them.
///
/// # Shapes
/// `[images, classes]`.
///
/// # Errors
/// [`PublicError::Images`] if there is not a score for each class of each image, and
/// [`fhe_core::Error::Mismatch`] if the scores were made under another key.
pub fn decrypt(
    network: &PublicNetwork,
    key: &ClientKey,
    scores: &EncryptedValues,
) -> Result<Array2<f64>> {
    let (got, classes) = (scores.len(), network.classes());
    if !got.is_multiple_of(classes) {
        let expected = format!("a multiple of {classes}, the number of classes");
        return Err(PublicError::images("number of scores", got, expected));
    }
    let unit = network.score_unit();
    let phases = key.decrypt(scores)?;
    Ok(Array2::from_shape_fn((got / classes, classes), |(image, class)| {
        from_torus(phases[image * classes + class]) / unit
    }))
}

/// Returns the class of each image: that of its largest score, and of equal ones the first.
///
/// # Shapes
/// `[images, classes] -> [images]`.
#[must_use]
pub fn decide<T: PartialOrd>(scores: ArrayView2<'_, T>) -> Array1<usize> {
    scores.rows().into_iter().map(argmax).collect()
}
