//! Archives that were fetched and are unpacked: whatever is in them, nothing is written anywhere but
//! into the folder of the set, and that is there whole or not at all.

#![no_main]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use isomax_bench::data::archives::{Archive, Checksum, Unpack};
use isomax_bench::data::fetch::{FetchOptions, Verified, fetch, verify};
use isomax_fuzz::{mutate, scratch};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use md5::{Digest, Md5};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if !bytes.starts_with(b"\x1f\x8b") {
        return Corpus::Reject;
    }
    let md5 = sum_of(bytes);
    for unpack in [Unpack::Folder, Unpack::All] {
        check(bytes, md5, unpack);
    }
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::tar_gz(data, size, max_size, seed)
});

/// The file of the archive, and the folder that it is unpacked to.
const FILE: &str = "set.tar.gz";
const FOLDER: &str = "set";

fn check(bytes: &[u8], md5: &'static str, unpack: Unpack) {
    let root = scratch::path("fetch");
    match fs::remove_dir_all(&root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
    // It lies where a download would go, with the right sum: nothing is asked of any server.
    scratch::write(&format!("fetch/data/{FILE}"), bytes);
    let data = root.join("data");
    let archive = Archive {
        name: "set",
        file: FILE,
        url: "http://127.0.0.1:9/set.tar.gz",
        checksum: Checksum::Md5(md5),
        bytes: None,
        unpack,
        folder: FOLDER,
        what: "anything",
        terms: "none",
    };
    let options = FetchOptions::default();
    let fetched = fetch(&archive, &data, &options, &mut |_| ());
    assert_eq!(names(&root), ["data"], "something beside the data folder");
    let Ok(fetched) = fetched else {
        assert_eq!(names(&data), [FILE], "something is left of what could not be unpacked");
        return;
    };
    let path = data.join(FOLDER);
    assert!(!fetched.already_there && fetched.path == path);
    assert_eq!(names(&data), [FOLDER, FILE], "something beside the folder of the set");
    // The marker is the last file that is written: one of this name in the archive is not what it was.
    let marker = fs::read_to_string(path.join(".fetched.json")).expect("a marker");
    if marker.contains("\".fetched.json\"") {
        return;
    }
    let verified = verify(&archive, &data).expect("what was unpacked can be read");
    assert_eq!(verified, Verified::Unpacked { path });
    let again = fetch(&archive, &data, &options, &mut |_| ());
    assert!(again.is_ok_and(|again| again.already_there));
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names: BTreeSet<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.into_iter().collect()
}

/// The MD5 sum of bytes, where it stays: archives have theirs from a list that never changes. They are
/// kept, so that no sanitizer takes them for lost.
fn sum_of(bytes: &[u8]) -> &'static str {
    static SUMS: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let sum: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let sum: &'static str = Box::leak(sum.into_boxed_str());
    SUMS.lock().unwrap_or_else(PoisonError::into_inner).push(sum);
    sum
}
