//! Networks that are refused before anything is computed.

use fhe_nn::public::{Counting, LayerWeights, Levels, Pool, PublicNetwork, PublicNetworkConfig};

use crate::{config, weights};

#[test]
fn networks_that_cannot_be_are_refused_with_the_layer() {
    type Break = fn(&mut PublicNetworkConfig, &mut Vec<LayerWeights>);
    let cases: [(&str, Break); 13] = [
        ("network: number of layers with weights is 3, expected 4", |_, w| drop(w.pop())),
        ("layer stem: number of weights of a filter is 8, expected 9", |_, w| {
            w[0].weights.iter_mut().for_each(|w| w.truncate(8))
        }),
        ("layer block: weight is 0 (number 1 of output 0), expected -1 or 1", |_, w| {
            w[1].weights[0][1] = 0
        }),
        ("layer scores: weight is 4 (number 0 of output 0), expected -3 to 3", |_, w| {
            w[3].weights[0][0] = 4
        }),
        ("layer few: threshold is -1 after 1 in channel 1, expected ascending ones", |_, w| {
            w[2].thresholds[1].reverse()
        }),
        ("layer few: number of channels with thresholds is 1, expected 2", |_, w| {
            drop(w[2].thresholds.pop())
        }),
        ("layer scores: number of biases of a class is 2, expected 1", |_, w| {
            w[3].thresholds[0].push(1)
        }),
        ("layer block: name is that of layer 0, expected one of its own", |c, _| {
            c.layers[0].name = "block".into()
        }),
        (
            "layer block: residual is nobody, expected an earlier layer with pre-activations of",
            |c, _| c.layers[1].residual = Some("nobody".into()),
        ),
        ("layer few: pool is 3, expected a divisor of 2 and 2", |c, _| {
            c.layers[2].pool = Some(Pool::Sum(3))
        }),
        ("layer few: number of thresholds is 2, expected 1 under a maximum", |c, _| {
            c.layers[2].pool = Some(Pool::Max(2))
        }),
        ("layer few: step of the levels is 1, expected 0, as thresholds are apart", |c, w| {
            c.layers[2].activation =
                c.layers[2].activation.map(|l| Levels { counting: Counting::Apart, ..l });
            w[3].weights.iter_mut().for_each(|w| w.extend_from_within(..));
        }),
        ("layer few: activation is none, expected one in every layer but the last", |c, _| {
            c.layers[2].activation = None
        }),
    ];
    for (expected, break_it) in cases {
        let (mut config, mut weights) = (config(), weights());
        break_it(&mut config, &mut weights);
        let message = PublicNetwork::new(&config, weights, 2048).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    let mut wide = config();
    wide.levels = (-1000, 1000);
    let message = PublicNetwork::new(&wide, weights(), 2048).unwrap_err().to_string();
    assert!(
        message.starts_with("layer stem: furthest pre-activation from its centre is"),
        "{message}"
    );
    assert!(message.contains("expected at most 2047"), "{message}");
}
