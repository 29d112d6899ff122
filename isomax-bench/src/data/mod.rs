//! Data sets.

pub mod digits;
mod image_folder;
mod images;

pub use image_folder::ImageFolderError;
pub use images::{Images, Normalization};
