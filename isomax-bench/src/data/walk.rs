//! Folders that people keep images in: which of the files are images, and which lie there for other
//! reasons.
//!
//! A file is taken for an image if its name ends as those of images do, in upper or lower case, or if
//! it begins as an image does, so that images without an ending or with a wrong one count too. What
//! systems leave behind, such as `Thumbs.db`, `desktop.ini`, `__MACOSX` and names that begin with a
//! dot, is passed over whatever it holds. All that is passed over is counted.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use isomax_bundle::decode::{HEAD, is_image as is_image_head};

use super::tally::Tally;

/// How the names of images end. Images of other formats are known by their content.
const ENDINGS: [&str; 14] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "gif", "tif", "tiff", "ppm", "pgm",
    "pnm",
];
/// What systems and programs leave in folders of images, with what is in it.
const LITTER: [&str; 5] = ["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir"];

/// What a walk comes by, with its depth below the folder where the walk began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A file that is taken for an image, whether it can be decoded or not.
    Image(PathBuf, usize),
    /// A folder; what is in it comes next.
    Folder(PathBuf, usize),
}

/// A file or folder that cannot be read.
#[derive(Debug)]
pub(crate) struct WalkError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// A walk through a folder and all folders in it, in the order of their names. Links are followed,
/// but not back to a folder on the way. A file that is named itself is always taken for an image.
#[derive(Debug)]
pub(crate) struct Walk {
    entries: walkdir::IntoIter,
    passed_over: Tally,
}

impl Walk {
    pub fn new(path: &Path) -> Self {
        let entries = WalkDir::new(path).follow_links(true).sort_by_file_name().into_iter();
        Self { entries, passed_over: Tally::default() }
    }

    /// The files that were passed over so far.
    pub fn passed_over(&self) -> &Tally {
        &self.passed_over
    }

    /// What to make of an entry that cannot be looked at: a link to nothing is a file of its name.
    fn dangling(&mut self, error: walkdir::Error) -> Option<Result<Step, WalkError>> {
        let (path, depth) =
            (error.path().map(Path::to_path_buf).unwrap_or_default(), error.depth());
        let source = error.into_io_error()?; // a link that leads back
        let name = path.file_name().unwrap_or_default();
        let is_absent = source.kind() == io::ErrorKind::NotFound;
        if depth > 0 && (is_litter(name) || is_absent && !has_image_ending(&path)) {
            self.passed_over.add(&name.to_string_lossy());
            return None;
        }
        Some(if depth > 0 && is_absent {
            Ok(Step::Image(path, depth))
        } else {
            Err(WalkError { path, source })
        })
    }
}

impl Iterator for Walk {
    type Item = Result<Step, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.entries.next()? {
                Ok(entry) => entry,
                Err(error) => match self.dangling(error) {
                    Some(step) => return Some(step),
                    None => continue,
                },
            };
            let (depth, is_folder) = (entry.depth(), entry.file_type().is_dir());
            let is_named = depth == 0;
            let is_passed_over = !is_named && is_litter(entry.file_name());
            if is_passed_over && is_folder {
                self.entries.skip_current_dir();
            } else if is_folder {
                return Some(Ok(Step::Folder(entry.into_path(), depth)));
            } else if !is_passed_over && (is_named || is_image(&entry)) {
                return Some(Ok(Step::Image(entry.into_path(), depth)));
            }
            self.passed_over.add(&entry.file_name().to_string_lossy());
        }
    }
}

fn is_litter(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    name.starts_with('.') || LITTER.contains(&name.as_str())
}

fn has_image_ending(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// Whether a file is taken for an image. Pipes and devices are not read.
fn is_image(entry: &DirEntry) -> bool {
    let path = entry.path();
    let is_file = entry.file_type().is_file();
    is_file && (has_image_ending(path) || begins_as_image(path).unwrap_or(false))
}

fn begins_as_image(path: &Path) -> io::Result<bool> {
    let mut head = Vec::with_capacity(HEAD);
    File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(is_image_head(&head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;
    use std::fs;

    type Tested = Result<(), Box<dyn Error>>;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

    /// The images below a folder, and what was passed over.
    fn images(folder: &Path) -> (Vec<String>, usize) {
        let mut walk = Walk::new(folder);
        let images = walk.by_ref().filter_map(|step| match step {
            Ok(Step::Image(path, _)) => Some(path.strip_prefix(folder).ok()?.display().to_string()),
            _ => None,
        });
        let images = images.collect();
        (images, walk.passed_over().count)
    }

    #[test]
    fn images_are_known_by_ending_or_content() -> Tested {
        let folder = tempfile::tempdir()?;
        for (name, bytes) in [
            ("a/IMG_1.JPG", b"".as_slice()),
            ("a/b.Png", b"no image"),
            ("a/c", PNG),
            ("a/d.txt", PNG),
            ("a/photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0"),
            ("a/README.txt", b"PNG"),
            ("a/boxes.csv", b"x,y"),
            ("a/empty", b""),
            ("a/n01443537_boxes.txt", b"n01443537_0.JPEG\t0\t10\t63\t58"),
            ("a/Thumbs.db", PNG),
            ("a/._IMG_1.JPG", PNG),
            ("a/.DS_Store", b""),
            ("Desktop.ini", b"[.ShellClassInfo]"),
            ("__MACOSX/a/b.png", PNG),
            ("__MACOSX/a/c.png", PNG),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().ok_or("no folder")?)?;
            fs::write(path, bytes)?;
        }
        let (found, passed_over) = images(folder.path());
        assert_eq!(found, ["a/IMG_1.JPG", "a/b.Png", "a/c", "a/d.txt", "a/photo.heic"]);
        // A folder that is passed over counts once.
        assert_eq!(passed_over, 9);
        Ok(())
    }

    #[test]
    fn what_is_named_is_always_tried() -> Tested {
        let folder = tempfile::tempdir()?;
        for name in [".hidden", "Thumbs.db", "notes.txt"] {
            let path = folder.path().join(name);
            fs::write(&path, "text")?;
            let steps: Vec<_> = Walk::new(&path).flatten().collect();
            assert_eq!(steps, [Step::Image(path, 0)]);
        }
        let absent = folder.path().join("absent.png");
        let errors: Vec<_> = Walk::new(&absent).filter_map(Result::err).collect();
        assert_eq!(errors.len(), 1);
        assert_eq!((&errors[0].path, errors[0].source.kind()), (&absent, io::ErrorKind::NotFound));
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_circles() -> Tested {
        use std::os::unix::fs::symlink;
        let (folder, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
        fs::create_dir_all(folder.path().join("a/b"))?;
        fs::write(folder.path().join("a/b/1.png"), "")?;
        fs::write(elsewhere.path().join("2.png"), "")?;
        symlink(folder.path(), folder.path().join("a/all"))?;
        symlink(folder.path().join("a"), folder.path().join("a/b/back"))?;
        symlink(elsewhere.path(), folder.path().join("more"))?;
        symlink("nowhere", folder.path().join("lost.jpg"))?;
        symlink("nowhere", folder.path().join("lost.txt"))?;
        symlink("user@host.1234", folder.path().join(".#lock.png"))?;
        let (found, passed_over) = images(folder.path());
        assert_eq!(found, ["a/b/1.png", "lost.jpg", "more/2.png"]);
        assert_eq!(passed_over, 2);
        Ok(())
    }
}
