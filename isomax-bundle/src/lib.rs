//! One file that decides: a trained network with all that stands between the bytes of an image file and
//! "this is a bee", "this is an ant" or "I do not know this".
//!
//! A [`Bundle`] holds weights, architecture, head and class names, the [`Preprocessing`] that the network was
//! trained with, and the [detector](isomax_burn::Detector) that was fitted on its outputs. It is a safetensors
//! file, which other programs can read, and needs neither data sets nor the code that trained it:
//!
//! ```no_run
//! use burn::backend::Flex;
//! use isomax_bundle::{Bundle, Predictor};
//!
//! let bundle = Bundle::load("ants-bees.safetensors")?;
//! let predictor = Predictor::<Flex, _>::from_bundle(&bundle, &Default::default())?;
//! let decision = predictor.decide_file(&std::fs::read("photo.jpg")?)?;
//! match decision.in_distribution {
//!     true => println!("{}, score {:.3}", bundle.manifest().classes[decision.class], decision.score),
//!     false => println!("I do not know this"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`decode()`] goes from the bytes of an image file to pixels, for bytes of strangers
//! - [`Preprocessing`], [`Normalization`], [`resize_and_crop`]: from pixels to what networks take
//! - [`Bundle`], [`Manifest`]: the file
//! - [`Predictor`] decides
//!
//! Nothing here starts threads of its own or reads the clock, and a bundle can come as bytes, so that all of it runs in
//! a browser as well.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod bundle;
pub mod decode;
mod normalization;
mod predictor;
mod preprocess;
mod preprocessing;

pub use bundle::{Bundle, BundleError, Manifest, Provenance};
pub use decode::{
    DecodeError, FileKind, JpegDecoder, MAX_PIXELS, Orientation, Picture, PictureFormat, ReadError,
    decode, read_picture,
};
pub use normalization::{CHANNELS, Normalization, NormalizationTable};
pub use predictor::{DecideError, Predictor, PredictorError, images_at_once};
pub use preprocess::{Part, resize_and_crop, resize_part};
pub use preprocessing::{InvalidPreprocessing, Preprocessing};
