//! A client and a server who share a network's file, and send each other bytes.

use fhe_core::client::ClientKey;
use fhe_core::server::EvaluationKeys;
use fhe_core::store::{EncryptedValues, Message};
use fhe_core::{Cpu, Params, Seed};
use fhe_nn::public::{PublicError, PublicNetwork, client, from_bytes, to_bytes};
use ndarray::Array2;

use crate::{config, images, weights};

fn network(file: &[u8], params: &Params) -> PublicNetwork {
    let (config, weights) = from_bytes(file).unwrap();
    PublicNetwork::new(&config, weights, params.row_size).unwrap()
}

/// All that the server has: the network's file, evaluation keys and a query.
fn server(file: &[u8], keys: &[u8], query: &[u8]) -> Vec<u8> {
    let engine = Cpu::new(&EvaluationKeys::from_bytes(keys).unwrap());
    let network = network(file, fhe_core::Engine::params(&engine));
    let query = EncryptedValues::from_bytes(query).unwrap();
    assert_eq!(network.images_of(&query).unwrap(), 2);
    network.evaluate(&engine, &query, |_, _| ()).unwrap().to_bytes().unwrap()
}

fn two_images() -> Array2<i64> {
    let config = config();
    let integers = images(&config, 2).concat();
    Array2::from_shape_vec((2, config.input.len()), integers).unwrap()
}

#[test]
fn a_query_and_its_scores_go_between_client_and_server_as_bytes() {
    let params = Params::toy_insecure().unwrap();
    let file = to_bytes(&config(), &weights()).unwrap();
    let network = network(&file, &params);
    let key = ClientKey::new(&params, Seed::random().unwrap());
    let keys = key.evaluation_keys().to_bytes().unwrap();
    let images = two_images();
    let query = client::encrypt(&network, &key, images.view()).unwrap().to_bytes().unwrap();

    let scores = EncryptedValues::from_bytes(&server(&file, &keys, &query)).unwrap();

    let found = client::decrypt(&network, &key, &scores).unwrap();
    let expected = network.exact_scores(images.view()).unwrap();
    assert_eq!(found.mapv(|score| score.round() as i64), expected);
    assert_eq!(client::decide(found.view()), client::decide(expected.view()));
    // The same images encrypted again are other ciphertexts.
    let again = client::encrypt(&network, &key, images.view()).unwrap().to_bytes().unwrap();
    assert_ne!(query, again);
}

#[test]
fn images_and_scores_of_another_network_are_refused() {
    let params = Params::toy_insecure().unwrap();
    let file = to_bytes(&config(), &weights()).unwrap();
    let network = network(&file, &params);
    let key = ClientKey::new(&params, Seed::random().unwrap());
    let engine = Cpu::new(&key.evaluation_keys());
    let said = |error: PublicError| error.to_string();

    let small = Array2::zeros((1, 15));
    let error = said(client::encrypt(&network, &key, small.view()).unwrap_err());
    assert_eq!(
        error,
        "number of integers of an image is 15, expected 16, as the network takes 1 @ 4x4"
    );
    let mut bright = two_images();
    bright[[1, 3]] = 2;
    let error = said(client::encrypt(&network, &key, bright.view()).unwrap_err());
    assert_eq!(error, "an image's integer is 2 (number 3 of image 1), expected 0 to 1");
    assert_eq!(said(network.exact_scores(bright.view()).unwrap_err()), error);

    for count in [0, 15, 17] {
        let query = key.encrypt_values(&vec![0; count]).unwrap();
        let error = said(network.evaluate(&engine, &query, |_, _| ()).unwrap_err());
        let expected =
            format!("number of values of a query is {count}, expected 16 for each image");
        assert_eq!(error, expected);
        if count == 17 {
            let error = said(client::decrypt(&network, &key, &query).unwrap_err());
            assert!(error.starts_with(&format!("number of scores is {count}")), "{error}");
        }
    }
    let other = PublicNetwork::new(&config(), weights(), 2 * params.row_size).unwrap();
    let query = client::encrypt(&network, &key, two_images().view()).unwrap();
    let error = said(other.evaluate(&engine, &query, |_, _| ()).unwrap_err());
    assert!(error.starts_with("network: number of slots of a lookup is"), "{error}");
    let stranger = ClientKey::new(&params, Seed::random().unwrap());
    assert!(client::decrypt(&network, &stranger, &query).is_err());
}
