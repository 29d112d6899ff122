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
        md5: hex(Md5::new_with_prefix(content)).leak(),
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

#[test]
fn a_file_is_fetched_once() -> Tested {
    let (data, content) = (tempfile::tempdir()?, content());
    let archive = archive(&content, Unpack::No);
    let server = Server::new(&content, vec![Reply::Part])?;
    let mut steps = Vec::new();
    let mut progress = |step| steps.push(step);
    let fetched = fetch(&archive, data.path(), &server.options, &mut progress)?;
    let path = data.path().join("held/test.bin");
    assert_eq!(fetched, Fetched { path: path.clone(), already_there: false });
    assert!(fs::read(&path)? == content);
    assert_eq!(names(data.path().join("held"))?, ["test.bin"]);
    assert_eq!(server.ranges(), [None]);
    assert!(steps.contains(&Progress::Download { done: 200_000, total: Some(200_000) }));
    assert_eq!(steps.last(), Some(&Progress::Check { done: 200_000, total: 200_000 }));
    // The server has no further reply.
    let again = server.fetch(&archive, data.path())?;
    assert_eq!(again, Fetched { path, already_there: true });
    Ok(())
}

#[test]
fn a_download_goes_on_from_where_it_broke_off() -> Tested {
    let content = content();
    let archive = archive(&content, Unpack::No);
    let data = with_part(&content[..100_000])?;
    let server = Server::new(&content, vec![Reply::Part])?;
    let fetched = server.fetch(&archive, data.path())?;
    assert_eq!(server.ranges(), [Some("bytes=100000-".to_owned())]);
    assert!(fs::read(fetched.path)? == content);
    Ok(())
}

#[test]
fn a_server_without_parts_sends_all_of_it_again() -> Tested {
    let content = content();
    let archive = archive(&content, Unpack::No);
    let data = with_part(&[9; 300])?;
    let server = Server::new(&content, vec![Reply::Whole])?;
    let fetched = server.fetch(&archive, data.path())?;
    assert_eq!(server.ranges(), [Some("bytes=300-".to_owned())]);
    assert!(fs::read(fetched.path)? == content);
    Ok(())
}

#[test]
fn a_complete_part_is_only_verified() -> Tested {
    let content = content();
    let mut archive = archive(&content, Unpack::No);
    let data = with_part(&content)?;
    let server = Server::new(&content, vec![Reply::Part])?;
    assert!(fs::read(server.fetch(&archive, data.path())?.path)? == content);
    assert_eq!(server.ranges(), [Some("bytes=200000-".to_owned())]);
    // Of a known size, without a request.
    archive.bytes = Some(200_000);
    let data = with_part(&content)?;
    assert!(fs::read(fetch_offline(&LIMITS, &archive, &data)?.path)? == content);
    // Longer than the file.
    let data = with_part(&[content.as_slice(), &[0]].concat())?;
    let server = Server::new(&content, vec![Reply::Part])?;
    assert!(fs::read(server.fetch(&archive, data.path())?.path)? == content);
    assert_eq!(server.ranges(), [None]);
    Ok(())
}

#[test]
fn another_part_than_asked_for_is_refused() -> Tested {
    let content = content();
    let archive = archive(&content, Unpack::No);
    let data = with_part(&content[..100_000])?;
    let server = Server::new(&content, vec![Reply::OtherPart])?;
    let error = server.fetch(&archive, data.path()).err().ok_or("fetched")?;
    assert!(matches!(error, FetchError::Range { expected: 100_000, .. }), "{error}");
    assert!(error.to_string().ends_with("sends 'bytes 100001-199999/200000'"), "{error}");
    assert!(names(data.path().join("held"))?.is_empty());
    Ok(())
}

#[test]
fn a_wrong_sum_leaves_nothing() -> Tested {
    let (data, content) = (tempfile::tempdir()?, content());
    let archive = archive(b"something else", Unpack::No);
    let server = Server::new(&content, vec![Reply::Part])?;
    let error = server.fetch(&archive, data.path()).err().ok_or("fetched")?.to_string();
    for part in ["held/test.bin", archive.md5, &hex(Md5::new_with_prefix(&content))] {
        assert!(error.contains(part), "{error}");
    }
    assert!(names(data.path().join("held"))?.is_empty());
    Ok(())
}

#[test]
fn a_broken_connection_keeps_what_has_come() -> Tested {
    let content = content();
    for (first, bytes) in [(Reply::Cut(50_000), None), (Reply::Undeclared(50_000), Some(200_000))] {
        let data = tempfile::tempdir()?;
        let archive = Archive { bytes, ..archive(&content, Unpack::No) };
        let server = Server::new(&content, vec![first, Reply::Part])?;
        let error = server.fetch(&archive, data.path()).err().ok_or("fetched")?;
        let truncated =
            matches!(error, FetchError::Truncated { expected: 200_000, found: 50_000, .. });
        assert!(truncated, "{error}");
        assert_eq!(names(data.path().join("held"))?, ["test.bin.part"]);
        let fetched = server.fetch(&archive, data.path())?;
        assert_eq!(server.ranges(), [None, Some("bytes=50000-".to_owned())]);
        assert!(fs::read(fetched.path)? == content);
    }
    Ok(())
}

#[test]
fn refusals_name_the_address() -> Tested {
    let (data, content) = (tempfile::tempdir()?, content());
    let archive = archive(&content, Unpack::No);
    let server = Server::new(&content, vec![Reply::Status(404)])?;
    let error = server.fetch(&archive, data.path()).err().ok_or("fetched")?;
    assert!(matches!(error, FetchError::Status { status: 404, .. }), "{error}");
    assert!(error.to_string().contains("/files/test.bin: "), "{error}");
    // The port of no server.
    let error = fetch_offline(&LIMITS, &archive, &data).err().ok_or("fetched")?;
    assert!(matches!(error, FetchError::Http { .. }), "{error}");
    assert!(error.to_string().starts_with("http://127.0.0.1:1/nothing: "), "{error}");
    assert!(names(data.path().join("held"))?.is_empty());
    Ok(())
}

#[test]
fn downloads_are_bounded() -> Tested {
    let content = content();
    for (reply, bytes) in [
        (Reply::Part, None),
        (Reply::Undeclared(200_000), None),
        (Reply::Part, Some(100_000)),
        (Reply::Undeclared(200_000), Some(100_000)),
    ] {
        let data = tempfile::tempdir()?;
        let archive = Archive { bytes, ..archive(&content, Unpack::No) };
        let server = Server::new(&content, vec![reply])?;
        let limits = Limits { download: 100_000, ..LIMITS };
        let fetched = fetch_within(&limits, &archive, data.path(), &server.options, &mut |_| ());
        assert!(matches!(fetched, Err(FetchError::TooLarge { limit: 100_000, .. })));
        assert!(names(data.path().join("held"))?.is_empty());
    }
    Ok(())
}

#[test]
fn folders_that_cannot_be_written_are_named() -> Tested {
    let data = tempfile::tempdir()?;
    fs::write(data.path().join("held"), "a file")?;
    let error = fetch_offline(&LIMITS, &archive(b"", Unpack::No), &data).err().ok_or("fetched")?;
    assert!(matches!(&error, FetchError::Io { path, .. } if path.starts_with(&data)), "{error}");
    Ok(())
}

#[test]
fn one_process_fetches_a_file() -> Tested {
    let data = tempfile::tempdir()?;
    let archive = archive(b"", Unpack::No);
    let file = archive.download_path(data.path());
    create_folder_of(&file)?;
    let lock = Lock::take(&file)?;
    assert!(matches!(fetch_offline(&LIMITS, &archive, &data), Err(FetchError::Busy { .. })));
    drop(lock);
    assert!(names(data.path().join("held"))?.is_empty());
    assert!(matches!(fetch_offline(&LIMITS, &archive, &data), Err(FetchError::Http { .. })));
    Ok(())
}

#[test]
fn flipped_bits_are_found() -> Tested {
    let (data, content) = (tempfile::tempdir()?, content());
    let archive = archive(&content, Unpack::No);
    assert_eq!(verify(&archive, data.path())?, Verified::Absent);
    let path = archive.path(data.path());
    create_folder_of(&path)?;
    fs::write(&path, &content)?;
    assert_eq!(verify(&archive, data.path())?, Verified::Matches { path: path.clone() });
    let mut flipped = content;
    flipped[123_456] ^= 1;
    fs::write(&path, &flipped)?;
    let (expected, found) = (archive.md5.to_owned(), hex(Md5::new_with_prefix(&flipped)));
    let different = Verified::Different { path: path.clone(), expected, found };
    assert_eq!(verify(&archive, data.path())?, different);
    // It may be someone's own file.
    assert!(matches!(fetch_offline(&LIMITS, &archive, &data), Err(FetchError::Occupied { .. })));
    assert!(fs::read(&path)? == flipped);
    Ok(())
}

#[test]
fn archives_are_unpacked_and_removed() -> Tested {
    let content = tar_gz(&[
        ("held/", EntryType::Directory, ""),
        ("held/deep/a.txt", EntryType::Regular, "abc"),
        ("./held/b.txt", EntryType::Regular, "de"),
    ])?;
    for (unpack, below) in [(Unpack::Folder, ""), (Unpack::All, "held")] {
        let data = tempfile::tempdir()?;
        let mut archive = archive(&content, unpack);
        let server = Server::new(&content, vec![Reply::Part])?;
        let path = data.path().join("held");
        // What an earlier attempt left.
        fs::create_dir_all(data.path().join(".held.unpacking/old"))?;
        let fetched = server.fetch(&archive, data.path())?;
        assert_eq!(fetched, Fetched { path: path.clone(), already_there: false });
        assert_eq!(fs::read(path.join(below).join("deep/a.txt"))?, b"abc");
        assert_eq!(fs::read(path.join(below).join("b.txt"))?, b"de");
        assert_eq!(names(data.path())?, ["held"]);
        assert!(server.fetch(&archive, data.path())?.already_there);
        assert_eq!(verify(&archive, data.path())?, Verified::Unpacked { path: path.clone() });
        // Another edition of it.
        let found = std::mem::replace(&mut archive.md5, "0");
        let (expected, found) = ("0".to_owned(), found.to_owned());
        let different = Verified::Different { path: path.clone(), expected, found };
        assert_eq!(verify(&archive, data.path())?, different);
        // A folder that someone made.
        fs::remove_file(path.join(MARKER))?;
        assert_eq!(verify(&archive, data.path())?, Verified::Unmarked { path });
        let fetched = server.fetch(&archive, data.path());
        assert!(matches!(fetched, Err(FetchError::Occupied { .. })));
    }
    Ok(())
}

#[test]
fn archives_that_are_there_are_unpacked_and_kept() -> Tested {
    let content = tar_gz(&[("held/a.txt", EntryType::Regular, "abc")])?;
    let data = with_archive(&content)?;
    let archive = archive(&content, Unpack::Folder);
    let path = data.path().join("test.bin");
    assert_eq!(verify(&archive, data.path())?, Verified::Matches { path });
    let fetched = fetch_offline(&LIMITS, &archive, &data)?;
    assert_eq!(fs::read(fetched.path.join("a.txt"))?, b"abc");
    assert_eq!(names(data.path())?, ["held", "test.bin"]);
    Ok(())
}

#[test]
fn entries_that_lead_elsewhere_are_refused() -> Tested {
    for (name, kind) in [
        ("../evil", EntryType::Regular),
        ("held/../../evil", EntryType::Directory),
        ("/etc/evil", EntryType::Regular),
        ("held/link", EntryType::Symlink),
        ("held/link", EntryType::Link),
        ("held/pipe", EntryType::Fifo),
        ("held/device", EntryType::Char),
    ] {
        let content = tar_gz(&[("held/a.txt", EntryType::Regular, "abc"), (name, kind, "")])?;
        let data = with_archive(&content)?;
        let fetched = fetch_offline(&LIMITS, &archive(&content, Unpack::Folder), &data);
        let error = fetched.err().ok_or(name)?;
        assert!(
            matches!(&error, FetchError::UnsafeEntry { entry, .. } if entry == name),
            "{error}"
        );
        assert_eq!(names(data.path())?, ["test.bin"]);
    }
    assert!(!Path::new("/etc/evil").exists());
    Ok(())
}

#[test]
fn archives_are_bounded() -> Tested {
    let content = tar_gz(&[
        ("held/a.txt", EntryType::Regular, "abc"),
        ("held/b.txt", EntryType::Regular, "de"),
    ])?;
    let archive = archive(&content, Unpack::Folder);
    let data = with_archive(&content)?;
    for limits in [
        Limits { entries: 1, ..LIMITS },
        Limits { file: 2, ..LIMITS },
        Limits { total: 4, ..LIMITS },
    ] {
        let error = fetch_offline(&limits, &archive, &data).err().ok_or("fetched")?.to_string();
        assert!(error.contains("test.bin: expected at most "), "{error}");
        assert_eq!(names(data.path())?, ["test.bin"]);
    }
    fetch_offline(&Limits { entries: 2, file: 3, total: 5, ..LIMITS }, &archive, &data)?;
    Ok(())
}

#[test]
fn broken_archives_leave_nothing() -> Tested {
    let text: String = (0..20_000).map(|i| i.to_string()).collect();
    let whole = tar_gz(&[("held/a.txt", EntryType::Regular, &text)])?;
    let content = &whole[..whole.len() / 2];
    let data = with_archive(content)?;
    let fetched = fetch_offline(&LIMITS, &archive(content, Unpack::Folder), &data);
    assert!(matches!(fetched, Err(FetchError::Unpack { .. })));
    assert_eq!(names(data.path())?, ["test.bin"]);
    // Whole, but without the folder.
    let content = tar_gz(&[("other/a.txt", EntryType::Regular, "abc")])?;
    let data = with_archive(&content)?;
    let fetched = fetch_offline(&LIMITS, &archive(&content, Unpack::Folder), &data);
    assert!(matches!(fetched, Err(FetchError::MissingFolder { expected: "held", .. })));
    assert_eq!(names(data.path())?, ["test.bin"]);
    Ok(())
}

#[test]
fn damage_after_unpacking_is_found() -> Tested {
    let content = tar_gz(&[
        ("held/", EntryType::Directory, ""),
        ("held/deep/a.txt", EntryType::Regular, "abc"),
        ("held/b.txt", EntryType::Regular, "de"),
    ])?;
    let data = tempfile::tempdir()?;
    let archive = archive(&content, Unpack::Folder);
    let server = Server::new(&content, vec![Reply::Part])?;
    let path = server.fetch(&archive, data.path())?.path.join("deep/a.txt");
    for damaged in [Some("abd"), Some("ab"), None] {
        match damaged {
            Some(text) => fs::write(&path, text)?,
            None => fs::remove_file(&path)?,
        }
        let found = verify(&archive, data.path())?;
        let is_named = matches!(&found, Verified::Different { path: named, .. } if *named == path);
        assert!(is_named, "{damaged:?}: {found:?}");
    }
    Ok(())
}

#[test]
fn a_page_in_place_of_the_file_does_no_harm() -> Tested {
    let content = content();
    let mut archive = archive(&content, Unpack::No);
    archive.bytes = Some(200_000);
    let data = with_part(&content[..100_000])?;
    let server = Server::new(b"<html>Log in first</html>", vec![Reply::Whole])?;
    let error = server.fetch(&archive, data.path()).err().ok_or("fetched")?;
    assert!(matches!(error, FetchError::Length { expected: 200_000, found: 25, .. }), "{error}");
    let server = Server::new(&content, vec![Reply::Part])?;
    assert!(fs::read(server.fetch(&archive, data.path())?.path)? == content);
    assert_eq!(server.ranges(), [Some("bytes=100000-".to_owned())]);
    Ok(())
}

#[cfg(unix)]
#[test]
fn links_lead_to_no_file_of_someone_else() -> Tested {
    let content = content();
    let archive = archive(&content, Unpack::No);
    for name in ["test.bin.part", ".test.bin.lock"] {
        let data = tempfile::tempdir()?;
        let mine = data.path().join("mine");
        fs::write(&mine, "keep me")?;
        fs::create_dir(data.path().join("held"))?;
        std::os::unix::fs::symlink(&mine, data.path().join("held").join(name))?;
        let server = Server::new(&content, vec![Reply::Part])?;
        let error = server.fetch(&archive, data.path()).err().ok_or("fetched")?;
        assert!(matches!(error, FetchError::Occupied { .. }), "{name}: {error}");
        assert_eq!(fs::read(&mine)?, b"keep me");
    }
    Ok(())
}
