//! The tensors of a network, by name.

pub(super) fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// A tensor of a network.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub name: String,
    /// Whether it belongs to a SoftMax head, the affine layer that PyTorch gives many names.
    pub in_softmax: bool,
}
