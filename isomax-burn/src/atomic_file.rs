//! Files that appear whole or not at all, and stay: what the crates of this project write their files
//! with.
//!
//! ```
//! use std::io::Write;
//! use isomax_burn::atomic_file;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("notes.txt");
//! atomic_file::write(&path, |file| file.write_all(b"all of it"))?;
//! assert_eq!(std::fs::read(&path)?, b"all of it");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::File;
use std::io;
use std::path::Path;

/// Writes a file by way of a temporary one in the same folder, which takes its name when all of it
/// is on the disk: no reader ever sees half of it, and a failure leaves what was there before. When
/// this returns, a loss of power no longer undoes it: the folder, too, is on the disk, where the
/// system can be asked for that (Unix).
///
/// ```
/// use std::io::{Error, Write};
/// use isomax_burn::atomic_file;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("notes.txt");
/// std::fs::write(&path, "old")?;
/// let failed = atomic_file::write(&path, |file| {
///     file.write_all(b"half of the ne")?;
///     Err(Error::other("disk full"))
/// });
/// assert!(failed.is_err());
/// assert_eq!(std::fs::read_to_string(&path)?, "old");
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// What `write` returns, or what the system says of the files.
pub fn write(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let path = path.as_ref();
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    #[cfg_attr(not(unix), expect(unused_mut, reason = "nothing to set there"))]
    let mut builder = tempfile::Builder::new();
    // Temporary files are private; this one is to become an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    match sync(folder) {
        // Some file systems, as of networks, have no such thing; the file is there and whole.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput
                    | io::ErrorKind::Unsupported
                    | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

#[cfg(unix)]
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Other systems open no folders.
#[cfg(not(unix))]
fn sync(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn a_failure_leaves_what_was_there() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        write(&path, |file| file.write_all(b"old"))?;
        let failed = write(&path, |file| {
            file.write_all(b"half of the ne")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path)?, b"old");
        write(&path, |file| file.write_all(b"new"))?;
        assert_eq!(fs::read(&path)?, b"new");
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn files_get_the_permissions_of_any_new_file() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write(&ours, |_| Ok(()))?;
        File::create(&plain)?;
        assert_eq!(fs::metadata(ours)?.permissions(), fs::metadata(plain)?.permissions());
        Ok(())
    }
}
