//! Data sets: where they come from, how they lie in memory, and how they reach a network.
//!
//! [`DataFolder`] finds the sets of the published experiments by name, whether they lie there as the
//! official archives or as folders of images; [`fetch`] downloads them. [`Images`] holds a set as
//! bytes; [`ImageLoader`] makes batches of it in the background for Burn's Learner.

pub mod archives;
mod augment;
mod cache;
mod cifar;
mod decode;
pub mod fetch;
mod folder;
mod held_out;
mod image_folder;
mod images;
mod loader;
mod mat;
mod normalization;
mod preprocess;
mod sets;
mod svhn;
mod tally;
pub(crate) mod walk;

pub use augment::Augmentation;
pub use cifar::CifarError;
pub use decode::{
    DecodeError, FileKind, JpegDecoder, MAX_PIXELS, Picture, PictureFormat, ReadError, decode,
    read_picture,
};
pub use folder::{DataError, DataFolder, IMAGE_FOLDER, ImageSet, NamedImages};
pub use held_out::HeldOut;
pub use image_folder::{FolderOptions, ImageFolderError};
pub use images::{ImageItem, Images, digest};
pub use loader::{ImageBatch, ImageBatches, ImageLoader};
pub use mat::MatError;
pub use normalization::Normalization;
pub use preprocess::preprocess;
pub use sets::{ID, IdSet, InvalidSetName, OodSource, is_set_name};
pub use svhn::SvhnError;

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Split {
    /// For training, and for validation on what is held out of it.
    Train,
    /// For the results.
    Test,
}

impl Split {
    /// The name of its folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}
