use serde::{Deserialize, Serialize};

/// Which kind of sample a curve counts as positive. See [`RocCurve`](super::RocCurve) for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Positive {
    /// In-distribution samples are positive and a high score flags them (the IsoMax papers).
    InDistribution,
    /// OOD samples are positive and a low score flags them (OpenOOD, pytorch-ood).
    OutOfDistribution,
}
