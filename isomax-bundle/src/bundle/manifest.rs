use std::collections::BTreeMap;

use isomax_burn::posthoc::PostHocHeader;
use serde::{Deserialize, Serialize};

use crate::Preprocessing;

/// What a [`Bundle`](super::Bundle) says of itself. See there for an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the network: of an [`Architecture`](isomax_models::Architecture), or of one of your own.
    pub architecture: String,
    /// Name of its head, such as `isomax+`.
    pub head: String,
    /// Names of the classes, in the order of the logits.
    pub classes: Vec<String>,
    /// What is done to images.
    pub preprocessing: Preprocessing,
    /// The detector, as its JSON, but for the tensors of a post-hoc one; none if there were no held-out images to fit one on.
    pub detector: Option<serde_json::Value>,
    /// Where all this comes from.
    pub provenance: Provenance,
}

impl Manifest {
    /// Whether the detector is one that was fitted on features, whose tensors are in the file beside the weights.
    pub fn has_posthoc(&self) -> bool {
        self.detector.as_ref().is_some_and(PostHocHeader::is_named_in)
    }
}

/// Where a [`Bundle`](super::Bundle) comes from: for people, and for those who look for the cause of a mistake.
/// Nothing is decided by it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Provenance {
    /// When the bundle was made, as RFC 3339 has it.
    pub created: Option<String>,
    /// Versions of programs, such as `isomax-bench` and `burn`.
    pub versions: BTreeMap<String, String>,
    /// Name of the set that the network was trained on, and what kind of copy it was.
    pub data: Option<String>,
    /// Digest of its images.
    pub data_digest: Option<String>,
    /// How it was trained.
    pub recipe: BTreeMap<String, serde_json::Value>,
    /// Seed of the training.
    pub seed: Option<u64>,
    /// Accuracy on the test images, in [0, 1].
    pub accuracy: Option<f64>,
    /// Anything else.
    pub notes: Option<String>,
}
