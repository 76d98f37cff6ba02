//! Frozen networks of others, as ONNX files, that turn pictures into features: in the clear, at the
//! owner of the data, before anything is encrypted.
//!
//! A network that was trained on millions of public pictures gives better features than
//! [`crate::Encoder`], and a linear head on them is what is then trained on encrypted data.
//! [`crate::Quantizer`] makes the integers for it.
//!
//! # What is read from the model
//!
//! - The layout: `N x 3 x H x W` or `N x H x W x 3`, by the axis of length 3. If no axis says its
//!   channels, it is the former.
//! - The size of its pictures, if rows and columns are stated; else the metadata entry
//!   `input_size`, or [`BackboneOptions::size`].
//! - How pixels are normalised, by the metadata entries `input_mean` and `input_scale`: one number,
//!   or three between commas, in units of bytes; or by [`BackboneOptions::normalisation`].
//! - How many pictures it takes at a time. Where that is open, it is one. A model that takes more
//!   gets black pictures after the last ones.
//! - The features: the input of the dense layer (`Gemm`, or `MatMul` with constant weights) that
//!   the model ends in, biases and activations after it aside. [`BackboneOptions::output`] names
//!   any other value.
//!
//! # Files that are not trusted
//!
//! A model is a program: it has no access to anything, but can take much time and memory. A file
//! has 2 GiB at most, with the weights in other files, which must lie in the same folder.

mod cache;
mod error;
mod file;
mod graph;
mod input;
mod options;
mod picture;
mod runtime;

use std::path::{Path, PathBuf};

use ndarray::Array2;
use rayon::prelude::*;

use crate::{Error, Result};
use input::Input;
use runtime::Network;

pub use cache::FeatureCache;
pub use error::BackboneError;
pub use image::RgbImage;
pub use options::{BackboneOptions, Normalisation};
pub use picture::{LabelledPicture, Picture, SetPicture, set_pictures};

/// Pictures that are worked on before the first error is told.
const BLOCK: usize = 256;
/// Part of every id. Another one for another way from pictures to features.
const VERSION: &str = "fhe-data backbone 1";

/// A network that gives features of pictures.
///
/// # Formula
/// `features = f((p - mean) / scale)`, where `p` is the picture, cropped and resized to
/// [`Backbone::input_size`], and `f` the network up to the value that is chosen.
///
/// # Shapes
/// `n` pictures of any size `-> [n, width]`
///
/// # Cost
/// One run of the network a picture, on as many threads as rayon has. The result does not depend on
/// the number of threads. Other processors may round otherwise.
///
/// ```no_run
/// use std::path::{Path, PathBuf};
///
/// use fhe_data::backbone::{Backbone, BackboneOptions, Normalisation};
///
/// let options = BackboneOptions {
///     normalisation: Some(Normalisation::IMAGENET),
///     ..BackboneOptions::default()
/// };
/// let backbone = Backbone::open(Path::new("resnet18.onnx"), &options)?;
/// let pictures = [PathBuf::from("cat.jpg"), PathBuf::from("dog.png")];
/// let features = backbone.features(&pictures)?;
/// assert_eq!(features.dim(), (2, backbone.width()));
/// # Ok::<(), fhe_data::Error>(())
/// ```
#[derive(Debug)]
pub struct Backbone {
    file: PathBuf,
    id: String,
    output: String,
    input: Input,
    network: Network,
}

impl Backbone {
    /// Reads an ONNX file, finds the features in it and prepares it to run.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; else [`Error::Backbone`], whose source says what
    /// is wrong with the model, or which option is to be given.
    pub fn open(path: &Path, options: &BackboneOptions) -> Result<Self> {
        let file::ModelFile { mut model, hash } = file::read(path)?;
        let refused = |source| Error::Backbone { file: path.to_path_buf(), source };
        let mut graph = model.graph.take().unwrap_or_default();
        let output = graph::cut(&mut graph, options.output.as_deref(), &runtime::operators())
            .map_err(refused)?;
        let info = graph
            .input
            .first_mut()
            .ok_or_else(|| refused(BackboneError::Inputs { count: 0, names: String::new() }))?;
        let input = Input::resolve(info, &model.metadata_props, options).map_err(refused)?;
        model.graph = Some(graph);
        let network = Network::prepare(&model, input.axes(), &output).map_err(refused)?;
        let id = id(hash, &output, &input);
        Ok(Self { file: path.to_path_buf(), id, output, input, network })
    }

    /// Computes the features of pictures: [`RgbImage`]s, paths of files, or the images of a set by
    /// [`set_pictures`].
    ///
    /// # Shapes
    /// `n` pictures `-> [n, width]`; `n` may be 0.
    ///
    /// # Errors
    /// [`Error::Picture`], with the picture's number, if one cannot be taken; [`Error::Backbone`]
    /// if the network cannot be computed, or if a feature is not finite. Of several errors, the
    /// first picture's is told.
    pub fn features<P: Picture>(&self, pictures: &[P]) -> Result<Array2<f32>> {
        self.rows(0, pictures)
    }

    /// Computes the features of pictures of which the first has the number `first`.
    fn rows<P: Picture>(&self, first: usize, pictures: &[P]) -> Result<Array2<f32>> {
        let batch = self.input.batch;
        let mut values = Vec::with_capacity(pictures.len().saturating_mul(self.width()));
        let mut first = first;
        for block in pictures.chunks(BLOCK.next_multiple_of(batch)) {
            let groups = block.par_chunks(batch).enumerate();
            let groups = groups.map(|(at, group)| self.group(first + at * batch, group));
            for group in groups.collect::<Vec<Result<Vec<f32>>>>() {
                values.extend(group?);
            }
            first += block.len();
        }
        self.matrix(pictures.len(), values)
    }

    /// Computes the features of at most as many pictures as the network takes at a time.
    fn group<P: Picture>(&self, first: usize, pictures: &[P]) -> Result<Vec<f32>> {
        let size = self.input.shape.bytes();
        let mut numbers = vec![0.0; self.input.batch * size];
        for (at, numbers) in numbers.chunks_exact_mut(size).enumerate() {
            let planes = match pictures.get(at) {
                Some(picture) => self.planes(picture).map_err(|source| Error::Picture {
                    picture: first + at,
                    source: Box::new(source),
                })?,
                None => vec![0; size],
            };
            self.input.fill(&planes, numbers);
        }
        let mut values = self.network.run(&numbers).map_err(|source| self.error(source))?;
        let width = self.width();
        if values.len() != self.input.batch * width {
            let got = format!("{} numbers for {} pictures", values.len(), self.input.batch);
            let value = self.output.clone();
            return Err(self.error(BackboneError::FeatureShape { value, got }));
        }
        values.truncate(pictures.len() * width);
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(self.error(BackboneError::NotFinite {
                picture: first + at / width,
                feature: at % width,
                got: values[at],
            })),
            None => Ok(values),
        }
    }

    /// Returns the pixels of a picture, of the size that the network takes.
    fn planes(&self, picture: &impl Picture) -> Result<Vec<u8>> {
        let planes = picture.planes(self.input.shape)?;
        let (got, wanted) = (planes.len(), self.input.shape.bytes());
        if got != wanted {
            return Err(Error::PixelCount { op: "Picture::planes", got, wanted });
        }
        Ok(planes)
    }

    /// Returns features as a matrix.
    fn matrix(&self, count: usize, values: Vec<f32>) -> Result<Array2<f32>> {
        let got = format!("{} numbers for {count} pictures", values.len());
        Array2::from_shape_vec((count, self.width()), values).map_err(|_| {
            self.error(BackboneError::FeatureShape { value: self.output.clone(), got })
        })
    }

    fn error(&self, source: BackboneError) -> Error {
        Error::Backbone { file: self.file.clone(), source }
    }

    /// Returns the number of features of a picture.
    #[must_use]
    pub fn width(&self) -> usize {
        self.network.width
    }

    /// Returns rows and columns of the pictures that the network takes, in pixels.
    #[must_use]
    pub fn input_size(&self) -> (usize, usize) {
        (self.input.shape.height, self.input.shape.width)
    }

    /// Returns how bytes become the numbers that the network takes.
    #[must_use]
    pub fn normalisation(&self) -> Normalisation {
        self.input.normalisation
    }

    /// Returns the name of the value that holds the features.
    #[must_use]
    pub fn output(&self) -> &str {
        &self.output
    }

    /// Returns 64 hexadecimal digits that tell this backbone from others: the BLAKE3 hash of the
    /// model file with its weights, the value that holds the features, the size of the pictures and
    /// their normalisation.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Hashes what features depend on, but for pictures.
fn id(model: blake3::Hasher, output: &str, input: &Input) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(VERSION.as_bytes());
    hasher.update(model.finalize().as_bytes());
    hasher.update(&(output.len() as u64).to_le_bytes());
    hasher.update(output.as_bytes());
    for axis in input.axes() {
        hasher.update(&(axis as u64).to_le_bytes());
    }
    let Normalisation { mean, scale } = input.normalisation;
    for number in mean.iter().chain(&scale) {
        hasher.update(&number.to_bits().to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
