//! From a server to a file whose sum is right.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use ureq::Agent;

use super::{BUFFER, FetchError, FetchOptions, Limits, Progress, failed, plain_or_absent, sum_of};
use crate::data::archives::Archive;

/// Downloads a file, or what `.part` lacks of it, and compares its sum.
pub(super) fn download(
    limits: &Limits,
    archive: &Archive,
    file: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), FetchError> {
    let part = file.with_file_name(format!("{}.part", archive.file));
    plain_or_absent(&part)?;
    let limit = archive.bytes.unwrap_or(limits.download);
    let start = match fs::metadata(&part) {
        // More than there can be is no beginning.
        Ok(metadata) => Some(metadata.len()).filter(|bytes| *bytes <= limit).unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(FetchError::Io { path: part, source }),
    };
    if archive.bytes != Some(start) {
        receive(&options.url(archive), &part, start, limit, archive.bytes, progress)?;
    }
    let found = sum_of(archive.checksum, &part, progress)?;
    if found != archive.checksum.digits() {
        fs::remove_file(&part).map_err(failed(&part))?;
        let (path, expected) = (file.to_owned(), archive.checksum);
        return Err(FetchError::Checksum { path, expected, found });
    }
    let written = File::options().append(true).open(&part);
    written.and_then(|part| part.sync_all()).map_err(failed(&part))?;
    fs::rename(&part, file).map_err(failed(file))
}

/// Downloads a file from byte `start` on, behind what `part` holds, or from its beginning if the
/// server has no parts.
fn receive(
    url: &str,
    part: &Path,
    start: u64,
    limit: u64,
    bytes: Option<u64>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), FetchError> {
    let broken =
        |source: ureq::Error| FetchError::Http { url: url.to_owned(), source: source.into() };
    let too_large = || FetchError::TooLarge { path: part.to_owned(), limit };
    // Compressed once more on its way, a file would have other lengths.
    let mut request = agent(url).get(url).header("Accept-Encoding", "identity");
    if start > 0 {
        request = request.header("Range", format!("bytes={start}-"));
    }
    let mut response = request.call().map_err(broken)?;
    let start = match response.status().as_u16() {
        200 => 0,
        206 if start > 0 => {
            let range = response.headers().get("Content-Range");
            let range = range.and_then(|range| range.to_str().ok()).unwrap_or_default();
            if range_start(range) != Some(start) {
                fs::remove_file(part).map_err(failed(part))?;
                let (url, found) = (url.to_owned(), range.to_owned());
                return Err(FetchError::Range { url, expected: start, found });
            }
            start
        }
        // The server has nothing behind what is there; the sum tells whether that is all.
        416 if start > 0 && bytes.is_none() => return Ok(()),
        // It is another file, or the part is longer than the file: from the beginning.
        416 if start > 0 => {
            fs::remove_file(part).map_err(failed(part))?;
            return receive(url, part, 0, limit, bytes, progress);
        }
        status => return Err(FetchError::Status { url: url.to_owned(), status }),
    };
    let declared = response.body().content_length().map(|length| start.saturating_add(length));
    let total = declared.or(bytes);
    if total.is_some_and(|total| total > limit) {
        return Err(too_large());
    }
    // A page that says why there is no file must not take the place of what has come of it.
    if let (Some(found), Some(expected)) = (declared, bytes)
        && found != expected
    {
        return Err(FetchError::Length { url: url.to_owned(), expected, found });
    }
    let mut options = File::options();
    options.create(true).write(true).append(start > 0).truncate(start == 0);
    let mut file = options.open(part).map_err(failed(part))?;
    let truncated = |expected, found| {
        let path = part.to_owned();
        FetchError::Truncated { path, expected, found }
    };
    let mut reader = response.body_mut().as_reader();
    let (mut buffer, mut done) = (vec![0; BUFFER], start);
    loop {
        progress(Progress::Download { done, total });
        let count = match (reader.read(&mut buffer), total) {
            (Ok(0), _) => break,
            (Ok(count), _) => count,
            (Err(error), Some(total)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(truncated(total, done));
            }
            (Err(error), _) => return Err(broken(error.into())),
        };
        done += count as u64;
        if done > limit {
            drop(file);
            fs::remove_file(part).map_err(failed(part))?;
            return Err(too_large());
        }
        file.write_all(&buffer[..count]).map_err(failed(part))?;
    }
    match bytes {
        // Of a body without a length, the end of the connection is the end.
        Some(bytes) if declared.is_none() && done < bytes => Err(truncated(bytes, done)),
        _ => Ok(()),
    }
}

fn agent(url: &str) -> Agent {
    const CONNECT: Duration = Duration::from_secs(30);
    const SILENCE: Duration = Duration::from_secs(60);
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("isomax-bench/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(SILENCE));
    // No proxy leads to a mirror on this machine.
    let local = |host: &str| ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    if url.parse::<ureq::http::Uri>().is_ok_and(|url| url.host().is_some_and(local)) {
        config = config.proxy(None);
    }
    config.build().new_agent()
}

/// The first byte of a part, as in `bytes 5-9/10`.
fn range_start(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}
