//! Data sets: where they come from, how they lie in memory, and how they reach a network.
//!
//! [`DataFolder`] finds the sets of the published experiments by name, whether they lie there as the
//! official archives or as folders of images, and sets of your own; [`fetch`] downloads them. A set is an
//! [`ImageSource`]: [`Images`] holds one as bytes, [`ImageFiles`] reads files that may be larger than memory;
//! [`ImageLoader`] makes batches of it in the background for Burn's Learner.

pub mod archives;
mod augment;
mod cache;
mod cifar;
pub mod fetch;
mod files;
mod folder;
mod held_out;
mod image_folder;
mod images;
mod loader;
mod mat;
mod own;
mod sets;
mod source;
mod svhn;
mod tally;
pub(crate) mod walk;

pub use augment::Augmentation;
pub use cifar::CifarError;
pub use files::{ImageFiles, MemoryBudget};
pub use folder::{DataError, DataFolder, IMAGE_FOLDER, ImageSet, NamedImages, OwnImages};
pub use held_out::HeldOut;
pub use image_folder::{FolderOptions, ImageFolderError};
pub use images::{ImageItem, Images};
/// What image files become, for networks of every set.
pub use isomax_bundle::{
    DecodeError, FileKind, JpegDecoder, MAX_PIXELS, Normalization, Orientation, Picture,
    PictureFormat, Preprocessing, ReadError, decode, read_picture, resize_and_crop,
};
pub use loader::{ImageBatch, ImageBatches, ImageLoader};
pub use mat::MatError;
pub use own::OwnSetError;
pub use sets::{ID, IdSet, InvalidSetName, OodSource, PublishedSet, is_set_name};
pub use source::{ImageSource, Subset, UnreadableImage, digest, tensor_of};
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
