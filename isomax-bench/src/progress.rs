//! Bars on standard error for steps that take long.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts things of a unit, shown when it gets a length; off a terminal it is silent.
pub fn bar(unit: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit} {{eta}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

/// A bar that counts bytes.
pub fn bytes_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
