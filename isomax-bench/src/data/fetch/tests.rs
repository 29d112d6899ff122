use super::marker::MARKER;
use super::*;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::EntryType;
use tempfile::TempDir;

mod downloads;
mod unpacking;

type Tested = Result<(), Box<dyn Error>>;

/// How the server answers a request.
enum Reply {
    /// With the part that is asked for.
    Part,
    /// With the whole file, whatever is asked for.
    Whole,
    /// With another part.
    OtherPart,
    /// With the whole file, of which it sends so many bytes.
    Cut(usize),
    /// With so many bytes, and without saying how many there are.
    Undeclared(usize),
    /// With a status alone.
    Status(u16),
}

/// A server on this machine that answers one request after the other, until it has no replies left.
struct Server {
    options: FetchOptions,
    ranges: Receiver<Option<String>>,
}

impl Server {
    fn new(content: &[u8], replies: Vec<Reply>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mirror = Some(format!("http://{}/files/", listener.local_addr()?));
        let (sender, ranges) = mpsc::channel();
        let content = content.to_vec();
        thread::spawn(move || {
            for reply in replies {
                let answered =
                    listener.accept().and_then(|(it, _)| answer(&it, &content, &reply, &sender));
                if answered.is_err() {
                    return;
                }
            }
        });
        Ok(Self { options: FetchOptions { mirror }, ranges })
    }

    fn fetch(&self, archive: &Archive, data_dir: &Path) -> Result<Fetched, FetchError> {
        fetch(archive, data_dir, &self.options, &mut |_| ())
    }

    /// What the requests so far asked for.
    fn ranges(&self) -> Vec<Option<String>> {
        self.ranges.try_iter().collect()
    }
}

fn answer(
    mut stream: &TcpStream,
    content: &[u8],
    reply: &Reply,
    ranges: &Sender<Option<String>>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut range = None;
    for (index, line) in BufReader::new(stream).lines().enumerate() {
        let line = line?.to_lowercase();
        if index == 0 {
            assert_eq!(line, "get /files/test.bin http/1.1");
        }
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("range: ") {
            range = Some(value.to_owned());
        }
    }
    let from = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    let from: Option<usize> = from.and_then(|from| from.parse().ok());
    // Nobody listens when the test has ended.
    let _ = ranges.send(range.clone());
    let len = content.len();
    let (status, start, end) = match (reply, from) {
        (Reply::Part, Some(from)) if from >= len => (416, len, len),
        (Reply::Part | Reply::OtherPart, Some(from)) => (206, from, len),
        (Reply::Cut(end) | Reply::Undeclared(end), _) => (200, 0, *end),
        (Reply::Status(status), _) => (*status, len, len),
        _ => (200, 0, len),
    };
    let mut head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
    if !matches!(reply, Reply::Undeclared(_)) {
        head += &format!("Content-Length: {}\r\n", len - start);
    }
    if status == 206 {
        let named = start + usize::from(matches!(reply, Reply::OtherPart));
        head += &format!("Content-Range: bytes {named}-{}/{len}\r\n", len - 1);
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&content[start..end])
}

fn content() -> Vec<u8> {
    (0..200_000_u32).map(|i| (i % 251) as u8).collect()
}

fn archive(content: &[u8], unpack: Unpack) -> Archive {
    Archive {
        name: "test",
        file: "test.bin",
        url: "http://127.0.0.1:1/nothing",
        checksum: Checksum::Md5(hex(Md5::new_with_prefix(content)).leak()),
        bytes: None,
        unpack,
        folder: "held",
        what: "",
        terms: "",
    }
}

/// The names in a folder, hidden ones too.
fn names(folder: impl AsRef<Path>) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let mut names: Vec<String> = fs::read_dir(folder)?.map(name).collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

/// A data folder that holds the first bytes of the file.
fn with_part(part: &[u8]) -> io::Result<TempDir> {
    let data = tempfile::tempdir()?;
    fs::create_dir(data.path().join("held"))?;
    fs::write(data.path().join("held/test.bin.part"), part)?;
    Ok(data)
}

/// An archive of entries as they are named, however that is.
fn tar_gz(entries: &[(&str, EntryType, &str)]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, kind, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        if matches!(kind, EntryType::Link | EntryType::Symlink) {
            header.set_link_name_literal("held/a.txt")?;
        }
        header.set_cksum();
        tar.append(&header, text.as_bytes())?;
    }
    tar.into_inner()?.finish()
}

/// A data folder in which an archive already lies.
fn with_archive(content: &[u8]) -> io::Result<TempDir> {
    let data = tempfile::tempdir()?;
    fs::write(data.path().join("test.bin"), content)?;
    Ok(data)
}

fn fetch_offline(
    limits: &Limits,
    archive: &Archive,
    data: &TempDir,
) -> Result<Fetched, FetchError> {
    fetch_within(limits, archive, data.path(), &FetchOptions::default(), &mut |_| ())
}
