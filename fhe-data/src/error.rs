//! What can go wrong with data.

use std::io;
use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reasons why data cannot be read, encoded or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{op}: {path}: {source}", path = file.display())]
    Io {
        /// The operation.
        op: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file of a data set is not in the folder or archive.
    #[error("{path}: no file {field}", path = place.display())]
    MissingFile {
        /// The folder or archive.
        place: PathBuf,
        /// The file that is missing.
        field: String,
    },
    /// A folder has several data sets, and none is selected.
    #[error("{path}: several data sets, select one by its prefix: {known}", path = place.display())]
    SeveralSets {
        /// The folder.
        place: PathBuf,
        /// What the names of each set's files begin with.
        known: String,
    },
    /// The file's name does not tell a format that is known.
    #[error("{path}: expected {wanted}", path = file.display())]
    UnknownFormat {
        /// The file.
        file: PathBuf,
        /// The formats that are known, by their names' endings.
        wanted: &'static str,
    },
    /// Something was selected that files of this format do not have.
    #[error("{path}: files of this format have no {part} to select", path = file.display())]
    NoSuchPart {
        /// The file.
        file: PathBuf,
        /// What was selected.
        part: &'static str,
    },
    /// A file's numbers are of a type that is not read.
    #[error("{path}: numbers of type {got}, expected {wanted}", path = file.display())]
    NumberType {
        /// The file.
        file: PathBuf,
        /// The type found, as the file names it.
        got: String,
        /// The types that are read.
        wanted: &'static str,
    },
    /// An integer is beyond 2^53, where doubles no longer hold each.
    #[error(
        "{path}: number {at} is the integer {got}, expected at most 2^53, which doubles hold",
        path = file.display()
    )]
    LargeInteger {
        /// The file.
        file: PathBuf,
        /// Which of the file's numbers, from 0.
        at: usize,
        /// The integer.
        got: String,
    },
    /// A table cannot be read as lines of cells.
    #[error("{path}: {source}", path = file.display())]
    Csv {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: csv::Error,
    },
    /// A line of a table has another number of cells than the first line.
    #[error("{path}: line {line}: {got} cells, expected {wanted}", path = file.display())]
    Cells {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The number of cells found.
        got: usize,
        /// The number of cells of the first line.
        wanted: usize,
    },
    /// A cell of a table does not hold what is expected there.
    #[error(
        "{path}: line {line}, column {column}: {got:?}, expected {wanted}", path = file.display()
    )]
    Cell {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: usize,
        /// The text found.
        got: String,
        /// What is expected.
        wanted: &'static str,
    },
    /// A table has not the column that is selected, or several of which none is selected.
    #[error(
        "{path}: {}; there are: {known}",
        which("column", column.as_deref()),
        path = file.display()
    )]
    NoColumn {
        /// The file.
        file: PathBuf,
        /// The column that was selected.
        column: Option<String>,
        /// The columns that there are.
        known: String,
    },
    /// A file has not the tensor that is selected, or several of which none is selected.
    #[error(
        "{path}: {}; there are: {known}",
        which("tensor", tensor.as_deref()),
        path = file.display()
    )]
    NoTensor {
        /// The file.
        file: PathBuf,
        /// The tensor that was selected.
        tensor: Option<String>,
        /// The tensors that there are.
        known: String,
    },
    /// A class is not one of those that labels are numbered by.
    #[error("class {name} is not one of {known}")]
    UnknownClass {
        /// The class.
        name: String,
        /// The classes.
        known: String,
    },
    /// The file ends within a record.
    #[error(
        "{path}: {got} bytes are no multiple of a record's {record_bytes} bytes",
        path = file.display()
    )]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Its length in bytes.
        got: usize,
        /// The length of a record in bytes.
        record_bytes: usize,
    },
    /// The file holds another number of records than its format says.
    #[error("{path}: {got} records, expected {wanted}", path = file.display())]
    RecordCount {
        /// The file.
        file: PathBuf,
        /// The number of records found.
        got: usize,
        /// The number of records expected.
        wanted: usize,
    },
    /// A number in a file, or its length, is not what the format or another file says.
    #[error("{path}: {field} is {got}, expected {wanted}", path = file.display())]
    Field {
        /// The file.
        file: PathBuf,
        /// What the number is.
        field: &'static str,
        /// The number found.
        got: u64,
        /// The numbers expected.
        wanted: String,
    },
    /// A label is not one of the classes, or no integer.
    #[error("{path}: record {record}: label {got}, expected {wanted}", path = file.display())]
    Label {
        /// The file, or the name of the set.
        file: PathBuf,
        /// The record's index, from 0.
        record: usize,
        /// The label found.
        got: String,
        /// The labels expected.
        wanted: String,
    },
    /// A file, or a file in an archive, is something else than what is needed.
    #[error("{path}: {got}, expected {wanted}", path = file.display())]
    Content {
        /// The file, or the archive and the path in it.
        file: PathBuf,
        /// What was found.
        got: &'static str,
        /// What is expected.
        wanted: &'static str,
    },
    /// A set of pictures has less than two synsets.
    #[error("{path}: {got} synsets, expected at least 2", path = place.display())]
    Synsets {
        /// The folder, archive or file that says what the classes are.
        place: PathBuf,
        /// The number of synsets.
        got: usize,
    },
    /// A pixel buffer has the wrong length.
    #[error("{op}: {got} pixel bytes, expected {wanted}")]
    PixelCount {
        /// The operation.
        op: &'static str,
        /// The length found, in bytes.
        got: usize,
        /// The length expected, in bytes.
        wanted: usize,
    },
    /// Images have another shape than the operation takes.
    #[error("{op}: images of {got}, expected {wanted}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The shape found.
        got: crate::ImageShape,
        /// The shape expected.
        wanted: crate::ImageShape,
    },
    /// An image file cannot be decoded.
    #[error("{path}: {source}", path = file.display())]
    Image {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: image::ImageError,
    },
    /// A JPEG file ends within its image.
    #[error("{path}: the file ends before its image does", path = file.display())]
    CutImage {
        /// The file.
        file: PathBuf,
    },
    /// A JPEG file is in the four colours of printing.
    #[error(
        "{path}: four colours (cyan, magenta, yellow, black), expected grey or RGB",
        path = file.display()
    )]
    FourColours {
        /// The file.
        file: PathBuf,
    },
    /// Files cannot become images of this shape.
    #[error("images of {got}, expected 1 or 3 channels and 1 to 4096 rows and columns")]
    ShapeOfFiles {
        /// The shape.
        got: crate::ImageShape,
    },
    /// A folder has not the subfolders that name classes.
    #[error("{path}: {got} subfolders, expected at least 2, one a class", path = place.display())]
    Classes {
        /// The folder.
        place: PathBuf,
        /// The number of subfolders.
        got: usize,
    },
    /// An image file has another size than the images it should be like.
    #[error(
        "{path}: {}x{} pixels, expected {}x{}",
        got.0, got.1, wanted.0, wanted.1,
        path = file.display()
    )]
    ImageSize {
        /// The file.
        file: PathBuf,
        /// Its width and height.
        got: (u32, u32),
        /// The width and height that would fit.
        wanted: (usize, usize),
    },
    /// A setting of the encoder is outside its range.
    #[error("encoder setting {field}: {got}, expected {wanted}")]
    Config {
        /// The setting.
        field: &'static str,
        /// The value found.
        got: f64,
        /// The values allowed.
        wanted: &'static str,
    },
    /// Too few images to fit an encoder.
    #[error("{op}: {got} images, expected at least {wanted}")]
    TooFewImages {
        /// The operation.
        op: &'static str,
        /// The number of images found.
        got: usize,
        /// The number of images needed.
        wanted: usize,
    },
    /// Too few samples to fit a quantizer.
    #[error("{op}: {got} rows, expected at least {wanted}")]
    TooFewRows {
        /// The operation.
        op: &'static str,
        /// The number of rows found.
        got: usize,
        /// The number of rows needed.
        wanted: usize,
    },
    /// Samples have no feature, or more than a sample's width leaves room for.
    #[error("{op}: {got} features, expected 1 to {most}: the width less one for the constant")]
    TooManyFeatures {
        /// The operation.
        op: &'static str,
        /// The number of features found.
        got: usize,
        /// The number of features at most.
        most: usize,
    },
    /// Samples have another number of features than those that the quantizer was fitted to.
    #[error("{op}: {got} features, expected {wanted}")]
    FeatureCount {
        /// The operation.
        op: &'static str,
        /// The number of features found.
        got: usize,
        /// The number of features expected.
        wanted: usize,
    },
    /// A feature is not a number, infinite, or too large to be squared.
    #[error("{op}: row {row}, column {column}: {got}, expected a number of size at most 1e100")]
    Feature {
        /// The operation.
        op: &'static str,
        /// The sample, from 0.
        row: usize,
        /// The feature, from 0.
        column: usize,
        /// The value found.
        got: f64,
    },
    /// All samples are the same.
    #[error("{op}: every one of the {features} features is the same in all rows")]
    NoVariation {
        /// The operation.
        op: &'static str,
        /// The number of features.
        features: usize,
    },
    /// A number of an encoded sample is out of range.
    #[error("{op}: row {row}, column {column}: {got}, expected -7 to 7")]
    EncodedValue {
        /// The operation.
        op: &'static str,
        /// The sample, from 0.
        row: usize,
        /// The position in the sample, from 0.
        column: usize,
        /// The value found.
        got: i8,
    },
    /// A factorisation did not converge.
    #[error("{op}: the eigendecomposition of a {size} x {size} matrix did not converge")]
    Eigen {
        /// The operation.
        op: &'static str,
        /// Rows of the matrix.
        size: usize,
    },
    /// A stored file is no file of the kind expected.
    #[error("{path}: field {field} is missing or malformed", path = file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The part that is wrong.
        field: &'static str,
    },
    /// A stored file is of another version of the format.
    #[error("{path}: format version {got}, expected {wanted}", path = file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// The version found.
        got: u32,
        /// The version this crate writes.
        wanted: u32,
    },
    /// The contents of a file are not those that were written or published.
    #[error("{path}: {algorithm} checksum {got}, expected {wanted}", path = file.display())]
    Checksum {
        /// The file.
        file: PathBuf,
        /// The hash function.
        algorithm: &'static str,
        /// The checksum of the contents, in hexadecimal.
        got: String,
        /// The checksum expected, in hexadecimal.
        wanted: String,
    },
    /// A download failed.
    #[cfg(feature = "download")]
    #[error("downloading {url}: {source}")]
    Http {
        /// The address.
        url: String,
        /// The cause.
        source: Box<ureq::Error>,
    },
    /// The server sent something else than what was asked for.
    #[cfg(feature = "download")]
    #[error("downloading {url}: status {got}")]
    HttpStatus {
        /// The address.
        url: String,
        /// The status code.
        got: u16,
    },
    /// A model cannot give features, or not of these pictures.
    #[cfg(feature = "onnx")]
    #[error("{path}: {source}", path = file.display())]
    Backbone {
        /// The model.
        file: PathBuf,
        /// What is wrong.
        source: crate::backbone::BackboneError,
    },
    /// One of several pictures cannot be taken.
    #[cfg(feature = "onnx")]
    #[error("picture {picture}: {source}")]
    Picture {
        /// The picture, from 0.
        picture: usize,
        /// The cause.
        source: Box<Error>,
    },
}

impl Error {
    /// Returns a closure for `map_err` that names the operation and the file.
    pub(crate) fn io(op: &'static str, file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io { op, file, source }
    }

    /// Returns the error of a label that is none of so many classes.
    pub(crate) fn label(
        file: impl Into<PathBuf>,
        record: usize,
        got: impl ToString,
        classes: usize,
    ) -> Self {
        let wanted = match classes.checked_sub(1) {
            Some(last) => format!("0 to {last}"),
            None => "none: there are no classes".into(),
        };
        Self::Label { file: file.into(), record, got: got.to_string(), wanted }
    }
}

/// Says that a part of a file is missing, or that one has to be selected.
fn which(part: &str, selected: Option<&str>) -> String {
    match selected {
        Some(name) => format!("no {part} {name}"),
        None => format!("select one {part}"),
    }
}
