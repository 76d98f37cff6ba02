//! Features that are kept in files.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Backbone, LabelledPicture, Picture};
use crate::encoder::store::Tensors;
use crate::{Error, Progress, Result};

/// Pictures of a file.
const CHUNK: usize = 256;
/// Identifies a file of features.
const KIND: &str = "fhe-data backbone features";
/// The tensor of a file.
const TENSOR: &str = "features";

/// What a file says of itself.
#[derive(Deserialize, Serialize)]
struct Settings {
    backbone: String,
    pictures: usize,
    width: usize,
}

/// A folder of features that were computed before.
///
/// Each file has the features of 256 pictures that follow each other. Its name is the hash of
/// [`Backbone::id`] and of the content of those pictures. So a run that was interrupted goes on
/// where it was, and other pictures, options or models never meet old features.
///
/// ```no_run
/// use std::path::Path;
///
/// use fhe_data::backbone::{Backbone, BackboneOptions, FeatureCache, set_pictures};
/// use fhe_data::{Quantizer, cifar10};
///
/// let backbone = Backbone::open(Path::new("model.onnx"), &BackboneOptions::default())?;
/// let cache = FeatureCache::open(Path::new("features"))?;
/// let split = cifar10::read(Path::new("cifar-10-batches-bin"))?;
/// let train = cache.features(&backbone, &set_pictures(&split.train), &|progress| {
///     println!("{} of {} pictures", progress.done, progress.total);
/// })?;
/// let quantizer = Quantizer::fit(train.view(), 2048)?;
/// # Ok::<(), fhe_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FeatureCache {
    folder: PathBuf,
}

impl FeatureCache {
    /// Uses a folder, which is made if it does not exist.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("making", folder))?;
        Ok(Self { folder: folder.to_path_buf() })
    }

    /// Returns the features of pictures: those of the folder, and what it lacks computed and
    /// written to it. A file is complete when it has its name.
    ///
    /// `progress` is told after each 256 pictures.
    ///
    /// # Shapes
    /// `n` pictures `-> [n, backbone.width()]`
    ///
    /// # Errors
    /// Those of [`Backbone::features`]; [`Error::Io`] if a file cannot be read or written;
    /// [`Error::Malformed`], [`Error::Version`] or [`Error::Checksum`] for a damaged file of the
    /// folder, which then is to be removed.
    pub fn features<P: Picture>(
        &self,
        backbone: &Backbone,
        pictures: &[P],
        progress: &dyn Fn(Progress),
    ) -> Result<Array2<f32>> {
        let (count, width) = (pictures.len(), backbone.width());
        let mut values = Vec::with_capacity(count.saturating_mul(width));
        let mut done = 0;
        for chunk in pictures.chunks(CHUNK) {
            values.extend(self.chunk(backbone, done, chunk)?);
            done += chunk.len();
            progress(Progress { stage: "features", done: done as u64, total: count as u64 });
        }
        backbone.matrix(count, values)
    }

    /// Returns the features and the labels of pictures that are read one after another, such as
    /// [`Pictures`](crate::imagenet::Pictures): as [`FeatureCache::features`], with 256 of them in
    /// memory at a time. To go on after an interruption, files are read again and not decoded.
    ///
    /// `progress` is told at first, after each 256 pictures, and in the end, how far their stream
    /// has come.
    ///
    /// # Shapes
    /// `n` pictures `-> [n, backbone.width()]`, `[n]`
    ///
    /// # Errors
    /// Those of [`FeatureCache::features`], and the first of the stream.
    ///
    /// ```no_run
    /// use std::path::Path;
    ///
    /// use fhe_data::backbone::{Backbone, BackboneOptions, FeatureCache};
    /// use fhe_data::imagenet::{ImageNet, ImageNetOptions};
    ///
    /// let backbone = Backbone::open(Path::new("model.onnx"), &BackboneOptions::default())?;
    /// let cache = FeatureCache::open(Path::new("features"))?;
    /// let train = Path::new("ILSVRC2012_img_train.tar");
    /// let set = ImageNet::train(train, &ImageNetOptions::default())?;
    /// let (features, labels) =
    ///     cache.labelled(&backbone, &mut set.pictures(), &|stream| {
    ///         println!("{:?}", stream.progress());
    ///     })?;
    /// assert_eq!(features.nrows(), labels.len());
    /// # Ok::<(), fhe_data::Error>(())
    /// ```
    pub fn labelled<P, S>(
        &self,
        backbone: &Backbone,
        pictures: &mut S,
        progress: &dyn Fn(&S),
    ) -> Result<(Array2<f32>, Vec<u32>)>
    where
        P: LabelledPicture,
        S: Iterator<Item = Result<P>>,
    {
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        loop {
            progress(pictures);
            let chunk = pictures.by_ref().take(CHUNK).collect::<Result<Vec<P>>>()?;
            if chunk.is_empty() {
                break;
            }
            values.extend(self.chunk(backbone, labels.len(), &chunk)?);
            labels.extend(chunk.iter().map(P::label));
        }
        progress(pictures);
        Ok((backbone.matrix(labels.len(), values)?, labels))
    }

    /// Returns the features of pictures of one file, of which the first has the number `first`.
    fn chunk<P: Picture>(
        &self,
        backbone: &Backbone,
        first: usize,
        pictures: &[P],
    ) -> Result<Vec<f32>> {
        let path = self.folder.join(name(backbone, pictures)?);
        let shape = [pictures.len(), backbone.width()];
        if path.exists() {
            let (tensors, _) = Tensors::load::<Settings>(&path, KIND)?;
            return tensors.f32(&path, TENSOR, shape);
        }
        let (fresh, _) = backbone.rows(first, pictures)?.into_raw_vec_and_offset();
        let mut tensors = Tensors::default();
        tensors.push_f32(TENSOR, shape, &fresh);
        let [pictures, width] = shape;
        let backbone = backbone.id().to_owned();
        tensors.save(&path, KIND, &Settings { backbone, pictures, width })?;
        Ok(fresh)
    }
}

/// Returns the name of the file for pictures that follow each other.
fn name<P: Picture>(backbone: &Backbone, pictures: &[P]) -> Result<String> {
    let hashes: Vec<Result<[u8; 32]>> = pictures.par_iter().map(Picture::digest).collect();
    let mut hasher = blake3::Hasher::new();
    hasher.update(backbone.id().as_bytes());
    for hash in hashes {
        hasher.update(&hash?);
    }
    Ok(format!("{}.safetensors", hasher.finalize().to_hex()))
}
