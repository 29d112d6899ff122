use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use crate::progress::Progress;

/// A bar on standard error that counts things of a unit, such as `images`; off a terminal it is
/// silent.
pub fn bar(unit: &str) -> Arc<dyn Progress> {
    let bar = ProgressBar::new(0);
    let template = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit} {{eta}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    Arc::new(Bar(bar))
}

struct Bar(ProgressBar);

impl Progress for Bar {
    fn start(&self, total: u64, what: &str) {
        self.0.reset();
        self.0.set_length(total);
        self.0.set_message(what.to_owned());
    }

    fn advance(&self, count: u64) {
        self.0.inc(count);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
