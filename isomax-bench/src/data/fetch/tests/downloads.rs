//! What a server may do, and what then lies on the disk.

use super::*;

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
fn a_part_that_the_server_has_nothing_behind_is_begun_anew() -> Tested {
    let content = content();
    let mut archive = archive(&content, Unpack::No);
    archive.bytes = Some(200_000);
    let data = with_part(&content[..150_000])?;
    // What the server has now is shorter than the part.
    let server = Server::new(&content[..100], vec![Reply::Part, Reply::Part])?;
    let error = server.fetch(&archive, data.path()).expect_err("another file");
    assert!(matches!(error, FetchError::Length { .. }), "{error}");
    assert_eq!(server.ranges(), [Some("bytes=150000-".to_owned()), None]);
    assert!(!data.path().join("held/test.bin.part").exists());
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
    let expected = archive.checksum.to_string();
    for part in ["held/test.bin", &expected, &hex(Md5::new_with_prefix(&content))] {
        assert!(error.contains(part), "{error}");
    }
    assert!(names(data.path().join("held"))?.is_empty());
    Ok(())
}

#[test]
fn sums_may_be_of_another_kind() -> Tested {
    let (data, content) = (tempfile::tempdir()?, content());
    let sha256 = |content: &[u8]| Checksum::Sha256(hex(Sha256::new_with_prefix(content)).leak());
    let wrong = Archive { checksum: sha256(b"other"), ..archive(&content, Unpack::No) };
    let server = Server::new(&content, vec![Reply::Part, Reply::Part])?;
    let error = server.fetch(&wrong, data.path()).err().ok_or("fetched")?.to_string();
    assert!(error.contains("the SHA-256 sum ") && error.contains(" came"), "{error}");
    assert!(names(data.path().join("held"))?.is_empty());
    let archive = Archive { checksum: sha256(&content), ..wrong };
    let path = server.fetch(&archive, data.path())?.path;
    assert!(fs::read(&path)? == content);
    assert_eq!(verify(&archive, data.path())?, Verified::Matches { path });
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

/// A holder removes the file of its lock: whoever had opened it by then must not take it for the lock.
#[test]
fn two_never_hold_the_lock() -> Tested {
    let data = tempfile::tempdir()?;
    let file = data.path().join("test.bin");
    drop(Lock::of(Lock::open(&file)?, &file)?.ok_or("nobody else holds it")?);
    for next_is_there in [false, true] {
        let holder = Lock::take(&file)?;
        let opened = Lock::open(&file)?;
        drop(holder);
        let next = if next_is_there { Some(Lock::take(&file)?) } else { None };
        assert!(Lock::of(opened, &file)?.is_none());
        drop(next);
    }
    Lock::take(&file)?;
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
    let expected = archive.checksum.digits().to_owned();
    let found = hex(Md5::new_with_prefix(&flipped));
    let different = Verified::Different { path: path.clone(), expected, found };
    assert_eq!(verify(&archive, data.path())?, different);
    // It may be someone's own file.
    assert!(matches!(fetch_offline(&LIMITS, &archive, &data), Err(FetchError::Occupied { .. })));
    assert!(fs::read(&path)? == flipped);
    Ok(())
}
