//! Files for readers that take paths: in memory, where the system has a place for that, and the same
//! ones for each input.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;

/// The environment variable that names where the folders of processes go; `run.sh` removes them.
const PLACE: &str = "FUZZ_SCRATCH";

/// The folder of this process: several may work at once.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let place = match env::var_os(PLACE) {
            Some(place) => place.into(),
            None if memory.is_dir() => memory.to_owned(),
            None => env::temp_dir(),
        };
        place.join(format!("isomax-fuzz-{}", process::id()))
    })
}

/// A path in the folder of this process; what it leads to need not be there.
pub fn path(name: &str) -> PathBuf {
    folder().join(name)
}

/// Writes a file, and the folders above it if they are not there.
///
/// # Panics
///
/// If the system refuses, which says nothing of what is tested.
pub fn write(name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = path(name);
    let written = fs::write(&path, &bytes).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(folder()))?;
            fs::write(&path, &bytes)
        }
        _ => Err(error),
    });
    if let Err(error) = written {
        panic!("{}: {error}", path.display());
    }
    path
}
