/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a network whose layers are secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of the arithmetic.
    #[error(transparent)]
    Core(#[from] fhe_core::Error),
    /// A setting of a layer cannot be what it is.
    #[error("layer {layer}: {what} is {got}, expected {expected}")]
    Setting {
        /// Name of the layer; `network` for what all layers share.
        layer: String,
        /// The setting.
        what: &'static str,
        /// Its value.
        got: String,
        /// The values that it can have.
        expected: String,
    },
    /// A layer was given another number of something than it has.
    #[error("layer {layer}: got {got} {what}, expected {expected}")]
    Count {
        /// Name of the layer, or its kind where it has no name.
        layer: String,
        /// What was counted.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there should be.
        expected: usize,
    },
    /// Two layers have one name.
    #[error("layer {layer}: its name is that of an earlier layer")]
    RepeatedName {
        /// The name.
        layer: String,
    },
    /// The integers of an output do not fit a digit of the promotion.
    #[error(
        "layer {layer}: its output has integers from {low} to {high}, expected -{bound} to \
         {bound}; fewer levels, a smaller spacing or less pooling fit"
    )]
    Integers {
        /// Name of the layer.
        layer: String,
        /// Smallest integer.
        low: i32,
        /// Largest integer.
        high: i32,
        /// Largest integer that fits.
        bound: i32,
    },
    /// A network was given a layer that is not the one of its plan.
    #[error("layer {layer}: its geometry is not that of the plan")]
    OtherGeometry {
        /// Name of the layer.
        layer: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_layer_what_it_got_and_what_was_expected() {
        let layer = || "conv1".to_string();
        let cases = [
            (
                Error::Setting {
                    layer: layer(),
                    what: "pool",
                    got: "3 on 4 @ 2x2".into(),
                    expected: "a divisor of both sides".into(),
                },
                "layer conv1: pool is 3 on 4 @ 2x2, expected a divisor of both sides",
            ),
            (
                Error::Count { layer: layer(), what: "weights", got: 3, expected: 4 },
                "layer conv1: got 3 weights, expected 4",
            ),
            (
                Error::RepeatedName { layer: layer() },
                "layer conv1: its name is that of an earlier layer",
            ),
            (
                Error::Integers { layer: layer(), low: -32, high: 80, bound: 63 },
                "layer conv1: its output has integers from -32 to 80, expected -63 to 63; fewer \
                 levels, a smaller spacing or less pooling fit",
            ),
            (
                Error::OtherGeometry { layer: layer() },
                "layer conv1: its geometry is not that of the plan",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }
}
