//! What may be in an archive, and what becomes of it.

use super::*;

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
        let found = std::mem::replace(&mut archive.checksum, Checksum::Md5("0")).digits();
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
