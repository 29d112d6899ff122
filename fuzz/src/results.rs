//! Results in JSON.

use std::fmt::Debug;
use std::path::Path;

use isomax_bench::results::{self, Stored};

use crate::scratch;

/// Reads a result; what can be read can be written, and read again.
///
/// # Panics
///
/// If it is another one then.
pub fn check<T: Stored + Debug + PartialEq>(path: &Path) {
    match results::read::<T>(path) {
        Ok(result) => comes_back(&result),
        Err(error) => {
            let (message, path) = (error.to_string(), path.display().to_string());
            assert!(message.starts_with(&path), "{message} does not name the file");
        }
    }
}

/// Writes a result and reads it again.
///
/// # Panics
///
/// If it is another one then.
pub fn comes_back<T: Stored + Debug + PartialEq>(result: &T) {
    let path = scratch::path("again.json");
    // The folder is there: something was read from it.
    results::write(&path, result).expect("what was read can be written");
    match results::read::<T>(&path) {
        Ok(again) => assert_eq!(again, *result),
        // JSON has no infinity, but 1e39 is one in 32 bits.
        Err(error) => assert!(format!("{result:?}").contains("inf"), "{error}"),
    }
}
