//! Mutators for formats that keep sums and sizes of what is in them: a file that is changed anywhere
//! else than these expect is refused before anything else of it is looked at. Every few times the file
//! itself is changed after all, as its sums and sizes are read from it too.

use std::io::{Cursor, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzzer_mutate;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Bytes of an archive that are unpacked: an input of some kilobytes may stand for gigabytes.
const MOST_BYTES: u64 = 1 << 20;
/// Entries of an archive that are unpacked.
const MOST_ENTRIES: usize = 64;
/// Bytes that one change may add.
const MOST_GROWTH: usize = 1 << 10;

/// Changes one of the entries of a ZIP archive, most often its pickle.
pub fn zip(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let changed = match seed % 4 {
        0 => None,
        _ => changed_zip(&data[..size], seed / 4),
    };
    changed_or_raw(changed, data, size, max_size)
}

/// Changes the tar file in a tar.gz archive.
pub fn tar_gz(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let changed = match seed % 8 {
        0 => None,
        _ => changed_tar_gz(&data[..size], seed / 8),
    };
    changed_or_raw(changed, data, size, max_size)
}

/// Changes a file of records, which keeps a whole number of them.
pub fn records(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    lengths: [usize; 2],
) -> usize {
    let size = fuzzer_mutate(data, size, max_size);
    let length = lengths[(seed / 8) as usize % 2];
    match size / length {
        count if count > 0 && !seed.is_multiple_of(8) => count * length,
        _ => size,
    }
}

fn changed_or_raw(
    changed: Option<Vec<u8>>,
    data: &mut [u8],
    size: usize,
    max_size: usize,
) -> usize {
    match changed {
        Some(changed) if changed.len() <= max_size => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

fn changed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.is_empty() {
        // Of nothing, most changes make nothing.
        bytes.push(0);
    }
    let size = bytes.len();
    let most = size + MOST_GROWTH;
    bytes.resize(most, 0);
    let size = fuzzer_mutate(&mut bytes, size, most);
    bytes.truncate(size);
    bytes
}

struct Entry {
    name: String,
    method: CompressionMethod,
    content: Vec<u8>,
}

fn changed_zip(bytes: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut entries = entries(bytes)?;
    let is_pickle = |entry: &Entry| entry.name.ends_with("data.pkl");
    let at = match entries.iter().position(is_pickle) {
        Some(pickle) if !seed.is_multiple_of(4) => pickle,
        _ => (seed / 4) as usize % entries.len().max(1),
    };
    let entry = entries.get_mut(at)?;
    match seed % 16 {
        0 => {
            let name = changed(std::mem::take(&mut entry.name).into_bytes());
            entry.name = String::from_utf8_lossy(&name).into_owned();
        }
        4 => {
            entry.method = match entry.method {
                CompressionMethod::Stored => CompressionMethod::Deflated,
                _ => CompressionMethod::Stored,
            };
        }
        _ => entry.content = changed(std::mem::take(&mut entry.content)),
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for Entry { name, method, content } in entries {
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file(name, options).ok()?;
        writer.write_all(&content).ok()?;
    }
    Some(writer.finish().ok()?.into_inner())
}

/// The entries of an archive, if all of them can be read.
fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).ok()?;
    if archive.len() > MOST_ENTRIES {
        return None;
    }
    let mut entries = Vec::new();
    for place in 0..archive.len() {
        let entry = archive.by_index(place).ok()?;
        let (name, method) = (entry.name().to_owned(), entry.compression());
        let mut content = Vec::new();
        entry.take(MOST_BYTES).read_to_end(&mut content).ok()?;
        entries.push(Entry { name, method, content });
    }
    Some(entries)
}

fn changed_tar_gz(bytes: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut tar = Vec::new();
    MultiGzDecoder::new(bytes).take(MOST_BYTES).read_to_end(&mut tar).ok()?;
    let mut tar = changed(tar);
    if !seed.is_multiple_of(8) {
        mend(&mut tar);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&tar).ok()?;
    encoder.finish().ok()
}

/// Bytes of a block of a tar file.
const BLOCK: usize = 512;

/// Puts the right sum into every header of a tar file.
fn mend(tar: &mut [u8]) {
    let mut at = 0_usize;
    while let Some(header) = tar.get_mut(at..at.saturating_add(BLOCK)) {
        at += BLOCK;
        // Two empty blocks are the end.
        if header.iter().all(|byte| *byte == 0) {
            continue;
        }
        // The sum is that of a header with blanks in its place.
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = String::from_utf8_lossy(&header[124..136]);
        let digits = digits.trim_matches(['\0', ' ']);
        let size = usize::from_str_radix(digits, 8).unwrap_or_default();
        at = at.saturating_add(size.next_multiple_of(BLOCK));
    }
}
