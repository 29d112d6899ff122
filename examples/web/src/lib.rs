//! A bundle in a browser: the same code as on a server, compiled to WebAssembly, on the backend flex.
//!
//! `examples/web/build.sh` builds it; its page is `examples/web/page/index.html`.

use burn::backend::Flex;
use isomax_bundle::{Bundle, Predictor};
use isomax_burn::Decision;
use isomax_models::Model;
use serde::Serialize;
use wasm_bindgen::prelude::*;

/// A classifier that also knows when it does not know.
#[wasm_bindgen]
pub struct Detector {
    bundle: Bundle,
    predictor: Predictor<Flex, Model<Flex>>,
}

/// What the page is told of a bundle.
#[derive(Serialize)]
struct Described<'a> {
    architecture: &'a str,
    classes: &'a [String],
    size: u32,
    threshold: f64,
    held_out_scores: &'a [f64],
}

/// What the page is told of an image.
#[derive(Serialize)]
struct Decided<'a> {
    class_name: &'a str,
    #[serde(flatten)]
    decision: Decision,
}

#[wasm_bindgen]
impl Detector {
    /// Reads the bytes of a bundle. As a promise, as all that asks a device: on another backend than flex, WebGPU has
    /// no values at once.
    ///
    /// # Errors
    ///
    /// What is wrong with them, as an `Error` of JavaScript.
    pub async fn open(bytes: Vec<u8>, name: String) -> Result<Detector, JsError> {
        let bundle = Bundle::from_bytes(bytes, name)?;
        let predictor = Predictor::from_bundle_async(&bundle, &Default::default()).await?;
        Ok(Self { bundle, predictor })
    }

    /// The network, its classes, and what it was calibrated on, as JSON.
    ///
    /// # Errors
    ///
    /// None that are known.
    pub fn describe(&self) -> Result<String, JsError> {
        let manifest = self.bundle.manifest();
        let threshold = self.predictor.detector().threshold();
        Ok(serde_json::to_string(&Described {
            architecture: &manifest.architecture,
            classes: &manifest.classes,
            size: manifest.preprocessing.size,
            threshold: threshold.value(),
            held_out_scores: threshold.held_out_scores(),
        })?)
    }

    /// Decides on the bytes of an image file, as JSON.
    ///
    /// # Errors
    ///
    /// Why there is no decision, as an `Error` of JavaScript.
    pub async fn decide(&self, file: Vec<u8>) -> Result<String, JsError> {
        let decision = self.predictor.decide_file_async(&file).await?;
        let class_name = self.bundle.manifest().classes.get(decision.class);
        Ok(serde_json::to_string(&Decided {
            class_name: class_name.map(String::as_str).unwrap_or_default(),
            decision,
        })?)
    }
}
