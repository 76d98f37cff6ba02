//! Many encrypted images, as many at a time as a memory has room for.

use std::cell::RefCell;

use fhe_core::client::ClientKey;
use fhe_core::store::EncryptedValues;
use fhe_core::{Cpu, Params, Seed};
use fhe_nn::public::{PublicNetwork, PublicNetworkConfig, client};
use ndarray::Array2;

use crate::{config, images, weights};

/// A network, its client, its server, and so many images.
fn parties(mirrored: bool, count: usize) -> (PublicNetwork, ClientKey, Cpu, Array2<i64>) {
    let config = PublicNetworkConfig { mirrored, ..config() };
    let params = Params::toy_insecure().unwrap();
    let network = PublicNetwork::new(&config, weights(), params.row_size).unwrap();
    let key = ClientKey::new(&params, Seed::from_number(8));
    let engine = Cpu::new(&key.evaluation_keys());
    let integers = images(&config, count).concat();
    let images = Array2::from_shape_vec((count, config.input.len()), integers).unwrap();
    (network, key, engine, images)
}

fn open(engine: &Cpu, scores: &EncryptedValues) -> Vec<u64> {
    scores.open(engine).unwrap().elements().to_vec()
}

#[test]
fn images_in_groups_have_the_scores_of_images_one_by_one() {
    const IMAGES: usize = 5;
    for mirrored in [false, true] {
        let (network, key, engine, images) = parties(mirrored, IMAGES);
        let query = client::encrypt(&network, &key, images.view()).unwrap();
        let of_one = network.bytes_of_image(key.params());
        let mut alone = Vec::new();
        for image in query.open_in_parts(&engine, network.config().input.len()).unwrap() {
            let scores = network.forward(&engine, &image.unwrap(), 1).unwrap();
            alone.extend_from_slice(scores.elements());
        }
        // All at once, and the groups that the memory of two and of three images makes of five.
        let cases: [(u64, &[usize]); 3] =
            [(PublicNetwork::MEMORY, &[5]), (2 * of_one, &[2, 2, 1]), (4 * of_one - 1, &[3, 2])];
        for (memory, groups) in cases {
            let seen = RefCell::new(Vec::new());
            let done = |layer, images| seen.borrow_mut().push((layer, images));
            let scores = network.evaluate_within(&engine, &query, memory, done).unwrap();
            assert!(open(&engine, &scores) == alone, "{groups:?}: other ciphertexts");
            let of_group = |&images: &usize| {
                let pass = (0..4).map(move |layer| (layer, images));
                pass.clone().chain(pass.take(if mirrored { 4 } else { 0 }))
            };
            let expected: Vec<(usize, usize)> = groups.iter().flat_map(of_group).collect();
            assert_eq!(seen.into_inner(), expected);
            let found = client::decrypt(&network, &key, &scores).unwrap();
            let expected = network.exact_scores(images.view()).unwrap();
            assert_eq!(found.mapv(|score| score.round() as i64), expected);
        }
    }
}

#[test]
fn a_memory_without_room_for_an_image_is_refused() {
    let (network, key, engine, images) = parties(false, 1);
    let query = client::encrypt(&network, &key, images.view()).unwrap();
    let of_one = network.bytes_of_image(key.params());
    let error = network.evaluate_within(&engine, &query, of_one - 1, |_, _| ()).unwrap_err();
    let expected = format!(
        "number of bytes for the values of an image is {}, expected at least {of_one}",
        of_one - 1
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(network.images_within(key.params(), of_one - 1), 0);
    assert!(network.evaluate_within(&engine, &query, of_one, |_, _| ()).is_ok());
}

#[test]
fn an_image_holds_the_values_that_its_layers_need_at_a_time() {
    let (network, ..) = parties(false, 1);
    // Beside the image of 16: two maps of 4x4 pre-activations, which a later layer adds, and with
    // two signs of each, four maps of 4x4 activations.
    let widest = 64 + 2 * 32;
    assert_eq!(network.values_of_image(), 16 + widest);
    let (mirrored, ..) = parties(true, 1);
    assert_eq!(mirrored.values_of_image(), 2 * 16 + widest);
}
