use std::path::Path;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::data::archives::Archive;
use crate::data::fetch::{FetchError, FetchOptions, Fetched, Progress, fetch};

/// Fetches an archive, as [`fetch`] does: says on standard error what it is, how large and on which terms,
/// and shows progress.
///
/// # Errors
///
/// [`FetchError`].
pub fn fetch_with_bar(
    archive: &Archive,
    data_dir: &Path,
    options: &FetchOptions,
) -> Result<Fetched, FetchError> {
    let Archive { name, what, terms, .. } = archive;
    let size = archive.bytes.map(|bytes| format!("; {}", HumanBytes(bytes))).unwrap_or_default();
    eprintln!("{name}: {what}{size}; from {}; {terms}", options.url(archive));
    let bar = ProgressBar::new(0);
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(archive.file);
    let fetched = fetch(archive, data_dir, options, &mut |at| show(&bar, at));
    bar.finish_and_clear();
    fetched
}

fn show(bar: &ProgressBar, at: Progress) {
    match at {
        Progress::Download { done, total } => {
            bar.set_length(total.unwrap_or(done));
            bar.set_position(done);
        }
        Progress::Check { done, total } => {
            bar.set_message("checking");
            bar.set_length(total);
            bar.set_position(done);
        }
        Progress::Unpack { files, bytes } => {
            bar.set_message(format!("unpacking, {files} files"));
            bar.set_length(bytes);
            bar.set_position(bytes);
        }
    }
}
