#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "onnx")]
pub mod backbone;
pub mod builtin;
pub mod cifar10;
#[cfg(feature = "download")]
pub mod download;
pub mod encoder;
mod error;
mod features;
mod file;
pub mod idx;
pub mod image_file;
mod image_folder;
mod image_set;
pub mod imagenet;
pub mod mnist;
mod quantizer;
mod split;
mod tar_names;

#[cfg(feature = "onnx")]
pub use backbone::{Backbone, BackboneOptions};
pub use builtin::builtin;
pub use encoder::{ComponentsOver, Encoded, Encoder, EncoderConfig, GradientEncoder};
pub use error::{Error, Result};
pub use features::{
    Column, Features, Labels, Selection, read_csv, read_features, read_labels, read_npy,
    read_safetensors,
};
pub use image_folder::{
    FolderFiles, FolderOptions, ImageFolder, LabelledFile, folder_files, image_folder,
};
pub use image_set::{CHANNELS, IMAGE_BYTES, ImageSet, ImageShape, PLANE_BYTES, SIDE_PIXELS, Split};
pub use quantizer::Quantizer;
pub use split::train_test_split;

/// How far a long operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The stage that is running, in a word or two.
    pub stage: &'static str,
    /// Units of the stage that are finished (images, iterations or bytes).
    pub done: u64,
    /// Units of the stage in all; 0 if unknown.
    pub total: u64,
}
