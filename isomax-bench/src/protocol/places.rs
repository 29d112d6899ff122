//! Where the sets of a protocol lie, and how far they are what it asks for.

use core::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Protocol, ProtocolError, ProtocolSet, Role};
use crate::data::{DataError, DataFolder, ImageSource, NamedImages, OodSource, Split};

/// Where to look for the sets of a protocol.
///
/// A set that is not named here is looked for in the folder of the data sets, by its name. With the list of images of
/// the protocol, in the set's folder or in that of the lists, exactly the images of the list are taken, whose paths begin
/// at the set's folder.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Folders of sets by their names in the protocol.
    pub sets: Vec<OodSource>,
    /// Other images in the place of sets, by the names of these.
    pub stand_ins: Vec<OodSource>,
    /// A folder of lists.
    pub lists: Option<PathBuf>,
}

/// How far images are those of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Those of its list.
    Exact,
    /// Of the same set, but more, fewer or other ones.
    SameDistribution,
    /// Of something else.
    StandIn,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Exact => "exact",
            Self::SameDistribution => "same distribution",
            Self::StandIn => "stand-in",
        })
    }
}

/// A set of a protocol that was found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FoundSet {
    /// What the protocol says of it.
    pub set: ProtocolSet,
    /// How far it is that.
    pub status: Status,
    /// Its images.
    pub images: NamedImages,
}

/// The sets of a protocol that are at hand, in its order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProtocolImages {
    /// What was found.
    pub found: Vec<FoundSet>,
    /// What was not, and how to name it.
    pub missing: Vec<String>,
}

impl ProtocolImages {
    /// Reads the sets that are at hand.
    ///
    /// # Arguments
    ///
    /// - `folder`: where data sets lie
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Data`] if a set is there but cannot be read or is named but not there, and
    /// [`ProtocolError::NothingFound`].
    pub fn find(
        protocol: &Protocol,
        folder: &DataFolder,
        places: &Places,
    ) -> Result<Self, ProtocolError> {
        // How files are read is the folder's.
        let folder = folder.clone().with_size(protocol.image_size, protocol.resize);
        let classes = folder.id_set(protocol.id_data, Split::Train)?.images.classes().to_vec();
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for set in &protocol.sets {
            let is_id = matches!(set.role, Role::Test | Role::Validation);
            let classes = if is_id { &classes[..] } else { &[] };
            match find(set, &folder, places, classes)? {
                Some((status, images)) => found.push(FoundSet { set: set.clone(), status, images }),
                None => missing.push(hint(set)),
            }
        }
        let all = Self { found, missing };
        let is_there = all.of(&[Role::Near, Role::Far]).next().is_some();
        match is_there {
            true => Ok(all),
            false => Err(ProtocolError::NothingFound { missing: all.missing }),
        }
    }

    /// Those of some roles.
    pub fn of(&self, roles: &[Role]) -> impl Iterator<Item = &FoundSet> {
        self.found.iter().filter(move |found| roles.contains(&found.set.role))
    }
}

fn hint(ProtocolSet { name, images, list, .. }: &ProtocolSet) -> String {
    let list = list.as_ref().map(|list| format!(" of {list}")).unwrap_or_default();
    format!("{name}, {images} images{list}: give --set {name}=FOLDER")
}

fn find(
    set: &ProtocolSet,
    folder: &DataFolder,
    places: &Places,
    classes: &[String],
) -> Result<Option<(Status, NamedImages)>, ProtocolError> {
    let name = &set.name;
    let of_name = |sources: &[OodSource]| sources.iter().find(|set| set.name == *name).cloned();
    if let Some(source) = of_name(&places.stand_ins) {
        return Ok(named(folder, &source)?.map(|images| (Status::StandIn, images)));
    }
    let given = of_name(&places.sets);
    let in_folder = folder.path().join(name);
    let root = given.as_ref().and_then(|set| set.folder.clone()).unwrap_or(in_folder);
    if let Some(images) = listed(set, folder, places, &root, classes)? {
        return Ok(Some((Status::Exact, images)));
    }
    // A part of a split that the protocol alone knows.
    if matches!(set.role, Role::Validation | Role::Tuning) && given.is_none() {
        return Ok(None);
    }
    let source = given.clone().unwrap_or_else(|| OodSource::named(name));
    let images = match named(folder, &source) {
        Ok(images) => images,
        // One that is there and damaged must not be missing from the means without a word.
        Err(ProtocolError::Data(DataError::Absent { .. } | DataError::Unknown { .. }))
            if given.is_none() =>
        {
            None
        }
        Err(error) => return Err(error),
    };
    if let Some(images) = images.as_ref().filter(|_| !classes.is_empty()) {
        let (train, test) = (classes.to_vec(), images.images.classes().to_vec());
        if train != test {
            return Err(DataError::ClassNames { name: name.clone(), train, test }.into());
        }
    }
    let is_whole = |images: &NamedImages| set.list.is_none() && images.images.len() == set.images;
    Ok(images.map(|images| {
        let status = if is_whole(&images) { Status::Exact } else { Status::SameDistribution };
        (status, images)
    }))
}

fn named(folder: &DataFolder, source: &OodSource) -> Result<Option<NamedImages>, ProtocolError> {
    Ok(folder.ood_sets(std::slice::from_ref(source))?.into_iter().next())
}

/// The images of the list of a set, if it and all of them are there.
fn listed(
    set: &ProtocolSet,
    folder: &DataFolder,
    places: &Places,
    root: &Path,
    classes: &[String],
) -> Result<Option<NamedImages>, ProtocolError> {
    let (Some(list), Some(expected)) = (&set.list, &set.sha256) else { return Ok(None) };
    let here = root.join(list);
    let lists = places.lists.as_ref().map(|lists| lists.join(list));
    let Some(path) = [Some(here), lists].into_iter().flatten().find(|path| path.is_file()) else {
        return Ok(None);
    };
    let io = |source| ProtocolError::Io { path: path.clone(), source };
    let mut text = fs::read(&path).map_err(io)?;
    text.retain(|&byte| byte != b'\r');
    let sum: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    if !sum.starts_with(&expected.to_ascii_lowercase()) {
        log::warn!(
            "{}: another list than that of the protocol, whose SHA-256 sum begins with {expected}",
            path.display()
        );
        return Ok(None);
    }
    let malformed = |reason: String| ProtocolError::Malformed { path: path.clone(), reason };
    let text = String::from_utf8(text).map_err(|error| malformed(error.to_string()))?;
    let mut files = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (file, label) = line
            .rsplit_once(' ')
            .ok_or_else(|| malformed(format!("a line is '{line}', without a label")))?;
        let label = match classes.is_empty() {
            true => 0,
            false => label
                .parse()
                .ok()
                .filter(|&label: &u16| usize::from(label) < classes.len())
                .ok_or_else(|| malformed(format!("a line has the label {label}")))?,
        };
        files.push((root.join(file), label));
    }
    let absent = files.iter().filter(|(file, _)| !file.is_file()).count();
    if absent > 0 {
        let (path, all) = (path.display(), files.len());
        log::warn!("{path}: {absent} of its {all} images are not below {}", root.display());
        return Ok(None);
    }
    let classes = if classes.is_empty() { vec![set.name.clone()] } else { classes.to_vec() };
    let images = folder.listed(root, list, classes, files)?;
    if images.len() != set.images {
        return Ok(None);
    }
    let images: Arc<dyn ImageSource> = images;
    Ok(Some(NamedImages { name: set.name.clone(), source: "image list".to_owned(), images }))
}
