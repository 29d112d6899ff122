//! How heads are printed: one line with the sizes and the temperature, not the parameters.

use burn::module::{Content, DisplaySettings};
use burn::tensor::backend::Backend;

use super::OodHead;

pub(super) fn on_one_line() -> Option<DisplaySettings> {
    DisplaySettings::new().with_new_line_after_attribute(false).optional()
}

pub(super) fn sizes<B: Backend>(head: &impl OodHead<B>, content: Content) -> Option<Content> {
    content
        .add("num_features", &head.num_features())
        .add("num_classes", &head.num_classes())
        .add("temperature", &f64::from(head.temperature()))
        .optional()
}
