//! What can be wrong with a model file, or with pictures for it.

/// The reasons why a model cannot be a backbone, or has no features for a picture.
///
/// Shapes are written as `N x 3 x 224 x 224`, where a name or `?` is a length that the model leaves
/// open.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BackboneError {
    /// The file, with the weights beside it, has more bytes than are read.
    #[error("more than {most} bytes, with the weights that lie beside it")]
    TooLarge {
        /// The bytes at most.
        most: u64,
    },
    /// The file is no ONNX model.
    #[error("no ONNX model: {cause}")]
    NotOnnx {
        /// Where reading it failed.
        cause: String,
    },
    /// Weights lie in another file, which is not read, or has not the bytes that the model says.
    #[error(
        "the weights {tensor} are in the file {location:?}: expected a plain name of a file beside \
         the model that has all their bytes"
    )]
    Weights {
        /// The tensor.
        tensor: String,
        /// The file, as the model names it.
        location: String,
    },
    /// The model has operators that are not known.
    #[error("operators that are not supported: {names}")]
    Operators {
        /// Their names, in alphabetical order.
        names: String,
    },
    /// A value is used that nothing before it makes.
    #[error("the value {value} is used, but nothing before makes it")]
    Dangling {
        /// The value.
        value: String,
    },
    /// The features do not come from exactly one input.
    #[error("the features depend on {count} inputs ({names}), expected 1: the pictures")]
    Inputs {
        /// How many inputs there are.
        count: usize,
        /// Their names.
        names: String,
    },
    /// The pictures are not wanted as floats.
    #[error("input {input}: numbers of type {got}, expected FLOAT")]
    InputType {
        /// The input.
        input: String,
        /// The type, as ONNX names it.
        got: String,
    },
    /// The input has not four axes.
    #[error("input {input}: shape {got}, expected N x 3 x H x W or N x H x W x 3")]
    InputAxes {
        /// The input.
        input: String,
        /// The shape found.
        got: String,
    },
    /// The input has another number of channels than pictures have.
    #[error("input {input}: shape {shape}, which has {got} channels, expected 3: red, green, blue")]
    Channels {
        /// The input.
        input: String,
        /// The shape found.
        shape: String,
        /// The number of channels found.
        got: u64,
    },
    /// The model takes too many pictures at once.
    #[error("input {input}: {got} pictures at a time, expected 1 to {most}")]
    Batch {
        /// The input.
        input: String,
        /// The number of pictures found.
        got: i64,
        /// The number of pictures at most.
        most: usize,
    },
    /// The model takes pictures of any size, and no size is given.
    #[error("input {input}: shape {got} leaves the size open: give the option `size`")]
    NoSize {
        /// The input.
        input: String,
        /// The shape found.
        got: String,
    },
    /// The model takes pictures of another size than the option says.
    #[error("input {input}: the model takes {got} pixels, the option `size` says {wanted}")]
    SizeFixed {
        /// The input.
        input: String,
        /// The rows and columns of the model.
        got: String,
        /// The option.
        wanted: usize,
    },
    /// Pictures would have no pixels, or too many.
    #[error("pictures of {got} pixels, expected 1 to 4096 rows and columns")]
    SizeRange {
        /// Rows and columns.
        got: String,
    },
    /// Neither the model nor an option says what numbers pixels are.
    #[error(
        "the model does not say how pixels are normalised: give the option `normalisation`, as its \
         training had it"
    )]
    NoNormalisation,
    /// An entry of the model's metadata, or an option, is no number in its range.
    #[error("{field} is {got}, expected {wanted}")]
    Setting {
        /// The entry or option.
        field: &'static str,
        /// The text found.
        got: String,
        /// What is expected.
        wanted: &'static str,
    },
    /// The model has no value of the name that is asked for.
    #[error("no output {name}; there are: {known}")]
    NoOutput {
        /// The name.
        name: String,
        /// The outputs, then the values before them.
        known: String,
    },
    /// No output is named, and the model does not end in a dense layer.
    #[error(
        "the model does not end in a dense layer (Gemm or MatMul): give the option `output`; there \
         are: {known}"
    )]
    NoDenseLayer {
        /// The outputs, then the values before them.
        known: String,
    },
    /// No output is named, and the model ends in several dense layers of different inputs.
    #[error("several dense layers at the end: give the option `output`; their inputs are: {known}")]
    SeveralDenseLayers {
        /// The inputs of those layers.
        known: String,
    },
    /// The value is not a row of numbers for each picture.
    #[error("the value {value} has shape {got}, expected one row of numbers for each picture")]
    FeatureShape {
        /// The value.
        value: String,
        /// Its shape.
        got: String,
    },
    /// The runtime cannot take or compute the model.
    #[error("{stage}: {cause}")]
    Runtime {
        /// What was done.
        stage: &'static str,
        /// What the runtime says, from the outermost cause to the innermost.
        cause: String,
    },
    /// A feature is infinite, or not a number.
    #[error("picture {picture}: feature {feature} is {got}, expected a finite number")]
    NotFinite {
        /// The picture, from 0.
        picture: usize,
        /// The feature, from 0.
        feature: usize,
        /// The value found.
        got: f32,
    },
}
